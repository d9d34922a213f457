-- Variadic commands over lists of any length: Lua hands over 8,000 values at once at most. A slice never parts a pair.
local SLICE = 4000

local function many(command, key, values)
  for first = 1, #values, SLICE do
    redis.call(command, key, unpack(values, first, math.min(first + SLICE - 1, #values)))
  end
end

-- The values of these fields of a hash, in their order; false for one that is absent.
local function fields_of(key, names)
  if #names <= SLICE then
    return #names > 0 and redis.call('HMGET', key, unpack(names)) or {}
  end
  local values = {}
  for first = 1, #names, SLICE do
    for _, value in ipairs(redis.call('HMGET', key, unpack(names, first, math.min(first + SLICE - 1, #names)))) do
      values[#values + 1] = value
    end
  end
  return values
end

-- How many of these keys exist.
local function existing(names)
  local count = 0
  for first = 1, #names, SLICE do
    count = count + redis.call('EXISTS', unpack(names, first, math.min(first + SLICE - 1, #names)))
  end
  return count
end

local function delete(names)
  for first = 1, #names, SLICE do
    redis.call('DEL', unpack(names, first, math.min(first + SLICE - 1, #names)))
  end
end
