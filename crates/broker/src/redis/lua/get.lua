-- One task, wherever it stands.
-- KEYS  meta records ended pending ranked delayed retrying claims succeeded dead cancelled attempts results progress
-- LIBS  -
-- FLAGS no-writes
-- ARGV  id
-- REPLY {"OK", state, record, attempts, result, progress, claim, due at, ended at} ("" where it has none) | {"NOQUEUE"} | {"UNKNOWN"}
local id = ARGV[1]
if redis.call('EXISTS', meta) == 0 then return { 'NOQUEUE' } end
local function answer(state, record, claim, due, finished)
  local function hash(key) return redis.call('HGET', key, id) or '' end
  return { 'OK', state, record, hash(attempts), hash(results), hash(progress), claim or '', due or '', finished or '' }
end
local record = redis.call('HGET', records, id)
if record then
  local claim = redis.call('HGET', claims, id)
  if claim then return answer('active', record, claim) end
  local due = redis.call('ZSCORE', delayed, id)
  if due then return answer('delayed', record, nil, due) end
  due = redis.call('ZSCORE', retrying, id)
  if due then return answer('retrying', record, nil, due) end
  return answer('pending', record)
end
record = redis.call('HGET', ended, id)
if not record then return { 'UNKNOWN' } end
for state, set in pairs({ succeeded = succeeded, dead = dead, cancelled = cancelled }) do
  local finished = redis.call('ZSCORE', set, id)
  if finished then return answer(state, record, nil, nil, finished) end
end
return { 'UNKNOWN' }
