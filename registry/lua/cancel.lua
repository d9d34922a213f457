#!lua flags=allow-oom
-- cancel.lua: cancels a run that waits in a queue, or until it is due; asks for the end of one that runs.
-- KEYS: 1 the job, 2 its results, 3 events stream, 4 runs due later, 5 lease hash
-- ARGV: 1 run, 2 RQ's prefix, 3 our prefix, 4 TTL in s, 5 reason or '', 6 body of the event or '',
--       7 control channel, or '' to leave a run that runs alone, 8 message to the worker that holds it,
--       9 how long it is remembered for that worker in s
-- Returns: 'cancelled', 'asked' (it runs), or the RQ status of a run that is neither, or 'missing'
-- Atomic because: a run that a worker claims or gives back at the same moment must be cancelled in the one place or the other.
--!include time.lua
--!include event.lua
local rq, prefix = ARGV[2], ARGV[3]
--!include cancelled.lua
local f = redis.call('HMGET', KEYS[1], 'status', 'origin', 'task')
if not f[1] then
  return 'missing'
end
local run, ttl = ARGV[1], tonumber(ARGV[4])
if f[1] == 'started' and ARGV[7] ~= '' then
  mark_cancelled(KEYS[1], ttl, ARGV[5], ARGV[6])
  local lease = redis.call('HGET', KEYS[5], run)
  local token, worker = string.match(lease or '', '^(%d+)|([^|]*)|')
  if worker then
    -- The message may be lost: the worker reads this with each heartbeat. The token says which attempt is meant: the run may be
    -- retried before it is read, and be claimed by the same worker.
    local asked = prefix .. ':asked:' .. worker
    redis.call('HSET', asked, 'cancel:' .. token .. ':' .. run, ARGV[5])
    redis.call('EXPIRE', asked, tonumber(ARGV[9]))
  end
  redis.call('PUBLISH', ARGV[7], ARGV[8])
  return 'asked'
end
if f[1] ~= 'queued' and f[1] ~= 'scheduled' then
  return f[1]
end
if f[1] == 'scheduled' then
  redis.call('ZREM', KEYS[4], run)
  redis.call('ZREM', rq .. ':scheduled:' .. f[2], run)
else
  redis.call('LREM', rq .. ':queue:' .. f[2], 0, run)
  redis.call('LREM', prefix .. ':parked:' .. (f[3] or ''), 0, run)
end
end_cancelled(run, f[2], ttl, ARGV[5], ARGV[6])
return 'cancelled'
