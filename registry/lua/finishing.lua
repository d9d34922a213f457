-- Records outcomes, each only if its token still holds the lease; ARGV from `at` on and the answer are as finish.lua says.
-- Needs time.lua, event.lua, many.lua, and `rq`, `prefix` (RQ's prefix and ours) and `worker`.
-- KEYS[1] is the zset of leases, KEYS[2] the hash of leases; `events` is the stream.
local kinds = {finished = '1', failed = '2', canceled = '3'}

local function read_groups(at, count)
  local groups, stamp = {}, utc_text()
  for number = 1, count do
    local status, reason, losses, ttl = ARGV[at + 1], ARGV[at + 3], ARGV[at + 7], tonumber(ARGV[at + 6])
    local job = {'status', status, 'ended_at', stamp, 'version', ARGV[at + 2]}
    if reason ~= '' or ARGV[at + 4] ~= '' then
      job[7], job[8], job[9], job[10] = 'reason', reason, 'error', ARGV[at + 4]
    end
    if losses ~= '' then
      job[#job + 1] = 'losses'
      job[#job + 1] = losses
    end
    groups[tostring(number)] = {
      queue = ARGV[at], kind = kinds[status], job = job, traceback = ARGV[at + 5],
      registry = ttl > 0 and rq .. ':' .. status .. ':' .. ARGV[at], score = string.format('%d', now_s + ttl),
      -- Without a TTL it is kept just long enough for who waits now.
      ttl = ttl > 0 and ARGV[at + 6] or '5',
      noted = ARGV[at + 8] == '1', only_expired = ARGV[at + 9] == '1',
      begun = ARGV[at + 10], begun_end = ARGV[at + 11], ended = ARGV[at + 12], ended_end = ARGV[at + 13],
    }
    at = at + 14
  end
  return groups, at
end

local function list_of(lists, name)
  local list = lists[name]
  if not list then
    list = {}
    lists[name] = list
  end
  return list
end

local function holds_lease(lease, run, token, only_expired)
  if not lease or string.find(lease, token .. '|', 1, true) ~= 1 then
    return false
  end
  local expiry = only_expired and redis.call('ZSCORE', KEYS[1], run)
  return not only_expired or (expiry and tonumber(expiry) < now_ms)
end

-- Writes one outcome; returns what Redis says where a key of the run is not of its type.
local function write_outcome(group, run, job, at, stamp)
  local results, value = rq .. ':results:' .. run, ARGV[at + 4]
  local answer = redis.pcall('HSET', job, unpack(group.job))
  if type(answer) == 'table' then
    return answer.err
  end
  if value ~= '' then
    answer = redis.pcall('XADD', results, 'MAXLEN', '10', '*', 'type', group.kind, 'worker_name', worker, 'execution_id', ARGV[at + 2],
      'execution_started_at', ARGV[at + 3], 'execution_ended_at', stamp, 'return_value', value)
  elseif group.traceback ~= '' then
    answer = redis.pcall('XADD', results, 'MAXLEN', '10', '*', 'type', group.kind, 'worker_name', worker, 'execution_id', ARGV[at + 2],
      'execution_started_at', ARGV[at + 3], 'execution_ended_at', stamp, 'exc_string', group.traceback)
  else
    answer = redis.pcall('XADD', results, 'MAXLEN', '10', '*', 'type', group.kind, 'worker_name', worker, 'execution_id', ARGV[at + 2],
      'execution_started_at', ARGV[at + 3], 'execution_ended_at', stamp)
  end
  if type(answer) == 'table' and answer.err then
    return answer.err
  end
  redis.call('EXPIRE', job, group.ttl)
  redis.call('EXPIRE', results, group.ttl)
end

-- What is said of a run whose lease does not stand.
local function word_for(run, token)
  local last = redis.pcall('HMGET', rq .. ':job:' .. run, 'token', 'status')
  return last[1] == token and kinds[last[2] or ''] and 'done' or 'stale'
end

-- Counts for the minute; only where all that they count was recorded just now.
local function count_runs(at, last, plain)
  while at <= last do
    local pairs_end = at + 1 + 2 * tonumber(ARGV[at + 1])
    if plain then
      local key = prefix .. ':stats:' .. ARGV[at] .. ':' .. string.format('%d', math.floor(now_s / 60))
      for field = at + 2, pairs_end, 2 do
        -- pcall: what is no hash of numbers loses its counts, and must not have recorded outcomes look refused.
        redis.pcall(ARGV[field] == 'sum_ms' and 'HINCRBYFLOAT' or 'HINCRBY', key, ARGV[field], ARGV[field + 1])
      end
      redis.call('EXPIRE', key, '90000')
    end
    at = pairs_end + 1
  end
end

local function finish_runs(at, events, words)
  local count, groups = tonumber(ARGV[at + 1]), nil
  groups, at = read_groups(at + 2, tonumber(ARGV[at]))
  local ids, jobs, earlier = {}, {}, {}
  for n = 1, count do
    local run = ARGV[at + 5 * n - 4]
    ids[n], jobs[n], earlier[n] = run, rq .. ':job:' .. run, prefix .. ':attempts:' .. run
  end
  -- One question for all; only where the answer is not the usual one each is asked about.
  local leases, all_there, none_earlier = fields_of(KEYS[2], ids), existing(jobs) == count, existing(earlier) == 0
  local stamp, plain = string.format('%.6f', now), true
  local seen, ended, wip, scores, litter, executions = {}, {}, {}, {}, {}, {}
  for n = 1, count do
    local group, run, token, word = groups[ARGV[at]], ids[n], ARGV[at + 2], 'ok'
    if not seen[run] and holds_lease(leases[n], run, token, group.only_expired) then
      local execution = run .. ':' .. token
      seen[run], ended[#ended + 1] = true, run
      local list = list_of(wip, group.queue)
      list[#list + 1] = execution
      if group.noted then
        litter[#litter + 1], litter[#litter + 2] = rq .. ':execution:' .. execution, rq .. ':executions:' .. run
        list = list_of(executions, string.match(leases[n], '^%d+|([^|]*)|'))
        list[#list + 1] = execution
      end
      if all_there or redis.call('EXISTS', jobs[n]) == 1 then
        word = write_outcome(group, run, jobs[n], at, stamp) or 'ok'
        if word == 'ok' then
          if group.registry then
            list = list_of(scores, group.registry)
            list[#list + 1], list[#list + 2] = group.score, run
          end
          if not none_earlier then redis.call('EXPIRE', earlier[n], group.ttl) end
          if group.begun ~= '' then emit(events, group.begun .. run .. group.begun_end) end
          if group.ended ~= '' then emit(events, group.ended .. run .. group.ended_end) end
        end
      else
        -- Somebody deleted the job: what else there is of it has no owner.
        litter[#litter + 1] = earlier[n]
      end
    else
      word = word_for(run, token)
    end
    words[n], plain = word, plain and word == 'ok'
    at = at + 5
  end
  many('ZREM', KEYS[1], ended)
  many('HDEL', KEYS[2], ended)
  for queue, list in pairs(wip) do many('ZREM', rq .. ':wip:' .. queue, list) end
  for registry, list in pairs(scores) do many('ZADD', registry, list) end
  for owner, list in pairs(executions) do many('SREM', rq .. ':worker:' .. owner .. ':executions', list) end
  delete(litter)
  count_runs(at, #ARGV, plain)
  return plain
end
