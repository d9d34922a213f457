-- slot.lua: fires, skips or puts off slots of schedules: claims the slot, creates its run, pushes it, advances the schedule.
-- KEYS: 1 lease of the leading scheduler, 2 revision, 3 due slots, 4 state of the schedules, 5 rq:queues, 6 index of all runs, 7 events stream
-- ARGV: 1 lease's value, 2 revision that was decided against, 3 RQ's prefix, 4 our prefix, 5 cap of the indexes,
--       then 12 for each slot, at most 200: schedule, slot in ms, next slot in ms or '' for none, state after it,
--       run's id or '' for no run, task, RQ's queue name, RQ timeout in whole s, data, cause, body of the queued event or '',
--       run that must have ended for this one to be made, or ''
-- Returns: {'lost', now in ms} or {'moved', now in ms}, with nothing written
--          | {'ok', now in ms, for each slot: 'done', 'early' (not due yet), 'gone' (not this schedule's slot any more),
--             'overlap' (that run has not ended)}; the last three with nothing written for the slot
-- Atomic because: a slot fires once: its claim, its run, the run's place in the queue and the next slot must change together, by who leads,
--       on the registry's state of the moment.
--!include time.lua
--!include event.lua
--!include job.lua
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'lost', now_ms}
end
if (redis.call('GET', KEYS[2]) or '0') ~= ARGV[2] then
  return {'moved', now_ms}
end
local rq, prefix, cap = ARGV[3], ARGV[4], tonumber(ARGV[5])
local ended = {finished = true, failed = true, canceled = true, stopped = true}

local function create(run, task, queue, timeout, data, cause, event)
  local job = rq .. ':job:' .. run
  if redis.call('EXISTS', job) == 1 then
    return
  end
  local fields = job_fields('queued', queue, task, timeout, 'schedule', {cause = cause})
  fields[2] = data
  redis.call('HSET', job, unpack(fields))
  local list = rq .. ':queue:' .. queue
  if redis.call('RPUSH', list, run) == 1 then
    redis.call('SADD', KEYS[5], list)
  end
  for _, index in ipairs({KEYS[6], prefix .. ':runs:' .. task}) do
    redis.call('ZADD', index, now, run)
    if now_us % 64 == 0 then
      redis.call('ZREMRANGEBYRANK', index, 0, -cap - 1)
    end
  end
  emit(KEYS[7], event)
end

local function fire(at)
  local schedule, slot, following, before = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 11]
  local score = redis.call('ZSCORE', KEYS[3], schedule)
  if not score or tonumber(score) ~= slot then
    return 'gone'
  end
  if slot > now_ms then
    return 'early'
  end
  if before ~= '' then
    local status = redis.call('HGET', rq .. ':job:' .. before, 'status')
    if status and not ended[status] then
      return 'overlap'
    end
  end
  if ARGV[at + 4] ~= '' then
    create(ARGV[at + 4], ARGV[at + 5], ARGV[at + 6], ARGV[at + 7], ARGV[at + 8], ARGV[at + 9], ARGV[at + 10])
  end
  redis.call('HSET', KEYS[4], schedule, ARGV[at + 3])
  if following == '' then
    redis.call('ZREM', KEYS[3], schedule)
  else
    redis.call('ZADD', KEYS[3], following, schedule)
  end
  return 'done'
end

local reply = {'ok', now_ms}
for at = 6, #ARGV, 12 do
  reply[#reply + 1] = fire(at)
end
return reply
