--- What NumPy writes and computes for Keras' data sets: arrays of lists (pickles in .npz files,
--- read without running them) and the permutations of numpy.random.RandomState.
local core = require "tide.core"
local errors = require "tide.errors"
local pickle = require "tide.saving.pickle"
local tensors = require "tide.saving.tensors"

local numpy = {}

-- ---- pickles ----

local DTYPES = { u1 = "uint8", i1 = "int8", i4 = "int32", i8 = "int64", f4 = "float32",
  f8 = "float64", b1 = "bool" }
local WIDTHS = { u1 = 1, i1 = 1, b1 = 1, i4 = 4, f4 = 4, i8 = 8, f8 = 8 }

local function reconstruct()
  return { array = true }
end

-- numpy.dtype("u1", 0, 1), whose state is (version, byte order, ...)
local function dtype_of(args, refuse)
  local kind = args[1]
  if type(kind) ~= "string" or kind:sub(1, 1) ~= "O" and not DTYPES[kind] then
    refuse("holds an array of '%s', which is not read here", tostring(kind))
  end
  return { dtype = kind }
end

local CLASSES = {
  ["numpy.ndarray"] = { class = true },
  ["numpy.dtype"] = { call = dtype_of },
  ["numpy.core.multiarray._reconstruct"] = { call = reconstruct },
  ["numpy._core.multiarray._reconstruct"] = { call = reconstruct },
  ["_codecs.encode"] = { call = function(args, refuse)
    if type(args[1]) ~= "string" then
      refuse "encodes what is no text"
    end
    local bytes = {}
    for _, c in utf8.codes(args[1]) do -- Python 3's bytes in the pickles of Python 2: latin-1
      bytes[#bytes + 1] = c < 256 and string.char(c) or refuse "holds bytes beyond 255"
    end
    return table.concat(bytes)
  end },
}

-- An array's state: (version, shape, dtype, in Fortran's order, bytes or a list).
local function build(v, state, refuse)
  if type(v) == "table" and v.dtype then
    v.big = type(state) == "table" and state[2] == ">"
    return v
  elseif type(v) ~= "table" or not v.array or type(state) ~= "table" or #state ~= 5
    or type(state[2]) ~= "table" or type(state[3]) ~= "table" then
    refuse "is damaged: it sets the state of what is no array"
  end
  local shape, kind, data = state[2], state[3].dtype, state[5]
  local count = 1
  for _, n in ipairs(shape) do
    count = math.type(n) == "integer" and n >= 0 and n < 1 << 40 and count * n
      or refuse "describes an array that cannot be"
  end
  if type(data) == "table" and kind and kind:sub(1, 1) == "O" then
    if #shape ~= 1 or #data ~= count then
      refuse("holds an array of objects with %d elements (expected %d)", #data, count)
    end
    v.list = data
  elseif type(data) == "string" and DTYPES[kind] and not state[3].big and state[4] ~= true
    and #data == count * WIDTHS[kind] then
    v.dtype_name, v.shape, v.bytes = DTYPES[kind], shape, data
  else
    refuse "describes an array that cannot be"
  end
  return v
end

local function value_of(v)
  if type(v) ~= "table" then
    return v
  elseif v.array then
    return v.list or core.from_bytes(v.dtype_name, v.shape, v.bytes)
  elseif v.dictionary then
    local out = {}
    for _, k in ipairs(v.keys) do
      out[k] = value_of(v.values[k])
    end
    return out
  end
  return v
end

--- The value of a pickle: numbers, texts, lists, dictionaries and arrays of NumPy. Nothing runs;
--- other objects are refused by their name.
--- @param at integer|nil where it begins
function numpy.unpickle(text, path, owner, at)
  return value_of(pickle.parse(text, { owner = owner, where = path, stored = #text, at = at,
    factor = 24, kind = "data set", build = build, advice = "only lists, texts, numbers and \z
      arrays of NumPy are read",
    classes = function(full)
      return CLASSES[full]
    end }))
end

-- ---- .npz ----

local LARGEST = 1 << 32

-- Where the pickle of an array of objects begins; nil where the array is one of numbers.
local function objects_at(bytes)
  local version = bytes:byte(7)
  local ok, header, at = pcall(string.unpack, version == 1 and "<s2" or "<s4", bytes, 9)
  return ok and bytes:sub(1, 6) == "\x93NUMPY" and header:find "'descr':%s*'|O'" and at or nil
end

--- The arrays of an .npz file that are wanted: tensors, and lists for arrays of objects.
--- @param names table list
function numpy.load(path, names, owner)
  local archive, members = core.zip_open(path)
  local there, out = {}, {}
  for _, m in ipairs(members) do
    there[m.name] = true
  end
  for _, name in ipairs(names) do
    if not there[name .. ".npy"] then
      errors.raise(owner, "%s has no array '%s' (expected %s)", path, name,
        table.concat(names, ", "))
    end
    local bytes = core.zip_read(archive, name .. ".npy", LARGEST)
    local at = objects_at(bytes)
    local where = path .. ": " .. name
    out[name] = at and numpy.unpickle(bytes, where, owner, at) or tensors.npy(bytes, where)
  end
  return out
end

-- ---- permutations ----

local N, M = 624, 397

--- The generator of RandomState (Matsumoto and Nishimura 1998, MT19937): a function that gives the
--- next 32 bits.
function numpy.twister(seed)
  local key, at = {}, N
  seed = seed & 0xffffffff
  for i = 0, N - 1 do
    key[i] = seed
    seed = (1812433253 * (seed ~ seed >> 30) + i + 1) & 0xffffffff
  end
  return function()
    if at == N then
      for i = 0, N - 1 do
        local y = key[i] & 0x80000000 | key[(i + 1) % N] & 0x7fffffff
        key[i] = key[(i + M) % N] ~ y >> 1 ~ (y & 1) * 0x9908b0df
      end
      at = 0
    end
    local y = key[at]
    at = at + 1
    y = y ~ y >> 11
    y = y ~ y << 7 & 0x9d2c5680
    y = y ~ y << 15 & 0xefc60000
    return (y ~ y >> 18) & 0xffffffff
  end
end

--- A function of n that gives what `numpy.random.RandomState(seed).shuffle` makes of the rows 1..n,
--- one call after the other.
function numpy.shuffler(seed)
  local draw = numpy.twister(seed)
  return function(n)
    local order = {}
    for i = 1, n do
      order[i] = i
    end
    for i = n - 1, 1, -1 do
      local mask = i
      for shift = 0, 4 do
        mask = mask | mask >> (1 << shift)
      end
      local j
      repeat
        j = draw() & mask
      until j <= i
      order[i + 1], order[j + 1] = order[j + 1], order[i + 1]
    end
    return order
  end
end

--- Rows of a tensor or a list in this order.
function numpy.take(v, order)
  if core.is_tensor(v) then
    return #order == 0 and v or v[core.tensor(order, { dtype = "int64" })]
  end
  local out = {}
  for i, k in ipairs(order) do
    out[i] = v[k]
  end
  return out
end

return numpy
