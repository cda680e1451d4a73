-- Settles what ended, promotes what is due and claims, in one call. Flagged allow-oom, so that a full store can drain.
-- KEYS  meta records ended pending ranked stale delayed retrying claims succeeded dead cancelled attempts results cancels progress leases workers exchanges stats wake channel
-- LIBS  clock sums record bulk events line ends due claims
-- FLAGS allow-oom
-- ARGV  worker, number, want, most to promote, set-aside ms; then the plain successes: how many, how many ms they ran together,
--       those of each (comma after each), whether results follow, how many claim counters; per counter: it, how many of it; ids; results ("" for none);
--       then per other settlement: id, claim counter ("" of another worker), ran ms, code and its data:
--       s result | f retry-in-ms ("" for never) kind message | u | l | c
--       An id that comes twice is none of the plain ones.
-- REPLY {"OK", letters, pending, next due ms, paused, started, ids, records, "failures losses" of each or nothing} | {"NOQUEUE"} | {"RETIRED"}
--       a letter per settlement, the plain ones first: x refused, else the state: s d(ead) c(ancelled) r(etrying) p(ending) y (delayed)
local worker, number, want = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local settings = redis.call('HMGET', meta, 'paused', 'keep:succeeded', 'lease_ms')
if not settings[3] then return { 'NOQUEUE' } end
local paused = settings[1] == '1'
local now, moment = clock()

local memory = redis.call('HGET', exchanges, worker)
if not memory then return { 'RETIRED' } end
local last, letters_then, ids_then = string.match(memory, '^(%d+) (%a*)\n?(.*)$')
last = tonumber(last)

-- What is rarely there is looked for with one command, and in turn only where there is some of it.
local has_line, has_due, has_notes
local function look()
  has_line, has_due, has_notes = false, false, false
  if redis.call('EXISTS', ranked, stale, delayed, retrying, attempts, cancels, progress) > 0 then
    has_line = redis.call('EXISTS', ranked, stale) > 0
    has_due = redis.call('EXISTS', delayed, retrying) > 0
    has_notes = redis.call('EXISTS', attempts, cancels, progress) > 0
  end
end
look()

local function reply(letters, started, ids)
  local waiting = has_line and count_pending() or redis.call('LLEN', pending)
  local answer = { 'OK', letters, waiting, has_due and next_due(now) or -1, paused and 1 or 0, started, ids, {}, {} }
  if #ids > 0 then
    local found = fetch('HMGET', records, ids)
    for i = #ids, 1, -1 do
      if not found[i] then
        -- What has no record is no task.
        redis.call('HDEL', claims, ids[i])
        table.remove(ids, i)
        table.remove(found, i)
      end
    end
    answer[8] = found
  end
  if #ids > 0 then
    if has_notes and redis.call('EXISTS', attempts) == 1 then
      local notes = fetch('HMGET', attempts, ids)
      for i = 1, #ids do notes[i] = notes[i] and string.match(notes[i], '^%d+ %d+') or '' end
      answer[9] = notes
    end
  end
  return answer
end

if last and number == last and last > 0 then
  local prefix, held, started = worker .. ':' .. ARGV[2] .. ':', {}, now
  for id in string.gmatch(ids_then, '[^\n]+') do
    local claim = redis.call('HGET', claims, id)
    if claim and string.sub(claim, 1, #prefix) == prefix then
      held[#held + 1] = id
      started = tonumber(string.match(claim, '(%d+)$'))
    end
  end
  return reply(letters_then, started, held)
end

-- A duplicate that came late.
if last and number < last then return { 'RETIRED' } end

local first = listening() and head()

if not last or number ~= last + 1 then
  local lost = claims_of({ [worker] = true })
  for i = #lost, 1, -1 do lose(lost[i], now) end
  forget_worker(worker)
  announce_head(first)
  if #lost > 0 then arm() end
  publish()
  return { 'RETIRED' }
end

local keep = (tonumber(settings[2]) or 1) > 0
local refused, ran = 0, 0

-- Ends tasks well, with a command each for all of them. `rows` are their records where they are needed, `said` results.
local function succeed(done, rows, said)
  bulk('HDEL', claims, done)
  bulk('HDEL', records, done)
  if keep then
    local scores, kept_rows, kept_results = {}, {}, {}
    local n = 0
    for i = 1, #done do
      if rows[i] then
        scores[n + 1], scores[n + 2] = moment, done[i]
        kept_rows[n + 1], kept_rows[n + 2] = done[i], rows[i]
        n = n + 2
        if said and said[i] ~= '' then
          kept_results[#kept_results + 1] = done[i]
          kept_results[#kept_results + 1] = said[i]
        end
      end
    end
    if n > 0 then
      bulk('ZADD', succeeded, scores)
      bulk('HSET', ended, kept_rows)
    end
    if #kept_results > 0 then bulk('HSET', results, kept_results) end
  end
  if has_notes then
    if not keep then bulk('HDEL', attempts, done) end
    bulk('HDEL', cancels, done)
    bulk('HDEL', progress, done)
  end
  if listening() then
    for i = 1, #done do announce('D', done[i], rows[i], 'succeeded') end
  end
  count('succeeded', #done)
end

-- The plain successes. Returns their letters, and where the others begin.
local function settle_plain()
  local many, groups = tonumber(ARGV[6]), tonumber(ARGV[10])
  local at = 11 + 2 * groups
  if many == 0 then return '', at end
  local ids = slice(ARGV, at, many)
  local said = ARGV[9] == '1' and slice(ARGV, at + many, many) or nil
  local held = fetch('HMGET', claims, ids)
  local sub, wrong, i = string.sub, nil, 0
  for group = 1, groups do
    local prefix = worker .. ':' .. ARGV[9 + 2 * group] .. ':'
    local long = #prefix
    for _ = 1, tonumber(ARGV[10 + 2 * group]) do
      i = i + 1
      local claim = held[i]
      if not claim or sub(claim, 1, long) ~= prefix then
        wrong = wrong or {}
        wrong[i] = true
      end
    end
  end
  local letters = string.rep('s', many)
  ran = tonumber(ARGV[7])
  if wrong then
    local times, i = {}, 0
    for time in string.gmatch(ARGV[8], '(%d+),') do times[#times + 1] = tonumber(time) end
    local good, words, marks = {}, {}, {}
    for i = 1, many do
      if wrong[i] then
        refused = refused + 1
        ran = ran - times[i]
        marks[i] = 'x'
      else
        good[#good + 1] = ids[i]
        words[#good] = said and said[i]
        marks[i] = 's'
      end
    end
    ids, said, letters = good, said and words, table.concat(marks)
  end
  if #ids > 0 then
    local rows = (keep or listening()) and fetch('HMGET', records, ids) or nil
    succeed(ids, rows, said)
  end
  return letters, at + (ARGV[9] == '1' and 2 or 1) * many
end

local function another_serves(type_name)
  local all = redis.call('HGETALL', workers)
  for i = 1, #all, 2 do
    if all[i] ~= worker and tonumber(redis.call('ZSCORE', leases, all[i]) or 0) > now then
      local readable, info = pcall(cjson.decode, string.match(all[i + 1], '^%d+ (.*)$'))
      local types = readable and type(info) == 'table' and type(info.types) == 'table' and info.types or {}
      for _, served in ipairs(types) do
        if served == type_name then return true end
      end
    end
  end
  return false
end

-- What ended other than well.
local function settle(task, record)
  local id = task.id
  redis.call('HDEL', claims, id)
  if not record then
    finish(id, record, 'dead')
    return 'd'
  end
  local asked = redis.call('HEXISTS', cancels, id) == 1
  if task.code == 'l' then
    release(id, record)
    return asked and 'c' or 'p'
  end
  if task.code == 'c' or (asked and task.code == 'u') then
    finish(id, record, 'cancelled')
    return 'c'
  end
  if task.code == 'u' and another_serves(type_of(record)) then
    count('released')
    redis.call('HDEL', progress, id)
    redis.call('ZADD', delayed, now + tonumber(ARGV[5]) + 0.5, id)
    return 'y'
  end
  if task.code == 'u' then task.delay, task.kind, task.message = '', 'unsupported', '"unsupported task"' end
  count('failed')
  if task.kind == 'timeout' then count('timed_out') end
  local failures, losses, rest = attempts_of(id)
  local line = string.format('%d %d %s %s %s %s', failures + 1, now, task.ran, worker, task.kind, task.message)
  note_attempt(id, failures + 1, losses, rest, line)
  if asked then
    finish(id, record, 'cancelled')
    return 'c'
  end
  if task.delay == '' then
    finish(id, record, 'dead')
    return 'd'
  end
  count('retried')
  redis.call('HDEL', progress, id)
  redis.call('ZADD', retrying, now + tonumber(task.delay), id)
  return 'r'
end

-- All other settlements, in order. Returns their letters.
local function settle_others(at)
  local settled, ids = {}, {}
  while at <= #ARGV do
    local task = { id = ARGV[at], counter = ARGV[at + 1], ran = ARGV[at + 2], code = ARGV[at + 3] }
    at = at + 4
    if task.code == 's' then
      task.result = ARGV[at]
      at = at + 1
    elseif task.code == 'f' then
      task.delay, task.kind, task.message = ARGV[at], ARGV[at + 1], ARGV[at + 2]
      at = at + 3
    end
    settled[#settled + 1] = task
    ids[#ids + 1] = task.id
  end
  if #ids == 0 then return '' end
  local held = fetch('HMGET', claims, ids)
  local found = fetch('HMGET', records, ids)
  local letters, seen, releases = {}, {}, {}
  for i, task in ipairs(settled) do
    local prefix = worker .. ':' .. task.counter .. ':'
    if seen[task.id] or not held[i] or task.counter == '' or string.sub(held[i], 1, #prefix) ~= prefix then
      letters[i] = 'x'
      refused = refused + 1
    else
      seen[task.id] = true
      ran = ran + tonumber(task.ran)
      if task.code == 's' then
        letters[i] = 's'
        succeed({ task.id }, { found[i] }, { task.result })
      elseif task.code == 'l' and redis.call('HEXISTS', cancels, task.id) == 0 then
        releases[#releases + 1] = i
      else
        letters[i] = settle(task, found[i])
      end
    end
  end
  for k = #releases, 1, -1 do
    local i = releases[k]
    letters[i] = settle(settled[i], found[i])
  end
  return table.concat(letters)
end

local letters, others = settle_plain()
if others <= #ARGV then
  letters = letters .. settle_others(others)
  look()
end
if ran > 0 then count('ran_ms', ran) end
if refused > 0 then count('refused', refused) end

if has_due then
  promote(now, tonumber(ARGV[4]))
  look()
end
announce_head(first)

-- Claim: what is ranked above the list, the list, what is ranked below it.
local taken = {}
local function take_ranked(from, to)
  if #taken >= want then return end
  local ids = redis.call('ZRANGE', ranked, from, to, 'BYSCORE', 'LIMIT', 0, want - #taken)
  if #ids > 0 then bulk('ZREM', ranked, ids) end
  for i = 1, #ids do taken[#taken + 1] = ids[i] end
end

if want > 0 and not paused then
  if has_line then
    take_ranked('-inf', '(0')
    while #taken < want do
      local ids = redis.call('LPOP', pending, want - #taken)
      if not ids or #ids == 0 then break end
      local has_stale = redis.call('SCARD', stale) > 0
      for i = 1, #ids do
        if not has_stale or redis.call('SREM', stale, ids[i]) == 0 then taken[#taken + 1] = ids[i] end
      end
    end
    drop_stale_head()
    take_ranked('(0', '+inf')
    look()
  else
    taken = redis.call('LPOP', pending, want) or {}
  end
  -- The empty id stands for the placeholder, which nobody may claim.
  for i = #taken, 1, -1 do
    if taken[i] == '' then table.remove(taken, i) end
  end
end

if #taken > 0 then
  local rows, mark, close = {}, worker .. ':' .. ARGV[2] .. ':', ':' .. string.format('%d', now)
  local before = count('started', #taken) - #taken
  for i = 1, #taken do
    rows[2 * i - 1] = taken[i]
    rows[2 * i] = mark .. (before + i) .. close
  end
  bulk('HSET', claims, rows)
end

redis.call('HSET', exchanges, worker, ARGV[2] .. ' ' .. letters .. '\n' .. table.concat(taken, '\n'))
local answer = reply(letters, now, taken)
if #taken > 0 and listening() then
  local found = answer[8]
  for i, id in ipairs(taken) do
    announce('B', id, found[i])
    if i < #taken then announce('N', taken[i + 1], found[i + 1]) end
  end
  announce_head(nil)
end
if answer[3] > 0 and not paused then arm() end
publish()
return answer
