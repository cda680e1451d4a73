-- Forgets a queue with all that it has, if this owner owns it. Whoever watches is told by a message of number 0.
-- KEYS  meta records ended pending ranked stale delayed retrying claims succeeded dead cancelled attempts results cancels progress leases workers exchanges stats wake channel
-- LIBS  owner
-- FLAGS allow-oom
-- ARGV  owner (JSON)
-- REPLY {"OK", dropped} | {"NOQUEUE"}
if redis.call('HEXISTS', meta, 'settings') == 0 then return { 'NOQUEUE' } end
if not owns(owner_of(), ARGV[1]) then return { 'OK', 0 } end
redis.call('UNLINK', unpack(KEYS))
redis.call('PUBLISH', channel, '0')
return { 'OK', 1 }
