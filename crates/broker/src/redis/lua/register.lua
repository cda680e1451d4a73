-- Registers a worker's incarnation and grants it a lease. Flagged allow-oom: only workers drain a full store.
-- KEYS  meta leases workers exchanges
-- LIBS  clock
-- FLAGS allow-oom
-- ARGV  worker, what it says of itself (JSON)
-- REPLY {"OK"} | {"NOQUEUE"}
local lease = redis.call('HGET', meta, 'lease_ms')
if not lease then return { 'NOQUEUE' } end
local now = clock()
redis.call('HSETNX', exchanges, ARGV[1], '0 ')
redis.call('HSETNX', workers, ARGV[1], string.format('%d', now) .. ' ' .. ARGV[2])
redis.call('ZADD', leases, now + tonumber(lease), ARGV[1])
return { 'OK' }
