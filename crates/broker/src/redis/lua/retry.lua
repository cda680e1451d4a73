-- Runs a dead or cancelled task again, or a delayed or retrying one now.
-- KEYS  meta records ended pending ranked stale delayed retrying claims succeeded dead cancelled attempts results cancels progress stats wake channel
-- LIBS  clock sums record events line ends
-- ARGV  id
-- REPLY {"PENDING"} | {"REFUSED", state} | {"UNKNOWN"} | {"NOQUEUE"}
local id = ARGV[1]
if redis.call('EXISTS', meta) == 0 then return { 'NOQUEUE' } end
local first = head()
local record = redis.call('HGET', records, id)
if record and id ~= '' then
  if redis.call('HEXISTS', claims, id) == 1 then return { 'REFUSED', 'active' } end
  if redis.call('ZREM', delayed, id) + redis.call('ZREM', retrying, id) == 0 then return { 'REFUSED', 'pending' } end
else
  record = redis.call('HGET', ended, id)
  if not record then return { 'UNKNOWN' } end
  if redis.call('ZSCORE', succeeded, id) then return { 'REFUSED', 'succeeded' } end
  redis.call('ZREM', dead, id)
  redis.call('ZREM', cancelled, id)
  redis.call('HDEL', ended, id)
  redis.call('HDEL', results, id)
  redis.call('HSET', records, id, record)
  announce('S', id, record)
end
local failures, losses, rest = attempts_of(id)
if failures + losses > 0 then note_attempt(id, 0, 0, rest) end
to_tail(id, record)
count('requeued')
announce_head(first)
arm()
publish()
return { 'PENDING' }
