#!lua flags=allow-oom
-- resign.lua: gives the lead of a duty up, so that another one need not wait for its end.
-- KEYS: 1 lease
-- ARGV: 1 who, 2 token, 3 channel that wakes the others
-- Returns: 1, or 0 where it had been lost
-- Atomic because: only a lead that is still ours may be given up.
if redis.call('GET', KEYS[1]) ~= ARGV[2] .. '|' .. ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[3], 'resigned')
return 1
