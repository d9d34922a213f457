-- Redis' clock: seconds with fraction, whole milliseconds, and RQ's text form (civil date from days: Howard Hinnant).
local clock = redis.call('TIME')
local now_s = tonumber(clock[1])
local now_us = tonumber(clock[2])
local now = now_s + now_us / 1000000
local now_ms = now_s * 1000 + math.floor(now_us / 1000)

local function utc_text()
  local floor = math.floor
  local rest = now_s % 86400
  local z = (now_s - rest) / 86400 + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local day = doy - floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, day, floor(rest / 3600), floor(rest / 60) % 60, rest % 60, now_us)
end
