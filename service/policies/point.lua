-- Moves the live pointer by hand: to a named version, or back to the one before. A rollout under way ends.
-- KEYS 1 meta  2 versions  3 log  4 audit   ARGV 1 version or '' for the previous one  2 pin (0|1)  3 event  4 quarantine (0|1)
-- Returns {'ok', live, before}, {'unknown'} or {'nothing_before'}.
local now = redis.call('HMGET', KEYS[1], 'live', 'previous')
local target = ARGV[1]
if target == '' then
  target = now[2]
  if not target or target == '0' then return {'nothing_before'} end
end
if redis.call('HEXISTS', KEYS[2], target) == 0 then return {'unknown'} end
if target ~= now[1] then redis.call('HSET', KEYS[1], 'live', target, 'previous', now[1]) end
redis.call('HSET', KEYS[1], 'pinned', ARGV[2])
redis.call('HDEL', KEYS[1], 'rollout')
if ARGV[4] == '1' and now[1] ~= target then redis.call('HSET', KEYS[1], 'quarantined:' .. now[1], '1') end
redis.call('XADD', KEYS[3], '*', 't', 'pointer', 'd', '', 'b', ARGV[3])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 100000, '*', 'b', ARGV[3])
return {'ok', target, now[1]}
