-- unpark.lua: moves runs of a resumed task back to the front of their queues, in their order.
-- KEYS: 1 parked list, 2 set of tasks with parked runs
-- ARGV: 1 RQ's prefix, 2 task, 3 how many at most
-- Returns: how many are left
-- Atomic because: a run must be in exactly one list.
local rq = ARGV[1]
for _, run in ipairs(redis.call('RPOP', KEYS[1], ARGV[3]) or {}) do
  local f = redis.call('HMGET', rq .. ':job:' .. run, 'status', 'origin')
  if f[1] == 'queued' then
    redis.call('LPUSH', rq .. ':queue:' .. f[2], run)
  end
end
local left = redis.call('LLEN', KEYS[1])
if left == 0 then
  redis.call('SREM', KEYS[2], ARGV[2])
end
return left
