-- Ends an incarnation in good order: what it holds goes back to the head of its priority, at no cost.
-- KEYS  meta records ended pending ranked stale delayed retrying claims succeeded dead cancelled attempts results cancels progress leases workers exchanges stats wake channel
-- LIBS  clock sums record events line ends claims
-- FLAGS allow-oom
-- ARGV  worker
-- REPLY {"OK"} | {"NOQUEUE"}
if redis.call('EXISTS', meta) == 0 then return { 'NOQUEUE' } end
local first = head()
local held = claims_of({ [ARGV[1]] = true })
for i = #held, 1, -1 do
  local id = held[i].id
  redis.call('HDEL', claims, id)
  release(id, redis.call('HGET', records, id))
end
forget_worker(ARGV[1])
announce_head(first)
if #held > 0 then arm() end
publish()
return { 'OK' }
