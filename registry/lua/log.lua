-- log.lua: appends lines to the logs of runs
-- KEYS: the streams
-- ARGV: 1 lines that a stream keeps, 2 seconds that it lives from now on; then of each line: number of its stream, when,
--   level, text, name of the logger or '', fields as a JSON object or ''
-- Returns: 1
-- Atomic because: it is not needed; one call costs the server and the worker a third of an XADD a line.
for at = 3, #ARGV, 6 do
  local entry = {'at', ARGV[at + 1], 'level', ARGV[at + 2], 'text', ARGV[at + 3]}
  if ARGV[at + 4] ~= '' then
    entry[7], entry[8] = 'logger', ARGV[at + 4]
  end
  if ARGV[at + 5] ~= '' then
    entry[#entry + 1] = 'fields'
    entry[#entry + 1] = ARGV[at + 5]
  end
  redis.call('XADD', KEYS[tonumber(ARGV[at])], 'MAXLEN', '~', ARGV[1], '*', unpack(entry))
end
for _, stream in ipairs(KEYS) do
  redis.call('EXPIRE', stream, ARGV[2])
end
return 1
