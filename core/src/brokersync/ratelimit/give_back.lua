-- Give back the place of a call that will not go.
--
-- KEYS  the log, the promises and the state of each meter
-- ARGV  now ('' asks the server), the call's name, weight

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

for index = 1, #KEYS, 3 do
  local place = redis.call('ZSCORE', KEYS[index], ARGV[2] .. '|1')
  if place and tonumber(place) > now then
    for number_of_call = 1, tonumber(ARGV[3]) do
      redis.call('ZREM', KEYS[index], ARGV[2] .. '|' .. number_of_call)
    end
    local barrier = tonumber(redis.call('HGET', KEYS[index + 2], 'barrier'))
    if barrier and barrier > tonumber(place) then
      redis.call('HSET', KEYS[index + 2], 'barrier', place)
    end
  end
end
return 0
