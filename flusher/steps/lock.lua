#!lua flags=allow-oom
-- Takes the lock of a partition, or finds that this holder already has it.
-- KEYS 1 analytics_flush_lock:{p}   ARGV 1 token of the holder   2 milliseconds that the lock lives
-- Returns 1 when the lock is the holder's, else 0.
--
-- A script only for its flag: a Redis that is out of memory refuses a plain SET, and could then never be flushed.

if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return 1
end
return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
