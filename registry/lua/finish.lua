#!lua flags=allow-oom
-- finish.lua: records the outcomes of claimed runs, each only if its token still holds the lease.
-- KEYS: 1 leases, 2 lease hash, 3 events stream
-- ARGV: 1 RQ's prefix, 2 our prefix, 3 name of the worker,
--       then 14 for each run: id, token, RQ's queue name, RQ status (finished, failed, canceled), version, reason, error line, TTL in s,
--       return value in base64 or '', traceback (zlib, base64) or '', start in s, '1' if only where the lease has expired,
--       losses to record or '', body of the event or ''
-- Returns: for each run 'ok', 'done' (this token had recorded it before) or 'stale' (nothing written)
-- Atomic because: outcome, registries, result and lease must change together; one recorded outcome a run.
--!include time.lua
local rq, prefix, worker = ARGV[1], ARGV[2], ARGV[3]
--!include lease.lua
--!include event.lua
local kinds = {finished = 1, failed = 2, canceled = 3}
local stamp = utc_text()
local reply = {}
for at = 4, #ARGV, 14 do
  local run, token, queue, status, ttl = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 7])
  local job = rq .. ':job:' .. run
  if holds(run, token, ARGV[at + 11] == '1') then
    end_lease(run, token, queue)
    if redis.call('EXISTS', job) == 1 then
      local fields = {'status', status, 'ended_at', stamp, 'version', ARGV[at + 4], 'reason', ARGV[at + 5], 'error', ARGV[at + 6]}
      if ARGV[at + 12] ~= '' then fields[#fields + 1] = 'losses' fields[#fields + 1] = ARGV[at + 12] end
      redis.call('HSET', job, unpack(fields))
      local result = {'type', kinds[status], 'worker_name', worker, 'execution_id', token,
        'execution_started_at', ARGV[at + 10], 'execution_ended_at', now}
      if ARGV[at + 8] ~= '' then result[#result + 1] = 'return_value' result[#result + 1] = ARGV[at + 8] end
      if ARGV[at + 9] ~= '' then result[#result + 1] = 'exc_string' result[#result + 1] = ARGV[at + 9] end
      local results = rq .. ':results:' .. run
      redis.call('XADD', results, 'MAXLEN', 10, '*', unpack(result))
      redis.call('DEL', rq .. ':executions:' .. run)
      local registry = rq .. ':' .. status .. ':' .. queue
      if ttl > 0 then
        redis.call('ZADD', registry, now_s + ttl, run)
        redis.call('EXPIRE', job, ttl)
        redis.call('EXPIRE', results, ttl)
        redis.call('EXPIRE', prefix .. ':attempts:' .. run, ttl)
      else
        -- Kept just long enough for who waits now.
        redis.call('EXPIRE', job, 5)
        redis.call('EXPIRE', results, 5)
        redis.call('EXPIRE', prefix .. ':attempts:' .. run, 5)
      end
      emit(KEYS[3], ARGV[at + 13])
    else
      -- Somebody deleted the job: what else there is of it has no owner.
      redis.call('DEL', prefix .. ':attempts:' .. run)
    end
    reply[#reply + 1] = 'ok'
  else
    local last = redis.call('HMGET', job, 'token', 'status')
    local recorded = last[1] == token and (last[2] == 'finished' or last[2] == 'failed' or last[2] == 'canceled')
    reply[#reply + 1] = recorded and 'done' or 'stale'
  end
end
return reply
