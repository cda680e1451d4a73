-- Cancels a task: at once where it waits; an active one is marked for its worker.
-- KEYS  meta records ended pending ranked stale delayed retrying claims succeeded dead cancelled attempts results cancels progress stats wake channel
-- LIBS  clock sums record events line ends
-- FLAGS allow-oom
-- ARGV  id
-- REPLY {"NOW"} | {"ASKED"} | {"ENDED", state} | {"UNKNOWN"} | {"NOQUEUE"}
local id = ARGV[1]
if redis.call('EXISTS', meta) == 0 then return { 'NOQUEUE' } end
local record = redis.call('HGET', records, id)
if not record or id == '' then
  for state, set in pairs(kept) do
    if redis.call('ZSCORE', set, id) then return { 'ENDED', state } end
  end
  return { 'UNKNOWN' }
end
if redis.call('HEXISTS', claims, id) == 1 then
  redis.call('HSET', cancels, id, '1')
  return { 'ASKED' }
end
local first = head()
if redis.call('ZREM', delayed, id) + redis.call('ZREM', retrying, id) == 0 then out_of_line(id) end
finish(id, record, 'cancelled')
announce_head(first)
publish()
return { 'NOW' }
