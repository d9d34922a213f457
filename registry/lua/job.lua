-- Fields of a new run's job hash: RQ's and ours; the value at index 2 is the run's data. `optional` may be nil. Needs time.lua.
local job_stamp
local function job_fields(status, queue, task, timeout, trigger, optional)
  job_stamp = job_stamp or utc_text()
  local stamp = job_stamp
  local fields = {'data', '', 'taskq', '1', 'task', task, 'status', status, 'origin', queue, 'description', task,
    'created_at', stamp, 'timeout', timeout, 'trigger', trigger}
  if status == 'queued' then
    fields[19], fields[20] = 'enqueued_at', stamp
  end
  if optional then
    for name, value in pairs(optional) do
      if value ~= '' then
        fields[#fields + 1] = name
        fields[#fields + 1] = value
      end
    end
  end
  return fields
end
