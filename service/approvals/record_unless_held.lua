-- Records one decision that needs no person, unless it is a retry of one that waits for a person: another
-- version may have come in between, and must not answer in the person's place.
-- KEYS 1-8 as in record.lua of decisions  9 the approval   ARGV as in that record.lua
-- Returns what that does, or {'held', digest, due_ms, 0}; see ask.lua.
local held = redis.call('HMGET', KEYS[9], 'state', 'held', 'digest', 'due')
if held[1] == 'pending' and held[2] == '1' then return {'held', held[3], held[4], 0} end
return record(KEYS, ARGV)
