#!lua flags=allow-oom
-- Removes everything that Redis has of one tally.
-- KEYS 1 analytics_flush_lock   2 dirty_analytics_courses   3 unsaved_users   4 course_counters   5 flushing_counters
--      6 quarantined_counters   7 course_users   8 forgotten, for a lecture's tally
-- ARGV 1 token of the holder   2 name of the tally   3 how long a playback is remembered, in seconds
-- Returns 1 when done, 0 when the lock is not the holder's: then nothing is touched. Its holder may be sending this batch.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('UNLINK', KEYS[4], KEYS[5], KEYS[6], KEYS[7])
redis.call('SREM', KEYS[2], ARGV[2])
redis.call('SREM', KEYS[3], ARGV[2])
if KEYS[8] then -- playbacks that continue are counted again
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  if type(redis.pcall('HSET', KEYS[8], ARGV[2], now)) == 'table' then -- wrong type: replace it
    redis.call('UNLINK', KEYS[8])
    redis.call('HSET', KEYS[8], ARGV[2], now)
  end
  redis.call('EXPIRE', KEYS[8], ARGV[3] + 1)
end
return 1
