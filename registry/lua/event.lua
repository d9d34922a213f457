-- Appends a CloudEvent to the stream and sends it on the channel of the same name; its id is the stream's.
-- `body` is the JSON object without "id", or '' for no event.
local function emit(stream, body)
  if body == '' then
    return
  end
  local id = redis.call('XADD', stream, 'MAXLEN', '~', 100000, '*', 'event', body)
  redis.call('PUBLISH', stream, '{"id":"' .. id .. '",' .. string.sub(body, 2))
end
