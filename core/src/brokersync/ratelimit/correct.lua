-- Count at least as much as the broker says it has counted; never less than is counted already.
--
-- KEYS  the log and the state of the meter
-- ARGV  now ('' asks the server), a name, kind, amount and period of the meter, how many the broker says are left, and in
--       how long they are more again

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local name, kind, amount, period = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local log, state, used = KEYS[1], KEYS[2], amount - tonumber(ARGV[6])
local AT_ONCE = 500

local function text(number)
  return string.format('%.0f', number)
end

local function keep(key, micros)
  local millis = text(math.ceil(micros / 1000) + 1)
  if redis.call('PEXPIRE', key, millis, 'GT') == 0 then
    redis.call('PEXPIRE', key, millis, 'NX')
  end
end

if kind == 'window' then
  local missing = used - redis.call('ZCOUNT', log, '(' .. text(now - period), text(now))
  -- they leave the window when the broker's count begins anew
  local went = text(now + math.min(tonumber(ARGV[7]), period) - period)
  for from = 1, missing, AT_ONCE do
    local members = {}
    for part = from, math.min(missing, from + AT_ONCE - 1) do
      members[#members + 1] = went
      members[#members + 1] = name .. '|' .. part
    end
    redis.call('ZADD', log, unpack(members))
  end
  if missing > 0 then
    keep(log, period)
  end
  return math.max(missing, 0)
end

local known = redis.call('HMGET', state, 'level', 'since')
local level, since = tonumber(known[1]) or 0, tonumber(known[2]) or now
level = math.max(level - math.max(now - since, 0) * amount / period, 0) + redis.call('ZCOUNT', log, '-inf', text(now))
if level < used then
  redis.call('ZREMRANGEBYSCORE', log, '-inf', text(now))
  redis.call('HSET', state, 'level', string.format('%.17g', used), 'since', text(now))
  keep(state, 2 * period)
end
return 0
