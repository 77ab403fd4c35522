-- Prolongs a lease that is still ours.
-- KEYS 1 lease   ARGV 1 token  2 duration_ms   Returns 1, or 0 when it is somebody else's or nobody's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
