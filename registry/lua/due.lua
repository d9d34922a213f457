#!lua flags=allow-oom
-- due.lua: moves runs that have become due to their queues, those due first ahead.
-- KEYS: 1 lease of the leading scheduler, 2 runs due later, 3 rq:queues, 4 events stream
-- ARGV: 1 lease's value ('<token>|<scheduler>', or '' where nobody may lead), 2 RQ's prefix, 3 how many at most,
--       4 body of the queued event with $run and $task for what differs, or '' for no events
-- Returns: {'lost', now in ms} with nothing written: the lease is another one | {'ok', now in ms, how many were moved, when the next one is due in ms or ''}
-- Atomic because: a run must be in exactly one place; one who no longer leads must move nothing, nor a worker where a scheduler leads.
--!include time.lua
--!include event.lua
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return {'lost', now_ms}
end
local rq, stamp, moved = ARGV[2], utc_text(), 0
for _, run in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now_ms, 'LIMIT', 0, ARGV[3])) do
  redis.call('ZREM', KEYS[2], run)
  local job = rq .. ':job:' .. run
  -- pcall: what is no hash must not keep the runs behind it.
  local f = redis.pcall('HMGET', job, 'status', 'origin', 'task')
  if f[2] then
    redis.call('ZREM', rq .. ':scheduled:' .. f[2], run)
    -- Another status: a tool of RQ's has enqueued or cancelled it before.
    if f[1] == 'scheduled' then
      local queue = rq .. ':queue:' .. f[2]
      redis.call('HSET', job, 'status', 'queued', 'enqueued_at', stamp)
      redis.call('RPUSH', queue, run)
      redis.call('SADD', KEYS[3], queue)
      emit(KEYS[4], (string.gsub(ARGV[4], '%$(%l+)', {run = run, task = f[3] or ''})))
      moved = moved + 1
    end
  end
end
local head = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
return {'ok', now_ms, moved, head[2] and string.format('%d', head[2]) or ''}
