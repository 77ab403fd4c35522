-- Stores a new catalog revision if nobody else did meanwhile.
-- KEYS 1 meta  2 new catalog  3 old catalog  4 log   ARGV 1 expected revision  2 new revision  3 catalog  4 event  5 keep_ms
-- Returns 1, or 0 when the revision moved.
if (redis.call('HGET', KEYS[1], 'catalog') or '0') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
redis.call('HSET', KEYS[1], 'catalog', ARGV[2])
redis.call('XADD', KEYS[4], '*', 't', 'catalog', 'd', '', 'b', ARGV[4])
return 1
