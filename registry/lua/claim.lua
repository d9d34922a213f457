#!lua flags=allow-oom
-- claim.lua: takes up to N runs off the queues, marks them started and opens their leases.
-- KEYS: 1 leases, 2 lease hash, 3 fence counter, 4 revision, 5… queue lists in order of priority
-- ARGV: 1 worker, 2 lease in ms, 3 how many runs, 4 RQ's prefix
-- Returns: {revision, now in ms, 1 or 0: whether the queues may hold more, a row for each run}; a row is {index of the queue from 1, run, token, task, data}, and where anything of
--          it is to be said {… attempt, pin, limit, cause, losses, retries}: the first attempt of a run without these has the short row; absent fields are ''
-- Atomic because: a run must never be off its queue without a lease; the revision must be the one at the moment of the claim.
--!include time.lua
--!include many.lua
local rq = ARGV[4]
--!include claiming.lua
local reply = {redis.call('GET', KEYS[4]) or '0', now_ms, 0}
reply[3] = claim_runs(5, tonumber(ARGV[3]), ARGV[1], tonumber(ARGV[2]), reply)
return reply
