-- Holds back or grants claims.
-- KEYS  meta pending ranked stale records wake
-- LIBS  line
-- FLAGS allow-oom
-- ARGV  "1" or "0"
-- REPLY {"OK", changed} | {"NOQUEUE"}
if redis.call('EXISTS', meta) == 0 then return { 'NOQUEUE' } end
local before = redis.call('HGET', meta, 'paused') or '0'
redis.call('HSET', meta, 'paused', ARGV[1])
if ARGV[1] == '0' and count_pending() > 0 then arm() end
return { 'OK', before ~= ARGV[1] and 1 or 0 }
