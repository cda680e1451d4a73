-- The fixed head of a record (see the envelope module of tidemill-core). One that is too short has a head of zeros where
-- it ends, so that a damaged record stops no script: whoever is to run it cannot read it, and says so. uses: -
local function byte_of(record, place) return string.byte(record, place) or 0 end

local function priority_of(record) return (string.byte(record, 8) or 128) - 128 end

local function duration_of(record)
  local ms = 0
  for i = 9, 12 do ms = ms * 256 + byte_of(record, i) end
  return ms
end

local function enqueued_of(record)
  local ms = 0
  for i = 2, 7 do ms = ms * 256 + byte_of(record, i) end
  return ms
end

local function request_of(record) return string.sub(record, 13, 20) end

-- The type begins the part behind the head: a byte that counts its bytes, and they.
local function type_of(record) return string.sub(record, 22, 21 + byte_of(record, 21)) end
