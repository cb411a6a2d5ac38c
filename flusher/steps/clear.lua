#!lua flags=allow-oom
-- Ends the flush of tallies of one partition, once MongoDB has their batches, or when there was nothing to flush.
-- KEYS 1 dirty_analytics_courses   then of each tally: flushing_counters, course_counters, flushed_batch
-- ARGV 1 seconds that flushed_batch lives   then of each tally: the id of the batch that MongoDB has, "" for none, and
--      the tally's name
-- Returns for each tally 1 when done, 0 when another batch is being flushed by now: then nothing of it is touched,
-- because removing it from the dirty set would strand that other batch. An error for a tally with a key of the wrong
-- type: it does not block other tallies.

local function clear(flushing, counters, flushed, id, name)
  local taken = redis.call('HGET', flushing, 'batch') or ''
  if taken ~= id then
    return 0
  end
  if taken ~= '' then
    redis.call('UNLINK', flushing)
    redis.call('SET', flushed, taken, 'EX', ARGV[1])
  end
  if redis.call('EXISTS', flushing, counters) == 0 then
    redis.call('SREM', KEYS[1], name)
  end
  return 1
end

local done = {}
for i = 1, (#ARGV - 1) / 2 do
  local _, result = pcall(clear, KEYS[3 * i - 1], KEYS[3 * i], KEYS[3 * i + 1], ARGV[2 * i], ARGV[2 * i + 1])
  done[i] = result
end
return done
