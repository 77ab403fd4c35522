-- Ends one approval, exactly once; a held decision is recorded in the same moment.
-- KEYS 1 the approval  2 pending  3 closed  4 audit  5 log  6-13 as in record.lua, for a held decision only
-- ARGV 1 approval id  2 approved, rejected or expired  3 now_ms  4 event  5 event should it be void
--      6 sha256 of the snapshot now, or ''  7 keep_ms  8 decision id or ''  9 events kept in the audit
--      10 approvals kept in `closed`  11-20 as in record.lua, for a held decision only
-- Returns {'done', state}, {'unknown'}, {'late'} or {'closed', state}. The state is 'void' where the snapshot is
-- another one by now, or the decision cannot be recorded: its episode ended, or the id or the step was taken.
local item = redis.call('HMGET', KEYS[1], 'state', 'due', 'sha256')
if not item[1] then return {'unknown'} end
if item[1] ~= 'pending' then return {'closed', item[1]} end
local state, event = ARGV[2], ARGV[4]
if state ~= 'expired' and tonumber(ARGV[3]) >= tonumber(item[2]) then return {'late'} end
if state == 'approved' and item[3] and item[3] ~= ARGV[6] then state = 'void' end
if KEYS[6] and record({unpack(KEYS, 6)}, {unpack(ARGV, 11)}) ~= 'new' then state = 'void' end
if state == 'void' then event = ARGV[5] end
redis.call('HSET', KEYS[1], 'state', state, 'closing', event)
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - ARGV[10])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[9], '*', 'id', ARGV[1], 'state', state, 'b', event)
-- What a person said is kept for good; that nobody said anything is only counted.
if ARGV[2] ~= 'expired' then
  redis.call('XADD', KEYS[5], '*', 't', 'approval', 'd', ARGV[8], 'b', event)
end
return {'done', state}
