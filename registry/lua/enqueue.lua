-- enqueue.lua: creates runs of one task as RQ jobs and puts them on their queue.
-- KEYS: 1 revision, 2 rq:queues, 3 queue list, 4 index of all runs, 5 index of the task's runs, 6 events stream, 7 (optional) idempotency key
-- ARGV: 1 revision that the caller validated against ('' for any), 2 RQ's prefix, 3 RQ's queue name, 4 task, 5 RQ timeout in whole s,
--       6 cap of the indexes, 7 idempotency TTL in s, 8 trigger, 9 cause, 10 pinned version or '', 11 timeout override in s or '',
--       then for each run: id, data, body of the queued event or ''
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
local created = 0
for at = 12, #ARGV, 3 do
  local run = ARGV[at]
  local job = rq .. ':job:' .. run
  if redis.call('EXISTS', job) == 1 then
    reply[#reply + 1] = 0
  else
    local fields = {'taskq', '1', 'task', task, 'data', ARGV[at + 1], 'status', 'queued', 'origin', queue, 'description', task,
      'created_at', stamp, 'enqueued_at', stamp, 'timeout', ARGV[5], 'trigger', ARGV[8]}
    if ARGV[9] ~= '' then fields[#fields + 1] = 'cause' fields[#fields + 1] = ARGV[9] end
    if ARGV[10] ~= '' then fields[#fields + 1] = 'pin' fields[#fields + 1] = ARGV[10] end
    if ARGV[11] ~= '' then fields[#fields + 1] = 'limit' fields[#fields + 1] = ARGV[11] end
    redis.call('HSET', job, unpack(fields))
    redis.call('RPUSH', KEYS[3], run)
    redis.call('ZADD', KEYS[4], now, run)
    redis.call('ZADD', KEYS[5], now, run)
    emit(KEYS[6], ARGV[at + 2])
    created = created + 1
    reply[#reply + 1] = 1
  end
end
if created > 0 then
  redis.call('SADD', KEYS[2], KEYS[3])
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -ARGV[6] - 1)
  redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -ARGV[6] - 1)
end
return reply
