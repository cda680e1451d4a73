-- How tasks end, and what is kept of them. The value of `attempts` is "failures losses" and then a line per attempt that
-- did not end well: number, time, duration, worker, kind and message (a JSON string).
-- Needs clock. uses: meta records ended succeeded dead cancelled attempts results cancels progress stats
local KEPT_ERRORS = 20
local MANY = 4294967295 -- as many failures or losses as callers can read
local kept = { succeeded = succeeded, dead = dead, cancelled = cancelled }

local function count(what, by) return add(stats, what, by or 1) end

-- failures, losses, the lines
local function attempts_of(id)
  local value = redis.call('HGET', attempts, id)
  if not value then return 0, 0, '' end
  local failures, losses, rest = string.match(value, '^(%d+) (%d+)\n?(.*)$')
  if not failures then return 0, 0, '' end
  return math.min(tonumber(failures), MANY), math.min(tonumber(losses), MANY), rest
end

local function note_attempt(id, failures, losses, rest, line)
  if line then rest = rest == '' and line or rest .. '\n' .. line end
  local _, breaks = string.gsub(rest, '\n', '')
  while breaks >= KEPT_ERRORS do
    rest = string.match(rest, '\n(.*)$')
    breaks = breaks - 1
  end
  redis.call('HSET', attempts, id, string.format('%d %d', failures, losses) .. '\n' .. rest)
end

-- Forgets an ended task altogether.
local function forget(id)
  redis.call('HDEL', ended, id)
  redis.call('HDEL', attempts, id)
  redis.call('HDEL', results, id)
  for _, set in pairs(kept) do redis.call('ZREM', set, id) end
end

-- A live task that stands nowhere any more ends as `state`.
local function finish(id, record, state)
  redis.call('HDEL', records, id)
  redis.call('HDEL', cancels, id)
  redis.call('HDEL', progress, id)
  -- What has no record is no task.
  if not record then return redis.call('HDEL', attempts, id) end
  count(state)
  if (tonumber(redis.call('HGET', meta, 'keep:' .. state)) or 0) > 0 then
    local _, moment = clock()
    redis.call('ZADD', kept[state], moment, id)
    redis.call('HSET', ended, id, record)
  else
    redis.call('HDEL', attempts, id)
  end
  announce('D', id, record, state)
end
