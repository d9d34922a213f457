-- Takes up to `wanted` runs off the queues KEYS[first]…, marks them started, opens their leases and appends a row for each to `reply`.
-- Returns whether the queues may hold more: 1, or 0 where all that they held was looked at.
-- Needs time.lua, many.lua, and `rq` (RQ's prefix). KEYS[1] is the zset of leases, KEYS[2] the hash of leases, KEYS[3] the fence counter.

-- How many ids one call passes over at most: those of runs that are gone, or not ours to read, shall keep nobody waiting for long.
local MOST_PASSED = 1000

local function claim_runs(first, wanted, worker, lease_ms, reply)
  local runs, taken, looks, more = {}, {}, wanted + MOST_PASSED, 0
  for index = first, #KEYS do
    local queue, back, asked, found = string.sub(KEYS[index], #rq + 8), {}, 0, 0
    while found == asked do
      asked = math.min(wanted, looks)
      if asked <= 0 then
        more = 1
        break
      end
      local ids = redis.call('LPOP', KEYS[index], asked) or {}
      found = #ids
      looks = looks - found
      for _, run in ipairs(ids) do
        -- pcall: what is no hash must not take the runs behind it along.
        local f = redis.pcall('HMGET', rq .. ':job:' .. run, 'taskq', 'status', 'task', 'data', 'attempt', 'pin', 'limit', 'cause', 'losses',
          'version', 'reason', 'retries')
        if f[2] and f[1] ~= '1' then
          -- Another release's run, or no run of ours: put back, never guessed at.
          back[#back + 1] = run
        elseif f[2] == 'queued' and not taken[run] then
          taken[run] = true
          f.run, f.index, f.queue = run, index - first + 1, queue
          runs[#runs + 1] = f
          wanted = wanted - 1
        end
      end
    end
    many('RPUSH', KEYS[index], back)
  end
  if #runs == 0 then
    return more
  end
  local token = redis.call('INCRBY', KEYS[3], #runs) - #runs
  local expiry, stamp, holder = string.format('%d', now_ms + lease_ms), utc_text(), '|' .. worker .. '|'
  local expiries, owners, wip = {}, {}, {}
  for at, f in ipairs(runs) do
    local run, fence, attempt = f.run, string.format('%d', token + at), string.format('%d', (tonumber(f[5]) or 0) + 1)
    local job = rq .. ':job:' .. run
    redis.call('HSET', job, 'status', 'started', 'started_at', stamp, 'last_heartbeat', stamp, 'worker_name', worker, 'token', fence,
      'attempt', attempt)
    -- What an earlier attempt left: this one has no version and no end yet, and nobody has asked for its end.
    if f[10] or f[11] then
      redis.call('HDEL', job, 'version', 'reason', 'error', 'cancel', 'cancel_ttl', 'cancel_event')
    end
    expiries[2 * at - 1], expiries[2 * at] = expiry, run
    owners[2 * at - 1], owners[2 * at] = run, fence .. holder .. f.queue
    local started = wip[f.queue] or {}
    wip[f.queue] = started
    started[#started + 1] = '+inf'
    started[#started + 1] = run .. ':' .. fence
    local row = {f.index, run, fence, f[3], f[4]}
    if attempt ~= '1' or f[6] or f[7] or f[8] or f[9] or f[12] then
      row[6], row[7], row[8], row[9], row[10], row[11] = attempt, f[6] or '', f[7] or '', f[8] or '', f[9] or '', f[12] or ''
    end
    reply[#reply + 1] = row
  end
  many('ZADD', KEYS[1], expiries)
  many('HSET', KEYS[2], owners)
  for queue, started in pairs(wip) do
    many('ZADD', rq .. ':wip:' .. queue, started)
  end
  return more
end
