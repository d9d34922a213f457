#!lua flags=allow-oom
-- expired.lua: lists runs whose lease has expired or soon will, or all that a worker holds. It counts as a write, so that a server that
--   refuses writes, and so renewals, refuses it as well.
-- KEYS: 1 leases, 2 lease hash
-- ARGV: 1 RQ's prefix, 2 how many, 3 name of a worker to list all leases of, or '' for those that expire soon, 4 how soon that is in ms,
--       5 '1' to note in their jobs that these expire soon
-- Returns: {ms until the next lease expires so soon or '', {run, token, worker, RQ's queue name, task, attempt, losses, version,
--   started_at, failure cause, expiry in ms, ms until then, ms since it was first noted or ''} …}; absent fields are ''
-- Atomic because: run, lease and job are read as of one moment.
--!include time.lua
local rq, count, owner, notes = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[5] == '1'
local leases
local reply = {''}
if owner == '' then
  local soon = string.format('%d', now_ms + tonumber(ARGV[4]))
  leases = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. soon, 'WITHSCORES', 'LIMIT', 0, count)
  local ahead = redis.call('ZRANGEBYSCORE', KEYS[1], soon, '(inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if ahead[2] then
    reply[1] = string.format('%d', tonumber(ahead[2]) - tonumber(soon))
  end
else
  leases = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
end

-- A note holds for one token and one expiry: a renewal ends it.
local function noted(job, late, token, expiry)
  local of = token .. '|' .. string.format('%d', expiry) .. '|'
  if late and string.sub(late, 1, #of) == of then
    return string.format('%d', now_ms - tonumber(string.sub(late, #of + 1)))
  end
  if notes then redis.call('HSET', job, 'late', of .. string.format('%d', now_ms)) end
  return ''
end

for at = 1, #leases, 2 do
  local run, expiry = leases[at], tonumber(leases[at + 1])
  local lease = redis.call('HGET', KEYS[2], run)
  if lease then
    local token, worker, queue = string.match(lease, '^(%d+)|([^|]*)|(.*)$')
    if owner == '' or worker == owner then
      -- pcall: one that is no hash must not keep the others from being taken over.
      local job = rq .. ':job:' .. run
      local f = redis.pcall('HMGET', job, 'task', 'attempt', 'losses', 'version', 'started_at', 'cause', 'late')
      reply[#reply + 1] = {
        run, token, worker, queue, f[1] or '', f[2] or '0', f[3] or '0', f[4] or '', f[5] or '', f[6] or '',
        string.format('%d', expiry), string.format('%d', expiry - now_ms), f[1] and noted(job, f[7], token, expiry) or '',
      }
    end
  else
    redis.call('ZREM', KEYS[1], run)
  end
end
return reply
