#!lua flags=no-writes,allow-oom
-- How many counters tallies of one partition have.
-- KEYS of each tally: course_counters, flushing_counters
-- Returns for each tally the number of fields of both; a key of another type has none.

local function size(key)
  local fields = redis.pcall('HLEN', key)
  return type(fields) == 'number' and fields or 0
end

local sizes = {}
for i = 1, #KEYS / 2 do
  sizes[i] = size(KEYS[2 * i - 1]) + size(KEYS[2 * i])
end
return sizes
