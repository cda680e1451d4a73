-- The registered workers.
-- KEYS  meta claims leases workers
-- LIBS  clock
-- FLAGS no-writes
-- REPLY {"OK", worker, "registered-ms info", lease left ms, active, running ms, …} | {"NOQUEUE"}
if redis.call('EXISTS', meta) == 0 then return { 'NOQUEUE' } end
local now = clock()
local active, running = {}, {}
for _, claim in ipairs(redis.call('HVALS', claims)) do
  local worker, started = string.match(claim, '^(%x+):%d+:%d+:(%d+)$')
  if worker then
    active[worker] = (active[worker] or 0) + 1
    running[worker] = (running[worker] or 0) + math.max(0, now - tonumber(started))
  end
end
local answer = { 'OK' }
local all = redis.call('HGETALL', workers)
for i = 1, #all, 2 do
  answer[#answer + 1] = all[i]
  answer[#answer + 1] = all[i + 1]
  answer[#answer + 1] = tonumber(redis.call('ZSCORE', leases, all[i]) or now) - now
  answer[#answer + 1] = active[all[i]] or 0
  answer[#answer + 1] = running[all[i]] or 0
end
return answer
