-- What the script announces: one message for all of its transitions, and none where nobody listens.
-- A message is its number and a line per event: kind, duration, state (of D), id. uses: meta channel
local lines, heard = {}, nil

local function listening()
  if heard == nil then heard = redis.call('PUBSUB', 'NUMSUB', channel)[2] > 0 end
  return heard
end

-- kind: S scheduled, N next, B an attempt began, D done
local function announce(kind, id, record, state)
  if record and listening() then
    lines[#lines + 1] = kind .. ' ' .. string.format('%d', duration_of(record)) .. ' ' .. (state or '-') .. ' ' .. id
  end
end

local function publish()
  if #lines > 0 then
    local number = add(meta, 'event', 1)
    redis.call('PUBLISH', channel, string.format('%d', number) .. '\n' .. table.concat(lines, '\n'))
  end
end
