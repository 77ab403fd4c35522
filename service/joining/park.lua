-- Puts a decision that cannot be joined yet back to sleep, unless something happened meanwhile.
-- KEYS 1 decision  2 ledger  3 due  4 episode
-- ARGV 1 decision id  2 expected revision  3 until_ms  4 next step or ''  5 expected activation
-- Returns 1 parked, 0 look again.
local life = redis.call('HMGET', KEYS[1], 's', 'a')
if life[1] ~= 'open' then redis.call('ZREM', KEYS[3], ARGV[1]) return 1 end
if (redis.call('HGET', KEYS[2], 'rev') or '0') ~= ARGV[2] or life[2] ~= ARGV[5] then return 0 end
if ARGV[4] ~= '' then
  local ep = redis.call('HMGET', KEYS[4], ARGV[4], 'sealed')
  if ep[1] or ep[2] then return 0 end
end
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
return 1
