-- Puts a run aside until it is due, or to the front of its queue where that is now. Needs time.lua and `rq` (RQ's prefix).
-- `later` is the set of runs due later, `wake` the channel that wakes the scheduler, `ahead` in ms from now.
local function put_later(later, wake, run, queue, ahead)
  if ahead <= 0 then
    redis.call('LPUSH', rq .. ':queue:' .. queue, run)
    return
  end
  -- From the next whole ms on: never early.
  local due = string.format('%d', now_s * 1000 + math.ceil(now_us / 1000) + ahead)
  redis.call('HSET', rq .. ':job:' .. run, 'status', 'scheduled', 'due', due)
  local head = redis.call('ZRANGE', later, 0, 0, 'WITHSCORES')
  redis.call('ZADD', later, due, run)
  redis.call('ZADD', rq .. ':scheduled:' .. queue, due / 1000, run)
  if not head[2] or tonumber(due) < tonumber(head[2]) then
    redis.call('PUBLISH', wake, 'due')
  end
end
