-- Let one call go under all of its limits, or keep a place for it: all or nothing, by the server's clock. (Long, since
-- what is all or nothing is one script, and a script of the server can load no other.)
--
-- KEYS  the provider's queue, and since when it counts; one freeze for each scope of the call; then three of each meter:
--       the log, the promises and the state; or the slots, the line and the patience
-- ARGV  one text of words, since each further one costs the caller time: now (- asks the server), the call's name, the
--       waiter's name, p if somebody waits for it, c if it goes on with what calls were made for already and s if only slots are wanted for
--       a place that has come (else -),
--       longest wait, grace, when the counts began as far as the caller knows (- if it does not) and when it last heard of
--       them, the share in percent while counts are missing, the longest period, number of meters, how late the caller may go after its place, the
--       rises until a pace is whole, for how long the caller asks already; then kind, amount, period, weight and reserve of
--       each meter, and which freeze is of its scope (0: none; below zero: that of the app)
--
-- Instants and spans are microseconds. Answers a text of words, too: how long to wait; 1 if a place is kept that needs no
-- further question, 3 if its slots are, too, 2 if only a slot is missing, else 0; which key holds the call up (0: none);
-- its place in the queue; when the counts began, and when they were last seen to; 1 if it has forgotten what the caller
-- heard; and the reason of the freeze, which may have blanks.
--
-- A log holds what a meter counts, by instant: for a window all calls made and kept places, for a bucket the kept
-- places, since the calls made are its level. The logs alone decide whether a call may go. A promise is the place of one
-- that was sent away for long; it only makes those wait that come after it. `barrier` is the first instant for
-- whoever comes later, so that nobody overtakes; `sparing` is that of those who leave the reserve alone. A call that
-- somebody waits for goes before these where a meter has a reserve.
--
-- A slot is taken by a call that goes now, until the end of its lease. Who finds none stands in line, in which the first
-- to come is the first to go, and out of which it falls when its patience ends, or for a kept place. Of a place that is
-- soon the slot is taken with it, or who sleeps would lose it to the line. Whose later place has come goes before all in
-- line; who finds no slot then stands where it would have all the time.
--
-- A process goes later than its place, by how much the worst of them has said stands beside the instant from which is
-- counted; a window is longer by so much.
--
-- A server that has lost its memory has lost what others counted in it. Whoever knew it before tells so by the instant
-- at which the counts began, or by one at which it heard of them, where the server remembers none as late; until a period
-- has passed since, a meter lets only a share of its amount go. What was lost of the last moments it is told again.

local words = {}
for word in string.gmatch(ARGV[1], '%S+') do
  words[#words + 1] = word
end
local call, waiter = words[2], words[3]
local pressing, continues = string.find(words[4], 'p') ~= nil, string.find(words[4], 'c') ~= nil
local longest, grace, count = tonumber(words[5]), tonumber(words[6]), tonumber(words[11])
local known, heard, share, longest_period = words[7], tonumber(words[8]), tonumber(words[9]), tonumber(words[10])
local lateness, rises, asks_for = tonumber(words[12]), tonumber(words[13]), tonumber(words[14])
local has_come = string.find(words[4], 's') ~= nil
local queue, freezes = KEYS[1], #KEYS - 2 - 3 * count
local ROUNDING = 1e-9
local SLACK = 1000000
local UNMETERED = 100000
local MOST_LATE = 0.07
local LATE_FOR = 60000000
local SEEN_EVERY = 100000
local TOLD_AGAIN = 3000000
local ALL = 100
local SOON = 1000000

local now = tonumber(words[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Lua writes large numbers with 14 digits
local function text(number)
  return string.format('%.0f', number)
end

-- never for a shorter time than it was to be kept already; `new` says whether it was made just now, where that is known
local function keep(key, micros, new)
  local millis = text(math.ceil(micros / 1000) + 1)
  if new then
    redis.call('PEXPIRE', key, millis)
  elseif redis.call('PEXPIRE', key, millis, 'GT') == 0 and new == nil then
    redis.call('PEXPIRE', key, millis, 'NX')
  end
end

local function instants(found)
  local read = {}
  for index = 2, #found, 2 do
    read[#read + 1] = tonumber(found[index])
  end
  return read
end

local function put(key, at, name, weight)
  for part = 1, weight do
    redis.call('ZADD', key, text(at), name .. '|' .. part)
  end
end

-- while counts are missing
local function lessen(meter)
  meter.amount = math.max(meter.share, meter.weight)
  meter.spared = math.min(meter.spared, meter.amount - meter.weight)
end

-- The strict window: in any span of the period never more than the amount.

local window = {}

function window.open(meter)
  -- a call may go later than its place, and then the next one must not come too near to it
  meter.period = meter.period + math.floor(math.min(meter.late, meter.period * MOST_LATE))
  if meter.share < meter.amount and now < meter.began + meter.period then
    meter.whole_at = meter.began + meter.period
    meter.first = meter.share < meter.weight and meter.whole_at or now
    meter.whole = { meter.amount, meter.spared }
    lessen(meter)
  end
end

-- where to look next when a call at this instant pushed a kept place out of its window
local function displaced(meter, gone, at)
  local room = meter.amount - meter.weight - meter.spared
  local later = redis.call('ZRANGEBYSCORE', meter.log, '(' .. text(at), '(' .. text(at + meter.period), 'WITHSCORES')
  local first = math.max(gone - room, 0)
  local before = redis.call('ZRANGE', meter.log, first, first + #later / 2, 'WITHSCORES')
  for index = 0, math.min(#later / 2, meter.amount) - 1 do
    local kept, partner = tonumber(later[2 * index + 2]), gone + index - room
    if partner >= gone or partner >= 0 and kept < tonumber(before[2 * (partner - first) + 2]) + meter.period then
      return kept
    end
  end
  return nil
end

local function before(at, behind)
  return at < behind and text(at) or '(' .. text(behind)
end

local function leaves_first(meter, key, at)
  local found = redis.call('ZRANGEBYSCORE', key, '(' .. text(at - meter.period), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return found[2] and tonumber(found[2]) + meter.period or math.huge
end

local function search(meter, at, behind)
  local room = meter.amount - meter.weight - meter.spared
  at = math.max(at, meter.first or at)
  if not behind then
    meter.size = redis.call('ZCARD', meter.log)
    if meter.size <= room then
      return at
    end
  end
  -- what is past stays until there seems to be no room, since most calls find some
  if not meter.trimmed then
    meter.trimmed, meter.size = true, nil
    redis.call('ZREMRANGEBYSCORE', meter.log, '-inf', text(now - meter.period))
    return search(meter, at, behind)
  end
  while true do
    local from, to = '(' .. text(at - meter.period), text(at)
    local made = redis.call('ZCOUNT', meter.log, from, to)
    local promised = behind and redis.call('ZCOUNT', meter.promises, from, before(at, behind)) or 0
    local free = at
    if made + promised > room then
      if promised == 0 then
        local gone = redis.call('ZCOUNT', meter.log, '-inf', to)
        free = instants(redis.call('ZRANGE', meter.log, gone - room - 1, gone - room - 1, 'WITHSCORES'))[1] + meter.period
      else
        free = math.min(leaves_first(meter, meter.log, at), leaves_first(meter, meter.promises, at))
      end
    else
      free = displaced(meter, redis.call('ZCOUNT', meter.log, '-inf', to), at)
      if not free then
        return at
      end
    end
    at = free
  end
end

-- `behind` is the instant up to which promises count; without it none does
function window.earliest(meter, at, behind)
  local found = search(meter, at, behind)
  if meter.whole_at and found >= meter.whole_at then
    local lessened = { meter.amount, meter.spared }
    meter.amount, meter.spared = unpack(meter.whole)
    found = search(meter, math.max(at, meter.whole_at), behind)
    meter.amount, meter.spared = unpack(lessened)
  end
  return found
end

function window.close() end

function window.take(meter, at)
  put(meter.log, at, call, meter.weight)
  keep(meter.log, at - now + meter.period, meter.size and meter.size == 0)
end

-- The leaky bucket: bursts up to the amount, then a steady rate.

local bucket = {}

local function drained(meter, level, since, at)
  return math.max(level - math.max(at - since, 0) * meter.amount / meter.period, 0)
end

local function time_to_fit(meter, level)
  local over = level - meter.amount
  return over > ROUNDING and math.ceil(over * meter.period / meter.amount) or 0
end

function bucket.open(meter)
  local state = redis.call('HMGET', meter.state, 'level', 'since')
  local level, since = tonumber(state[1]), tonumber(state[2]) or now
  if not level then
    level, since = meter.amount - meter.share, math.min(meter.began, now)
  end
  meter.ahead, meter.unwritten = {}, false
  for _, place in ipairs(instants(redis.call('ZRANGE', meter.log, 0, -1, 'WITHSCORES'))) do
    if place > now then
      meter.ahead[#meter.ahead + 1] = place
    else
      level, since, meter.unwritten = drained(meter, level, since, place) + 1, math.max(since, place), true
    end
  end
  if meter.unwritten then
    redis.call('ZREMRANGEBYSCORE', meter.log, '-inf', text(now))
  end
  meter.level = drained(meter, level, since, now)
end

-- the first of the calls ahead that would no longer fit
local function overflow(meter, ahead, index, since, level)
  for later = index, #ahead do
    level, since = drained(meter, level, since, ahead[later]) + 1, ahead[later]
    if level > meter.amount + ROUNDING then
      return since
    end
  end
  return nil
end

function bucket.earliest(meter, at, behind)
  local ahead, weight = meter.ahead, meter.weight + meter.spared
  if behind then
    ahead = {}
    for index, place in ipairs(meter.ahead) do
      ahead[index] = place
    end
    local ahead_of_it = redis.call('ZRANGEBYSCORE', meter.promises, '-inf', before(math.huge, behind), 'WITHSCORES')
    for _, promised in ipairs(instants(ahead_of_it)) do
      ahead[#ahead + 1] = promised
    end
    table.sort(ahead)
  end
  local level, since, index = meter.level, now, 1
  while true do
    while ahead[index] and ahead[index] <= at do
      level, since = drained(meter, level, since, ahead[index]) + 1, ahead[index]
      index = index + 1
    end
    at = at + time_to_fit(meter, drained(meter, level, since, at) + weight)
    if not ahead[index] or ahead[index] > at then
      local crowded = overflow(meter, ahead, index, at, drained(meter, level, since, at) + weight)
      if not crowded then
        return at
      end
      at = crowded
    end
  end
end

function bucket.take(meter, at)
  if at > now then
    put(meter.log, at, call, meter.weight)
    keep(meter.log, at - now + meter.period)
  else
    meter.level, meter.unwritten = meter.level + meter.weight, true
  end
end

function bucket.close(meter)
  if meter.unwritten then
    redis.call('HSET', meter.state, 'level', string.format('%.17g', meter.level), 'since', text(now))
    keep(meter.state, 2 * meter.period)
  end
end

-- The slots of calls under way.

local function open_slots(cap)
  if cap.share < cap.amount and now < cap.began + cap.period then
    lessen(cap)
  end
  redis.call('ZREMRANGEBYSCORE', cap.slots, '-inf', text(now))
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', cap.patience, '-inf', text(now))) do
    redis.call('ZREM', cap.line, gone)
    redis.call('ZREM', cap.patience, gone)
  end
end

local function has_slot(cap)
  local before = 0
  if not cap.eager and not has_come then
    local since = redis.call('ZSCORE', cap.line, call)
    before = redis.call('ZCOUNT', cap.line, '-inf', since and '(' .. since or '+inf')
  end
  return redis.call('ZCARD', cap.slots) + before + cap.weight + cap.spared <= cap.amount
end

local function stand_in_line(cap)
  redis.call('ZADD', cap.line, 'NX', text(now - asks_for), call)
  redis.call('ZADD', cap.patience, 'NX', text(now + longest + SLACK), call)
  keep(cap.line, longest + SLACK)
  keep(cap.patience, longest + SLACK)
end

local function leave_line(cap)
  redis.call('ZREM', cap.line, call)
  redis.call('ZREM', cap.patience, call)
end

local function take_slot(cap, at)
  put(cap.slots, math.max(at, now) + cap.period, call, cap.weight)
  keep(cap.slots, math.max(at - now, 0) + cap.period)
end

-- The call.

local kinds = { window = window, bucket = bucket }
local meters, caps = {}, {}
local found = redis.call('MGET', unpack(KEYS, 2, freezes + 2))
local about = (found[1] or text(now) .. ' whole 0') .. ' 0 0'
local began, state, kept, late, late_until, seen = string.match(about, '^(%d+) (%a+) (%d+) (%d+) (%d+) ?(%d*)')
local told, later = state, false
seen = tonumber(seen) or 0 -- 0 of a release that wrote none
local forgot = seen > 0 and seen < heard and 1 or 0
if lateness > tonumber(late) or now >= tonumber(late_until) then
  later = lateness > 0 or tonumber(late) > 0
  late, late_until = lateness, now + LATE_FOR
end
if known ~= '-' and known ~= began then
  state = 'lost'
elseif seen > 0 and seen < heard - TOLD_AGAIN then
  state, began, told = 'lost', text(now), ''
end
if state ~= told or later or now - seen > SEEN_EVERY or tonumber(kept) < now + 2 * longest_period then
  seen = now
  kept = math.max(tonumber(kept), now + 3 * longest_period)
  local millis = text(math.ceil((kept - now) / 1000) + 1)
  local lately = text(late) .. ' ' .. text(late_until) .. ' ' .. text(seen)
  redis.call('SET', KEYS[2], began .. ' ' .. state .. ' ' .. text(kept) .. ' ' .. lately, 'PX', millis)
end

-- a freeze outlives its end where its scope goes by less than all of its limits
local thaws, frozen, reason, line, kept_pace, paces = now, 0, '', 0, '', {}
for index = 2, freezes + 1 do
  if found[index] then
    local instant, waiters, pace, why = string.match(found[index], '^(%d+) (%d+) (%d+ %d+ %d+) (.*)$')
    if not instant then -- of a release before there were paces
      pace, instant, waiters, why = '0 0 0', string.match(found[index], '^(%d+) (%d+) (.*)$')
    end
    if tonumber(instant) > thaws then
      thaws, frozen, reason, line, kept_pace = tonumber(instant), index + 1, why, tonumber(waiters), pace
    end
    local floor, since, quiet = string.match(pace, '^(%d+) (%d+) (%d+)$')
    local steps = floor ~= '0' and math.max(math.floor((now - since) / quiet), 0) or rises
    if steps < rises then
      paces[index - 1] = ALL - math.floor((ALL - floor) / 2 ^ steps)
    end
  end
end

local function paced(amount, freeze, least)
  local pace = paces[math.abs(freeze)]
  return pace and math.min(math.max(math.floor(amount * pace / ALL), least), amount) or amount
end

for index = 1, count do
  local key, word = 3 * index + freezes, 6 * index + 8
  local kind, weight = kinds[words[word + 1]], tonumber(words[word + 4])
  local reserve, freeze = tonumber(words[word + 5]), tonumber(words[word + 6])
  local amount = tonumber(words[word + 2])
  amount = kind and paced(amount, freeze, weight + reserve) or amount
  local meter = {
    key = key,
    kind = kind,
    amount = amount,
    share = state == 'lost' and math.floor(amount * share / 100) or amount,
    began = tonumber(began),
    late = tonumber(late),
    period = tonumber(words[word + 3]),
    weight = weight,
    spared = pressing and 0 or reserve,
    eager = pressing and reserve > 0,
    frozen_by = freeze,
  }
  if meter.kind then
    meter.log, meter.promises, meter.state = KEYS[key], KEYS[key + 1], KEYS[key + 2]
    meter.kind.open(meter)
    meters[#meters + 1] = meter
  else
    meter.slots, meter.line, meter.patience = KEYS[key], KEYS[key + 1], KEYS[key + 2]
    open_slots(meter)
    caps[#caps + 1] = meter
  end
end

-- whoever comes back in time for the place that it was promised has a right to it; what continues goes before promises
local own = nil
local waiting = redis.call('ZCARD', queue) > 0
if waiting then
  redis.call('ZREMRANGEBYSCORE', queue, '-inf', '(' .. text(now - grace))
  own = tonumber(redis.call('ZSCORE', queue, waiter))
  for _, meter in ipairs(meters) do
    redis.call('ZREMRANGEBYSCORE', meter.promises, '-inf', text(now - math.min(grace, meter.period)))
    for part = 1, own and meter.weight or 0 do
      redis.call('ZREM', meter.promises, waiter .. '|' .. part)
    end
  end
end

if continues then
  own = now
end

-- those that wait for a thaw go one after the other, as the limits let them that all of them share
local function spacing()
  local widest = 0
  for _, meter in ipairs(meters) do
    if meter.frozen_by == frozen - 2 or meter.frozen_by < 0 then
      widest = math.max(widest, meter.period / meter.amount)
    end
  end
  return widest > 0 and widest or UNMETERED
end

local queues = thaws > now and not (own and own >= thaws)
if queues then
  redis.call('SET', KEYS[frozen], text(thaws) .. ' ' .. line + 1 .. ' ' .. kept_pace .. ' ' .. reason, 'KEEPTTL')
  thaws = thaws + line * spacing()
elseif thaws > now then
  thaws = own
end

-- who has a promise is behind those with an earlier one, and once its time has come behind nobody
local behind = not own and math.huge or own > now and own or nil
local at, holds, agreed = thaws, frozen, 0
for _, meter in ipairs(meters) do
  meter.barrier, meter.alone = 0, meter.kind.earliest(meter, now)
  local promised = waiting and not meter.eager and redis.call('ZCARD', meter.promises) > 0
  if meter.alone > now or promised then
    local barriers = redis.call('HMGET', meter.state, 'barrier', 'sparing')
    meter.barrier = tonumber(barriers[1]) or 0
    if meter.spared > 0 then
      meter.barrier = math.max(meter.barrier, tonumber(barriers[2]) or 0)
    end
    local from = own and meter.alone or math.max(meter.alone, meter.barrier)
    if promised or from > meter.alone then
      meter.alone = meter.kind.earliest(meter, from, promised and behind)
    end
  end
  if meter.alone > at then
    at, holds = meter.alone, meter.key
  end
end
while at > now and agreed < #meters do
  for _, meter in ipairs(meters) do
    local allowed = meter.kind.earliest(meter, math.max(at, meter.alone))
    agreed = agreed + 1
    if allowed > at then
      at, holds, agreed = allowed, meter.key, 1
    end
  end
end

local function close()
  for _, meter in ipairs(meters) do
    meter.kind.close(meter)
    if meter.alone > now and meter.alone > meter.barrier then
      redis.call('HSET', meter.state, meter.spared > 0 and 'sparing' or 'barrier', text(meter.alone))
      keep(meter.state, meter.alone - now + 2 * meter.period)
    end
  end
end

local function answer(what, place)
  local micros = text(at - now)
  return string.format('%s %d %d %d %s %s %d %s', micros, what, holds, place, began, text(seen), forgot, reason)
end

local soon = at - now <= math.min(SOON, longest)
if at <= now or soon then
  local lacks = 0
  for _, cap in ipairs(caps) do
    lacks = has_slot(cap) and lacks or cap.key
  end
  if lacks > 0 then
    holds = lacks
    for _, cap in ipairs(longest > 0 and caps or {}) do
      stand_in_line(cap)
    end
    return answer(2, 0)
  end
  for _, cap in ipairs(caps) do
    take_slot(cap, at)
  end
end

if at - now <= longest then
  for _, meter in ipairs(meters) do
    meter.kind.take(meter, at)
  end
  close()
  for _, cap in ipairs(caps) do
    leave_line(cap)
  end
  local with_slots = at > now and soon and #caps > 0
  if waiting then
    redis.call('ZREM', queue, waiter)
  end
  return answer(with_slots and 3 or 1, 0)
end

for _, meter in ipairs(meters) do
  if meter.alone > now then
    put(meter.promises, meter.alone, waiter, meter.weight)
    keep(meter.promises, meter.alone - now + grace)
  end
end
close()
redis.call('ZADD', queue, text(at), waiter)
keep(queue, at - now + grace)
return answer(0, redis.call('ZRANK', queue, waiter) + 1)
