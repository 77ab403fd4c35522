-- Appends a finished transition that somebody else logged, once per episode step.
-- KEYS 1 log  2 replay  3 counts  4 dedupe key
-- ARGV 1 digest  2 transition  3 event  4 retention ms  5 id
-- Returns 'new', 'duplicate' or 'conflict'.
local old = redis.call('GET', KEYS[4])
if old then return old == ARGV[1] and 'duplicate' or 'conflict' end
redis.call('SET', KEYS[4], ARGV[1], 'PX', ARGV[4])
redis.call('XADD', KEYS[1], '*', 't', 'transition', 'd', ARGV[5], 'b', ARGV[3])
redis.call('XADD', KEYS[2], '*', 'b', ARGV[2])
redis.call('HINCRBY', KEYS[3], 'transitions', 1)
return 'new'
