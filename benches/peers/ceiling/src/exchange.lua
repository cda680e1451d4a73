-- Settles and claims in one call. KEYS: as for enqueue.
-- ARGV: token of the claims that are settled, token of the claims that are made, how many are wanted, settled ids…
-- Reply: id, record, id, record, … of what was claimed.
local before, token, want = ARGV[1], ARGV[2], tonumber(ARGV[3])
local settled = {}
for at = 4, #ARGV do settled[at - 3] = ARGV[at] end
if #settled > 0 then
  local claims = redis.call('HMGET', KEYS[3], unpack(settled))
  for at = 1, #settled do
    if claims[at] ~= before then return redis.error_reply('NOTYOURS ' .. settled[at]) end
  end
  redis.call('HDEL', KEYS[3], unpack(settled))
  redis.call('HDEL', KEYS[2], unpack(settled))
  redis.call('HINCRBY', KEYS[4], 'settled', #settled)
end
local ids = redis.call('LPOP', KEYS[1], want)
if not ids then return {} end
local records = redis.call('HMGET', KEYS[2], unpack(ids))
local claims, reply = {}, {}
for at = 1, #ids do
  claims[2 * at - 1], claims[2 * at] = ids[at], token
  reply[2 * at - 1], reply[2 * at] = ids[at], records[at]
end
redis.call('HSET', KEYS[3], unpack(claims))
redis.call('PUBLISH', KEYS[5], #ids)
return reply
