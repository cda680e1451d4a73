-- Creates a queue, or replaces the settings of one. A hash that always has a member, longer than a listpack takes, stays
-- a table: the first member of `records` and `claims` is such a placeholder.
-- KEYS  meta records claims
-- LIBS  clock
-- ARGV  "create" or "replace", settings (JSON), max_tasks, lease_ms, loss_limit, then count and age (s) kept of succeeded, dead, cancelled
-- REPLY 1 created, 0 there already
local created = redis.call('HEXISTS', meta, 'settings') == 0
if created or ARGV[1] == 'replace' then
  redis.call('HSET', meta, 'settings', ARGV[2], 'max_tasks', ARGV[3], 'lease_ms', ARGV[4], 'loss_limit', ARGV[5],
    'keep:succeeded', ARGV[6], 'age:succeeded', ARGV[7], 'keep:dead', ARGV[8], 'age:dead', ARGV[9],
    'keep:cancelled', ARGV[10], 'age:cancelled', ARGV[11])
end
if created then
  redis.call('HSET', meta, 'format', 1, 'maintained', (clock()))
  redis.call('HSET', records, '', string.rep('-', 65))
  redis.call('HSET', claims, '', string.rep('-', 65))
end
return created and 1 or 0
