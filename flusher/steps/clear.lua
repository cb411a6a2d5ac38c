#!lua flags=allow-oom
-- Ends the flush of one tally, once MongoDB has its batch, or when there was nothing to flush.
-- KEYS 1 flushing_counters   2 course_counters   3 flushed_batch   4 dirty_analytics_courses
-- ARGV 1 id of the batch that MongoDB has, "" for none   2 name of the tally   3 seconds that flushed_batch lives
-- Returns 1 when done, 0 when another batch is being flushed by now: then nothing is touched. Taking the tally out of
-- the dirty set all the same would strand that other batch.

local taken = redis.call('HGET', KEYS[1], 'batch') or ''
if taken ~= ARGV[1] then
  return 0
end
if taken ~= '' then
  redis.call('UNLINK', KEYS[1])
  redis.call('SET', KEYS[3], taken, 'EX', ARGV[3])
end
if redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then
  redis.call('SREM', KEYS[4], ARGV[2])
end
return 1
