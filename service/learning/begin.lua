-- Creates a learn job unless the policy has an unfinished one.
-- KEYS 1 current job  2 the job   ARGV 1 job id  2 request  3 report
-- Returns '' when created, else the id of the unfinished one.
local running = redis.call('GET', KEYS[1])
if running then return running end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[2], 'request', ARGV[2], 'report', ARGV[3])
return ''
