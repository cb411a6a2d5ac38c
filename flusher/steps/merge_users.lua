#!lua
-- Merges a saved HyperLogLog into the live one, and returns the result.
-- KEYS 1 course_users   2 a name of the same partition, for the moment of the merge   3 analytics_flush_lock
-- ARGV 1 the saved sketch, "" for none   2 when a restored sketch expires, in seconds since 1970; 0 for never
--      3 token of the holder
-- Returns the estimate and the bytes. Malformed bytes are refused with an error, and change nothing. Returns nil when
-- the lock is not the holder's: the saved users may have been forgotten meanwhile, and must not come back.

if redis.call('GET', KEYS[3]) ~= ARGV[3] then
  return false
end

if ARGV[1] ~= '' then
  redis.call('SET', KEYS[2], ARGV[1])
  local merged = redis.pcall('PFMERGE', KEYS[1], KEYS[1], KEYS[2])
  redis.call('UNLINK', KEYS[2])
  if merged.err then
    return merged
  end
  if ARGV[2] ~= '0' then
    redis.call('EXPIREAT', KEYS[1], ARGV[2], 'NX')
  end
end
local estimate = redis.call('PFCOUNT', KEYS[1])
return { estimate, redis.call('GET', KEYS[1]) }
