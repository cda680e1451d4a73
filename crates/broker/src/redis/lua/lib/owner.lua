-- Who owns a queue: the field `owner` of `meta`, a JSON object. uses: meta
local function owner_of() return redis.call('HGET', meta, 'owner') end

local function same_place(one, other)
  return one.cluster == other.cluster and one.namespace == other.namespace and one.name == other.name
end

local function same_owner(one, other) return same_place(one, other) and one.uid == other.uid end

-- Whether the kept record, if there is one, is this owner's in all parts.
local function owns(kept, owner) return kept and same_owner(cjson.decode(kept), cjson.decode(owner)) or false end
