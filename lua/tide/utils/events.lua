--- TensorBoard's event files: records with masked CRC-32C (TFRecord), each a protobuf Event.
local core = require "tide.core"
local errors = require "tide.errors"
local protobuf = require "tide.utils.protobuf"

local events = {}

local integer, double, bytes = protobuf.integer, protobuf.double, protobuf.bytes

-- ---- messages ----

local FLOAT, DOUBLE, STRING = 1, 2, 7 -- DataType
local SCALAR, TENSOR, BLOBS = 1, 2, 3 -- DataClass

local function shape_of(sizes)
  local out = {}
  for i, n in ipairs(sizes) do
    out[i] = bytes(2, integer(1, n))
  end
  return table.concat(out)
end

local function tensor(dtype, sizes, values)
  return integer(1, dtype) .. bytes(2, shape_of(sizes)) .. values
end

local function value(tag, plugin, class, data)
  return bytes(1, bytes(1, tag) .. bytes(8, data)
    .. bytes(9, bytes(1, bytes(1, plugin)) .. integer(4, class)))
end

--- A summary of one number.
function events.scalar(tag, v)
  return value(tag, "scalars", SCALAR, tensor(FLOAT, {}, bytes(5, string.pack("<f", v))))
end

--- A summary of counts: a list of { left, right, count }.
function events.histogram(tag, bins)
  local out = {}
  for i, b in ipairs(bins) do
    out[i] = string.pack("<ddd", b[1], b[2], b[3])
  end
  return value(tag, "histograms", TENSOR,
    tensor(DOUBLE, { #bins, 3 }, bytes(6, table.concat(out))))
end

--- A summary of pictures of one size, as PNG files.
function events.images(tag, width, height, pngs)
  local out = { bytes(8, tostring(width)), bytes(8, tostring(height)) }
  for i, png in ipairs(pngs) do
    out[i + 2] = bytes(8, png)
  end
  return value(tag, "images", BLOBS, tensor(STRING, { #pngs + 2 }, table.concat(out)))
end

--- A GraphDef: a list of nodes { name, op, inputs = list of names, shapes = list of sizes, -1 where
--- one is not known }.
function events.graph(nodes)
  local out = {}
  for i, n in ipairs(nodes) do
    local parts = { bytes(1, n.name), bytes(2, n.op) }
    for _, from in ipairs(n.inputs) do
      parts[#parts + 1] = bytes(3, from)
    end
    local shapes = {}
    for k, sizes in ipairs(n.shapes or {}) do
      shapes[k] = bytes(7, shape_of(sizes))
    end
    parts[#parts + 1] = bytes(5, bytes(1, "_output_shapes")
      .. bytes(2, bytes(1, table.concat(shapes))))
    out[i] = bytes(1, table.concat(parts))
  end
  return table.concat(out) .. bytes(4, integer(1, 1087))
end

-- ---- files ----

local function masked(text)
  local c = core.crc32c(text)
  return string.pack("<I4", ((c >> 15 | c << 17) + 0xa282ead8) & 0xffffffff)
end

--- A record of these bytes.
function events.record(data)
  local length = string.pack("<I8", #data)
  return length .. masked(length) .. data .. masked(data)
end

local record = events.record

local Writer = {}
Writer.__index = Writer
local made = 0

-- The first word of a file that the system makes.
local function first_word(path)
  local f <close> = io.open(path)
  return f and (f:read "l" or ""):match "^[%w%.%-_]+" or nil
end

--- The name of this machine, for files that tell runs of several apart.
function events.host()
  return first_word "/proc/sys/kernel/hostname" or "localhost"
end

--- A new event file in `folder`, which is made where it is not there.
--- @param folder string
--- @return table writer: `add(step, summary)`, `add_graph(graph)`, `flush()`
function events.writer(folder)
  core.mkdirs(folder)
  made = made + 1
  local path = ("%s/events.out.tfevents.%010d.%s.%s.%d"):format(folder, os.time(),
    events.host(),
    first_word "/proc/self/stat" or "0", made)
  local self = setmetatable({ path = path, pending = {} }, Writer)
  local start = double(1, os.time()) .. bytes(3, "brain.Event:2")
  core.append_file(path, record(start), 0)
  return self
end

--- Adds summaries, one string or several behind each other, at a step.
function Writer:add(step, summary)
  self.pending[#self.pending + 1] = record(double(1, os.time()) .. integer(2, step)
    .. bytes(5, summary))
end

--- Adds what `events.graph` made.
function Writer:add_graph(graph)
  self.pending[#self.pending + 1] = record(double(1, os.time()) .. bytes(4, graph))
end

--- Writes what was added. Where there is no room that is said once, and it stays for later.
function Writer:flush()
  if #self.pending == 0 then
    return
  end
  local ok, e = pcall(core.append_file, self.path, table.concat(self.pending))
  if ok then
    self.pending = {}
  elseif not errors.is(e) then -- Ctrl-C
    error(e, 0)
  elseif not self.told then
    self.told = true
    errors.warn("TensorBoard: %s; training goes on, the events are kept until there is room",
      tostring(e.message or e))
  end
end

return events
