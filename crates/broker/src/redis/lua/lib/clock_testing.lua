-- The store's clock moved on by the queue's field `skew`, for tests that let time pass. uses: meta
local looked
local function clock()
  if not looked then
    local t = redis.call('TIME')
    looked = t[1] * 1000 + t[2] / 1000 + (tonumber(redis.call('HGET', meta, 'skew')) or 0)
  end
  return math.floor(looked), looked
end
