#!lua flags=allow-oom
-- Releases the lock of a partition, unless another holder has it by now.
-- KEYS 1 analytics_flush_lock:{p}   ARGV 1 token of the holder
-- Returns 1 when it was released, else 0.

if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
