-- Count a call that went already while nobody could be asked, or of which the server may have lost the count; what it
-- has not lost stays as it is.
--
-- KEYS  the log and the state of each meter
-- ARGV  now ('' asks the server), the call's name, how long ago in microseconds (below zero: yet to go); then kind,
--       amount, period and weight of each meter

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local call, ago = ARGV[2], tonumber(ARGV[3])

for index = 1, #KEYS / 2 do
  local log, state = KEYS[2 * index - 1], KEYS[2 * index]
  local kind, amount, period = ARGV[4 * index], tonumber(ARGV[4 * index + 1]), tonumber(ARGV[4 * index + 2])
  local weight = tonumber(ARGV[4 * index + 3])
  local millis = string.format('%.0f', math.ceil((2 * period - math.min(ago, 0)) / 1000) + 1)
  if kind == 'window' and ago < period then
    for part = 1, weight do
      redis.call('ZADD', log, 'NX', string.format('%.0f', now - ago), call .. '|' .. part)
    end
    if redis.call('PEXPIRE', log, millis, 'GT') == 0 then
      redis.call('PEXPIRE', log, millis, 'NX')
    end
  elseif kind == 'bucket' then
    local known = redis.call('HMGET', state, 'level', 'since')
    local level, since = tonumber(known[1]) or 0, tonumber(known[2]) or now
    level = math.max(level - math.max(now - since, 0) * amount / period, 0) + math.max(weight - ago * amount / period, 0)
    redis.call('HSET', state, 'level', string.format('%.17g', level), 'since', string.format('%.0f', now))
    if redis.call('PEXPIRE', state, millis, 'GT') == 0 then
      redis.call('PEXPIRE', state, millis, 'NX')
    end
  end
end
return 0
