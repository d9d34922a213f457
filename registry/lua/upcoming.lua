-- upcoming.lua: which schedules have a slot that is due.
-- KEYS: 1 due slots, 2 state of the schedules
-- ARGV: 1 how many due schedules to pass over, 2 how many at most
-- Returns: {now in ms, the first slot that is not due yet in ms or '', then for each due schedule: its name, its slot in ms, its state or ''}
-- Atomic because: slots, states and the time must be those of one moment, so that what is decided from them holds for it.
--!include time.lua
local reply = {now_ms, ''}
local ahead = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%d', now_ms), '(inf', 'WITHSCORES', 'LIMIT', 0, 1)
if ahead[2] then
  reply[2] = string.format('%d', tonumber(ahead[2]))
end
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms, 'WITHSCORES', 'LIMIT', ARGV[1], ARGV[2])
for at = 1, #due, 2 do
  reply[#reply + 1] = due[at]
  reply[#reply + 1] = string.format('%d', tonumber(due[at + 1]))
  reply[#reply + 1] = redis.call('HGET', KEYS[2], due[at]) or ''
end
return reply
