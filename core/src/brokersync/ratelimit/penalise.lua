-- Freeze a scope that the broker refuses: as long as it asks, else for longer each time and for less after a quiet while;
-- and let it go by less of its limits when that was no accident. `Freezes`, `slower` and `suspect` say by which rules.
--
-- KEYS  of each scope of the call its freeze and its penalty; of each meter its log and its state
-- ARGV  now ('' asks the server), the first length, the longest, the shortest, what the broker asked for (0: nothing), 1 if
--       a limit was passed, the scope that it named (0: none), the scope to take where no count tells, how many refusals
--       are many, the rises until a pace is whole, for how many periods it is held, and for how long at least and at
--       most, the number of scopes, the channel and the reason; then of each meter its kind, amount, period, the weight
--       of the call and its scope
--
-- Scopes are told by their place among the keys. Instants and lengths are microseconds. Answers a text of words: the
-- length, the scope, and the percentage that it goes by from then on.

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local first, longest, shortest, asked = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local passed, named, guess = ARGV[6] == '1', tonumber(ARGV[7]), tonumber(ARGV[8])
local many, rises, periods = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local least_quiet, most_quiet, scopes = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
local channel, reason = ARGV[15], ARGV[16]
local BEFORE, OF_A_METER, LEAST_USED, ALL = 16, 5, 0.5, 100

local function text(number)
  return string.format('%.0f', number)
end

local function read(scope)
  local value = scope > 0 and redis.call('GET', KEYS[2 * scope - 1])
  local until_, waiters = string.match(value or '', '^(%d+) (%d+) ')
  -- a release before there were paces wrote none
  local floor, since, quiet, why = string.match(value or '', '^%d+ %d+ (%d+) (%d+) (%d+) (.*)$')
  return {
    thaws = tonumber(until_) or 0, waiters = waiters or '0', floor = tonumber(floor) or 0,
    since = tonumber(since) or 0, quiet = tonumber(quiet) or 0, why = why or value and string.match(value, '^%d+ %d+ (.*)$'),
  }
end

local function risen(pace)
  if pace.floor == 0 then
    return rises
  end
  return math.min(math.max(math.floor((now - pace.since) / pace.quiet), 0), rises)
end

local function after(pace, steps)
  return steps >= rises and ALL or ALL - math.floor((ALL - pace.floor) / 2 ^ steps)
end

-- the limit that was used most before this call

local function had_lately(scope, length)
  local last, ended = string.match(redis.call('GET', KEYS[2 * scope]) or '', '^(%d+) (%d+) ')
  return last and now - ended < math.max(tonumber(last), length)
end

local scope, period, most = named > 0 and named or guess, 0, -math.huge
for meter = 1, (#ARGV - BEFORE) / OF_A_METER do
  local word, key = BEFORE + OF_A_METER * (meter - 1), 2 * (scopes + meter) - 1
  local kind, amount, length = ARGV[word + 1], tonumber(ARGV[word + 2]), tonumber(ARGV[word + 3])
  local weight, of = tonumber(ARGV[word + 4]), tonumber(ARGV[word + 5])
  local pace = read(of)
  amount = math.max(math.floor(amount * after(pace, risen(pace)) / ALL), weight)
  local used = redis.call('ZCOUNT', KEYS[key], '(' .. text(now - length), text(now))
  if kind == 'bucket' then
    local known = redis.call('HMGET', KEYS[key + 1], 'level', 'since')
    local level, since = tonumber(known[1]) or 0, tonumber(known[2]) or now
    used = used + math.max(level - math.max(now - since, 0) * amount / length, 0)
  end
  local share = (used - weight) / amount
  local told = share >= LEAST_USED or kind == 'bucket' and had_lately(of, length)
  if share > most and (named == of or named == 0 and told) then
    scope, period, most = of, length, share
  end
end

-- the freeze

local penalty, length, count, slow = KEYS[2 * scope], asked > 0 and asked or first, 1, false
local last, ended, refusals = string.match(redis.call('GET', penalty) or '', '^(%d+) (%d+) (%d+)$')
if last then
  last, ended = tonumber(last), tonumber(ended)
  if ended > now then
    count = tonumber(refusals) + 1
    slow, length = count == many, math.max(ended - now, asked)
  else
    local quiet = now - ended
    local grown = math.min(last * 2 ^ (1 - math.floor(quiet / last)), longest)
    length = asked > 0 and asked or grown
    slow = quiet < math.max(last, period)
    count = slow and many or 1
  end
end
if not last or ended <= now or asked > ended - now then
  length = math.ceil(math.max(length, asked > 0 and asked or first, shortest))
  last = length
end
local ends = now + length

-- after so long it would begin anew
local halvings = 2
while first * 2 ^ (halvings - 2) < last do
  halvings = halvings + 1
end
local remembered = math.ceil(math.max(length + last * halvings, length + period) / 1000) + 1
redis.call('SET', penalty, text(last) .. ' ' .. text(ends) .. ' ' .. count, 'PX', text(remembered))

-- the pace from then on

local frozen = read(scope)
if slow and passed and period > 0 then
  local steps = risen(frozen)
  if steps >= rises then
    frozen.floor, frozen.quiet = ALL / 2, math.min(math.max(periods * period, least_quiet), most_quiet)
  elseif steps > 0 then
    frozen.floor, frozen.quiet = after(frozen, steps - 1), math.min(2 * frozen.quiet, most_quiet)
  else
    frozen.floor = math.max(math.floor(frozen.floor / 2), 1)
  end
  frozen.since = ends
end

local told = frozen.thaws < ends
if told then
  frozen.thaws, frozen.waiters, frozen.why = ends, '0', reason
end
local lasts = math.max(frozen.thaws - now, frozen.floor > 0 and frozen.since + rises * frozen.quiet - now or 0)
local pace = text(frozen.floor) .. ' ' .. text(frozen.since) .. ' ' .. text(frozen.quiet)
local value = text(frozen.thaws) .. ' ' .. frozen.waiters .. ' ' .. pace .. ' ' .. frozen.why
redis.call('SET', KEYS[2 * scope - 1], value, 'PX', text(math.ceil(lasts / 1000) + 1))
if told then
  redis.call('PUBLISH', channel, text(length) .. ' ' .. KEYS[2 * scope - 1])
end
return text(length) .. ' ' .. scope .. ' ' .. after(frozen, risen(frozen))
