-- Takes in a batch, whole or not at all.
-- KEYS  meta records ended pending ranked stale delayed retrying succeeded dead cancelled attempts results cancels progress stats wake channel
-- LIBS  clock sums record bulk events line ends
-- ARGV  request id; then per task: id, start ("" now, "+ms" after, "@ms" at), body
-- REPLY {"OK", one letter per task: p pending, d delayed} | {"NOQUEUE"} | {"FULL", max} | {"TAKEN", id, …}
local max = redis.call('HGET', meta, 'max_tasks')
if not max then return { 'NOQUEUE' } end
local now = clock()
local request = ARGV[1]

local ids, starts = {}, {}
for i = 2, #ARGV, 3 do
  ids[#ids + 1] = ARGV[i]
  local start = ARGV[i + 1]
  local sign = string.sub(start, 1, 1)
  local at = 0
  if sign == '+' then at = now + tonumber(string.sub(start, 2)) elseif sign == '@' then at = tonumber(string.sub(start, 2)) end
  starts[#starts + 1] = at
end

local function states()
  local letters = {}
  for i = 1, #ids do letters[i] = starts[i] > now and 'd' or 'p' end
  return table.concat(letters)
end

local live = fetch('HMGET', records, ids)
local past = redis.call('HLEN', ended) > 0 and fetch('HMGET', ended, ids) or {}
local taken = { 'TAKEN' }
for i = 1, #ids do
  if live[i] then
    if request_of(live[i]) == request then return { 'OK', states() } end
    taken[#taken + 1] = ids[i]
  elseif past[i] and request_of(past[i]) == request then
    return { 'OK', states() }
  end
end
if #taken > 1 then return taken end
if redis.call('HLEN', records) - 1 + #ids > tonumber(max) then return { 'FULL', max } end

local stamp = struct.pack('>BI6', 1, now)
local first = head()
local has_stale = redis.call('SCARD', stale) > 0
local fields, tail = {}, {}
for i, id in ipairs(ids) do
  local record = stamp .. ARGV[3 * i + 1]
  if past[i] then forget(id) end
  fields[#fields + 1] = id
  fields[#fields + 1] = record
  announce('S', id, record)
  if starts[i] > now then
    redis.call('ZADD', delayed, starts[i], id)
  elseif priority_of(record) ~= 0 or has_stale then
    if #tail > 0 then bulk('RPUSH', pending, tail) end
    tail = {}
    to_tail(id, record)
  else
    tail[#tail + 1] = id
  end
end
bulk('HSET', records, fields)
if #tail > 0 then bulk('RPUSH', pending, tail) end
count('enqueued', #ids)
announce_head(first)
arm()
publish()
return { 'OK', states() }
