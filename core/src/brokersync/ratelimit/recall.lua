-- Count places again of which the server may have lost the count; what it has not lost stays as it is.
--
-- KEYS  the log of a window
-- ARGV  now ('' asks the server), the window's period; then of each place its name and how long ago it is, in
--       microseconds, below zero where it is yet to come

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local period, latest = tonumber(ARGV[2]), 0
for index = 3, #ARGV, 2 do
  local ago = tonumber(ARGV[index + 1])
  if ago < period then
    redis.call('ZADD', KEYS[1], 'NX', string.format('%.0f', now - ago), ARGV[index])
    latest = math.max(latest, period - ago)
  end
end
local millis = string.format('%.0f', math.ceil(latest / 1000) + 1)
if latest > 0 and redis.call('PEXPIRE', KEYS[1], millis, 'GT') == 0 then
  redis.call('PEXPIRE', KEYS[1], millis, 'NX')
end
return 0
