-- Records one decision, exactly once.
-- KEYS 1 log  2 due  3 counts  4 early  5 episodes  6 decision  7 ledger  8 episode
-- ARGV 1 id  2 digest  3 record  4 kind  5 due_ms  6 activated  7 episode id or ''  8 step  9 now_ms
--      10 what the episode remembers after this step; absent for policies without a history
-- Returns 'new', {'same', digest, record}, {'sealed'} or {'step_taken', other id}.
local old = redis.call('HMGET', KEYS[6], 'g', 'b')
if old[1] then return {'same', old[1], old[2]} end
if ARGV[7] ~= '' then
  local ep = redis.call('HMGET', KEYS[8], 'sealed', ARGV[8], 'last')
  if ep[1] then return {'sealed'} end
  if ep[2] then return {'step_taken', ep[2]} end
  -- Steps may arrive out of order; the last one is the highest.
  local last = math.max(tonumber(ep[3] or 0), tonumber(ARGV[8]))
  redis.call('HSET', KEYS[8], ARGV[8], ARGV[1], 'last', string.format('%d', last))
  redis.call('ZADD', KEYS[5], ARGV[9], ARGV[7])
  if ARGV[10] and tonumber(ARGV[8]) > tonumber(redis.call('HGET', KEYS[8], 'carried') or -1) then
    redis.call('HSET', KEYS[8], 'carried', ARGV[8], 'carry', ARGV[10])
  end
  local before = redis.call('HGET', KEYS[8], string.format('%d', tonumber(ARGV[8]) - 1))
  if before then redis.call('ZADD', KEYS[2], 'XX', 'LT', ARGV[9], before) end
end
redis.call('HSET', KEYS[6], 'g', ARGV[2], 'b', ARGV[3], 's', 'open', 'a', ARGV[6], 'k', ARGV[4], 'due', ARGV[5])
redis.call('XADD', KEYS[1], '*', 't', ARGV[4], 'd', ARGV[1], 'b', ARGV[3])
local due = ARGV[5]
if redis.call('EXISTS', KEYS[7]) == 1 then
  redis.call('PERSIST', KEYS[7])
  redis.call('ZREM', KEYS[4], ARGV[1])
  if redis.call('HEXISTS', KEYS[7], 'final') == 1 then due = ARGV[9] end
end
redis.call('ZADD', KEYS[2], due, ARGV[1])
redis.call('HINCRBY', KEYS[3], 'decisions', 1)
return 'new'
