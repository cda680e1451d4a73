-- The store's clock moved on by the queue's field `skew`, for tests that let time pass. uses: meta
local function clock()
  local t = redis.call('TIME')
  local moment = t[1] * 1000 + t[2] / 1000 + (tonumber(redis.call('HGET', meta, 'skew')) or 0)
  return math.floor(moment), moment
end
