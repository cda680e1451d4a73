-- Where pending tasks wait: the list `pending` for priority 0, the sorted set `ranked` for all others. In `ranked` a
-- score is -priority * 2^44 plus a sequence number, which counts up for the tail of a priority and down for its head.
-- The set `stale` names tasks whose first entry in the list was cancelled or deleted: it is skipped when it comes up. The
-- same id may stand in the list once more, behind that entry, when it was enqueued again.
-- uses: meta records pending ranked stale
local RANK = 17592186044416 -- 2^44: sequence numbers within 2^43 either way keep priorities apart, and 101 * 2^44 < 2^53

local function drop_stale_head()
  if redis.call('SCARD', stale) == 0 then return end
  local id = redis.call('LINDEX', pending, 0)
  while id and redis.call('SREM', stale, id) == 1 do
    redis.call('LPOP', pending)
    id = redis.call('LINDEX', pending, 0)
  end
  -- Marks that no entry has would be counted for ever.
  if not id then redis.call('DEL', stale) end
end

local function head()
  local top = redis.call('ZRANGE', ranked, 0, 0, 'WITHSCORES')
  if top[1] and tonumber(top[2]) < 0 then return top[1] end
  return redis.call('LINDEX', pending, 0) or top[1]
end

local function count_pending()
  return math.max(0, redis.call('LLEN', pending) - redis.call('SCARD', stale)) + redis.call('ZCARD', ranked)
end

local function put(id, record, push, counter, step)
  if not record then return end
  local priority = priority_of(record)
  if priority == 0 then
    -- An entry that is stale comes up before whatever stands at the tail, and is skipped then. Before the head, it would not.
    if push == 'LPUSH' and redis.call('SREM', stale, id) == 1 then redis.call('LREM', pending, 1, id) end
    redis.call(push, pending, id)
  else
    redis.call('ZADD', ranked, -priority * RANK + add(meta, counter, step), id)
  end
end

local function to_tail(id, record) put(id, record, 'RPUSH', 'tail', 1) end

local function to_head(id, record) put(id, record, 'LPUSH', 'head', -1) end

-- Takes a waiting task out of the line, wherever it stands in it.
local function out_of_line(id)
  if redis.call('ZREM', ranked, id) == 0 then
    -- One mark stands for one entry: where there are two, the older goes.
    if redis.call('SADD', stale, id) == 0 then redis.call('LREM', pending, 1, id) end
    drop_stale_head()
  end
end

-- Announces the head of the line if it is another than before.
local function announce_head(before)
  if not listening() then return end
  local now_first = head()
  if now_first and now_first ~= before then
    announce('N', now_first, redis.call('HGET', records, now_first))
  end
end

-- Wakes one waiter: the marker is there for whoever waits first.
local function arm()
  if redis.call('LLEN', wake) == 0 then redis.call('RPUSH', wake, '1') end
end
