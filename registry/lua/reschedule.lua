#!lua flags=allow-oom
-- reschedule.lua: adds and removes schedules as the registry says.
-- KEYS: 1 lease of the leading scheduler, 2 due slots, 3 state of the schedules
-- ARGV: 1 lease's value, 2 how many are added, then for each of these: schedule, first slot in ms ('inf' for none);
--       then the schedules to remove; at most 500 of both
-- Returns: {'lost', now in ms} with nothing written | {'ok', now in ms}
-- Atomic because: one who no longer leads must change nothing; a schedule that is there keeps its slot.
--!include time.lua
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'lost', now_ms}
end
local at, first_removed = 3, 3 + 2 * tonumber(ARGV[2])
while at < first_removed do
  redis.call('ZADD', KEYS[2], 'NX', ARGV[at + 1], ARGV[at])
  at = at + 2
end
while at <= #ARGV do
  redis.call('ZREM', KEYS[2], ARGV[at])
  redis.call('HDEL', KEYS[3], ARGV[at])
  at = at + 1
end
return {'ok', now_ms}
