-- enqueue_one.lua: creates one run for now, as enqueue.lua does, where nothing is to be said of it that few runs need.
-- KEYS: 1 revision, 2 rq:queues, 3 queue list, 4 index of all runs, 5 index of the task's runs
-- ARGV: 1 revision that the caller validated against ('' for any), 2 RQ's prefix, 3 RQ's queue name, 4 task, 5 RQ timeout in whole s,
--       6 trigger, 7 cap of the indexes, 8 id, 9 data
-- Returns: as enqueue.lua: {'moved', revision} with nothing written | {'ok', now in s as text, '', 1 or 0: created or there before}
-- Atomic because: the job and its place in the queue must exist together, against the revision that was validated.
--!include time.lua
local call = redis.call
local revision = call('GET', KEYS[1]) or '0'
if ARGV[1] ~= '' and ARGV[1] ~= revision then
  return {'moved', revision}
end
local run, task, score = ARGV[8], ARGV[4], string.format('%.6f', now)
local job = ARGV[2] .. ':job:' .. run
if call('EXISTS', job) == 1 then
  return {'ok', score, '', 0} -- Sent again.
end
local stamp = utc_text()
call('HSET', job, 'data', ARGV[9], 'taskq', '1', 'task', task, 'status', 'queued', 'origin', ARGV[3], 'description', task,
  'created_at', stamp, 'timeout', ARGV[5], 'trigger', ARGV[6], 'enqueued_at', stamp)
-- RQ forgets a queue only together with its list, so its name is due when the list begins.
if call('RPUSH', KEYS[3], run) == 1 then
  call('SADD', KEYS[2], KEYS[3])
end
call('ZADD', KEYS[4], score, run)
call('ZADD', KEYS[5], score, run)
-- The caps are no exact numbers.
if now_us % 64 == 0 then
  call('ZREMRANGEBYRANK', KEYS[4], 0, -ARGV[7] - 1)
  call('ZREMRANGEBYRANK', KEYS[5], 0, -ARGV[7] - 1)
end
return {'ok', score, '', 1}
