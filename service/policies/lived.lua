-- For scripts that move the live pointer, which have this before their own text. `lived` of the head: the versions that
-- were live and were not left by a rollback, such as '1,4,7', the newest last; `previous` is the last of them.
local function lived(meta)
  local found = {}
  -- A head without it is of an earlier release, and names the last one only.
  local text = redis.call('HGET', meta, 'lived') or redis.call('HGET', meta, 'previous') or ''
  for version in string.gmatch(text, '%d+') do
    if version ~= '0' then found[#found + 1] = version end
  end
  return found
end

local function set_live(meta, version, before)
  local newest = table.concat(before, ',', math.max(1, #before - 19))
  redis.call('HSET', meta, 'live', version, 'previous', before[#before] or '0', 'lived', newest)
end

local function go_live(meta, version)
  local live, before = redis.call('HGET', meta, 'live'), lived(meta)
  if live == version then return end
  if live then before[#before + 1] = live end
  set_live(meta, version, before)
end

-- Returns the version that is live then, or nil. The one that is left, those in quarantine and those that the registry has forgotten
-- are passed over, for good.
local function go_back(meta, versions)
  local live, good = redis.call('HGET', meta, 'live'), {}
  for _, version in ipairs(lived(meta)) do
    local is_kept = redis.call('HEXISTS', versions, version) == 1
    local is_refused = redis.call('HEXISTS', meta, 'quarantined:' .. version) == 1
    if version ~= live and is_kept and not is_refused then good[#good + 1] = version end
  end
  local target = table.remove(good)
  if target then set_live(meta, target, good) end
  return target
end
