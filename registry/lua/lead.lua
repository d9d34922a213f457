#!lua flags=allow-oom
-- lead.lua: takes or renews the lead of one duty.
-- KEYS: 1 lease, 2 fence counter
-- ARGV: 1 who, 2 token that it holds or '', 3 how long in ms
-- Returns: {token or '' where somebody else leads, now in ms, who leads, how long still in ms}
-- Atomic because: two must never hold the lead, and a token must never be given twice.
--!include time.lua
local lease = redis.call('GET', KEYS[1])
if lease and ARGV[2] ~= '' and lease == ARGV[2] .. '|' .. ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {ARGV[2], now_ms, ARGV[1], tonumber(ARGV[3])}
end
if lease then
  return {'', now_ms, string.match(lease, '^%d+|(.*)$') or '', redis.call('PTTL', KEYS[1])}
end
local token = tostring(redis.call('INCR', KEYS[2]))
redis.call('SET', KEYS[1], token .. '|' .. ARGV[1], 'PX', ARGV[3])
return {token, now_ms, ARGV[1], tonumber(ARGV[3])}
