-- Let no call of a scope go for a while, and tell all who wait; a freeze is never shortened.
--
-- KEYS  the freeze
-- ARGV  now ('' asks the server), how long in microseconds, the reason, the channel, the message, the rises until a pace is
--       whole
--
-- A freeze holds when it ends, how many wait for that, the pace of its scope (the percentage, since when and for how long
-- it is held; zeros: the whole), and the reason.

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local thaws = now + tonumber(ARGV[2])
local known = redis.call('GET', KEYS[1])
local ends = string.match(known or '0', '^%d+')
-- a release before there were paces wrote none
local floor, since, quiet = string.match(known or '', '^%d+ %d+ (%d+) (%d+) (%d+) ')
floor, since, quiet = floor or '0', since or '0', quiet or '0'
if tonumber(ends) >= thaws then
  return 0
end
local lasts = math.max(tonumber(ARGV[2]), tonumber(floor) > 0 and since + ARGV[6] * quiet - now or 0)
local value = string.format('%.0f 0 ', thaws) .. floor .. ' ' .. since .. ' ' .. quiet .. ' ' .. ARGV[3]
redis.call('SET', KEYS[1], value, 'PX', string.format('%.0f', math.ceil(lasts / 1000) + 1))
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
