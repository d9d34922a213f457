#!lua flags=allow-oom
-- finish.lua: records the outcomes of claimed runs, each only if its token still holds the lease.
-- KEYS: 1 leases, 2 lease hash, 3 events stream
-- ARGV: 1 RQ's prefix, 2 our prefix, 3 name of the worker, 4 how many groups, 5 how many runs,
--       then 14 for each group, which is what several outcomes have in common: RQ's queue name, RQ status (finished, failed, canceled),
--       version, reason, error line, traceback (zlib, base64) or '', TTL in s, losses to record or '', '1' if its executions were written
--       (renew.lua), '1' if only where the lease has expired, body of the event 'started' up to the run's id and from there on, or '' and '',
--       the same of the event of the outcome,
--       then 5 for each run: number of its group from 1, id, token, start in s, return value in base64 or '',
--       then for each task and version: '<task>:<version>', how many fields, and these: name in the statistics of the minute, by how much
-- Returns: {} where all were recorded, else for each run 'ok', 'done' (this token had recorded it before), 'stale' (nothing written), or what
--          Redis says where a key of the run is not of its type (then only its lease has ended); statistics are written with the first alone
-- Atomic because: outcome, registries, result and lease must change together; one recorded outcome a run.
--!include time.lua
--!include many.lua
local rq, prefix, worker = ARGV[1], ARGV[2], ARGV[3]
--!include event.lua
--!include finishing.lua
local words = {}
return finish_runs(4, KEYS[3], words) and {} or words
