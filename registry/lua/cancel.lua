-- cancel.lua: cancels a run that waits in a queue, or until it is due.
-- KEYS: 1 the job, 2 its results, 3 events stream, 4 runs due later
-- ARGV: 1 run, 2 RQ's prefix, 3 our prefix, 4 TTL in s, 5 reason or '', 6 body of the event or ''
-- Returns: 'cancelled', or the run's RQ status if it does not wait, or 'missing'
-- Atomic because: a run that a worker claims at the same moment must be either claimed or cancelled.
--!include time.lua
--!include event.lua
local f = redis.call('HMGET', KEYS[1], 'status', 'origin', 'task')
if not f[1] then
  return 'missing'
end
if f[1] ~= 'queued' and f[1] ~= 'scheduled' then
  return f[1]
end
local run, rq, ttl = ARGV[1], ARGV[2], tonumber(ARGV[4])
if f[1] == 'scheduled' then
  redis.call('ZREM', KEYS[4], run)
  redis.call('ZREM', rq .. ':scheduled:' .. f[2], run)
else
  redis.call('LREM', rq .. ':queue:' .. f[2], 0, run)
  redis.call('LREM', ARGV[3] .. ':parked:' .. (f[3] or ''), 0, run)
end
redis.call('HSET', KEYS[1], 'status', 'canceled', 'ended_at', utc_text(), 'reason', ARGV[5])
redis.call('XADD', KEYS[2], 'MAXLEN', 10, '*', 'type', 3, 'worker_name', '')
redis.call('ZADD', rq .. ':canceled:' .. f[2], now_s + ttl, run)
redis.call('EXPIRE', KEYS[1], ttl)
redis.call('EXPIRE', KEYS[2], ttl)
redis.call('EXPIRE', ARGV[3] .. ':attempts:' .. run, ttl)
emit(KEYS[3], ARGV[6])
return 'cancelled'
