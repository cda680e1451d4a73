-- Takes in calls, each with its batch, each whole or not at all, in order.
-- KEYS  meta records ended pending ranked stale delayed retrying succeeded dead cancelled attempts results cancels progress stats wake channel
-- LIBS  clock sums record bulk events line ends
-- ARGV  per call: request id, kind, how many tasks, ids, bodies, and in kind "m" starts ("" now, "+ms" after, "@ms" at)
--       kind: "p" plain: all start now with priority 0; "m" mixed
-- REPLY {"OK", answer of each call, …} | {"NOQUEUE"}
--       answer: one letter per task (p pending, d delayed) | {"FULL", max} | {"TAKEN", id, …}
local max = redis.call('HGET', meta, 'max_tasks')
if not max then return { 'NOQUEUE' } end
max = tonumber(max) or math.huge
local now = clock()
local stamp = struct.pack('>BI6', 2, now)

-- The calls: where each begins in ARGV, and whether all are plain.
local calls, ids, is_plain = {}, {}, true
local at = 1
while at <= #ARGV do
  local many = tonumber(ARGV[at + 2])
  local mixed = ARGV[at + 1] == 'm'
  calls[#calls + 1] = { request = ARGV[at], mixed = mixed, first = at + 3, many = many }
  is_plain = is_plain and not mixed
  for i = at + 3, at + 2 + many do ids[#ids + 1] = ARGV[i] end
  at = at + 3 + (mixed and 3 or 2) * many
end

-- Puts ids at the tail of the list. Returns how long it is then.
local function push(ids)
  local length = 0
  for from = 1, #ids, PIECE do
    length = redis.call('RPUSH', pending, unpack(ids, from, math.min(from + PIECE - 1, #ids)))
  end
  return length
end

local function any(found)
  for i = 1, #ids do
    if found[i] then return true end
  end
  return false
end

-- All calls at once, where nothing is in their way: no id that is alive or kept.
local function take_in_plainly()
  if any(fetch('HMGET', records, ids)) then return nil end
  if redis.call('EXISTS', ended) == 1 and any(fetch('HMGET', ended, ids)) then return nil end
  if #calls > 1 then
    local seen = {}
    for i = 1, #ids do
      if seen[ids[i]] then return nil end
      seen[ids[i]] = true
    end
  end
  if redis.call('HLEN', records) - 1 + #ids > max then return nil end
  local answer, fields, n = { 'OK' }, {}, 0
  for k = 1, #calls do
    local call = calls[k]
    local bodies = call.first + call.many
    for i = 0, call.many - 1 do
      fields[n + 1] = ARGV[call.first + i]
      fields[n + 2] = stamp .. ARGV[bodies + i]
      n = n + 2
    end
    answer[k + 1] = string.rep('p', call.many)
  end
  bulk('HSET', records, fields)
  local before = push(ids) - #ids
  count('enqueued', #ids)
  if listening() then
    for i = 1, n, 2 do announce('S', fields[i], fields[i + 1]) end
    if before == 0 and head() == fields[1] then announce('N', fields[1], fields[2]) end
  end
  arm()
  return answer
end

-- One call, whatever it brings.
local function take_in(call)
  local ids, starts = {}, {}
  local bodies = call.first + call.many
  for i = 1, call.many do
    ids[i] = ARGV[call.first + i - 1]
    local start = call.mixed and ARGV[bodies + call.many + i - 1] or ''
    local sign = string.sub(start, 1, 1)
    local due = 0
    if sign == '+' then due = now + tonumber(string.sub(start, 2)) elseif sign == '@' then due = tonumber(string.sub(start, 2)) end
    starts[i] = due
  end

  local function states()
    local letters = {}
    for i = 1, #ids do letters[i] = starts[i] > now and 'd' or 'p' end
    return table.concat(letters)
  end

  local live = fetch('HMGET', records, ids)
  local past = fetch('HMGET', ended, ids)
  local taken = { 'TAKEN' }
  for i = 1, #ids do
    if live[i] then
      if request_of(live[i]) == call.request then return states() end
      taken[#taken + 1] = ids[i]
    elseif past[i] and request_of(past[i]) == call.request then
      return states()
    end
  end
  if #taken > 1 then return taken end
  if redis.call('HLEN', records) - 1 + #ids > max then return { 'FULL', max } end

  local first = listening() and head()
  local fields, tail = {}, {}
  for i, id in ipairs(ids) do
    local record = stamp .. ARGV[bodies + i - 1]
    if past[i] then forget(id) end
    fields[#fields + 1] = id
    fields[#fields + 1] = record
    announce('S', id, record)
    if starts[i] > now then
      redis.call('ZADD', delayed, starts[i], id)
    elseif priority_of(record) ~= 0 then
      if #tail > 0 then push(tail) end
      tail = {}
      to_tail(id, record)
    else
      tail[#tail + 1] = id
    end
  end
  bulk('HSET', records, fields)
  if #tail > 0 then push(tail) end
  count('enqueued', #ids)
  announce_head(first)
  arm()
  return states()
end

local answer = #ids > 0 and is_plain and take_in_plainly()
if not answer then
  answer = { 'OK' }
  for _, call in ipairs(calls) do answer[#answer + 1] = take_in(call) end
end
publish()
return answer
