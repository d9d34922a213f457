-- enqueue.lua: creates runs of one task as RQ jobs and puts them on their queue, or aside until they are due.
-- KEYS: 1 revision, 2 rq:queues, 3 queue list, 4 index of all runs, 5 index of the task's runs, 6 events stream, 7 runs due later,
--       8 RQ's scheduled registry of the queue, 9 (optional) idempotency key
-- ARGV: 1 revision that the caller validated against ('' for any), 2 RQ's prefix, 3 RQ's queue name, 4 task, 5 RQ timeout in whole s,
--       6 cap of the indexes, 7 idempotency TTL in s, counted from when it is due, 8 trigger, 9 cause, 10 pinned version or '',
--       11 timeout override in s or '', 12 when: '' for now, ms since the epoch (what is past is now), or '+' and ms from now (from 1),
--       13 channel that wakes the scheduler,
--       then for each run, at most 1000: id, data, body of the queued event or '' (with the status that is to be expected)
-- Returns: {'moved', revision} with nothing written | {'duplicate', run}
--          | {'ok', now in s as text, due in ms or '' where it is now, 1 or 0 for each run: created or there before}
-- Atomic because: the key, the job and its place in the queue must exist together, against the revision that was validated.
--!include time.lua
--!include event.lua
--!include job.lua
local FIRST = 14
local revision = redis.call('GET', KEYS[1]) or '0'
if ARGV[1] ~= '' and ARGV[1] ~= revision then
  return {'moved', revision}
end
local rq, queue, task = ARGV[2], ARGV[3], ARGV[4]
local due
if ARGV[12] ~= '' then
  local ahead = string.match(ARGV[12], '^%+(.*)')
  -- From the next whole ms on: never early.
  due = ahead and now_s * 1000 + math.ceil(now_us / 1000) + tonumber(ahead) or tonumber(ARGV[12])
  if due <= now_ms then due = nil end
end
if KEYS[9] then
  local earlier = redis.call('GET', KEYS[9])
  if earlier and earlier ~= ARGV[FIRST] then
    return {'duplicate', earlier}
  end
  -- Whoever asks again before it is due must find this run.
  local wait = due and math.ceil((due - now_ms) / 1000) or 0
  redis.call('SET', KEYS[9], ARGV[FIRST], 'EX', string.format('%d', tonumber(ARGV[7]) + wait))
end
local reply = {'ok', string.format('%.6f', now), due and string.format('%d', due) or ''}
local fields = job_fields(due and 'scheduled' or 'queued', queue, task, ARGV[5], ARGV[8],
  {cause = ARGV[9], pin = ARGV[10], limit = ARGV[11], due = reply[3]})
local runs, scores = {}, {}
for at = FIRST, #ARGV, 3 do
  local run = ARGV[at]
  local job = rq .. ':job:' .. run
  if redis.call('EXISTS', job) == 1 then
    -- Sent again: what was said of it the first time holds.
    reply[3] = redis.call('HGET', job, 'due') or ''
    reply[#reply + 1] = 0
  else
    fields[2] = ARGV[at + 1]
    redis.call('HSET', job, unpack(fields))
    runs[#runs + 1] = run
    scores[#scores + 1] = now
    scores[#scores + 1] = run
    local event = ARGV[at + 2]
    if not due and ARGV[12] ~= '' then
      event = string.gsub(event, '"status":"scheduled"', '"status":"queued"')
    end
    emit(KEYS[6], event)
    reply[#reply + 1] = 1
  end
end
if #runs > 0 then
  if due then
    local head = redis.call('ZRANGE', KEYS[7], 0, 0, 'WITHSCORES')
    for _, run in ipairs(runs) do
      redis.call('ZADD', KEYS[7], due, run)
      redis.call('ZADD', KEYS[8], due / 1000, run)
    end
    redis.call('SADD', KEYS[2], KEYS[3])
    if not head[2] or due < tonumber(head[2]) then
      redis.call('PUBLISH', ARGV[13], 'due')
    end
  -- RQ forgets a queue only together with its list, so its name is due when the list begins.
  elseif redis.call('RPUSH', KEYS[3], unpack(runs)) == #runs then
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
