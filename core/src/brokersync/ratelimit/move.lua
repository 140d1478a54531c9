-- A call leaves only now, so its places in the windows count from now on.
--
-- KEYS  the log of each window
-- ARGV  now ('' asks the server), the call's name; then period and weight of each window

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

for index, log in ipairs(KEYS) do
  for part = 1, tonumber(ARGV[2 * index + 2]) do
    redis.call('ZADD', log, string.format('%.0f', now), ARGV[2] .. '|' .. part)
  end
  local millis = string.format('%.0f', math.ceil(tonumber(ARGV[2 * index + 1]) / 1000) + 1)
  if redis.call('PEXPIRE', log, millis, 'GT') == 0 then
    redis.call('PEXPIRE', log, millis, 'NX')
  end
end
return 0
