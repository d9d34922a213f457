-- slot.lua: settles slots of schedules: creates and queues the run of a slot, or none, and moves its schedule on.
-- KEYS: 1 lease of the leading scheduler, 2 revision, 3 due slots, 4 state of the schedules, 5 rq:queues, 6 index of all runs, 7 events stream
-- ARGV: 1 lease's value, 2 revision that was decided against, 3 RQ's prefix, 4 our prefix, 5 cap of the indexes, 6 data of the runs,
--       then 12 for each step, at most 100: schedule, its due slot in ms ('inf' for none), its state ('' for none), the newest slot that
--       the step settles, the due slot after it ('inf' for none), the state after it, run's id or '' for no run, task, RQ's queue name,
--       RQ timeout in whole s, cause, body of the queued event or ''
-- Returns: {'lost', now in ms} or {'moved', now in ms}, with nothing written
--          | {'ok', now in ms, for each step: 'done', 'early' (not due yet) or 'gone' (the schedule is not as it was decided
--             for any more: removed, or this step was taken before); the last two with nothing written for the step}
-- Atomic because: a slot has one run: its run, the run's place in the queue and the schedule's next slot must change together, by who leads,
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
local enqueued = {}

local function create(run, task, queue, timeout, cause, event)
  local job = rq .. ':job:' .. run
  if redis.call('EXISTS', job) == 1 then
    return
  end
  local fields = job_fields('queued', queue, task, timeout, 'schedule', {cause = cause})
  fields[2] = ARGV[6]
  redis.call('HSET', job, unpack(fields))
  local list = rq .. ':queue:' .. queue
  if redis.call('RPUSH', list, run) == 1 then
    redis.call('SADD', KEYS[5], list)
  end
  local index = prefix .. ':runs:' .. task
  redis.call('ZADD', KEYS[6], now, run)
  redis.call('ZADD', index, now, run)
  enqueued[index] = true
  emit(KEYS[7], event)
end

local function settle(at)
  local schedule, due, newest = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 3])
  local score = redis.call('ZSCORE', KEYS[3], schedule)
  if not score or score ~= due and tonumber(score) ~= tonumber(due) then
    return 'gone'
  end
  if (redis.call('HGET', KEYS[4], schedule) or '') ~= ARGV[at + 2] then
    return 'gone'
  end
  if newest > now_ms then
    return 'early'
  end
  if ARGV[at + 6] ~= '' then
    create(ARGV[at + 6], ARGV[at + 7], ARGV[at + 8], ARGV[at + 9], ARGV[at + 10], ARGV[at + 11])
  end
  redis.call('ZADD', KEYS[3], ARGV[at + 4], schedule)
  redis.call('HSET', KEYS[4], schedule, ARGV[at + 5])
  return 'done'
end

local reply = {'ok', now_ms}
for at = 7, #ARGV, 12 do
  reply[#reply + 1] = settle(at)
end
-- Trimmed in one of 64 calls: the caps are no exact numbers.
if now_us % 64 == 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[6], 0, -cap - 1)
  for index in pairs(enqueued) do
    redis.call('ZREMRANGEBYRANK', index, 0, -cap - 1)
  end
end
return reply
