-- The queue at a glance, at a cost that does not grow with the number of tasks.
-- KEYS  meta records pending ranked stale delayed retrying claims succeeded dead cancelled leases stats
-- LIBS  clock sums record line due
-- FLAGS no-writes
-- REPLY {"OK", pending, delayed, active, retrying, succeeded, dead, cancelled, paused, oldest ms or -1, next due ms or -1, workers, counter, value, …} | {"NOQUEUE"}
if redis.call('EXISTS', meta) == 0 then return { 'NOQUEUE' } end
local now = clock()
local first = head()
local record = first and redis.call('HGET', records, first)
local answer = {
  'OK',
  count_pending(),
  redis.call('ZCARD', delayed),
  math.max(0, redis.call('HLEN', claims) - 1),
  redis.call('ZCARD', retrying),
  redis.call('ZCARD', succeeded),
  redis.call('ZCARD', dead),
  redis.call('ZCARD', cancelled),
  redis.call('HGET', meta, 'paused') == '1' and 1 or 0,
  record and math.max(0, now - enqueued_of(record)) or -1,
  next_due(now),
  redis.call('ZCOUNT', leases, '(' .. string.format('%d', now), '+inf'),
}
local counters = redis.call('HGETALL', stats)
for i = 1, #counters do answer[#answer + 1] = counters[i] end
return answer
