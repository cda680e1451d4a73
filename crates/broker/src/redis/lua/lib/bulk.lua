-- One command for many members, in pieces that Lua's stack holds. uses: -
local PIECE = 4000

local function bulk(command, key, args)
  local sum = 0
  for from = 1, #args, PIECE do
    sum = sum + redis.call(command, key, unpack(args, from, math.min(from + PIECE - 1, #args)))
  end
  return sum
end

local function fetch(command, key, args)
  if #args <= PIECE then return redis.call(command, key, unpack(args)) end
  local all = {}
  for from = 1, #args, PIECE do
    local part = redis.call(command, key, unpack(args, from, math.min(from + PIECE - 1, #args)))
    for i = 1, #part do all[#all + 1] = part[i] end
  end
  return all
end

-- `many` values of a list, from a place on.
local function slice(list, from, many)
  if many <= PIECE then return { unpack(list, from, from + many - 1) } end
  local part = {}
  for i = 1, many do part[i] = list[from + i - 1] end
  return part
end
