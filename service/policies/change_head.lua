-- Changes one field of a policy's head, if it still is what the caller saw, and says so in the audit and the log.
-- KEYS 1 meta  2 versions  3 log  4 audit
-- ARGV 1 field  2 expected  3 new ('' removes it)  4 event  5 version that goes live with it, or ''  6 version to quarantine, or ''
-- Returns 'changed', 'moved' when the field is something else by now, or 'unknown' when there is no such version.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 'moved' end
if ARGV[5] ~= '' then
  if redis.call('HEXISTS', KEYS[2], ARGV[5]) == 0 then return 'unknown' end
  go_live(KEYS[1], ARGV[5])
end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'quarantined:' .. ARGV[6], '1') end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
-- The archive has all of them; here the newest are at hand.
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 100000, '*', 'b', ARGV[4])
redis.call('XADD', KEYS[3], '*', 't', ARGV[1], 'd', '', 'b', ARGV[4])
return 'changed'
