#!lua
-- Puts a quarantined batch back among the flushing ones, as if the flush that took it had stopped halfway.
-- KEYS 1 quarantined_counters   2 flushing_counters   3 dirty_analytics_courses
-- ARGV 1 id of the batch   2 its exact entry   3 name of the tally   4... its fields and counts
-- Returns 1 when done, 0 when the tally has another batch in flight, or the entry has changed.

if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] or redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end
redis.call('HSET', KEYS[2], 'batch', ARGV[1])
for i = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('SADD', KEYS[3], ARGV[3])
return 1
