-- Queues an evaluation unless too many wait.
-- KEYS 1 waiting  2 the job  3 all jobs   ARGV 1 job id  2 request  3 asked by  4 created_ms  5 most  6 kept
-- Returns nil when too many wait, else the ids of the jobs that are listed no more.
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[5]) then return false end
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[2], 'request', ARGV[2], 'by', ARGV[3], 'created', ARGV[4], 'status', 'queued')
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
local old = redis.call('ZRANGE', KEYS[3], 0, -1 - tonumber(ARGV[6]))
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[6]))
return old
