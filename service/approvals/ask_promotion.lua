-- Asks a person about one promotion; the same question while it is open or approved and unused is asked once.
-- KEYS 1 the approval  2 pending  3 audit
-- ARGV 1 approval id  2 what is asked  3 due_ms  4 sha256 of the snapshot  5 event  6 events kept in the audit
-- Returns 'new', or the state of the one that there is.
local old = redis.call('HMGET', KEYS[1], 'state', 'used')
if old[1] == 'pending' or (old[1] == 'approved' and not old[2]) then return old[1] end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'state', 'pending', 'asked', ARGV[2], 'due', ARGV[3], 'sha256', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[6], '*', 'id', ARGV[1], 'state', 'pending', 'b', ARGV[5])
return 'new'
