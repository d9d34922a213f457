#!lua flags=allow-oom
-- release.lua: gives claimed runs back to be run again, each only if its token still holds the lease.
-- KEYS: 1 leases, 2 lease hash, 3 set of tasks with parked runs, 4 events stream, and where a run goes later 5 runs due later,
--       6 channel that wakes the scheduler
-- ARGV: 1 RQ's prefix, 2 our prefix,
--       then 11 for each run: id, token, RQ's queue name, task, where (front, back, park, or '+' and ms from now: one more retry),
--       '1' if the attempt counts, losses to record or '', record of the attempt or '', '1' if only where the lease has expired,
--       body of the event 'started' or '' where it was sent or there was none, body of the event or ''
-- Returns: for each run 'ok' or 'stale' (nothing written)
-- Atomic because: a run must never be without both a lease and a place in a queue.
--!include time.lua
local rq, prefix = ARGV[1], ARGV[2]
--!include lease.lua
--!include event.lua
--!include cancelled.lua
--!include later.lua
local reply = {}
for at = 3, #ARGV, 11 do
  local run, token, queue, task, where = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local job, later = rq .. ':job:' .. run, string.sub(where, 1, 1) == '+'
  if holds(run, token, ARGV[at + 8] == '1') then
    end_lease(run, token, queue)
    -- pcall: what is no hash must not keep the runs behind it.
    local f = redis.pcall('HMGET', job, 'status', 'attempt', 'version', 'cancel')
    if f[1] then
      -- What can't be started here may come through often: only what there is to change is written.
      local fields = {'status', 'queued', 'started_at', '', 'worker_name', ''}
      if ARGV[at + 5] ~= '1' then
        fields[7], fields[8] = 'attempt', string.format('%d', (tonumber(f[2]) or 1) - 1)
      end
      if ARGV[at + 6] ~= '' then
        fields[#fields + 1] = 'losses'
        fields[#fields + 1] = ARGV[at + 6]
        redis.call('HDEL', job, 'late')
      end
      redis.call('HSET', job, unpack(fields))
      if f[3] then redis.call('HDEL', job, 'version') end
      if ARGV[at + 7] ~= '' then redis.call('RPUSH', prefix .. ':attempts:' .. run, ARGV[at + 7]) end
      local event = ARGV[at + 10]
      emit(KEYS[4], ARGV[at + 9])
      if f[4] and ended_by_mark(run, queue) then
        -- It was to be cancelled: whoever gives it back, it goes no further.
        if later then event = '' end
      elseif later then
        redis.call('HINCRBY', job, 'retries', 1)
        put_later(KEYS[5], KEYS[6], run, queue, tonumber(where))
      elseif where == 'park' then
        redis.call('RPUSH', prefix .. ':parked:' .. task, run)
        redis.call('SADD', KEYS[3], task)
      elseif where == 'back' then
        redis.call('RPUSH', rq .. ':queue:' .. queue, run)
      else
        redis.call('LPUSH', rq .. ':queue:' .. queue, run)
      end
      emit(KEYS[4], event)
    else
      -- Somebody deleted the job: what else there is of it has no owner.
      redis.call('DEL', prefix .. ':attempts:' .. run)
    end
    reply[#reply + 1] = 'ok'
  else
    reply[#reply + 1] = 'stale'
  end
end
return reply
