-- Give back the slots of a call that is over, or its place in line, and call up who is next.
--
-- KEYS  the slots, the line and the patience of each limit of calls under way
-- ARGV  the call's name, the channel, its weight in each limit

local NEXT = 4

for index = 1, #KEYS / 3 do
  local slots, line, patience = KEYS[3 * index - 2], KEYS[3 * index - 1], KEYS[3 * index]
  for part = 1, tonumber(ARGV[index + 2]) do
    redis.call('ZREM', slots, ARGV[1] .. '|' .. part)
  end
  redis.call('ZREM', line, ARGV[1])
  redis.call('ZREM', patience, ARGV[1])
  for _, waiting in ipairs(redis.call('ZRANGE', line, 0, NEXT - 1)) do
    redis.call('PUBLISH', ARGV[2], waiting)
  end
end
return 0
