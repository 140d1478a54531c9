-- Let no call of a scope go for a while, and tell all who wait; a freeze is never shortened.
--
-- KEYS  the freeze
-- ARGV  now ('' asks the server), how long in microseconds, the reason, the channel, the message

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local thaws = now + tonumber(ARGV[2])
local known = redis.call('GET', KEYS[1])
if known and tonumber(string.match(known, '^%d+')) >= thaws then
  return 0
end
redis.call('SET', KEYS[1], string.format('%.0f 0 ', thaws) .. ARGV[3], 'PX', string.format('%.0f', math.ceil(ARGV[2] / 1000) + 1))
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
