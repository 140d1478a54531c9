-- Let one call go under all of its limits, or keep a place for it: all or nothing, by the server's clock.
--
-- KEYS  the provider's queue, and since when it counts; one freeze for each scope of the call; then the log, the
--       promises and the state of each meter
-- ARGV  now ('' asks the server), the call's name, the waiter's name, weight, longest wait, grace, when the counts began
--       as far as the caller knows ('' if it does not), the share in percent while counts are missing, the longest
--       period, number of meters; then kind, amount and period of each meter
--
-- Instants and spans are microseconds. Answers how long to wait, whether a place is kept that needs no further
-- question, which key holds the call up (0: none), its place in the queue, the reason of the freeze, and when the counts
-- began.
--
-- A log holds what a meter counts, by instant: for a window all calls made and kept places, for a bucket the kept
-- places, since the calls made are its level. The logs alone decide whether a call may go. A promise is the place of one
-- that was sent away for long; it only makes those wait that come after it. `barrier` is the first instant for
-- whoever comes later, so that nobody overtakes.
--
-- A server that has lost its memory has lost what others counted in it. Whoever knew it before tells so by the instant
-- at which the counts began; until a period has passed since, a meter lets only a share of its amount go.

local call, waiter, weight = ARGV[2], ARGV[3], tonumber(ARGV[4])
local longest, grace, count = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[10])
local known, share, longest_period = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
local queue, freezes = KEYS[1], #KEYS - 2 - 3 * count
local ROUNDING = 1e-9

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Lua writes large numbers with 14 digits
local function text(number)
  return string.format('%.0f', number)
end

-- never for a shorter time than it was to be kept already
local function keep(key, micros)
  local millis = text(math.ceil(micros / 1000) + 1)
  if redis.call('PEXPIRE', key, millis, 'GT') == 0 then
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

local function put(key, at, name)
  for part = 1, weight do
    redis.call('ZADD', key, text(at), name .. '|' .. part)
  end
end

-- The strict window: in any span of the period never more than the amount.

local window = {}

function window.open(meter)
  redis.call('ZREMRANGEBYSCORE', meter.log, '-inf', text(now - meter.period))
  if meter.share < meter.amount and now < meter.began + meter.period then
    meter.first = meter.share < weight and meter.began + meter.period or now
    meter.amount = math.max(meter.share, weight)
  end
end

-- where to look next when a call at this instant pushed a kept place out of its window
local function displaced(meter, gone, at)
  local room = meter.amount - weight
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

-- `behind` is the instant up to which promises count; without it none does
function window.earliest(meter, at, behind)
  local room = meter.amount - weight
  at = math.max(at, meter.first or at)
  if not behind and redis.call('ZCARD', meter.log) <= room then
    return at
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

function window.close() end

function window.take(meter, at)
  put(meter.log, at, call)
  keep(meter.log, at - now + meter.period)
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
  local past = instants(redis.call('ZRANGEBYSCORE', meter.log, '-inf', text(now), 'WITHSCORES'))
  for _, went in ipairs(past) do
    level, since = drained(meter, level, since, went) + 1, math.max(since, went)
  end
  if #past > 0 then
    redis.call('ZREMRANGEBYSCORE', meter.log, '-inf', text(now))
  end
  meter.level, meter.unwritten = drained(meter, level, since, now), #past > 0
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
  local ahead = instants(redis.call('ZRANGE', meter.log, 0, -1, 'WITHSCORES'))
  if behind then
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
    put(meter.log, at, call)
    keep(meter.log, at - now + meter.period)
  else
    meter.level, meter.unwritten = meter.level + weight, true
  end
end

function bucket.close(meter)
  if meter.unwritten then
    redis.call('HSET', meter.state, 'level', string.format('%.17g', meter.level), 'since', text(now))
    keep(meter.state, 2 * meter.period)
  end
end

-- The call.

local kinds = { window = window, bucket = bucket }
local meters, spacing = {}, 0
local found = redis.call('MGET', unpack(KEYS, 2, freezes + 2))
local began, state = string.match(found[1] or text(now) .. ' whole', '^(%d+) (%a+)$')
if known ~= '' and known ~= began then
  state = 'lost'
end
if found[1] ~= began .. ' ' .. state then
  redis.call('SET', KEYS[2], began .. ' ' .. state)
end
keep(KEYS[2], 2 * longest_period)

for index = 1, count do
  local key, argument, amount = 3 * index + freezes, 3 * index + 7, tonumber(ARGV[3 * index + 9])
  local meter = {
    key = key,
    log = KEYS[key],
    promises = KEYS[key + 1],
    state = KEYS[key + 2],
    kind = kinds[ARGV[argument + 1]],
    amount = amount,
    share = state == 'lost' and math.floor(amount * share / 100) or amount,
    began = tonumber(began),
    period = tonumber(ARGV[argument + 3]),
  }
  meter.kind.open(meter)
  spacing = math.max(spacing, meter.period / meter.amount)
  meters[index] = meter
end

-- whoever comes back in time for the place that it was promised has a right to it
local own = nil
local waiting = redis.call('ZCARD', queue) > 0
if waiting then
  redis.call('ZREMRANGEBYSCORE', queue, '-inf', '(' .. text(now - grace))
  own = tonumber(redis.call('ZSCORE', queue, waiter))
  for _, meter in ipairs(meters) do
    redis.call('ZREMRANGEBYSCORE', meter.promises, '-inf', text(now - math.min(grace, meter.period)))
    for part = 1, own and weight or 0 do
      redis.call('ZREM', meter.promises, waiter .. '|' .. part)
    end
  end
end

local thaws, frozen, reason, line = now, 0, '', 0
for index = 2, freezes + 1 do
  if found[index] then
    local instant, waiters, why = string.match(found[index], '^(%d+) (%d+) (.*)$')
    if tonumber(instant) > thaws then
      thaws, frozen, reason, line = tonumber(instant), index + 1, why, tonumber(waiters)
    end
  end
end

-- who has a promise is behind those with an earlier one, and once its time has come behind nobody
local behind = not own and math.huge or own > now and own or nil
local at, holds, agreed = thaws, frozen, 0
for _, meter in ipairs(meters) do
  meter.barrier, meter.alone = 0, meter.kind.earliest(meter, now)
  local promised = waiting and redis.call('ZCARD', meter.promises) > 0
  if meter.alone > now or promised then
    meter.barrier = tonumber(redis.call('HGET', meter.state, 'barrier')) or 0
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
      redis.call('HSET', meter.state, 'barrier', text(meter.alone))
      keep(meter.state, meter.alone - now + 2 * meter.period)
    end
  end
end

if at - now <= longest then
  for _, meter in ipairs(meters) do
    meter.kind.take(meter, at)
  end
  close()
  redis.call('ZREM', queue, waiter)
  return { text(at - now), 1, holds, 0, reason, began }
end

-- those that wait for a thaw come back one after the other
if thaws > now and own and own >= thaws then
  at = math.max(at, own)
elseif thaws > now then
  at = math.max(at, thaws + line * spacing)
  redis.call('SET', KEYS[frozen], text(thaws) .. ' ' .. line + 1 .. ' ' .. reason, 'KEEPTTL')
end
for _, meter in ipairs(meters) do
  if meter.alone > now then
    put(meter.promises, meter.alone, waiter)
    keep(meter.promises, meter.alone - now + grace)
  end
end
close()
redis.call('ZADD', queue, text(at), waiter)
keep(queue, at - now + grace)
return { text(at - now), 0, holds, redis.call('ZRANK', queue, waiter) + 1, reason, began }
