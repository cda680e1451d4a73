-- The store's clock, in milliseconds since the Unix epoch. uses: -
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
