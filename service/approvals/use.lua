-- Uses an approved promotion, once.
-- KEYS 1 the approval  2 audit  ARGV 1 approval id  2 sha256 of the snapshot now  3 now_ms  4 event  5 event should it be void  6 events kept
-- Returns 'used', 'used_before', 'unknown', 'void', or the state that it is in.
local item = redis.call('HMGET', KEYS[1], 'state', 'sha256', 'used')
if not item[1] then return 'unknown' end
if item[1] ~= 'approved' then return item[1] end
if item[3] then return 'used_before' end
local state, event = 'used', ARGV[4]
if item[2] ~= ARGV[2] then
  state, event = 'void', ARGV[5]
  redis.call('HSET', KEYS[1], 'state', 'void', 'closing', event)
else
  redis.call('HSET', KEYS[1], 'used', ARGV[3])
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], '*', 'id', ARGV[1], 'state', state, 'b', event)
return state
