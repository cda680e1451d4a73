-- Claims: the value is "worker:exchange:place:started". uses: claims attempts cancels progress stats meta
local function claims_of(workers_lost)
  local found = {}
  local all = redis.call('HGETALL', claims)
  for i = 1, #all, 2 do
    local worker, exchange, place, started = string.match(all[i + 1], '^(%x+):(%d+):(%d+):(%d+)$')
    if worker and workers_lost[worker] then
      found[#found + 1] = {
        id = all[i], worker = worker, exchange = tonumber(exchange), place = tonumber(place), started = tonumber(started),
      }
    end
  end
  table.sort(found, function(a, b)
    if a.started ~= b.started then return a.started < b.started end
    if a.worker ~= b.worker then return a.worker < b.worker end
    if a.exchange ~= b.exchange then return a.exchange < b.exchange end
    return a.place < b.place
  end)
  return found
end

-- Ends a claim as lost. Returns where the task stands then.
local function lose(claim, now)
  local record = redis.call('HGET', records, claim.id)
  redis.call('HDEL', claims, claim.id)
  count('lost')
  local failures, losses, rest = attempts_of(claim.id)
  losses = losses + 1
  local line = string.format('%d %d %d %s lost "worker lost"', failures + 1, now, now - claim.started, claim.worker)
  note_attempt(claim.id, failures, losses, rest, line)
  if redis.call('HEXISTS', cancels, claim.id) == 1 then
    finish(claim.id, record, 'cancelled', now)
    return 'cancelled'
  end
  if losses >= tonumber(redis.call('HGET', meta, 'loss_limit')) then
    finish(claim.id, record, 'dead', now)
    return 'dead'
  end
  redis.call('HDEL', progress, claim.id)
  to_head(claim.id, record)
  return 'pending'
end

-- Gives a claim back at no cost.
local function release(id, record, now)
  if redis.call('HEXISTS', cancels, id) == 1 then return finish(id, record, 'cancelled', now) end
  count('released')
  redis.call('HDEL', progress, id)
  to_head(id, record)
end

local function forget_worker(worker)
  redis.call('ZREM', leases, worker)
  redis.call('HDEL', workers, worker)
  redis.call('HDEL', exchanges, worker)
end
