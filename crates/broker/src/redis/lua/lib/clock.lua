-- The store's clock, in milliseconds since the Unix epoch: whole ones, and with the fraction that tells apart what ended
-- within one. All of a script happens at one moment, that of its first look. uses: -
local looked
local function clock()
  if not looked then
    local t = redis.call('TIME')
    looked = t[1] * 1000 + t[2] / 1000
  end
  return math.floor(looked), looked
end
