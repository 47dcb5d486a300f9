--- The pickles that torch.save writes, read without running what they ask for: only what makes
--- tables, numbers, text and tensors is known here; everything else is refused by its name.
local core = require "tide.core"
local errors = require "tide.errors"
local ops = require "tide.ops"
local reader = require "tide.saving.pickle"

local pickle = {}

local LARGEST = 1 << 40 -- bytes of a member; what an archive claims is checked against its file
local LARGEST_PICKLE = 1 << 24 -- of a compressed one; PyTorch compresses none

-- PyTorch's storages: name of the class -> dtype, bytes per element.
local storages = {
  FloatStorage = { "float32", 4 }, DoubleStorage = { "float64", 8 }, HalfStorage = { "float16", 2 },
  BFloat16Storage = { "bfloat16", 2 }, LongStorage = { "int64", 8 }, IntStorage = { "int32", 4 },
  CharStorage = { "int8", 1 }, ByteStorage = { "uint8", 1 }, BoolStorage = { "bool", 1 },
}

-- What a tensor is rebuilt from: its storage, where it begins there, shape and strides.
local function rebuild(args, refuse)
  local storage, offset, size, stride = args[1], args[2], args[3], args[4]
  if type(storage) ~= "table" or not storage.dtype or math.type(offset) ~= "integer" or offset < 0
    or type(size) ~= "table" or type(stride) ~= "table" or #size ~= #stride or #size > 32 then
    refuse "describes a tensor that cannot be"
  end
  local last, count = offset, 1
  for i, n in ipairs(size) do
    local step = stride[i]
    if math.type(n) ~= "integer" or math.type(step) ~= "integer" or n < 0 or n > LARGEST
      or step < 0 or step > LARGEST or count * n > LARGEST then
      refuse "describes a tensor that cannot be"
    end
    count, last = count * n, last + math.max(n - 1, 0) * step
  end
  if count > 0 and last >= storage.count then
    refuse("describes a tensor past the end of its storage (%d elements, got the element %d)",
      storage.count, last)
  end
  return { dtype = storage.dtype, shape = size, stride = stride, offset = offset, count = count,
    storage = storage, tensor = true }
end

-- Functions that pickles of tensors call: name -> what it gives for its arguments.
local functions = {
  ["collections.OrderedDict"] = function(args, refuse)
    if #args > 0 then
      refuse "makes an OrderedDict of a list"
    end
    return reader.dictionary()
  end,
  ["torch._utils._rebuild_tensor_v2"] = rebuild,
  ["torch._utils._rebuild_tensor"] = rebuild,
  ["torch._utils._rebuild_parameter"] = function(args, refuse)
    if type(args[1]) ~= "table" or not args[1].tensor then
      refuse "makes a parameter of what is no tensor"
    end
    return args[1]
  end,
}

-- What stands for the names in pickles of tensors.
local function classes(full)
  local storage = storages[full:match "^torch%.(%w+)$"]
  return storage and { class = full, storage = storage }
    or functions[full] and { class = full, call = functions[full] }
end

-- A storage: ("storage", its class, key, place, number of elements).
local function persistent(id, refuse)
  local kind = type(id) == "table" and type(id[2]) == "table" and id[2].storage
  if not kind or id[1] ~= "storage" or type(id[3]) ~= "string"
    or math.type(id[5]) ~= "integer" or id[5] < 0 then
    refuse "holds tensors of a kind that is not read here (sparse, quantized or complex?)"
  end
  return { dtype = kind[1], width = kind[2], key = id[3], count = id[5] }
end

-- The tensor that a description names, from the archive's member.
local function tensor_of(d, archive, sizes, prefix, where)
  local width = d.storage.width
  local member, size = prefix .. "data/" .. d.storage.key, d.storage.count * width
  if d.count > 0 and sizes[member] and sizes[member] ~= size then -- before it is unpacked
    errors.raise("load_torch", "%s: the storage %s has the wrong size (expected %d bytes, got %d)",
      where, d.storage.key, size, sizes[member])
  end
  local bytes = d.count > 0 and core.zip_read(archive, member, LARGEST) or ""
  -- the axes by falling strides: a transposed tensor is stored in that order without gaps
  local order, expected = {}, 1
  for i = 1, #d.shape do
    order[i] = i
  end
  table.sort(order, function(a, b)
    if d.stride[a] ~= d.stride[b] then
      return d.stride[a] > d.stride[b]
    end
    return a < b
  end)
  local shape, back = {}, {}
  for i = #order, 1, -1 do
    local axis = order[i]
    shape[i], back[axis] = d.shape[axis], i
    if d.shape[axis] > 1 then
      if d.count > 0 and d.stride[axis] ~= expected then
        errors.raise("load_torch", "%s holds a tensor of shape [%s] that is spread in its \z
          storage; save it with .contiguous()", where, table.concat(d.shape, ", "))
      end
      expected = expected * d.shape[axis]
    end
  end
  local from = d.offset * width
  local t = core.from_bytes(d.dtype, shape, bytes:sub(from + 1, from + d.count * width))
  local turned = false
  for i, k in ipairs(back) do
    turned = turned or i ~= k
  end
  return turned and ops.transpose(t, back) or t
end

-- Tensors of a dictionary by name, those of dictionaries in it behind a dot.
local function gather(d, prefix, out, depth, refuse)
  if depth > 16 then
    refuse "is nested deeper than 16 dictionaries"
  end
  for _, k in ipairs(d.keys) do
    local v = d.values[k]
    if type(v) == "table" and v.tensor then
      out[#out + 1] = { name = prefix .. tostring(k), tensor = v }
    elseif type(v) == "table" and v.dictionary then
      gather(v, prefix .. tostring(k) .. ".", out, depth + 1, refuse)
    end
  end
end

--- Opens a file of torch.save: list of { name, dtype, shape } in the file's order, and a function
--- that reads the i-th tensor.
function pickle.open(path)
  local archive, members = core.zip_open(path)
  local prefix
  local sizes, stored = {}, {}
  for _, m in ipairs(members) do
    sizes[m.name], stored[m.name] = m.size, m.stored
    prefix = prefix or m.name:match "^(.*)data%.pkl$"
  end
  if not prefix then
    errors.raise("load_torch", "%s: the archive holds no data.pkl; is it PyTorch's?", path)
  end
  local function refuse(what, ...)
    errors.raise("load_torch", "%s " .. what, path, ...)
  end
  local description = prefix .. "data.pkl"
  local text = core.zip_read(archive, description,
    math.max(LARGEST_PICKLE, 2 * stored[description]))
  local top = reader.parse(text, { owner = "load_torch", where = path,
    stored = stored[description], classes = classes, persistent = persistent, kind = "state dict",
    advice = "only tensors, numbers, text and tables of them are read: save model.state_dict() \z
      with safetensors.torch.save_file" })
  if type(top) ~= "table" or not top.dictionary then
    refuse "holds no dictionary of tensors; save model.state_dict()"
  end
  local found = {}
  gather(top, "", found, 1, refuse)
  local entries = {}
  for i, e in ipairs(found) do
    entries[i] = { name = e.name, dtype = e.tensor.dtype, shape = e.tensor.shape }
  end
  return entries, function(i)
    return tensor_of(found[i].tensor, archive, sizes, prefix, path)
  end
end

return pickle
