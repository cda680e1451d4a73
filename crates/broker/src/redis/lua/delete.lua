-- Forgets a task that waits (which cancels it) or has ended.
-- KEYS  meta records ended pending ranked stale delayed retrying claims succeeded dead cancelled attempts results cancels progress stats wake channel
-- LIBS  clock sums record events line ends
-- FLAGS allow-oom
-- ARGV  id
-- REPLY {"FORGOTTEN"} | {"ACTIVE"} | {"UNKNOWN"} | {"NOQUEUE"}
local id = ARGV[1]
if redis.call('EXISTS', meta) == 0 then return { 'NOQUEUE' } end
local record = redis.call('HGET', records, id)
if record and id ~= '' then
  if redis.call('HEXISTS', claims, id) == 1 then return { 'ACTIVE' } end
  local first = head()
  if redis.call('ZREM', delayed, id) + redis.call('ZREM', retrying, id) == 0 then out_of_line(id) end
  finish(id, record, 'cancelled')
  announce_head(first)
  publish()
elseif redis.call('HEXISTS', ended, id) == 0 then
  return { 'UNKNOWN' }
end
forget(id)
count('deleted')
return { 'FORGOTTEN' }
