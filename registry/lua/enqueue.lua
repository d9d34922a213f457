-- enqueue.lua: creates runs of one task as RQ jobs and puts them on their queue.
-- KEYS: 1 revision, 2 rq:queues, 3 queue list, 4 index of all runs, 5 index of the task's runs, 6 events stream, 7 (optional) idempotency key
-- ARGV: 1 revision that the caller validated against ('' for any), 2 RQ's prefix, 3 RQ's queue name, 4 task, 5 RQ timeout in whole s,
--       6 cap of the indexes, 7 idempotency TTL in s, 8 trigger, 9 cause, 10 pinned version or '', 11 timeout override in s or '',
--       then for each run, at most 1000: id, data, body of the queued event or ''
-- Returns: {'moved', revision} with nothing written | {'duplicate', run} | {'ok', now in s as text, 1 or 0 for each run: created or there before}
-- Atomic because: the key, the job and its place in the queue must exist together, against the revision that was validated.
--!include time.lua
--!include event.lua
local revision = redis.call('GET', KEYS[1]) or '0'
if ARGV[1] ~= '' and ARGV[1] ~= revision then
  return {'moved', revision}
end
local rq, queue, task = ARGV[2], ARGV[3], ARGV[4]
if KEYS[7] then
  local earlier = redis.call('GET', KEYS[7])
  if earlier and earlier ~= ARGV[12] then
    return {'duplicate', earlier}
  end
  redis.call('SET', KEYS[7], ARGV[12], 'EX', ARGV[7])
end
local stamp = utc_text()
local reply = {'ok', string.format('%.6f', now)}
local fields = {'data', '', 'taskq', '1', 'task', task, 'status', 'queued', 'origin', queue, 'description', task,
  'created_at', stamp, 'enqueued_at', stamp, 'timeout', ARGV[5], 'trigger', ARGV[8]}
for name, value in pairs({cause = ARGV[9], pin = ARGV[10], limit = ARGV[11]}) do
  if value ~= '' then
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
end
local runs, scores = {}, {}
for at = 12, #ARGV, 3 do
  local run = ARGV[at]
  local job = rq .. ':job:' .. run
  if redis.call('EXISTS', job) == 1 then
    reply[#reply + 1] = 0
  else
    fields[2] = ARGV[at + 1]
    redis.call('HSET', job, unpack(fields))
    runs[#runs + 1] = run
    scores[#scores + 1] = now
    scores[#scores + 1] = run
    emit(KEYS[6], ARGV[at + 2])
    reply[#reply + 1] = 1
  end
end
if #runs > 0 then
  -- RQ forgets a queue only together with its list, so its name is due when the list begins.
  if redis.call('RPUSH', KEYS[3], unpack(runs)) == #runs then
    redis.call('SADD', KEYS[2], KEYS[3])
  end
  redis.call('ZADD', KEYS[4], unpack(scores))
  redis.call('ZADD', KEYS[5], unpack(scores))
  -- Trimmed in one of 64 calls, and after each large batch: the caps are no exact numbers.
  if now_us % 64 < #runs then
    redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -ARGV[6] - 1)
    redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -ARGV[6] - 1)
  end
end
return reply
