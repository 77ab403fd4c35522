-- Closes one decision exactly once: its state, its transition and the log change together.
-- KEYS 1 decision  2 ledger  3 log  4 due  5 counts  6 replay
-- ARGV 1 decision id  2 expected ledger revision  3 outcome  4 transition or ''  5 event  6 retention ms  7 expected activation
-- Returns 1 done, 0 closed before, -1 the ledger changed meanwhile: read it again.
local life = redis.call('HMGET', KEYS[1], 's', 'a')
if life[1] ~= 'open' then redis.call('ZREM', KEYS[4], ARGV[1]) return 0 end
local rev = redis.call('HGET', KEYS[2], 'rev') or '0'
if rev ~= ARGV[2] or life[2] ~= ARGV[7] then return -1 end
redis.call('HSET', KEYS[1], 's', ARGV[3])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'x', redis.call('XADD', KEYS[6], '*', 'b', ARGV[4]))
end
redis.call('XADD', KEYS[3], '*', 't', 'joined', 'd', ARGV[1], 'b', ARGV[5])
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('HINCRBY', KEYS[5], ARGV[3], 1)
redis.call('PEXPIRE', KEYS[1], ARGV[6])
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('PEXPIRE', KEYS[2], ARGV[6]) end
return 1
