-- Settles what ended, promotes what is due and claims, in one call. Flagged allow-oom, so that a full store can drain.
-- KEYS  meta records ended pending ranked stale delayed retrying claims succeeded dead cancelled attempts results cancels progress leases workers exchanges stats wake channel
-- LIBS  clock sums record bulk events line ends due claims
-- FLAGS allow-oom
-- ARGV  worker, number, want, most to promote, set-aside ms; then per settlement: id, claim token, ran ms, code and its data:
--       s result | f retry-in-ms ("" for never) kind message | u | l | c
-- REPLY {"OK", letters, pending, next due ms, paused, started, id, record, "failures losses" or "", …} | {"NOQUEUE"} | {"RETIRED"}
--       a letter per settlement: x refused, else the state: s d(ead) c(ancelled) r(etrying) p(ending) y (delayed)
local worker, number, want = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local settings = redis.call('HMGET', meta, 'paused', 'keep:succeeded', 'lease_ms')
if not settings[3] then return { 'NOQUEUE' } end
local paused = settings[1] == '1'
local now, moment = clock()

local memory = redis.call('HGET', exchanges, worker)
if not memory then return { 'RETIRED' } end
local last, letters_then, ids_then = string.match(memory, '^(%d+) (%a*)\n?(.*)$')
last = tonumber(last)

local function reply(letters, started, ids)
  local answer = { 'OK', letters, count_pending(), next_due(now), paused and 1 or 0, started }
  if #ids > 0 then
    local found = fetch('HMGET', records, ids)
    local notes = redis.call('HLEN', attempts) > 0 and fetch('HMGET', attempts, ids) or {}
    for i, id in ipairs(ids) do
      if found[i] and id ~= '' then
        answer[#answer + 1] = id
        answer[#answer + 1] = found[i]
        answer[#answer + 1] = notes[i] and string.match(notes[i], '^%d+ %d+') or ''
      elseif id ~= '' then
        -- What has no record is no task.
        redis.call('HDEL', claims, id)
      end
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

local first = head()

if not last or number ~= last + 1 then
  local lost = claims_of({ [worker] = true })
  for i = #lost, 1, -1 do lose(lost[i], now) end
  forget_worker(worker)
  announce_head(first)
  if #lost > 0 then arm() end
  publish()
  return { 'RETIRED' }
end

-- Settle. Successes, the common case, are gathered and written with one command each.
local letters, ran, refused = {}, 0, 0
local settled = {}
local at = 6
while at <= #ARGV do
  local task = { id = ARGV[at], prefix = ARGV[at + 1] .. ':', ran = ARGV[at + 2], code = ARGV[at + 3] }
  at = at + 4
  if task.code == 's' then
    task.result = ARGV[at]
    at = at + 1
  elseif task.code == 'f' then
    task.delay, task.kind, task.message = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    at = at + 3
  end
  settled[#settled + 1] = task
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

if #settled > 0 then
  local ids = {}
  for i, task in ipairs(settled) do ids[i] = task.id end
  local held = fetch('HMGET', claims, ids)
  local keep = (tonumber(settings[2]) or 1) > 0
  local found = {}
  local needs_records = keep or listening()
  for i = 1, #settled do
    if settled[i].code ~= 's' then needs_records = true end
  end
  if needs_records then found = fetch('HMGET', records, ids) end
  local has_notes = redis.call('HLEN', attempts) > 0
  local has_cancels = redis.call('HLEN', cancels) > 0
  local has_progress = redis.call('HLEN', progress) > 0
  local done, scores, rows, seen = {}, {}, {}, {}
  local releases = {}
  for i, task in ipairs(settled) do
    if seen[task.id] or not held[i] or string.sub(task.prefix, 1, #worker) ~= worker
      or string.sub(held[i], 1, #task.prefix) ~= task.prefix then
      letters[i] = 'x'
      refused = refused + 1
    else
      seen[task.id] = true
      ran = ran + tonumber(task.ran)
      if task.code == 's' then
        letters[i] = 's'
        done[#done + 1] = task.id
        if keep then
          scores[#scores + 1] = moment
          scores[#scores + 1] = task.id
          rows[#rows + 1] = task.id
          rows[#rows + 1] = found[i]
          if task.result ~= '' then redis.call('HSET', results, task.id, task.result) end
        end
        if needs_records then announce('D', task.id, found[i], 'succeeded') end
      elseif task.code == 'l' and not (has_cancels and redis.call('HEXISTS', cancels, task.id) == 1) then
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
  if #done > 0 then
    bulk('HDEL', claims, done)
    bulk('HDEL', records, done)
    if keep then
      bulk('ZADD', succeeded, scores)
      bulk('HSET', ended, rows)
    elseif has_notes then
      bulk('HDEL', attempts, done)
    end
    if has_cancels then bulk('HDEL', cancels, done) end
    if has_progress then bulk('HDEL', progress, done) end
    count('succeeded', #done)
  end
  if ran > 0 then count('ran_ms', ran) end
  if refused > 0 then count('refused', refused) end
end

promote(now, tonumber(ARGV[4]))
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
  local has_ranked = redis.call('ZCARD', ranked) > 0
  if has_ranked then take_ranked('-inf', '(0') end
  while #taken < want do
    local ids = redis.call('LPOP', pending, want - #taken)
    if not ids or #ids == 0 then break end
    local has_stale = redis.call('SCARD', stale) > 0
    for i = 1, #ids do
      if not has_stale or redis.call('SREM', stale, ids[i]) == 0 then taken[#taken + 1] = ids[i] end
    end
  end
  drop_stale_head()
  if has_ranked then take_ranked('(0', '+inf') end
  -- The empty id stands for the placeholder, which nobody may claim.
  for i = #taken, 1, -1 do
    if taken[i] == '' then table.remove(taken, i) end
  end
end

if #taken > 0 then
  local rows = {}
  local before = count('started', #taken) - #taken
  for i, id in ipairs(taken) do
    rows[2 * i - 1] = id
    rows[2 * i] = string.format('%s:%d:%d:%d', worker, number, before + i, now)
  end
  bulk('HSET', claims, rows)
  if listening() then
    local found = fetch('HMGET', records, taken)
    for i, id in ipairs(taken) do
      announce('B', id, found[i])
      if i < #taken then announce('N', taken[i + 1], found[i + 1]) end
    end
    announce_head(nil)
  end
end

local letters_now = table.concat(letters)
redis.call('HSET', exchanges, worker, string.format('%d', number) .. ' ' .. letters_now .. '\n' .. table.concat(taken, '\n'))
local answer = reply(letters_now, now, taken)
if answer[3] > 0 and not paused then arm() end
publish()
return answer
