#!lua flags=allow-oom
-- cycle.lua: records outcomes as finish.lua does, then takes runs off the queues as claim.lua does.
-- KEYS: 1 leases, 2 lease hash, 3 fence counter, 4 revision, 5 events stream, 6… queue lists in order of priority
-- ARGV: 1 RQ's prefix, 2 our prefix, 3 name of the worker, 4 lease in ms, 5 how many runs, 6… what finish.lua has from 4 on
-- Returns: {what finish.lua returns, what claim.lua returns}
-- Atomic because: either half must be, as its own header says; that both are one call only saves a round trip.
--!include time.lua
--!include many.lua
local rq, prefix, worker = ARGV[1], ARGV[2], ARGV[3]
--!include event.lua
--!include finishing.lua
--!include claiming.lua
local words = {}
local plain = finish_runs(6, KEYS[5], words)
local reply = {redis.call('GET', KEYS[4]) or '0', now_ms, 0}
reply[3] = claim_runs(6, tonumber(ARGV[5]), worker, tonumber(ARGV[4]), reply)
return {plain and {} or words, reply}
