-- Claims: the value is "worker:exchange:place:started", the place being that among all claims of the queue. uses: claims attempts cancels progress stats meta
local function claims_of(workers_lost)
  local found = {}
  local all = redis.call('HGETALL', claims)
  for i = 1, #all, 2 do
    local worker, place, started = string.match(all[i + 1], '^(%x+):%d+:(%d+):(%d+)$')
    if worker and workers_lost[worker] then
      found[#found + 1] = { id = all[i], worker = worker, place = tonumber(place), started = tonumber(started) }
    end
  end
  table.sort(found, function(a, b) return a.place < b.place end)
  return found
end

-- Ends a claim as lost. Returns where the task stands then.
local function lose(claim, now)
  local record = redis.call('HGET', records, claim.id)
  redis.call('HDEL', claims, claim.id)
  if not record then return finish(claim.id, record, 'dead') and nil end
  count('lost')
  local failures, losses, rest = attempts_of(claim.id)
  losses = losses + 1
  local line = string.format('%d %d %d %s lost "worker lost"', failures + 1, now, now - claim.started, claim.worker)
  note_attempt(claim.id, failures, losses, rest, line)
  if redis.call('HEXISTS', cancels, claim.id) == 1 then
    finish(claim.id, record, 'cancelled')
    return 'cancelled'
  end
  if losses >= (tonumber(redis.call('HGET', meta, 'loss_limit')) or 5) then
    finish(claim.id, record, 'dead')
    return 'dead'
  end
  redis.call('HDEL', progress, claim.id)
  to_head(claim.id, record)
  return 'pending'
end

-- Gives a claim back at no cost.
local function release(id, record)
  if not record then return finish(id, record, 'cancelled') end
  if redis.call('HEXISTS', cancels, id) == 1 then return finish(id, record, 'cancelled') end
  count('released')
  redis.call('HDEL', progress, id)
  to_head(id, record)
end

local function forget_worker(worker)
  redis.call('ZREM', leases, worker)
  redis.call('HDEL', workers, worker)
  redis.call('HDEL', exchanges, worker)
end
