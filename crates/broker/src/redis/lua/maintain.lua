-- Promotes what is due, returns the tasks of lost workers, forgets the ended beyond retention: each in bounded steps.
-- When nobody ran this for so long that the leases of healthy workers may have ended, the store was away: all leases are
-- renewed once and no task is returned (see QueueSettings::outage_ms). So they are when the clock went back (another server
-- took over), since leases of workers that are gone would otherwise last until it has caught up.
-- KEYS  meta records ended pending ranked stale delayed retrying claims succeeded dead cancelled attempts results cancels progress leases workers exchanges stats wake channel
-- LIBS  clock sums record bulk events line ends due claims
-- FLAGS allow-oom
-- ARGV  most
-- REPLY {"OK", promoted, forgotten, renewed, more, id, worker, state, …} | {"NOQUEUE"}
local settings = redis.call('HMGET', meta, 'maintained', 'lease_ms', 'paused')
if not settings[2] then return { 'NOQUEUE' } end
local LEASE_MAX = 4294967296 -- 2^32: lease_ms is a number of 32 bits
local most = tonumber(ARGV[1])
local now = clock()
local lease = tonumber(settings[2])
local outage = math.max(math.floor(lease * 2 / 3), math.min(lease, 2000))
-- A lease that ends beyond any lease there can be would keep the claims of a worker that is gone for good.
for _, worker in ipairs(redis.call('ZRANGE', leases, now + LEASE_MAX, '+inf', 'BYSCORE')) do
  redis.call('ZADD', leases, now + lease, worker)
end
local renewed = math.abs(now - (tonumber(settings[1]) or now)) > outage
redis.call('HSET', meta, 'maintained', now)
local first = head()

local promoted, more = promote(now, most)
local answer = { 'OK', promoted, 0, renewed and 1 or 0, 0 }

if renewed then
  for _, worker in ipairs(redis.call('ZRANGE', leases, 0, -1)) do redis.call('ZADD', leases, now + lease, worker) end
else
  local gone = redis.call('ZRANGE', leases, '-inf', now, 'BYSCORE')
  if #gone > 0 then
    local which = {}
    for _, worker in ipairs(gone) do which[worker] = true end
    local lost = claims_of(which)
    -- The newest go back first, so that what another run returns comes before them again.
    local from = math.max(1, #lost - most + 1)
    local states = {}
    for i = #lost, from, -1 do states[i] = lose(lost[i], now) end
    for i = from, #lost do
      if states[i] then
        answer[#answer + 1] = lost[i].id
        answer[#answer + 1] = lost[i].worker
        answer[#answer + 1] = states[i]
      end
    end
    if from > 1 then
      more = true
    else
      for _, worker in ipairs(gone) do forget_worker(worker) end
    end
  end
end

local forgotten = 0
for _, name in ipairs({ 'succeeded', 'dead', 'cancelled' }) do
  local bounds = redis.call('HMGET', meta, 'keep:' .. name, 'age:' .. name)
  local excess = redis.call('ZCARD', kept[name]) - (tonumber(bounds[1]) or math.huge)
  local ids = {}
  if excess > 0 then ids = redis.call('ZRANGE', kept[name], 0, math.min(excess, most) - 1) end
  if #ids < most then
    local old = redis.call('ZRANGE', kept[name], '-inf', now - (tonumber(bounds[2]) or math.huge) * 1000, 'BYSCORE', 'LIMIT', 0, most)
    if #old > #ids then ids = old end
  end
  if #ids > 0 then
    bulk('ZREM', kept[name], ids)
    bulk('HDEL', ended, ids)
    bulk('HDEL', attempts, ids)
    bulk('HDEL', results, ids)
    forgotten = forgotten + #ids
    more = more or #ids >= most
  end
end
answer[3] = forgotten

-- Stale entries of the list are swept once they are many and half of it: what that costs was paid by as many cancels.
local marks = redis.call('SCARD', stale)
if marks >= 1000 and marks * 2 >= redis.call('LLEN', pending) then
  local live = {}
  for _, id in ipairs(redis.call('LRANGE', pending, 0, -1)) do
    if redis.call('SREM', stale, id) == 0 then live[#live + 1] = id end
  end
  redis.call('DEL', pending, stale)
  if #live > 0 then bulk('RPUSH', pending, live) end
end

announce_head(first)
answer[5] = more and 1 or 0
if settings[3] ~= '1' and count_pending() > 0 then arm() end
publish()
return answer
