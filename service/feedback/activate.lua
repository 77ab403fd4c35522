-- Marks a deferred decision as shown.
-- KEYS 1 decision  2 ledger  3 log  4 due   ARGV 1 decision id  2 now_ms  3 event
-- Returns 'activated', 'already', 'closed' or 'unknown'.
local life = redis.call('HMGET', KEYS[1], 's', 'a')
if not life[1] then return 'unknown' end
if life[2] == '1' then return 'already' end
if life[1] ~= 'open' then return 'closed' end
redis.call('HSET', KEYS[1], 'a', '1')
redis.call('XADD', KEYS[3], '*', 't', 'activation', 'd', ARGV[1], 'b', ARGV[3])
if redis.call('HEXISTS', KEYS[2], 'final') == 1 then redis.call('ZADD', KEYS[4], 'XX', 'LT', ARGV[2], ARGV[1]) end
return 'activated'
