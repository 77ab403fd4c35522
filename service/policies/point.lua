-- Moves the live pointer by hand: to a named version, or back to the one before, see lived.lua. A rollout under way ends.
-- KEYS 1 meta  2 versions  3 log  4 audit   ARGV 1 version or '' for the previous one  2 pin (0|1)  3 event  4 quarantine (0|1)
-- Returns {'ok', live, before}, {'unknown'} or {'nothing_before'}.
local live, target = redis.call('HGET', KEYS[1], 'live'), ARGV[1]
if target == '' then
  target = go_back(KEYS[1], KEYS[2])
  if not target then return {'nothing_before'} end
else
  if redis.call('HEXISTS', KEYS[2], target) == 0 then return {'unknown'} end
  go_live(KEYS[1], target)
end
redis.call('HSET', KEYS[1], 'pinned', ARGV[2])
redis.call('HDEL', KEYS[1], 'rollout')
if ARGV[4] == '1' and live ~= target then redis.call('HSET', KEYS[1], 'quarantined:' .. live, '1') end
redis.call('XADD', KEYS[3], '*', 't', 'pointer', 'd', '', 'b', ARGV[3])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 100000, '*', 'b', ARGV[3])
return {'ok', target, live}
