#!lua flags=allow-oom
-- renew.lua: extends the leases of running runs and notes the version that each one runs.
-- KEYS: 1 leases, 2 lease hash
-- ARGV: 1 RQ's prefix, 2 lease in ms, then 3 for each run: id, token, version or ''
-- Returns: the tokens that no longer hold the lease of their run
-- Atomic because: a lease that was taken over must not be extended.
--!include time.lua
local rq = ARGV[1]
--!include lease.lua
local expiry = now_ms + tonumber(ARGV[2])
local ttl = math.ceil(tonumber(ARGV[2]) / 1000) * 10 + 60
local stamp = utc_text()
local lost = {}
for at = 3, #ARGV, 3 do
  local run, token = ARGV[at], ARGV[at + 1]
  if holds(run, token, false) then
    redis.call('ZADD', KEYS[1], expiry, run)
    redis.call('EXPIRE', rq .. ':execution:' .. run .. ':' .. token, ttl)
    redis.call('EXPIRE', rq .. ':executions:' .. run, ttl)
    if redis.call('EXISTS', rq .. ':job:' .. run) == 1 then
      redis.call('HSET', rq .. ':job:' .. run, 'last_heartbeat', stamp, 'version', ARGV[at + 2])
    end
  else
    lost[#lost + 1] = token
  end
end
return lost
