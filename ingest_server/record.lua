#!lua
-- Adds one partition's share of a commit, exactly once.
--
-- KEYS  1 commit:{p}:<process>   2 dirty_analytics_courses:{p}   3 unsaved_users:{p}
--       with guarded events also 4 refused:{p}:<process>, and the hashes alive:{p}:<kind><window>, from a user to bytes:
--         5 event ids of this window   6 playback ids of this window
--         7 forgotten:{p}, from a lecture's tally to when it was emptied, in milliseconds of this server's clock
--         8 to 11 such accounts of the previous version, which exist while ids that it wrote may be alive
--         then as many names of sets of ids as argument 9 says, by the caller's clock: a cluster must know all keys
--       then for each course and day: course_counters and course_users of the course, the same two of the day, and
--         course_counters of each lecture whose segments were played
--       then the keys of the guarded events, in their order: seen: of the segments of a playback (b), watch: of a bounded
--         ping
-- ARGV  1 number of the commit   2 id of the batch, should this commit start one
--       3 seconds that an event id is remembered   4 the same for a playback id, after its last ping
--       5 the watch credit in milliseconds, 0 where watch time is not bounded
--       6 how many keys of guarded events there are, -1 without guarded events
--       7 how many bytes of ids of a kind a user may add in a window   8 in what steps of bytes an account grows
--       9 how many sets of ids are among the KEYS
--       with guarded events the digests of their ids, in their order, in three arguments: event ids of course views, those of
--         pings, and playback ids
--       then for each course and day: names of the course's tally and of the day's, when the day's users expire;
--         how many sums, users that count for certain, users, lectures;
--         the sums: field, count;   the users;   the lectures: name of the tally, how many sums; field, count;
--         with guarded events three arguments: the digests of the users, for their accounts; the ids of the lectures that
--           the events name; and the events, packed without a gap. Of each, in two bytes, low one first: which user,
--           position, which lecture, 0 for a course view, seconds; in one byte what it has: 1 an event id, 2 a playback
--           id, 4 played segments. Then of those in two bytes: which lecture's tally, the duration or 0, how many; and of
--           each its number, 32768 more if that is a view, and the tenths of a second played
-- Returns 1 if it was counted, 0 if this commit of the process has already run: the reply to it was lost. If pings were
-- refused, in both cases a text: <position>:<reason>, separated by spaces. Refused pings are neither counted nor
-- remembered, except for the refusal itself. WRONGTYPE if a later commit has already run, or if that is unknown.
--
-- A watch: key is the time, in milliseconds of this server's clock, up to which its user has watched the course. Each
-- ping advances it by its seconds, starting from now at the earliest. It may be ahead of the clock by at most the credit.
-- Once the clock has reached it, it has no more meaning, and expires.
--
-- An id is a digest in a set seen:{p}:<kind><window> (v, t: event ids of course views and of pings; p: playback ids). The
-- window, by this server's clock, is that in which the id arrived, or its playback had its last ping. Event ids are looked up
-- in this window and the last, each as long as the ids are remembered; playback ids in this and the last two, each half as long.
-- A user is charged at least the memory that an id takes in Redis, in steps: whoever's id completes one is charged all of
-- it. A commit starts within a step by chance. An account has an entry with an empty name once a user has reached the limit
-- of its window. That user may still repeat events, and continue playbacks that have begun, up to twice the limit: each
-- window in which one goes on charges it anew.
--
-- The bits of a playback's segments: bit 0 that it was counted as a playback, bit n + 1 its view of segment n. They live
-- as long as the playback's id. They are reset when the lecture's tally was emptied after its last ping: no segment has
-- more views than the tally has playbacks.
--
-- A key or field that ingest has not written affects only its own data. In the place of counters it makes the script refuse
-- the whole partition, with nothing written: WRONGTYPE and all such keys, so that the caller can retry without their courses.
-- Other keys of the wrong type are overwritten or skipped: whoever broke a set or a HyperLogLog must repair it.
--
-- The first line has no flags, so a Redis that is out of memory, or a replica, refuses the script before its first
-- write.

-- The number in a key's value; nil if it is not a number.
local function number_in(value)
  return type(value) == 'string' and tonumber(string.match(value, '^%d+$')) or nil
end

local number = tonumber(ARGV[1])
local last = number_in(redis.pcall('GET', KEYS[1]) or '0')
if not last then -- unknown whether this commit has already run; the next one has not
  redis.call('EXPIRE', KEYS[1], 0) -- delete it: ingest has no right to DEL
end
if not last or last > number then
  return redis.error_reply('WRONGTYPE ' .. KEYS[1])
end
local credit, guarded_keys = tonumber(ARGV[5]), tonumber(ARGV[6])
local guarding = guarded_keys >= 0
if last == number then
  local refused = guarding and redis.pcall('GET', KEYS[4]) -- of another type: not written by this commit
  return type(refused) == 'string' and string.match(refused, '^' .. ARGV[1] .. ' (.+)') or 0
end

local k, a = guarding and 12 + ARGV[9] or 4, 10
local last_key = #KEYS - math.max(guarded_keys, 0) -- before those of the guarded events
local function next_key()
  k = k + 1
  return KEYS[k - 1]
end
local g = last_key
local function next_guarded_key()
  g = g + 1
  return KEYS[g]
end
local function next_argument()
  a = a + 1
  return ARGV[a - 1]
end

-- Checked first: if it were found later, half of the partition would have been counted.
local wrong = {}
for i = k, last_key do
  if string.sub(KEYS[i], 1, 16) == 'course_counters:' then
    local found = redis.call('TYPE', KEYS[i]).ok
    if found ~= 'hash' and found ~= 'none' then
      wrong[#wrong + 1] = KEYS[i]
    end
  end
end
if #wrong > 0 then
  return redis.error_reply('WRONGTYPE ' .. table.concat(wrong, ' '))
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', 3600)

-- The parts of the next argument, each of which has this length.
local function next_parts(length)
  local text, parts = next_argument(), {}
  for i = 1, #text / length do
    parts[i] = string.sub(text, (i - 1) * length + 1, i * length)
  end
  return parts
end

local dirty, refused = {}, {}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Whether a command was refused for what the key holds. Raises any other error, such as a missing permission: nothing may be
-- counted as if there was nothing.
local function is_spoilt(reply)
  local err = type(reply) == 'table' and reply.err
  if err and not (string.find(err, 'WRONGTYPE') or string.find(err, 'integer') or string.find(err, 'overflow')) then
    error(reply)
  end
  return err
end

-- Calls f with the first and last index of each step: unpack() has a limit of several thousand.
local function in_steps(count, f)
  for first = 1, count, 1000 do
    f(first, math.min(first + 999, count))
  end
end

-- The name under which the previous version kept the digest of an id: base64url, without padding.
local LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
local function name_before(digest)
  local letters = {}
  for i = 1, #digest, 3 do
    local first, second, third = string.byte(digest, i, i + 2)
    local bits = first * 65536 + (second or 0) * 256 + (third or 0)
    for _, unit in ipairs({ 262144, 4096, 64, 1 }) do
      local letter = math.floor(bits / unit) % 64 + 1
      letters[#letters + 1] = string.sub(LETTERS, letter, letter)
    end
  end
  return string.sub(table.concat(letters), 1, math.ceil(#digest * 4 / 3))
end

local has_forgotten, has_older, has_bits -- has_bits: whether any playback has bits, whose expiry is to be renewed

-- The next digests, and which are already stored: `known` in any of the windows looked up, `current` in this one.
local function recall(kind, seconds, older)
  local ids = next_parts(16)
  local name, window = 'seen:' .. string.match(KEYS[2], '{.*}') .. ':' .. kind, math.floor(time[1] / seconds)
  local known, current, rest = {}, {}, ids
  for back = 0, older do
    local missing = {}
    in_steps(#rest, function(first, last)
      local found = redis.pcall('SMISMEMBER', name .. window - back, unpack(rest, first, last))
      is_spoilt(found)
      for i = first, last do
        local id = rest[i]
        if found[i - first + 1] == 1 then
          known[id], current[id] = true, back == 0
        else
          missing[#missing + 1] = id
        end
      end
    end)
    rest = missing
  end
  if has_older then
    for _, id in ipairs(rest) do
      known[id] = redis.call('EXISTS', name .. name_before(id)) == 1 or nil
    end
  end
  local expires = (window + older + 1) * seconds
  return { ids = ids, at = 0, known = known, current = current, new = {}, set = name .. window, expires = expires }
end

local function next_id(memory)
  memory.at = memory.at + 1
  return memory.ids[memory.at]
end

-- Whether the id is new in this window.
local function remember(memory, id)
  if memory.current[id] then
    return false
  end
  memory.known[id], memory.current[id] = true, true
  memory.new[#memory.new + 1] = id
  return true
end

local function keep(memory)
  in_steps(#memory.new, function(first, last)
    if type(redis.pcall('SADD', memory.set, unpack(memory.new, first, last))) == 'table' then
      redis.call('EXPIRE', memory.set, 0) -- wrong type: delete it
      redis.call('SADD', memory.set, unpack(memory.new, first, last))
    end
    redis.call('EXPIREAT', memory.set, memory.expires)
  end)
end

-- How many bytes of ids the users have added in this window, and whether any of them has reached the limit. `known`: of
-- those users that were looked up, kept right by each charge.
local function account(key, seconds)
  local has_full = redis.pcall('HMGET', key, '')[1]
  return { key = key, seconds = seconds, bytes = tonumber(time[2]), has_full = has_full, known = {} }
end

-- Reads what users have added, together: for a commit of thousands, one by one took as long as all the rest.
local function look_up(to, users)
  in_steps(#users, function(first, last)
    local found = redis.pcall('HMGET', to.key, unpack(users, first, last))
    for i = first, last do
      to.known[users[i]] = tonumber(found[i - first + 1] or 0) or 0
    end
  end)
end

local views, pings, plays, events, playbacks
if guarding then
  has_forgotten = redis.call('EXISTS', KEYS[7]) == 1
  has_older = redis.call('EXISTS', KEYS[8], KEYS[9], KEYS[10], KEYS[11]) > 0
  in_steps(guarded_keys, function(first, last)
    has_bits = redis.call('EXISTS', unpack(KEYS, last_key + first, last_key + last)) > 0 or has_bits
  end)
  views, pings, plays = recall('v', ARGV[3], 1), recall('t', ARGV[3], 1), recall('p', ARGV[4] / 2, 2)
  events, playbacks = account(KEYS[5], ARGV[3]), account(KEYS[6], ARGV[4])
end

local ID_BYTES = 120
-- A value so long makes Redis find each user of an account at once, instead of searching through hundreds.
local LONG = string.rep('1', 100)
-- As bits of an event's last byte, and of a segment's number.
local PLAYED, VIEW = 4, 32768
local limit, step = tonumber(ARGV[7]), tonumber(ARGV[8])

local function charge(to, user, bytes)
  local before = to.bytes
  to.bytes = before + bytes
  bytes = (math.floor(to.bytes / step) - math.floor(before / step)) * step
  if bytes == 0 then
    return
  end
  local total = redis.pcall('HINCRBY', to.key, user, bytes)
  if is_spoilt(total) then
    redis.pcall('HSET', to.key, user, bytes)
    total = bytes
  end
  to.known[user] = total
  if total == bytes then -- the user was added to it
    redis.call('EXPIRE', to.key, 2 * to.seconds)
  end
  if total >= limit and not to.has_full then
    redis.pcall('HSET', to.key, '', LONG)
    to.has_full = true
  end
end

local function is_full(of, user, times)
  if not of.has_full then
    return false
  end
  if not of.known[user] then
    look_up(of, { user })
  end
  return of.known[user] >= limit * (times or 1)
end

local function add(sums, field, count)
  sums[field] = (sums[field] or 0) + count
end

local function add_arguments(sums, fields)
  for i = a, a + 2 * fields - 1, 2 do
    add(sums, ARGV[i], ARGV[i + 1])
  end
  a = a + 2 * fields
end

-- Adds to one field; overwrites it if it is not a number.
local function increment(counters, field, count)
  if is_spoilt(redis.pcall('HINCRBY', counters, field, count)) then
    redis.call('HSET', counters, field, count)
  end
end

-- Adds the sums to a tally; returns whether its hash is new.
local function write(sums, counters, tally)
  local fields, is_new = {}, false
  for field in pairs(sums) do
    fields[#fields + 1] = field
  end
  in_steps(#fields, function(first, last)
    local found, changed = redis.call('HMGET', counters, 'batch', unpack(fields, first, last)), {}
    if not found[1] then
      is_new = redis.call('HSETNX', counters, 'batch', ARGV[2]) == 1
    end
    for i = first, last do
      local field, before = fields[i], found[i - first + 2] or '0'
      local known = #before < 16 and number_in(before) -- Lua's numbers are exact up to that length
      if known then
        changed[#changed + 1], changed[#changed + 2] = field, known + sums[field]
      else
        increment(counters, field, sums[field])
      end
    end
    if #changed > 0 then
      redis.call('HSET', counters, unpack(changed))
    end
  end)
  if #fields > 0 then
    dirty[#dirty + 1] = tally
  end
  return is_new
end

-- Advances the watched time unless that exceeds the credit; returns whether it was allowed.
local function watch(key, seconds, user)
  local before = redis.pcall('GET', key)
  local watched = math.max(now, number_in(before) or 0) + seconds * 1000
  if watched - now > credit then
    return false
  end
  if watched > now then
    redis.call('SET', key, string.format('%.0f', watched), 'PX', string.format('%.0f', watched - now))
    if not before then
      charge(events, user, ID_BYTES)
    end
  end
  return true
end

-- The reason why the event is not counted; nil if it is counted, and its id is remembered.
local function judge(memory, event, playback, watched, seconds, user)
  if event and memory.known[event] then -- a repeat costs no credit
    return 'REPEATED'
  end
  if is_full(events, user) and (event or watched and redis.call('EXISTS', watched) == 0) then
    return 'USER_LIMIT'
  end
  if playback and is_full(playbacks, user, plays.known[playback] and 2 or 1) then
    return 'USER_LIMIT'
  end
  if watched and not watch(watched, seconds, user) then
    return 'IMPLAUSIBLE'
  end
  if event then
    remember(memory, event)
    charge(events, user, ID_BYTES)
  end
end

-- Resets the bits if the tally was emptied after the playback's last ping, which renewed their expiry.
local function forget_bits(bits, tally)
  local left = redis.call('PTTL', bits)
  if left < 0 then -- there are none
    return
  end
  local last = now + left - ARGV[4] * 1000
  if last <= (number_in(redis.pcall('HMGET', KEYS[7], tally)[1]) or 0) then
    redis.call('SET', bits, '')
  end
end

-- Returns the bits with one more, the first of which is number 0, and whether it was not among them.
local function with_bit(bits, number)
  local place, value = math.floor(number / 8) + 1, 2 ^ (7 - number % 8)
  bits = bits .. string.rep('\0', place - #bits)
  local byte = string.byte(bits, place)
  if math.floor(byte / value) % 2 == 1 then
    return bits, false
  end
  return string.sub(bits, 1, place - 1) .. string.char(byte + value) .. string.sub(bits, place + 1), true
end

-- Counts the segments of a ping, and their first views by its playback; without one nothing is known of views. Returns by
-- how many bytes the playback's bits have grown, and to how many.
local function count_segments(sums, duration, segments, key)
  local before = key and redis.pcall('GET', key)
  before = type(before) == 'string' and before or '' -- of another type: overwritten
  if key and before == '' then
    add(sums, 'playbacks', 1)
    if duration > 0 then
      add(sums, 'duration:' .. duration, 1)
    end
  end
  local bits, is_new = with_bit(before, 0), nil
  for at = 1, #segments, 4 do
    local number, tenths = struct.unpack('<HH', segments, at)
    local is_view = number >= VIEW
    number = number % VIEW
    add(sums, 'segment_watched:' .. number, tenths)
    if key and is_view then
      bits, is_new = with_bit(bits, number + 1)
      if is_new then
        add(sums, 'segment_views:' .. number, 1)
      end
    end
  end
  if key then
    redis.call('SET', key, bits, 'EX', ARGV[4])
  end
  return #bits - #before, #bits
end

local function refuse(sums, reason, position, seconds)
  add(sums, 'not_counted:' .. reason, 1)
  if seconds then
    add(sums, 'not_counted_seconds:' .. reason, seconds)
  end
  if reason ~= 'REPEATED' then
    refused[#refused + 1] = position .. ':' .. reason
  end
end

-- Counts the guarded events of a course, or the reasons why they are refused; returns which users have one that counts.
local function guard(course, sums, tallies)
  local accounts, lectures, told = next_parts(16), next_parts(24), next_argument()
  for _, account in ipairs({ events, playbacks }) do
    if account.has_full then
      look_up(account, accounts)
    end
  end
  local has_counted, view_fields, watch_time_fields = {}, {}, {}
  for i, lecture in ipairs(lectures) do
    view_fields[i], watch_time_fields[i] = 'lecture_views:' .. lecture, 'lecture_watchtime:' .. lecture
  end

  local at = 1
  while at <= #told do
    local place, position, lecture, seconds, has
    place, position, lecture, seconds, has, at = struct.unpack('<HHHHB', told, at)
    local tally, duration, segments
    if has >= PLAYED then
      tally, duration, segments, at = struct.unpack('<HHH', told, at)
      segments, at = string.sub(told, at, at + 4 * segments - 1), at + 4 * segments
    end
    local user = accounts[place]
    local is_ping = lecture > 0
    local memory = is_ping and pings or views
    local event, playback = has % 2 == 1 and next_id(memory), has % PLAYED >= 2 and next_id(plays)
    local bits, watched = playback and next_guarded_key(), is_ping and credit > 0 and next_guarded_key()

    local reason = judge(memory, event, playback, watched, seconds, user)
    if reason then
      refuse(sums, reason, position, is_ping and seconds)
    elseif is_ping then
      local is_view = not plays.known[playback]
      local is_charged = playback and remember(plays, playback)
      if is_charged then
        charge(playbacks, user, ID_BYTES)
      end
      if is_view then
        add(sums, view_fields[lecture], 1)
      end
      add(sums, watch_time_fields[lecture], seconds)
      if bits and has_forgotten then
        forget_bits(bits, course .. '/' .. lectures[lecture])
      end
      if tally then
        local more, bytes = count_segments(tallies[tally], duration, segments, bits)
        if bits then
          charge(playbacks, user, (is_charged or more == bytes) and ID_BYTES + bytes or more)
        end
      elseif has_bits and not is_view then
        redis.call('EXPIRE', bits, ARGV[4])
      end
    else
      add(sums, 'course_views', 1)
    end
    has_counted[place] = has_counted[place] or not reason
  end
  return has_counted
end

-- Whoever broke the HyperLogLog must repair it; views and seconds are still counted.
local function add_users(key, users, expires)
  in_steps(#users, function(first, last)
    local changed = redis.pcall('PFADD', key, unpack(users, first, last))
    if expires and changed == 1 then
      redis.call('EXPIREAT', key, expires)
    end
  end)
end

while k <= last_key do
  local course_counters, course_users, day_counters, day_users = next_key(), next_key(), next_key(), next_key()
  local course, day, expires = next_argument(), next_argument(), next_argument()
  local fields, certain, people, lectures = next_argument(), next_argument(), next_argument(), next_argument()

  local sums = {}
  add_arguments(sums, fields)
  local users = {}
  for i = 1, people do
    users[i] = next_argument()
  end
  local tallies, tally_keys, tally_names = {}, {}, {}
  for i = 1, lectures do
    tallies[i], tally_keys[i], tally_names[i] = {}, next_key(), next_argument()
    add_arguments(tallies[i], next_argument())
  end

  if guarding then
    local has_counted = guard(course, sums, tallies)
    for i = #users, certain + 1, -1 do
      if not has_counted[i] then
        table.remove(users, i)
      end
    end
  end

  write(sums, course_counters, course)
  if write(sums, day_counters, day) then
    redis.pcall('SADD', KEYS[3], day)
  end
  for i = 1, lectures do
    write(tallies[i], tally_keys[i], tally_names[i])
  end
  add_users(course_users, users)
  add_users(day_users, users, expires)
end

if guarding then
  keep(views)
  keep(pings)
  keep(plays)
end
in_steps(#dirty, function(first, last)
  redis.pcall('SADD', KEYS[2], unpack(dirty, first, last))
end)
if #refused == 0 then
  return 1
end
local positions = table.concat(refused, ' ')
redis.call('SET', KEYS[4], ARGV[1] .. ' ' .. positions, 'EX', 3600)
return positions
