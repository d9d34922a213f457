-- expired.lua: lists runs whose lease has expired, or all that a worker holds.
-- KEYS: 1 leases, 2 lease hash
-- ARGV: 1 RQ's prefix, 2 how many, 3 name of a worker to list all leases of, or '' for the expired ones
-- Returns: {run, token, worker, RQ's queue name, task, attempt, losses, version, started_at, failure cause} …; absent fields are ''
-- Atomic because: run, lease and job are read as of one moment.
--!include time.lua
local rq, count, owner = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local runs
if owner == '' then
  runs = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now_ms, 'LIMIT', 0, count)
else
  runs = redis.call('ZRANGE', KEYS[1], 0, -1)
end
local reply = {}
for _, run in ipairs(runs) do
  local lease = redis.call('HGET', KEYS[2], run)
  if lease then
    local token, worker, queue = string.match(lease, '^(%d+)|([^|]*)|(.*)$')
    if owner == '' or worker == owner then
      -- pcall: one that is no hash must not keep the others from being taken over.
      local f = redis.pcall('HMGET', rq .. ':job:' .. run, 'task', 'attempt', 'losses', 'version', 'started_at', 'cause')
      reply[#reply + 1] = {run, token, worker, queue, f[1] or '', f[2] or '0', f[3] or '0', f[4] or '', f[5] or '', f[6] or ''}
    end
  else
    redis.call('ZREM', KEYS[1], run)
  end
end
return reply
