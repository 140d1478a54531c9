-- Count a call that went already while nobody could be asked.
--
-- KEYS  the log and the state of each meter; then since when the provider's counts began
-- ARGV  now ('' asks the server), the call's name, how long ago in microseconds; then kind, amount, period and weight of
--       each meter

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local call, ago = ARGV[2], tonumber(ARGV[3])

local began, about = string.match(redis.call('GET', KEYS[#KEYS]) or '', '^(%d+) (%a+)')

-- of a bucket without a level nobody knows how full it is, where the server has lost its memory: full, then
local function level_of(amount, period)
  local knows = about == 'whole' or about == 'lost' and now - began >= period
  return knows and 0 or amount
end

for index = 1, (#KEYS - 1) / 2 do
  local log, state = KEYS[2 * index - 1], KEYS[2 * index]
  local kind, amount, period = ARGV[4 * index], tonumber(ARGV[4 * index + 1]), tonumber(ARGV[4 * index + 2])
  local weight = tonumber(ARGV[4 * index + 3])
  local millis = string.format('%.0f', math.ceil(2 * period / 1000) + 1)
  if kind == 'window' and ago < period then
    for part = 1, weight do
      redis.call('ZADD', log, string.format('%.0f', now - ago), call .. '|' .. part)
    end
    if redis.call('PEXPIRE', log, millis, 'GT') == 0 then
      redis.call('PEXPIRE', log, millis, 'NX')
    end
  elseif kind == 'bucket' then
    local known = redis.call('HMGET', state, 'level', 'since')
    local level, since = tonumber(known[1]) or level_of(amount, period), tonumber(known[2]) or now
    level = math.max(level - math.max(now - since, 0) * amount / period, 0) + math.max(weight - ago * amount / period, 0)
    redis.call('HSET', state, 'level', string.format('%.17g', level), 'since', string.format('%.0f', now))
    if redis.call('PEXPIRE', state, millis, 'GT') == 0 then
      redis.call('PEXPIRE', state, millis, 'NX')
    end
  end
end
return 0
