-- retime.lua: changes when a scheduled job, or a run of ours that is due later, is due.
-- KEYS: 1 jobs by when they are due, 2 runs due later, 3 the job
-- ARGV: 1 job or run, 2 when in s, 3 when in whole ms, 4 RQ's prefix, 5 channel that wakes the scheduler
-- Returns: 'job', 'run', or 'none' where it is not scheduled (any more), with nothing written
-- Atomic because: what is handed over at the same moment must not be scheduled once more.
local job = ARGV[1]
local word = 'none'
if redis.call('ZSCORE', KEYS[1], job) then
  word = 'job'
  redis.call('ZADD', KEYS[1], ARGV[2], job)
elseif redis.call('ZSCORE', KEYS[2], job) then
  word = 'run'
  redis.call('ZADD', KEYS[2], ARGV[3], job)
  local queue = redis.call('HGET', KEYS[3], 'origin')
  if queue then
    redis.call('ZADD', ARGV[4] .. ':scheduled:' .. queue, ARGV[2], job)
    redis.call('HSET', KEYS[3], 'due', ARGV[3])
  end
end
if word ~= 'none' then
  redis.call('PUBLISH', ARGV[5], 'due')
end
return word
