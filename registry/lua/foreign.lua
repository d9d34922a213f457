-- foreign.lua: takes the next job of RQ's own queues for a worker that has just ended one: what RQ does in ten calls, in one.
-- KEYS: 1 rq:suspended, 2 the worker's hash, 3 its executions, then one queue and its intermediate queue, or several queues in order
-- ARGV: 1 the heartbeat's time as text, 2 TTL in s of the worker's keys, 3 what keys of jobs begin with, 4 '1' where the last key is an intermediate queue
-- Returns: {'suspended'} with nothing taken | {'empty'} | {'job', key of its queue, id, fields of its hash and their values}
-- Atomic because: a job is taken only where no one has suspended the workers by then, and is never taken without being read.
redis.call('HSET', KEYS[2], 'last_heartbeat', ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[2])
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {'suspended'}
end

local function take(queue)
  if ARGV[4] == '1' then
    return redis.call('LMOVE', queue, KEYS[5], 'LEFT', 'RIGHT')
  end
  return redis.call('LPOP', queue)
end

for at = 4, ARGV[4] == '1' and 4 or #KEYS do
  local id = take(KEYS[at])
  while id do
    local job = ARGV[3] .. id
    if redis.call('HEXISTS', job, 'data') == 1 then
      return {'job', KEYS[at], id, redis.call('HGETALL', job)}
    end
    -- A job that was deleted while it was queued: RQ passes over it as well.
    if ARGV[4] == '1' then
      redis.call('LREM', KEYS[5], 1, id)
    end
    id = take(KEYS[at])
  end
end
return {'empty'}
