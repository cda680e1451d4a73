-- The store's clock, in milliseconds since the Unix epoch: whole ones, and with the fraction that tells apart what ended
-- within one. uses: -
local function clock()
  local t = redis.call('TIME')
  local moment = t[1] * 1000 + t[2] / 1000
  return math.floor(moment), moment
end
