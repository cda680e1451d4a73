-- Counts in a hash. One that is not a number begins anew, so that nothing is left half done over it. uses: -
local function add(key, field, by)
  local sum = redis.pcall('HINCRBY', key, field, by)
  if type(sum) == 'number' then return sum end
  redis.call('HSET', key, field, by)
  return by
end
