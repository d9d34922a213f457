#!lua flags=allow-oom
-- handover.lua: hands an RQ job that is due to its queue, as RQ's own enqueueing would, and says when it is due next.
-- KEYS: 1 lease of who moves jobs, 2 jobs by when they are due, 3 how they repeat, 4 the job, 5 rq:queues
-- ARGV: 1 lease's value, or '' for one who needs no lead, 2 job, 3 when it is due in s as it was seen, or '' for whenever,
--       4 record of how it repeats as it was seen, or '', 5 when it is due next in s, or '' for never, 6 record from then on, or '',
--       7 RQ's prefix, 8 what keys of jobs begin with, 9 what keys of queues begin with, 10 timeout in s of a job that names none,
--       11 '1' where it must be due by now, 12 its meta as it was seen, or '', 13 its meta from now on, or '',
--       then fields of its hash and their values, as who asks has them
-- Returns: {'lost', now in s as text} | {'gone' (another time or record by now), now} | {'early', now}, each with nothing written
--          | {'missing' or 'canceled', now}: there is nothing to hand over, so it is forgotten
--          | {'refused', now}: the key of its queue is no list, so that it stays as it is
--          | {'queued', now} | {'deferred', now}: it depends on jobs that have not ended
-- Atomic because: a time of a job is taken, put in the queue and replaced by the next one in one step, or not at all.
--!include time.lua
local job, job_key, rq, stamp = ARGV[2], KEYS[4], ARGV[7], utc_text()
local function reply(word)
  return {word, string.format('%.6f', now)}
end

if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return reply('lost')
end
local score = redis.call('ZSCORE', KEYS[2], job)
if ARGV[3] ~= '' and (not score or tonumber(score) ~= tonumber(ARGV[3])) or (redis.call('HGET', KEYS[3], job) or '') ~= ARGV[4] then
  return reply('gone')
end
if ARGV[11] == '1' and tonumber(score) > now then
  return reply('early')
end

local function forget()
  redis.call('ZREM', KEYS[2], job)
  redis.call('HDEL', KEYS[3], job)
end

if #ARGV > 13 then
  redis.call('HSET', job_key, unpack(ARGV, 14))
end
-- pcall: what is no hash must not keep the jobs behind it.
local f = redis.pcall('HMGET', job_key, 'data', 'status', 'origin', 'ttl', 'enqueue_at_front', 'dependency_ids', 'allow_dependency_failures', 'meta')
if not f[1] then
  forget()
  return reply('missing')
end
if f[2] == 'canceled' and #ARGV == 13 then
  forget()
  return reply('canceled')
end

-- Ids of the jobs that it depends on, and whether one of them keeps it waiting.
local function dependencies()
  local known, ids = pcall(cjson.decode, f[6] or '[]')
  if not known or type(ids) ~= 'table' then
    return {}, false
  end
  local waits = false
  for _, id in ipairs(ids) do
    local status = redis.call('HGET', ARGV[8] .. id, 'status')
    if status and status ~= 'finished' and not (status == 'failed' and f[7] == '1') then
      waits = true
    end
  end
  return ids, waits
end

local queue = f[3] or 'default'
local list, word = ARGV[9] .. queue, 'queued'
if not ({none = true, list = true})[redis.call('TYPE', list).ok] then
  return reply('refused')
end
local ids, waits = dependencies()
local dependents_key, dependencies_key = job_key .. ':dependents', ARGV[8] .. ':' .. job .. ':dependencies'
redis.call('SADD', KEYS[5], list)
if waits then
  word = 'deferred'
  redis.call('HSET', job_key, 'status', 'deferred', 'origin', queue)
  redis.call('ZADD', rq .. ':deferred:' .. queue, now_s, job)
  for _, id in ipairs(ids) do
    redis.call('SADD', ARGV[8] .. id .. ':dependents', job)
    redis.call('SADD', dependencies_key, id)
  end
else
  if f[2] == 'deferred' then
    redis.call('ZREM', rq .. ':deferred:' .. queue, job)
  end
  redis.call('HSET', job_key, 'status', 'queued', 'origin', queue, 'enqueued_at', stamp)
  redis.call('HSETNX', job_key, 'timeout', ARGV[10])
  redis.call(f[5] == '1' and 'LPUSH' or 'RPUSH', list, job)
end
-- What is longer than Redis can count is for ever.
local ttl = tonumber(f[4] or 0) or 0
if ttl > 0 and ttl < 10000000000 then
  for _, key in ipairs({job_key, dependents_key, dependencies_key}) do
    redis.call('EXPIRE', key, string.format('%d', math.ceil(ttl)))
  end
end
if ARGV[13] ~= '' and f[8] == ARGV[12] then
  redis.call('HSET', job_key, 'meta', ARGV[13])
end
if ARGV[5] == '' then
  forget()
else
  redis.call('ZADD', KEYS[2], ARGV[5], job)
  redis.call('HSET', KEYS[3], job, ARGV[6])
end
return reply(word)
