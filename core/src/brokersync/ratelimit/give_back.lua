-- Give back the place of a call that will not go.
--
-- KEYS  the log, the promises and the state of each meter
-- ARGV  now ('' asks the server), the call's name, its weight in each meter

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

for index = 1, #KEYS / 3 do
  local log, state = KEYS[3 * index - 2], KEYS[3 * index]
  local place = redis.call('ZSCORE', log, ARGV[2] .. '|1')
  if place and tonumber(place) > now then
    for part = 1, tonumber(ARGV[index + 2]) do
      redis.call('ZREM', log, ARGV[2] .. '|' .. part)
    end
    for _, barrier in ipairs({ 'barrier', 'sparing' }) do
      local known = tonumber(redis.call('HGET', state, barrier))
      if known and known > tonumber(place) then
        redis.call('HSET', state, barrier, place)
      end
    end
  end
end
return 0
