-- Forgets the oldest transitions beyond a limit, and counts those that were never learned from.
-- KEYS 1 replay  2 counts   ARGV 1 limit  2 learned up to: ms  3 learned up to: number  4 at most this many
-- Returns {forgotten, not learned from}.
local length = redis.call('XLEN', KEYS[1])
local excess = math.min(length - tonumber(ARGV[1]), tonumber(ARGV[4]))
if excess <= 0 then return {0, 0} end
local ms, number = tonumber(ARGV[2]), tonumber(ARGV[3])
local missed = 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', excess)) do
  local at, of = string.match(entry[1], '(%d+)-(%d+)')
  at, of = tonumber(at), tonumber(of)
  if at > ms or (at == ms and of > number) then missed = missed + 1 end
end
redis.call('XTRIM', KEYS[1], 'MAXLEN', length - excess)
if missed > 0 then redis.call('HINCRBY', KEYS[2], 'replay_dropped', missed) end
return {excess, missed}
