#!lua flags=allow-oom
-- renew.lua: extends the leases of claimed runs; of those in progress it notes the version, and writes the execution that RQ's tools show.
-- KEYS: 1 leases, 2 lease hash, 3 events stream
-- ARGV: 1 RQ's prefix, 2 lease in ms, then 4 for each run: id, token, version or '' where it is not in progress,
--       body of the event 'started' or ''
-- Returns: the tokens that no longer hold the lease of their run
-- Atomic because: a lease that was taken over must not be extended.
--!include time.lua
--!include many.lua
local rq = ARGV[1]
--!include lease.lua
--!include event.lua
local expiry = string.format('%d', now_ms + tonumber(ARGV[2]))
local ttl = math.ceil(tonumber(ARGV[2]) / 1000) * 10 + 60
local stamp = utc_text()
local lost, expiries, executions = {}, {}, {}
for at = 3, #ARGV, 4 do
  local run, token, version = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local owner = holds(run, token, false)
  if owner then
    local job, execution = rq .. ':job:' .. run, run .. ':' .. token
    expiries[#expiries + 1], expiries[#expiries + 2] = expiry, run
    if redis.call('EXISTS', job) == 1 then
      redis.call('HSET', job, 'last_heartbeat', stamp, 'version', version)
    end
    if version ~= '' then
      local key = rq .. ':execution:' .. execution
      -- Their values stand in the first note; what is written again is the heartbeat, as RQ does.
      if redis.call('EXISTS', key) == 0 then
        redis.call('HSET', key, 'id', token, 'job_id', run, 'created_at', now, 'worker_name', owner)
        redis.call('ZADD', rq .. ':executions:' .. run, '+inf', token)
        executions[owner] = executions[owner] or {}
        table.insert(executions[owner], execution)
      end
      redis.call('HSET', key, 'last_heartbeat', now)
      redis.call('EXPIRE', key, ttl)
      redis.call('EXPIRE', rq .. ':executions:' .. run, ttl)
    end
    emit(KEYS[3], ARGV[at + 3])
  else
    lost[#lost + 1] = token
  end
end
many('ZADD', KEYS[1], expiries)
for owner, list in pairs(executions) do
  many('SADD', rq .. ':worker:' .. owner .. ':executions', list)
end
return lost
