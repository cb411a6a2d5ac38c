#!lua flags=allow-oom
-- Notes that MongoDB has the latest sketch of a day's users, unless there may be newer ones.
-- KEYS 1 unsaved_users   2 course_users   3 course_counters   4 flushing_counters
-- ARGV 1 name of the tally   2 the sketch that MongoDB has, "" for none
-- Returns 1 when the tally was removed from the set. Compares the bytes, not the estimates: Redis may have lost users,
-- and as many others may have come.

if redis.call('EXISTS', KEYS[3], KEYS[4]) == 0 and (redis.call('GET', KEYS[2]) or '') == ARGV[2] then
  return redis.call('SREM', KEYS[1], ARGV[1])
end
return 0
