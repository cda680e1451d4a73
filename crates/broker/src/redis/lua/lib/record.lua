-- The head of a record (see the envelope module of tidemill-core), in format 2 and in the former one. One that is too short
-- has a head of zeros where it ends, so that a damaged record stops no script: whoever is to run it cannot read it, and
-- says so. uses: -
local function byte_of(record, place) return string.byte(record, place) or 0 end

local function is_former(record) return byte_of(record, 1) == 1 end

-- Where what follows the type begins.
local function behind_type(record) return 18 + byte_of(record, 17) end

local function priority_of(record)
  if is_former(record) then return byte_of(record, 8) - 128 end
  if byte_of(record, 16) % 2 == 0 then return 0 end
  return byte_of(record, behind_type(record)) - 128
end

local function duration_of(record)
  local at = 9
  if not is_former(record) then
    local has = byte_of(record, 16)
    if has % 4 < 2 then return 0 end
    at = behind_type(record) + has % 2
  end
  local ms = 0
  for i = at, at + 3 do ms = ms * 256 + byte_of(record, i) end
  return ms
end

local function enqueued_of(record)
  local ms = 0
  for i = 2, 7 do ms = ms * 256 + byte_of(record, i) end
  return ms
end

local function request_of(record)
  if is_former(record) then return string.sub(record, 13, 20) end
  return string.sub(record, 8, 15)
end

local function type_of(record)
  local at = is_former(record) and 21 or 17
  return string.sub(record, at + 1, at + byte_of(record, at))
end
