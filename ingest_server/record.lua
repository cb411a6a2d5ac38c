#!lua
-- Adds one partition's share of a commit, exactly once.
--
-- KEYS  1 commit:{p}:<process>   2 dirty_analytics_courses:{p}
--       3 refused:{p}:<process>, only where watch time is bounded
--       then for each course: course_counters, course_users, and the keys of its guarded events, in their order: seen:
--         for an event id, seen: for a playback id, and watch: for a bounded ping
-- ARGV  1 number of the commit   2 id of the batch, should this commit start one
--       3 seconds that an event id is remembered   4 seconds that a playback id is, after its last ping
--       5 the watch credit in milliseconds, only where watch time is bounded
--       then for each course: course id, number of sums, of users, of guarded events;
--         the sums: field, count;   the users;
--         the guarded events: 1 with an event key, 1 with a playback key, view field, watch-time field or "", seconds;
--           where watch time is bounded, a ping (one with a watch-time field) has two more: its user, its position
-- Returns 1 when it was counted, 0 when this commit or a later one of the process had been here: the reply to it was
-- lost. Where watch time is bounded, in both cases the positions of the pings that it refused, with a space between
-- them, and nothing of those is counted or remembered.
--
-- A watch: key is the time, in milliseconds of this server's clock, up to which its user has watched the course: each
-- ping moves it on by its seconds, from now at the earliest. It may be ahead of the clock by the credit, and no more.
-- Once the clock has come up with it, it says nothing any more, and ends.
--
-- Without flags in the first line a Redis that is out of memory, or a replica, refuses the script before its first
-- write.

local last = tonumber(redis.call('GET', KEYS[1]) or '0')
local number = tonumber(ARGV[1])
local bounded = KEYS[3] and string.sub(KEYS[3], 1, 8) == 'refused:'
if last >= number then
  return bounded and (redis.call('GET', KEYS[3]) or '') or 0
end
for i = 3, #KEYS do
  if string.sub(KEYS[i], 1, 16) == 'course_counters:' then
    local kind = redis.call('TYPE', KEYS[i]).ok
    if kind ~= 'hash' and kind ~= 'none' then -- found out later, half of the partition would have been counted
      return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind .. ', so nothing of its partition is counted')
    end
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', 3600)

local k, a = 3, 5
local credit, now
local refused = {}
if bounded then
  local time = redis.call('TIME')
  credit, now = tonumber(ARGV[5]), time[1] * 1000 + math.floor(time[2] / 1000)
  k, a = 4, 6
end

-- Moves the watched time on, unless that is more than the credit allows; whether it was allowed.
local function watch(key, seconds)
  local watched = math.max(now, tonumber(redis.call('GET', key) or '0')) + seconds * 1000
  if watched - now > credit then
    return false
  end
  if watched > now then
    redis.call('SET', key, string.format('%.0f', watched), 'PX', string.format('%.0f', watched - now))
  end
  return true
end

while k <= #KEYS do
  local counters, users, course = KEYS[k], KEYS[k + 1], ARGV[a]
  local sums, people, guarded = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  k, a = k + 2, a + 4

  local counted = false
  local function add(field, count)
    if not counted then
      counted = true
      redis.call('HSETNX', counters, 'batch', ARGV[2])
      redis.call('SADD', KEYS[2], course)
    end
    redis.call('HINCRBY', counters, field, count)
  end

  for _ = 1, sums do
    add(ARGV[a], ARGV[a + 1])
    a = a + 2
  end

  for first = a, a + people - 1, 1000 do -- unpack() has a limit of some thousand
    -- Whoever broke the HyperLogLog must mend it; views and seconds are counted all the same.
    redis.pcall('PFADD', users, unpack(ARGV, first, math.min(first + 999, a + people - 1)))
  end
  a = a + people

  for _ = 1, guarded do
    local fresh, new_view = true, true
    local watching = bounded and ARGV[a + 3] ~= ''
    if watching and not (ARGV[a] == '1' and redis.call('EXISTS', KEYS[k]) == 1) then -- a repeat costs no credit
      fresh = watch(KEYS[k + ARGV[a] + ARGV[a + 1]], ARGV[a + 4])
      if fresh then
        redis.pcall('PFADD', users, ARGV[a + 5])
      else
        refused[#refused + 1] = ARGV[a + 6]
      end
    end
    if ARGV[a] == '1' then
      fresh = fresh and redis.call('SET', KEYS[k], '', 'NX', 'EX', ARGV[3])
      k = k + 1
    end
    if ARGV[a + 1] == '1' then
      if fresh then
        new_view = not redis.call('SET', KEYS[k], '', 'EX', ARGV[4], 'GET') -- in any case remembered from now on again
      end
      k = k + 1
    end
    if fresh then
      if new_view then
        add(ARGV[a + 2], 1)
      end
      if ARGV[a + 3] ~= '' then
        add(ARGV[a + 3], ARGV[a + 4])
      end
    end
    a = a + 5
    if watching then
      k, a = k + 1, a + 2
    end
  end
end
if not bounded then
  return 1
end
local positions = table.concat(refused, ' ')
redis.call('SET', KEYS[3], positions, 'EX', 3600)
return positions
