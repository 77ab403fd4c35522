-- Forgets rewards whose decision did not come in time.
-- KEYS 1 early  2 ledger  3 decision  4 counts   ARGV 1 decision id  2 arrived before this ms
-- Returns how many rewards were forgotten; 1 stands for a ledger that had expired by itself.
local arrived = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not arrived or tonumber(arrived) > tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
local lost = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  if string.sub(field, 1, 2) == 'r:' then lost = lost + 1 end
end
if redis.call('DEL', KEYS[2]) == 0 then lost = 1 end
redis.call('HINCRBY', KEYS[4], 'orphaned', lost)
return lost
