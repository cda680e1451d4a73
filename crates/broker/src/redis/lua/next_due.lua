-- How long until the next delayed or retrying task is due.
-- KEYS  meta records delayed retrying
-- LIBS  clock due
-- FLAGS no-writes
-- REPLY {"OK", ms or -1} | {"NOQUEUE"}
if redis.call('EXISTS', meta) == 0 then return { 'NOQUEUE' } end
return { 'OK', next_due((clock())) }
