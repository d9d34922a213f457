-- retry.lua: queues runs that have failed or were cancelled once more, under the same ids.
-- KEYS: 1 revision, 2 rq:queues, 3 index of all runs, 4 events stream
-- ARGV: 1 revision that the tasks were looked up in, 2 RQ's prefix, 3 our prefix, 4 cap of the indexes,
--       then 6 for each run, at most 100: id, task, RQ's name of the queue that its task has now, its end as it was read,
--       record of its last attempt or '', body of the queued event or ''
-- Returns: {'moved', revision} with nothing written
--          | {'ok', for each run: 'retried', or its RQ status where it is another one than that which was read, or 'missing'}
-- Atomic because: a run must be retried once, whoever else asks, and only while its task accepts runs; it must never be without a place.
--!include time.lua
--!include event.lua
local revision = redis.call('GET', KEYS[1]) or '0'
if ARGV[1] ~= revision then
  return {'moved', revision}
end
local rq, prefix, cap, stamp = ARGV[2], ARGV[3], ARGV[4], utc_text()
local over = {failed = true, canceled = true, stopped = true}

local function retry(run, task, queue, ended, attempt, event)
  local job = rq .. ':job:' .. run
  local f = redis.call('HMGET', job, 'status', 'ended_at', 'origin', 'retried')
  if not f[1] then
    return 'missing'
  end
  -- Sent again, or asked for by two at once: that end has been retried.
  if f[4] == ended then
    return 'retried'
  end
  if not over[f[1]] or (f[2] or '') ~= ended then
    return f[1]
  end
  local list, index = rq .. ':queue:' .. queue, prefix .. ':runs:' .. task
  for _, kind in ipairs({'failed', 'canceled'}) do
    redis.call('ZREM', rq .. ':' .. kind .. ':' .. f[3], run)
  end
  redis.call('HSET', job, 'status', 'queued', 'origin', queue, 'enqueued_at', stamp, 'started_at', '', 'worker_name', '', 'retried', ended)
  -- Counted anew: a run that was poison has its losses before it again.
  redis.call('HDEL', job, 'ended_at', 'version', 'reason', 'error', 'due', 'losses', 'retries', 'cancel', 'cancel_ttl', 'cancel_event')
  redis.call('PERSIST', job)
  if attempt ~= '' then
    redis.call('RPUSH', prefix .. ':attempts:' .. run, attempt)
  end
  redis.call('PERSIST', prefix .. ':attempts:' .. run)
  redis.call('RPUSH', list, run)
  redis.call('SADD', KEYS[2], list)
  -- Whoever retires the task finds what waits by the indexes, and they may have lost this one.
  redis.call('ZADD', KEYS[3], now, run)
  redis.call('ZADD', index, now, run)
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -cap - 1)
  redis.call('ZREMRANGEBYRANK', index, 0, -cap - 1)
  emit(KEYS[4], event)
  return 'retried'
end

local reply = {'ok'}
for at = 5, #ARGV, 6 do
  reply[#reply + 1] = retry(unpack(ARGV, at, at + 5))
end
return reply
