--- Traces: what ran when, as lines of spans, in the forms that others open: TensorBoard's profile
--- (a message XSpace) and Perfetto or chrome://tracing (JSON).
---
--- A line is `{ name = , spans = }`, its spans lists of { name, start, seconds, bytes or nil,
--- arithmetic or nil }, in seconds since the trace began.
local json = require "tide.utils.json"
local protobuf = require "tide.utils.protobuf"

local traces = {}

local integer, bytes = protobuf.integer, protobuf.bytes

local function picoseconds(seconds)
  return math.floor(seconds * 1e12 + 0.5)
end

-- A map's entry.
local function entry(field, id, message)
  return bytes(field, integer(1, id) .. bytes(2, message))
end

local BYTES = 1 -- the number of the statistic

--- The bytes of an XSpace with one plane.
--- @param lines table
--- @param began integer nanoseconds since 1970
--- @param host string name of the machine
function traces.xspace(lines, began, host)
  local ids, names, parts = {}, {}, { integer(1, 1), bytes(2, "/host:CPU") }
  for i, line in ipairs(lines) do
    local events = {}
    for k, span in ipairs(line.spans) do
      local id = ids[span[1]]
      if not id then
        id = #names + 1
        ids[span[1]], names[id] = id, span[1]
      end
      local stat = span[4] and bytes(4, integer(1, BYTES) .. integer(3, span[4])) or ""
      events[k] = bytes(4, integer(1, id) .. integer(2, picoseconds(span[2]))
        .. integer(3, picoseconds(span[3])) .. stat)
    end
    parts[#parts + 1] = bytes(3, integer(1, i) .. bytes(2, line.name) .. integer(3, began)
      .. table.concat(events))
  end
  for id, name in ipairs(names) do
    parts[#parts + 1] = entry(4, id, integer(1, id) .. bytes(2, name))
  end
  parts[#parts + 1] = entry(5, BYTES, integer(1, BYTES) .. bytes(2, "bytes_accessed"))
  return bytes(1, table.concat(parts)) .. bytes(4, host)
end

--- The same as JSON of trace events.
function traces.json(lines)
  local events = {}
  for i, line in ipairs(lines) do
    events[#events + 1] = { ph = "M", pid = 1, tid = i, name = "thread_name",
      args = { name = line.name } }
    for _, span in ipairs(line.spans) do
      events[#events + 1] = { ph = "X", pid = 1, tid = i, name = span[1], ts = span[2] * 1e6,
        dur = span[3] * 1e6, args = span[4] and { bytes = span[4], flops = span[5] } or nil }
    end
  end
  return json.encode { displayTimeUnit = "ms", traceEvents = events }
end

return traces
