-- Asks a person about one decision, once. Where nobody waits for the person, or too many wait already, the
-- decision that stands otherwise is recorded in the same moment.
-- KEYS 1-8 as in record.lua  9 the approval  10 pending  11 audit
-- ARGV 1-10 as in record.lua, of the decision that stands otherwise; 10 may be ''
--      11 approval id  12 held (0|1)  13 most pending  14 due_ms of the approval  15 what is asked
--      16 the proposed decision  17 the other one  18 event  19 events kept in the audit
-- Returns what record.lua does, 'full' when it was recorded and not queued, or {'held', digest, due_ms, new}, where
-- new is 1 if it was asked now, and 0 if it waited before.
local old = redis.call('HMGET', KEYS[6], 'g', 'b')
if old[1] then return {'same', old[1], old[2]} end
local held = redis.call('HMGET', KEYS[9], 'state', 'held', 'digest', 'due')
if held[1] == 'pending' and held[2] == '1' then return {'held', held[3], held[4], 0} end
local is_full = redis.call('ZCARD', KEYS[10]) >= tonumber(ARGV[13])
if ARGV[12] == '0' or is_full then
  local decision = {unpack(ARGV, 1, 9)}
  if ARGV[10] ~= '' then decision[10] = ARGV[10] end
  local done = record(KEYS, decision)
  if done ~= 'new' then return done end
  if is_full then
    redis.call('HINCRBY', KEYS[3], 'approvals_full', 1)
    return 'full'
  end
elseif ARGV[7] ~= '' then
  local episode = redis.call('HMGET', KEYS[8], 'sealed', ARGV[8])
  if episode[1] then return {'sealed'} end
  if episode[2] then return {'step_taken', episode[2]} end
end
redis.call('DEL', KEYS[9])
redis.call('HSET', KEYS[9], 'state', 'pending', 'asked', ARGV[15], 'due', ARGV[14], 'held', ARGV[12],
  'digest', ARGV[2], 'proposed', ARGV[16], 'otherwise', ARGV[17])
redis.call('ZADD', KEYS[10], ARGV[14], ARGV[11])
redis.call('XADD', KEYS[11], 'MAXLEN', '~', ARGV[19], '*', 'id', ARGV[11], 'state', 'pending', 'b', ARGV[18])
if ARGV[12] == '0' then return 'new' end
return {'held', ARGV[2], ARGV[14], 1}
