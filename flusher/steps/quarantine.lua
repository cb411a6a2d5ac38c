#!lua flags=allow-oom
-- Quarantines a taken batch that MongoDB rejects, in one entry with others of its tally that can be sent again.
-- KEYS 1 flushing_counters   2 course_counters   3 quarantined_counters   4 dirty_analytics_courses
--      5 analytics_flush_lock
-- ARGV 1 id of the batch as its hash has it, "" for none   2 name of the tally   3 id to keep it under
--      4 what to keep: JSON   5 token of the holder   6... the entries that this one replaces: id, JSON to the letter
-- Returns 1 when done, 0 when another batch is being flushed by now, or the lock is not the holder's, or an entry has
-- changed: then nothing is touched. The holder of the lock may be sending this batch, and MongoDB may accept it.

if redis.call('GET', KEYS[5]) ~= ARGV[5] then
  return 0
end
if redis.call('EXISTS', KEYS[1]) == 0 or (redis.call('HGET', KEYS[1], 'batch') or '') ~= ARGV[1] then
  return 0
end
for i = 6, #ARGV, 2 do
  if redis.call('HGET', KEYS[3], ARGV[i]) ~= ARGV[i + 1] then
    return 0
  end
end
redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
for i = 6, #ARGV, 2 do
  if ARGV[i] ~= ARGV[3] then
    redis.call('HDEL', KEYS[3], ARGV[i])
  end
end
redis.call('UNLINK', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('SREM', KEYS[4], ARGV[2])
end
return 1
