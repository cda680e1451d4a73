-- Removes the record of who owns a queue, if it is this owner's.
-- KEYS  meta
-- LIBS  owner
-- FLAGS allow-oom
-- ARGV  owner (JSON)
-- REPLY {"OK", removed} | {"NOQUEUE"}
if redis.call('HEXISTS', meta, 'settings') == 0 then return { 'NOQUEUE' } end
if not owns(owner_of(), ARGV[1]) then return { 'OK', 0 } end
redis.call('HDEL', meta, 'owner')
return { 'OK', 1 }
