-- The fixed head of a record (see the envelope module of tidemill-core). uses: -
local function priority_of(record) return string.byte(record, 8) - 128 end

local function duration_of(record)
  local a, b, c, d = string.byte(record, 9, 12)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function enqueued_of(record)
  local ms = 0
  for i = 2, 7 do ms = ms * 256 + string.byte(record, i) end
  return ms
end

local function request_of(record) return string.sub(record, 13, 20) end

-- The type begins the part behind the head: a byte that counts its bytes, and they.
local function type_of(record) return string.sub(record, 22, 21 + string.byte(record, 21)) end
