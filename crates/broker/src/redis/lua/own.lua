-- Makes someone the owner of a queue, if nobody else is. Flagged allow-oom: one small record, and a full store is still
-- somebody's to mend.
-- KEYS  meta
-- LIBS  owner
-- FLAGS allow-oom
-- ARGV  owner (JSON), whose record it may replace (JSON, "" for nobody's)
-- REPLY {"OURS"} | {"THEIRS", owner (JSON)} | {"NOQUEUE"}
if redis.call('HEXISTS', meta, 'settings') == 0 then return { 'NOQUEUE' } end
local kept = owner_of()
if kept then
  local ours = same_place(cjson.decode(kept), cjson.decode(ARGV[1]))
  if not ours and not (ARGV[2] ~= '' and owns(kept, ARGV[2])) then return { 'THEIRS', kept } end
end
if kept ~= ARGV[1] then redis.call('HSET', meta, 'owner', ARGV[1]) end
return { 'OURS' }
