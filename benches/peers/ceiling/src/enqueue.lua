-- Takes in tasks. KEYS: pending, records, claims, stats, channel. ARGV: id, record, id, record, …
local ids, count = {}, #ARGV / 2
for at = 1, count do ids[at] = ARGV[2 * at - 1] end
local taken = redis.call('HMGET', KEYS[2], unpack(ids))
for at = 1, count do
  if taken[at] then return redis.error_reply('TAKEN ' .. ids[at]) end
end
redis.call('HSET', KEYS[2], unpack(ARGV))
redis.call('RPUSH', KEYS[1], unpack(ids))
redis.call('HINCRBY', KEYS[4], 'enqueued', count)
redis.call('PUBLISH', KEYS[5], count)
return count
