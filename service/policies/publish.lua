-- Adds one version; it goes live unless the policy is pinned, something else is under way, or the version must not.
-- KEYS 1 meta  2 versions  3 log   ARGV 1 version  2 description  3 promote (0|1)  4 event
-- Returns {outcome, live version}; outcome is 'live', 'pinned' or 'candidate'.
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('XADD', KEYS[3], '*', 't', 'version', 'd', '', 'b', ARGV[4])
local now = redis.call('HMGET', KEYS[1], 'live', 'pinned', 'rollout', 'trip')
if ARGV[3] ~= '1' then return {'candidate', now[1] or '0'} end
if now[2] == '1' then return {'pinned', now[1] or '0'} end
-- While a candidate is compared with the live version, or a policy may not decide, nothing moves by itself.
if now[3] or now[4] then return {'candidate', now[1] or '0'} end
if tonumber(now[1] or '0') >= tonumber(ARGV[1]) then return {'candidate', now[1]} end
go_live(KEYS[1], ARGV[1])
return {'live', ARGV[1]}
