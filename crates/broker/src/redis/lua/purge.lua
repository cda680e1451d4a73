-- Deletes tasks of one state, at most so many.
-- KEYS  meta records ended pending ranked stale delayed retrying claims succeeded dead cancelled attempts results cancels progress stats wake channel
-- LIBS  clock sums record bulk events line ends
-- FLAGS allow-oom
-- ARGV  state, most
-- REPLY {"OK", how many} | {"NOQUEUE"}
local state, most = ARGV[1], tonumber(ARGV[2])
if redis.call('EXISTS', meta) == 0 then return { 'NOQUEUE' } end
local first = head()
local set = ({ delayed = delayed, retrying = retrying, succeeded = succeeded, dead = dead, cancelled = cancelled })[state]
local ids = {}
if set then
  ids = redis.call('ZRANGE', set, 0, most - 1)
  if #ids > 0 then bulk('ZREM', set, ids) end
else
  ids = redis.call('ZRANGE', ranked, '-inf', '(0', 'BYSCORE', 'LIMIT', 0, most)
  while #ids < most do
    local id = redis.call('LPOP', pending)
    if not id then break end
    if redis.call('SREM', stale, id) == 0 then ids[#ids + 1] = id end
  end
  drop_stale_head()
  for _, id in ipairs(redis.call('ZRANGE', ranked, '(0', '+inf', 'BYSCORE', 'LIMIT', 0, most - #ids)) do ids[#ids + 1] = id end
  if #ids > 0 then bulk('ZREM', ranked, ids) end
end
for _, id in ipairs(ids) do
  local record = redis.call('HGET', records, id)
  if record then finish(id, record, 'cancelled') end
  forget(id)
end
if #ids > 0 then count('deleted', #ids) end
announce_head(first)
publish()
return { 'OK', #ids }
