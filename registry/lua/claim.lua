-- claim.lua: takes up to N runs off the queues, marks them started and opens their leases.
-- KEYS: 1 leases, 2 lease hash, 3 fence counter, 4 revision, 5… queue lists in order of priority
-- ARGV: 1 worker, 2 lease in ms, 3 how many runs, 4 RQ's prefix
-- Returns: {revision, now in ms, {index of the queue from 1, run, token, attempt, task, data, pin, limit, cause, losses} …}; absent fields are ''
-- Atomic because: a run must never be off its queue without a lease; the revision must be the one at the moment of the claim.
--!include time.lua
local worker, wanted, rq = ARGV[1], tonumber(ARGV[3]), ARGV[4]
local expiry = now_ms + tonumber(ARGV[2])
local ttl = math.ceil(tonumber(ARGV[2]) / 1000) * 10 + 60
local stamp = utc_text()
local reply = {redis.call('GET', KEYS[4]) or '0', now_ms}
for index = 5, #KEYS do
  if wanted <= 0 then break end
  local queue = string.sub(KEYS[index], #rq + 8)
  for _, run in ipairs(redis.call('LPOP', KEYS[index], wanted) or {}) do
    local job = rq .. ':job:' .. run
    -- pcall: what is no hash must not take the runs behind it along.
    local f = redis.pcall('HMGET', job, 'taskq', 'status', 'task', 'data', 'pin', 'limit', 'cause', 'losses')
    if f[2] and f[1] ~= '1' then
      -- Another release's run, or no run of ours: put back, never guessed at.
      redis.call('RPUSH', KEYS[index], run)
    elseif f[2] == 'queued' then
      local token = tostring(redis.call('INCR', KEYS[3]))
      local attempt = redis.call('HINCRBY', job, 'attempt', 1)
      redis.call('HSET', job, 'status', 'started', 'started_at', stamp, 'last_heartbeat', stamp, 'worker_name', worker, 'token', token)
      redis.call('HDEL', job, 'version')
      redis.call('ZADD', KEYS[1], expiry, run)
      redis.call('HSET', KEYS[2], run, token .. '|' .. worker .. '|' .. queue)
      local execution = run .. ':' .. token
      redis.call('ZADD', rq .. ':wip:' .. queue, '+inf', execution)
      redis.call('HSET', rq .. ':execution:' .. execution, 'id', token, 'job_id', run, 'created_at', now, 'last_heartbeat', now, 'worker_name', worker)
      redis.call('EXPIRE', rq .. ':execution:' .. execution, ttl)
      redis.call('ZADD', rq .. ':executions:' .. run, '+inf', token)
      redis.call('EXPIRE', rq .. ':executions:' .. run, ttl)
      redis.call('SADD', rq .. ':worker:' .. worker .. ':executions', execution)
      reply[#reply + 1] = {index - 4, run, token, attempt, f[3], f[4], f[5] or '', f[6] or '', f[7] or '', f[8] or '0'}
      wanted = wanted - 1
    end
  end
end
return reply
