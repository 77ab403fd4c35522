-- Ends an episode; its last decision becomes due.
-- KEYS 1 episode  2 episodes  3 log  4 due
-- ARGV 1 episode id  2 status  3 end (next observation and actions, or '')  4 now_ms  5 event  6 keep_ms
--      7 '' or seal only if nothing happened since this ms
-- Returns 'sealed', 'already' (same status), 'conflict', 'unknown' or 'active'.
local ep = redis.call('HMGET', KEYS[1], 'last', 'sealed')
if not ep[1] then return 'unknown' end
if ep[2] then return ep[2] == ARGV[2] and 'already' or 'conflict' end
if ARGV[7] ~= '' and tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or 0) > tonumber(ARGV[7]) then return 'active' end
redis.call('HSET', KEYS[1], 'sealed', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'end', ARGV[3]) end
redis.call('ZREM', KEYS[2], ARGV[1])
local last = redis.call('HGET', KEYS[1], ep[1])
redis.call('ZADD', KEYS[4], 'XX', 'LT', ARGV[4], last)
redis.call('XADD', KEYS[3], '*', 't', 'seal', 'd', last, 'b', ARGV[5])
return 'sealed'
