-- Ends a learn job: its report stays for a while, and the next one may come.
-- KEYS 1 current job  2 the job   ARGV 1 job id  2 report  3 keep_ms
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('HSET', KEYS[2], 'report', ARGV[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
