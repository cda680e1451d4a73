-- Promotes what is due, in order of time. A score with a half is a task that was set aside: it goes to the head.
-- Returns how many, and whether as many as may be at once. uses: records delayed retrying
local function promote(now, most)
  local due = {}
  for _, set in ipairs({ delayed, retrying }) do
    local found = redis.call('ZRANGE', set, '-inf', now + 0.75, 'BYSCORE', 'LIMIT', 0, most, 'WITHSCORES')
    for i = 1, #found, 2 do
      due[#due + 1] = { id = found[i], at = tonumber(found[i + 1]), set = set, place = i }
    end
  end
  if #due == 0 then return 0, false end
  table.sort(due, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    if a.set ~= b.set then return a.set < b.set end
    return a.place < b.place
  end)
  local promoted = math.min(#due, most)
  local aside = {}
  for i = 1, promoted do
    local task = due[i]
    redis.call('ZREM', task.set, task.id)
    local record = redis.call('HGET', records, task.id)
    if record and task.at % 1 ~= 0 then
      aside[#aside + 1] = { task.id, record }
    else
      to_tail(task.id, record)
    end
  end
  for i = #aside, 1, -1 do to_head(aside[i][1], aside[i][2]) end
  return promoted, #due >= most
end

-- Milliseconds until the next delayed or retrying task is due, -1 where there is none.
local function next_due(now)
  local least
  for _, set in ipairs({ delayed, retrying }) do
    local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
    if first[2] and (not least or tonumber(first[2]) < least) then least = tonumber(first[2]) end
  end
  if not least then return -1 end
  return math.max(0, math.floor(least) - now)
end
