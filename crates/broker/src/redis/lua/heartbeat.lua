-- Renews the lease of an incarnation, stores the progress of its tasks, brings back which of them were cancelled.
-- KEYS  meta claims leases exchanges cancels progress
-- LIBS  clock
-- FLAGS allow-oom
-- ARGV  worker; then per task with progress: id, progress (JSON)
-- REPLY {"OK", id, …} | {"NOQUEUE"} | {"RETIRED"}
local lease = redis.call('HGET', meta, 'lease_ms')
if not lease then return { 'NOQUEUE' } end
local worker = ARGV[1]
if redis.call('HEXISTS', exchanges, worker) == 0 then return { 'RETIRED' } end
redis.call('ZADD', leases, clock() + tonumber(lease), worker)

local function holds(id)
  local claim = redis.call('HGET', claims, id)
  return claim and string.sub(claim, 1, #worker) == worker
end

for i = 2, #ARGV, 2 do
  if holds(ARGV[i]) then redis.call('HSET', progress, ARGV[i], ARGV[i + 1]) end
end
local answer = { 'OK' }
for _, id in ipairs(redis.call('HKEYS', cancels)) do
  if holds(id) then answer[#answer + 1] = id end
end
return answer
