--- The pickles that torch.save writes, read without running what they ask for: only what makes
--- tables, numbers, text and tensors is known here; everything else is refused by its name.
local core = require "tide.core"
local errors = require "tide.errors"
local ops = require "tide.ops"

local pickle = {}

local LARGEST = 1 << 40 -- bytes of a member; what an archive claims is checked against its file
local LARGEST_PICKLE = 1 << 24 -- of a compressed one; PyTorch compresses none
local PLENTY = 16 << 10 -- kB that the values of a pickle may take beside eight times its bytes
local MARK = {}

-- PyTorch's storages: name of the class -> dtype, bytes per element.
local storages = {
  FloatStorage = { "float32", 4 }, DoubleStorage = { "float64", 8 }, HalfStorage = { "float16", 2 },
  BFloat16Storage = { "bfloat16", 2 }, LongStorage = { "int64", 8 }, IntStorage = { "int32", 4 },
  CharStorage = { "int8", 1 }, ByteStorage = { "uint8", 1 }, BoolStorage = { "bool", 1 },
}

-- A dictionary: its keys in order, and the values by key.
local function dictionary()
  return { keys = {}, values = {}, dictionary = true }
end

local function set(d, k, v, refuse)
  if type(d) ~= "table" or not d.dictionary then
    refuse "sets an item of what is no dictionary"
  elseif type(k) ~= "string" and math.type(k) ~= "integer" then
    refuse "has a dictionary whose keys are neither text nor whole numbers"
  end
  if d.values[k] == nil then
    d.keys[#d.keys + 1] = k
  end
  d.values[k] = v
end

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
    return dictionary()
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

-- The values of a pickle's text. `where` names the file in messages, of which `stored` bytes make
-- the text: a compressed text of many values would take much more.
local function parse(text, where, stored)
  local stack, memo, memoized, at = {}, {}, 0, 1
  local begun, most, opcodes = collectgarbage "count", PLENTY + 8 * stored / 1024, 0
  local looked = begun + most
  local function refuse(what, ...)
    errors.raise("load_torch", "%s " .. what, where, ...)
  end
  local function damaged()
    refuse "is damaged: its pickle ends early or makes no sense"
  end
  local function take(format)
    local ok, v, next_at = pcall(string.unpack, format, text, at)
    if not ok then
      damaged()
    end
    at = next_at
    return v
  end
  local function line()
    local stop = text:find("\n", at, true) or damaged()
    local v = text:sub(at, stop - 1)
    at = stop + 1
    return v
  end
  local function push(v)
    stack[#stack + 1] = v
  end
  local function pop()
    local v = stack[#stack]
    if v == nil or v == MARK then
      damaged()
    end
    stack[#stack] = nil
    return v
  end
  -- What stands above the last mark, which goes.
  local function above()
    local from = #stack
    while from > 0 and stack[from] ~= MARK do
      from = from - 1
    end
    if from == 0 then
      damaged()
    end
    local out = table.move(stack, from + 1, #stack, 1, {})
    for i = #stack, from, -1 do
      stack[i] = nil
    end
    return out
  end
  local function top()
    local v = stack[#stack]
    return type(v) == "table" and v ~= MARK and v or damaged()
  end
  local function global(module, name)
    local full = module .. "." .. name
    if module == "torch" and storages[name] then
      push { class = full, storage = storages[name] }
    elseif functions[full] then
      push { class = full, call = functions[full] }
    else
      refuse("asks for %s, which would run code; only tensors, numbers, text and tables of them \z
        are read: save model.state_dict() with safetensors.torch.save_file", (full:gsub("%c", "?")))
    end
  end
  local function get(key)
    local v = memo[key]
    if v == nil then
      damaged()
    end
    push(v)
  end
  local none = { none = true }
  local codes = {
    ["\x80"] = function() take "B" end, -- protocol
    ["\x95"] = function() take "<i8" end, -- frame
    ["}"] = function() push(dictionary()) end,
    ["]"] = function() push {} end,
    [")"] = function() push {} end,
    ["("] = function() stack[#stack + 1] = MARK end,
    ["0"] = function() pop() end,
    ["N"] = function() push(none) end,
    ["\x88"] = function() push(true) end,
    ["\x89"] = function() push(false) end,
    ["K"] = function() push(take "B") end,
    ["M"] = function() push(take "<I2") end,
    ["J"] = function() push(take "<i4") end,
    ["G"] = function() push(take ">d") end,
    ["\x8a"] = function()
      local n = take "B"
      push(n == 0 and 0 or n <= 8 and take("<i" .. n)
        or refuse "holds a number of more than 64 bits")
    end,
    ["X"] = function() push(take "<s4") end,
    ["\x8c"] = function() push(take "s1") end,
    ["q"] = function() memo[take "B"] = stack[#stack] end,
    ["r"] = function() memo[take "<I4"] = stack[#stack] end,
    ["\x94"] = function()
      memo[memoized] = stack[#stack]
      memoized = memoized + 1
    end,
    ["h"] = function() get(take "B") end,
    ["j"] = function() get(take "<I4") end,
    ["t"] = function() push(above()) end,
    ["\x85"] = function() push { pop() } end,
    ["\x86"] = function()
      local b = pop()
      push { pop(), b }
    end,
    ["\x87"] = function()
      local c, b = pop(), pop()
      push { pop(), b, c }
    end,
    ["c"] = function()
      local module = line()
      global(module, line())
    end,
    ["\x93"] = function()
      local name = pop()
      global(tostring(pop()), tostring(name))
    end,
    ["Q"] = function() -- a storage: ("storage", its class, key, place, number of elements)
      local id = pop()
      local kind = type(id) == "table" and type(id[2]) == "table" and id[2].storage
      if not kind or id[1] ~= "storage" or type(id[3]) ~= "string"
        or math.type(id[5]) ~= "integer" or id[5] < 0 then
        refuse "holds tensors of a kind that is not read here (sparse, quantized or complex?)"
      end
      push { dtype = kind[1], width = kind[2], key = id[3], count = id[5] }
    end,
    ["R"] = function()
      local args, f = pop(), pop()
      if type(f) ~= "table" or not f.call or type(args) ~= "table" then
        damaged()
      end
      push(f.call(args, refuse))
    end,
    ["b"] = function() pop() end, -- attributes of a dictionary (_metadata)
    ["s"] = function()
      local v, k = pop(), pop()
      set(top(), k, v, refuse)
    end,
    ["u"] = function()
      local items = above()
      for i = 1, #items - 1, 2 do
        set(top(), items[i], items[i + 1], refuse)
      end
    end,
    ["a"] = function()
      local v = pop()
      table.insert(top(), v)
    end,
    ["e"] = function()
      local items = above()
      local to = top()
      table.move(items, 1, #items, #to + 1, to)
    end,
  }
  while true do
    local code = text:sub(at, at)
    at, opcodes = at + 1, opcodes + 1
    if opcodes % 4096 == 0 and collectgarbage "count" > looked then
      collectgarbage()
      looked = collectgarbage "count" + most
      if looked - most > begun + most then
        refuse "describes more values than a state dict of its size has"
      end
    end
    if code == "." then
      return pop()
    end
    local f = codes[code]
    if not f then
      if code == "" then
        damaged()
      end
      refuse("holds the pickle's opcode 0x%02x, which state dicts do not need", code:byte())
    end
    f()
  end
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
  local top = parse((core.zip_read(archive, description, math.max(LARGEST_PICKLE,
    2 * stored[description]))), path, stored[description])
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
