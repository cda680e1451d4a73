-- Who owns a queue.
-- KEYS  meta
-- LIBS  owner
-- FLAGS no-writes
-- REPLY {"OK", owner (JSON) or ""} | {"NOQUEUE"}
if redis.call('HEXISTS', meta, 'settings') == 0 then return { 'NOQUEUE' } end
return { 'OK', owner_of() or '' }
