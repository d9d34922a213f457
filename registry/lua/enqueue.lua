-- enqueue.lua: creates runs of one task as RQ jobs and puts them on their queue, or aside until they are due.
-- KEYS: 1 revision, 2 rq:queues, 3 queue list, 4 index of all runs, 5 index of the task's runs, 6 events stream,
--       7 (optional) runs due later, 8 (optional) RQ's scheduled registry of the queue, 9 (optional) idempotency key
-- ARGV: 1 revision that the caller validated against ('' for any), 2 RQ's prefix, 3 RQ's queue name, 4 task, 5 RQ timeout in whole s,
--       6 trigger, 7 cap of the indexes, 8 '' or 'more': then keys 7 and 8 are there, and
--       9 when: '' for now, ms since the epoch (what is past is now), or '+' and ms from now (from 1), 10 channel that wakes the scheduler,
--       11 idempotency TTL in s, counted from when it is due, 12 cause, 13 pinned version or '', 14 timeout override in s or '',
--       then for each run, at most 1000: id, data, body of the queued event or '' (with the status that is to be expected)
-- Returns: {'moved', revision} with nothing written | {'duplicate', run}
--          | {'ok', now in s as text, due in ms or '' where it is now, 1 or 0 for each run: created or there before}
-- Atomic because: the key, the job and its place in the queue must exist together, against the revision that was validated.
--!include time.lua
--!include event.lua
--!include job.lua
local call = redis.call
local revision = call('GET', KEYS[1]) or '0'
if ARGV[1] ~= '' and ARGV[1] ~= revision then
  return {'moved', revision}
end
-- What few calls need is not sent with all: each string has to be converted.
local more, first = ARGV[8] ~= '', 9
local when = ''
local due
if more then
  when, first = ARGV[9], 15
  if when ~= '' then
    local ahead = string.match(when, '^%+(.*)')
    -- From the next whole ms on: never early.
    due = ahead and now_s * 1000 + math.ceil(now_us / 1000) + tonumber(ahead) or tonumber(when)
    if due <= now_ms then due = nil end
  end
  if KEYS[9] then
    local earlier = call('GET', KEYS[9])
    if earlier and earlier ~= ARGV[first] then
      return {'duplicate', earlier}
    end
    -- Whoever asks again before it is due must find this run.
    local wait = due and math.ceil((due - now_ms) / 1000) or 0
    call('SET', KEYS[9], ARGV[first], 'EX', string.format('%d', tonumber(ARGV[11]) + wait))
  end
end
local score = string.format('%.6f', now)
local reply = {'ok', score, due and string.format('%d', due) or ''}
local fields = job_fields(due and 'scheduled' or 'queued', ARGV[3], ARGV[4], ARGV[5], ARGV[6],
  more and {cause = ARGV[12], pin = ARGV[13], limit = ARGV[14], due = reply[3]} or nil)
local runs, scores, prefix = {}, {}, ARGV[2] .. ':job:'
for at = first, #ARGV, 3 do
  local run = ARGV[at]
  local job = prefix .. run
  if call('EXISTS', job) == 1 then
    -- Sent again: what was said of it the first time holds.
    reply[3] = call('HGET', job, 'due') or ''
    reply[#reply + 1] = 0
  else
    fields[2] = ARGV[at + 1]
    call('HSET', job, unpack(fields))
    runs[#runs + 1] = run
    scores[#scores + 1] = score
    scores[#scores + 1] = run
    local event = ARGV[at + 2]
    if event ~= '' then
      if not due and when ~= '' then
        event = string.gsub(event, '"status":"scheduled"', '"status":"queued"')
      end
      emit(KEYS[6], event)
    end
    reply[#reply + 1] = 1
  end
end
if #runs > 0 then
  if due then
    local head = call('ZRANGE', KEYS[7], 0, 0, 'WITHSCORES')
    for _, run in ipairs(runs) do
      call('ZADD', KEYS[7], due, run)
      call('ZADD', KEYS[8], due / 1000, run)
    end
    call('SADD', KEYS[2], KEYS[3])
    if not head[2] or due < tonumber(head[2]) then
      call('PUBLISH', ARGV[10], 'due')
    end
  -- RQ forgets a queue only together with its list, so its name is due when the list begins.
  elseif call('RPUSH', KEYS[3], unpack(runs)) == #runs then
    call('SADD', KEYS[2], KEYS[3])
  end
  call('ZADD', KEYS[4], unpack(scores))
  call('ZADD', KEYS[5], unpack(scores))
  -- Trimmed in one of 64 calls, and after each large batch: the caps are no exact numbers.
  if now_us % 64 < #runs then
    call('ZREMRANGEBYRANK', KEYS[4], 0, -ARGV[7] - 1)
    call('ZREMRANGEBYRANK', KEYS[5], 0, -ARGV[7] - 1)
  end
end
return reply
