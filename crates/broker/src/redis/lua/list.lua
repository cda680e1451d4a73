-- Tasks of one state, a page at a time.
-- KEYS  meta records ended pending ranked stale delayed retrying claims succeeded dead cancelled attempts progress
-- LIBS  -
-- FLAGS no-writes
-- ARGV  state, first place, most
-- REPLY {"OK", next place or -1, id, record, "failures losses" or "", time or claim, progress, …} | {"NOQUEUE"}
--       time: due at (delayed, retrying), ended at (ended)
local state, from, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('EXISTS', meta) == 0 then return { 'NOQUEUE' } end
local ids, notes, total = {}, {}, 0

local function from_set(set, order)
  total = redis.call('ZCARD', set)
  local found = redis.call('ZRANGE', set, from, from + most - 1, unpack(order))
  for i = 1, #found, 2 do
    ids[#ids + 1] = found[i]
    notes[#ids] = found[i + 1]
  end
end

if state == 'pending' then
  local above = redis.call('ZCOUNT', ranked, '-inf', '(0')
  local middle = redis.call('LLEN', pending)
  total = middle + redis.call('ZCARD', ranked)
  local to = math.min(from + most, total) - 1
  if from < above then
    for _, id in ipairs(redis.call('ZRANGE', ranked, from, math.min(to, above - 1))) do ids[#ids + 1] = id end
  end
  if from < above + middle and to >= above then
    local start = math.max(from, above) - above
    for i, id in ipairs(redis.call('LRANGE', pending, start, math.min(to, above + middle - 1) - above)) do
      -- A mark is of the first entry under its id; a second can be there only of a task that lives.
      if redis.call('SISMEMBER', stale, id) == 0
        or (redis.call('HEXISTS', records, id) == 1 and redis.call('LPOS', pending, id) ~= start + i - 1) then
        ids[#ids + 1] = id
      end
    end
  end
  if to >= above + middle then
    for _, id in ipairs(redis.call('ZRANGE', ranked, math.max(from, above + middle) - middle, to - middle)) do ids[#ids + 1] = id end
  end
elseif state == 'active' then
  local all = redis.call('HGETALL', claims)
  local held = {}
  for i = 1, #all, 2 do
    local place = string.match(all[i + 1], '^%x+:%d+:(%d+):%d+$')
    if place then held[#held + 1] = { id = all[i], claim = all[i + 1], place = tonumber(place) } end
  end
  table.sort(held, function(a, b) return a.place < b.place end)
  total = #held
  for i = from + 1, math.min(from + most, total) do
    ids[#ids + 1] = held[i].id
    notes[#ids] = held[i].claim
  end
elseif state == 'delayed' then
  from_set(delayed, { 'WITHSCORES' })
elseif state == 'retrying' then
  from_set(retrying, { 'WITHSCORES' })
else
  from_set(({ succeeded = succeeded, dead = dead, cancelled = cancelled })[state], { 'REV', 'WITHSCORES' })
end

local answer = { 'OK', from + most < total and from + most or -1 }
if #ids > 0 then
  local is_live = state == 'pending' or state == 'active' or state == 'delayed' or state == 'retrying'
  local found = redis.call('HMGET', is_live and records or ended, unpack(ids))
  local tries = redis.call('HMGET', attempts, unpack(ids))
  local steps = redis.call('HMGET', progress, unpack(ids))
  for i, id in ipairs(ids) do
    if found[i] then
      answer[#answer + 1] = id
      answer[#answer + 1] = found[i]
      answer[#answer + 1] = tries[i] and string.match(tries[i], '^%d+ %d+') or ''
      answer[#answer + 1] = notes[i] or ''
      answer[#answer + 1] = steps[i] or ''
    end
  end
end
return answer
