-- Ends a run that no worker has any more as cancelled. Needs time.lua, event.lua, and `rq` and `prefix` (RQ's prefix and ours).
-- The mark of a run that was asked to stop while it ran: what it takes to end it, whoever gives it back.
local function mark_cancelled(job, ttl, reason, event)
  redis.call('HSET', job, 'cancel', reason, 'cancel_ttl', ttl, 'cancel_event', event)
end

local function end_cancelled(run, queue, ttl, reason, event)
  local job, results = rq .. ':job:' .. run, rq .. ':results:' .. run
  redis.call('HSET', job, 'status', 'canceled', 'ended_at', utc_text(), 'reason', reason)
  redis.call('HDEL', job, 'cancel', 'cancel_ttl', 'cancel_event')
  redis.call('XADD', results, 'MAXLEN', 10, '*', 'type', 3, 'worker_name', '')
  redis.call('ZADD', rq .. ':canceled:' .. queue, now_s + ttl, run)
  redis.call('EXPIRE', job, ttl)
  redis.call('EXPIRE', results, ttl)
  redis.call('EXPIRE', prefix .. ':attempts:' .. run, ttl)
  emit(prefix .. ':events', event)
end

-- Whether the run is marked; it is ended then, and must go into no queue.
local function ended_by_mark(run, queue)
  local mark = redis.call('HMGET', rq .. ':job:' .. run, 'cancel', 'cancel_ttl', 'cancel_event')
  if not mark[1] then
    return false
  end
  end_cancelled(run, queue, tonumber(mark[2]), mark[1], mark[3])
  return true
end
