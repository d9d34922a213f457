-- catchup.lua: what changed in the registry since a revision, as of one moment.
-- KEYS: 1 registry, 2 revision, 3 change log
-- ARGV: 1 revision that the caller has, or '' for everything
-- Returns: {revision, 'delta' or 'full', task, record or false, …}
-- Atomic because: the records must be those of the revision that is returned.
local revision = tonumber(redis.call('GET', KEYS[2]) or '0')
local reply = {revision, 'full'}
local since = tonumber(ARGV[1])
if since and since <= revision then
  local entries = since < revision and redis.call('XRANGE', KEYS[3], '(' .. since, '+') or {}
  if #entries == revision - since then
    reply[2] = 'delta'
    local seen = {}
    for _, entry in ipairs(entries) do
      for at = 1, #entry[2], 2 do
        if entry[2][at] == 'tasks' then
          for task in string.gmatch(entry[2][at + 1], '[^\n]+') do
            if not seen[task] then
              seen[task] = true
              reply[#reply + 1] = task
              reply[#reply + 1] = redis.call('HGET', KEYS[1], task)
            end
          end
        end
      end
    end
    return reply
  end
end
for _, value in ipairs(redis.call('HGETALL', KEYS[1])) do
  reply[#reply + 1] = value
end
return reply
