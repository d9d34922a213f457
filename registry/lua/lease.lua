-- A run's lease: who owns it if `token` holds it, and what ends with it. Needs time.lua, and `rq` (RQ's prefix).
-- KEYS[1] is the zset of leases, KEYS[2] the hash of leases in each script that includes this.
local function holds(run, token, only_expired)
  local lease = redis.call('HGET', KEYS[2], run)
  if not lease or string.match(lease, '^(%d+)|') ~= token then
    return false
  end
  if only_expired then
    local expiry = redis.call('ZSCORE', KEYS[1], run)
    if not expiry or tonumber(expiry) >= now_ms then
      return false
    end
  end
  return string.match(lease, '^%d+|([^|]*)|')
end

local function end_lease(run, token, queue)
  local owner = string.match(redis.call('HGET', KEYS[2], run), '^%d+|([^|]*)|')
  redis.call('ZREM', KEYS[1], run)
  redis.call('HDEL', KEYS[2], run)
  redis.call('ZREM', rq .. ':wip:' .. queue, run .. ':' .. token)
  redis.call('DEL', rq .. ':execution:' .. run .. ':' .. token)
  redis.call('ZREM', rq .. ':executions:' .. run, token)
  redis.call('SREM', rq .. ':worker:' .. owner .. ':executions', run .. ':' .. token)
end
