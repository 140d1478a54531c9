-- Freeze a scope that the broker refuses without a time: for longer each time, and for less after a quiet while.
--
-- KEYS  the freeze, the penalty
-- ARGV  now ('' asks the server), the first length, the longest, the shortest, the reason, the channel
--
-- Lengths are microseconds. Answers the length, as text; `Penalty` says by which rule.

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local first, longest, shortest = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local function text(number)
  return string.format('%.0f', number)
end

local length = first
local last, ended = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (%d+)$')
if last then
  last, ended = tonumber(last), tonumber(ended)
  if ended > now then
    return text(ended - now)
  end
  length = math.min(last * 2 ^ (1 - math.floor((now - ended) / last)), longest)
end
length = math.ceil(math.max(length, first, shortest))

-- after so long it would begin anew
local halvings = 2
while first * 2 ^ (halvings - 2) < length do
  halvings = halvings + 1
end
local remembered = math.ceil(length * (1 + halvings) / 1000) + 1
redis.call('SET', KEYS[2], text(length) .. ' ' .. text(now + length), 'PX', text(remembered))

local known = redis.call('GET', KEYS[1])
if not known or tonumber(string.match(known, '^%d+')) < now + length then
  redis.call('SET', KEYS[1], text(now + length) .. ' 0 ' .. ARGV[5], 'PX', text(math.ceil(length / 1000) + 1))
  redis.call('PUBLISH', ARGV[6], text(length) .. ' ' .. KEYS[1])
end
return text(length)
