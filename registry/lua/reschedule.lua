-- reschedule.lua: adds and removes schedules as the registry says.
-- KEYS: 1 lease of the leading scheduler, 2 revision, 3 due slots, 4 state of the schedules
-- ARGV: 1 lease's value, 2 revision that was compared with, 3 how many are added, then for each of these: schedule, first slot in ms
--       ('inf' for none); then the schedules to remove; at most 500 of both
-- Returns: {'lost', now in ms} or {'moved', now in ms}, with nothing written | {'ok', now in ms}
-- Atomic because: one who no longer leads must change nothing, nor one who does not know the registry as it is: it would remove a
--       schedule with all that is known of its slots, and bring it back as a new one; a schedule that is there keeps its slot.
--!include time.lua
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'lost', now_ms}
end
if (redis.call('GET', KEYS[2]) or '0') ~= ARGV[2] then
  return {'moved', now_ms}
end
local at, first_removed = 4, 4 + 2 * tonumber(ARGV[3])
while at < first_removed do
  redis.call('ZADD', KEYS[3], 'NX', ARGV[at + 1], ARGV[at])
  at = at + 2
end
while at <= #ARGV do
  redis.call('ZREM', KEYS[3], ARGV[at])
  redis.call('HDEL', KEYS[4], ARGV[at])
  at = at + 1
end
return {'ok', now_ms}
