-- Adds, amends or retracts one reward of a decision, atomically.
-- KEYS 1 decision  2 ledger  3 log  4 due  5 counts  6 early
-- ARGV 1 decision id  2 reward id  3 entry  4 op  5 final (0|1)  6 now_ms  7 early cap  8 early ttl ms  9 event
-- Returns {state, entry, arrival, entry, arrival, ...}: the entries that count after this call. An arrival is
-- 'ms n': the time of the server that took it, and which write to this ledger it was.
local changed = 'w:' .. ARGV[2]
local function answer(state)
  redis.call('HINCRBY', KEYS[5], 'reward_' .. state, 1)
  local out = {state}
  local all = redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'r:' then
      out[#out + 1] = all[i + 1]
      out[#out + 1] = redis.call('HGET', KEYS[2], 't:' .. string.sub(all[i], 3))
    end
  end
  return out
end
local function arrive()
  redis.call('HSETNX', KEYS[2], 't:' .. ARGV[2], ARGV[6] .. ' ' .. redis.call('HINCRBY', KEYS[2], 'n', 1))
end
local function write()
  local now, first = 'r:' .. ARGV[2], 'o:' .. ARGV[2]
  local current = redis.call('HGET', KEYS[2], now)
  if ARGV[4] ~= 'add' then redis.call('HSETNX', KEYS[2], first, current) redis.call('HSET', KEYS[2], changed, ARGV[6]) end
  if ARGV[4] == 'retract' then redis.call('HDEL', KEYS[2], now)
  else
    redis.call('HSET', KEYS[2], now, ARGV[3])
    arrive()
  end
  redis.call('HINCRBY', KEYS[2], 'rev', 1)
  if ARGV[5] == '1' then redis.call('HSET', KEYS[2], 'final', '1') end
  redis.call('XADD', KEYS[3], '*', 't', 'reward', 'd', ARGV[1], 'b', ARGV[9])
end

local life = redis.call('HMGET', KEYS[1], 's', 'a')
local held = redis.call('HMGET', KEYS[2], 'r:' .. ARGV[2], 'o:' .. ARGV[2], 'l:' .. ARGV[2], changed)
if held[3] == ARGV[3] then return answer('duplicate') end
if ARGV[4] == 'add' then
  if held[1] == ARGV[3] then return answer('duplicate') end
  if held[2] == ARGV[3] then return answer('superseded') end
  if held[1] or held[2] or held[3] then return answer('conflict') end
else
  -- A correction that is delivered again must not undo the one after it.
  if held[4] and tonumber(ARGV[6]) < tonumber(held[4]) then return answer('superseded') end
  if not held[1] then return answer(held[2] and ARGV[4] == 'retract' and 'duplicate' or 'unknown_reward') end
  if ARGV[4] == 'amend' and held[1] == ARGV[3] then return answer('duplicate') end
end
if not life[1] then
  if redis.call('EXISTS', KEYS[2]) == 0 and redis.call('ZCARD', KEYS[6]) >= tonumber(ARGV[7]) then
    return answer('buffer_full')
  end
  write()
  redis.call('PEXPIRE', KEYS[2], ARGV[8])
  redis.call('ZADD', KEYS[6], 'NX', ARGV[6], ARGV[1])
  return answer('pending_decision')
end
if life[1] ~= 'open' then
  redis.call('HSET', KEYS[2], 'l:' .. ARGV[2], ARGV[3], changed, ARGV[6])
  arrive()
  -- A ledger that begins only now must not outlive its decision.
  local left = redis.call('PTTL', KEYS[1])
  if left > 0 then redis.call('PEXPIRE', KEYS[2], left) end
  redis.call('XADD', KEYS[3], '*', 't', 'late_reward', 'd', ARGV[1], 'b', ARGV[9])
  return answer('late')
end
write()
if life[2] == '0' then return answer('not_activated') end
if ARGV[5] == '1' then redis.call('ZADD', KEYS[4], 'XX', 'LT', ARGV[6], ARGV[1]) end
return answer('joined')
