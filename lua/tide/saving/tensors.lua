--- Plain tensors in files: one tensor, a list of tensors, or tables of them by name.
---
--- `.safetensors` keeps any structure (nested tables too) and all dtypes; `.npy` keeps one tensor
--- and `.npz` a list or a table by name, as numpy.save and numpy.savez write them. Loading runs no
--- code: pickled objects are refused.
local check = require "tide.check"
local core = require "tide.core"
local ends = require "tide.ends"
local errors = require "tide.errors"
local guard = require "tide.saving.guard"
local json = require "tide.utils.json"
local ops = require "tide.ops"

local tensors = {}

local NESTED = 64 -- tables in tables
local LARGEST = 1 << 40 -- bytes of a member; what an archive claims is checked against its file

-- ---- structures ----

local function is_list(v)
  return v[1] ~= nil
end

-- Keys of a table by name, sorted; positions of a list, without holes.
local function keys_of(v, owner, at)
  local keys = {}
  for k in pairs(v) do
    if type(k) ~= (is_list(v) and "number" or "string") then
      errors.raise(owner, "%s has the key %s (expected a list, or names)%s", at, check.show(k),
        is_list(v) and "; a table is one or the other" or "")
    end
    keys[#keys + 1] = k
  end
  table.sort(keys)
  for i = 1, is_list(v) and #keys or 0 do
    if keys[i] ~= i then
      errors.raise(owner, "%s has no element %d; lists have no holes", at, i)
    end
  end
  return keys
end

-- Adds the tensors of a structure to `out` as { name, tensor }, and returns what describes it: a
-- name, or { list = … } or { by_name = … } of descriptions.
local function flatten(v, name, out, owner, depth)
  local at = name == "" and "the table" or ("'%s'"):format(name)
  if core.is_tensor(v) then
    out[#out + 1] = { name == "" and "tensor" or name, v:detach() }
    return out[#out][1]
  elseif not check.is_list(v) and not check.is_plain(v) then
    errors.raise(owner, "%s must be a tensor or a table of tensors (got %s)",
      name == "" and "what is saved" or at, check.show(v))
  elseif depth > NESTED then
    errors.raise(owner, "%s is nested deeper than %d tables, or holds itself", at, NESTED)
  end
  local keys = keys_of(v, owner, at)
  if #keys == 0 then
    errors.raise(owner, "%s is empty; there is nothing to save", at)
  end
  local parts = {}
  for i, k in ipairs(keys) do
    if type(k) == "string" and (k == "" or k:find "[%c/]") then
      errors.raise(owner, "%s is no name for a file (empty, or with / or a control character)",
        check.show(k))
    end
    local full = (name == "" and "" or name .. "/") .. k
    parts[is_list(v) and i or k] = flatten(v[k], full, out, owner, depth + 1)
  end
  return is_list(v) and { list = parts } or { by_name = parts }
end

-- The structure that a description tells, from tensors by name.
local function rebuild(description, by_name, path, depth)
  if type(description) == "string" and by_name[description] then
    return by_name[description]
  end
  local parts = depth <= NESTED and type(description) == "table"
    and (description.list or description.by_name)
  if type(parts) ~= "table" then
    errors.raise("load", "%s: the description of its structure is damaged", path)
  end
  local out = {}
  for k, v in pairs(parts) do
    out[k] = rebuild(v, by_name, path, depth + 1)
  end
  return out
end

-- ---- safetensors ----

local function save_safetensors(v, path)
  local entries = {}
  local description = flatten(v, "", entries, "save", 1)
  core.safetensors_write(path, entries, { format = "tide",
    tide_tensors = json.written({ structure = description }, path) })
end

local function load_safetensors(path)
  local file <close>, entries, metadata = core.safetensors_open(path)
  if metadata.tide then
    errors.raise("load", "%s holds a model or its weights; tide.load_model reads the one, \z
      model:load_weights the other", path)
  end
  local by_name = {}
  for i, e in ipairs(entries) do
    by_name[e.name] = core.safetensors_read(file, i)
  end
  if not metadata.tide_tensors then
    return by_name
  end
  local header = json.decode(metadata.tide_tensors, path .. ": __metadata__.tide_tensors")
  return rebuild(type(header) == "table" and header.structure, by_name, path, 1)
end

-- ---- npy ----

local descr = { float32 = "<f4", float64 = "<f8", float16 = "<f2", int64 = "<i8", int32 = "<i4",
  int8 = "|i1", uint8 = "|u1", bool = "|b1" }
local kinds = { f4 = "float32", f8 = "float64", f2 = "float16", i8 = "int64", i4 = "int32",
  i1 = "int8", u1 = "uint8", b1 = "bool" }
-- What Tide has no dtype for, and holds without loss in a wider one: bytes, wider dtype, signed.
local wider = { i2 = { 2, "int32", true }, u2 = { 2, "int32" }, u4 = { 4, "int64" } }
local LONG = "u8" -- read as int64, if int64 holds all of its numbers

local MAGIC = "\x93NUMPY"

-- A tensor as the bytes of an .npy file (version 1 of NumPy's format).
local function npy_of(t, name)
  local d = descr[t.dtype]
  if not d then
    errors.raise("save", "%s is %s, which .npy files do not have; cast it, or name the file "
      .. ".safetensors", name, t.dtype)
  end
  local shape = table.concat(t.shape:totable(), ", ")
  local header = ("{'descr': '%s', 'fortran_order': False, 'shape': (%s%s), }"):format(d, shape,
    #t.shape == 1 and "," or "")
  local pad = -(#MAGIC + 4 + #header + 1) % 64
  header = header .. (" "):rep(pad) .. "\n"
  return MAGIC .. "\1\0" .. ("<s2"):pack(header) .. t:tobytes()
end

-- Whole numbers of `width` bytes as the wider dtype: the sum of their bytes' parts.
local function widened(bytes, count, width, dtype, signed)
  local parts = ops.cast(core.from_bytes("uint8", { count, width }, bytes), dtype)
  local y
  for i = 1, width do
    local part = parts[{ {}, i }] * (1 << (8 * (i - 1)))
    y = y and y + part or part
  end
  if signed then
    local half = 1 << (8 * width - 1)
    y = ops.where(ops.greater_equal(y, half), y - 2 * half, y)
  end
  return y
end

local AXES = 8 -- of texts
local HEADER = 1 << 20 -- of an .npy file: NumPy's have 64 to some hundred bytes

-- What the header of an .npy file says. `bytes` are its first, `size` is how many it has.
local function header_of(bytes, size, path)
  local function refuse(what, ...)
    errors.raise("load", "%s: " .. what, path, ...)
  end
  if bytes:sub(1, 6) ~= MAGIC or #bytes < 10 then
    refuse "is no .npy file"
  end
  local version = bytes:byte(7)
  local ok, header, at = pcall(string.unpack, version == 1 and "<s2" or "<s4", bytes, 9)
  if version < 1 or version > 3 or not ok then
    refuse("has a damaged header, or one of a later version (%d)", version)
  end
  local type_name = header:match "'descr':%s*'([^']*)'"
  local fortran = header:match "'fortran_order':%s*(%a+)"
  local sizes = header:match "'shape':%s*%(([%d%s,]*)%)"
  if not type_name or not sizes or fortran ~= "True" and fortran ~= "False" then
    refuse "holds a structured array or has a damaged header; only arrays of numbers are read"
  end
  local shape, count = {}, 1
  for n in sizes:gmatch "%d+" do
    shape[#shape + 1] = math.tointeger(tonumber(n))
    count = shape[#shape] and count * shape[#shape]
    if not count or shape[#shape] > LARGEST or count > LARGEST then
      refuse("its shape (%s) is larger than any file", sizes)
    end
  end
  local order, kind = type_name:match "^([<>|=]?)(%a%d+)$"
  local width = kind and tonumber(kind:match "%d+") or 0
  local text = kind and kind:match "^([US])%d+$"
  width = text == "U" and 4 * width or width
  if not kinds[kind or ""] and not wider[kind or ""] and not text and kind ~= LONG then
    refuse("its elements are '%s', which no dtype holds; write it with array.astype('float32') or "
      .. "another dtype of Tide's%s", type_name,
      type_name:find "O" and " (pickled objects are never loaded)" or "")
  elseif text and (width == 0 or #shape > AXES) then
    refuse("holds texts of %d bytes with %d axes (expected 1 byte, and %d axes at most)", width,
      #shape, AXES)
  elseif size - at + 1 ~= count * width then
    refuse("holds %d bytes of elements (expected %d)", size - at + 1, count * width)
  end
  return { at = at, shape = shape, count = count, width = width, kind = kind, text = text,
    swapped = order == ">", fortran = fortran == "True" }
end

-- Texts as a list, or lists of lists by axis: NumPy's "U" has four bytes per character, "S" one;
-- zeros behind a text do not count.
local function texts_of(h, data, path)
  local all = {}
  for i = 1, h.count do
    local from = (i - 1) * h.width
    if h.text == "S" then
      all[i] = ends.without(data:sub(from + 1, from + h.width), "\0")
    else
      local out = {}
      for k = 0, h.width // 4 - 1 do
        local c = (h.swapped and ">I4" or "<I4"):unpack(data, from + 4 * k + 1)
        if c > 0x10ffff or c >= 0xd800 and c < 0xe000 then
          errors.raise("load", "%s: text %d holds what is no character (got U+%04X)", path, i, c)
        end
        out[k + 1] = utf8.char(c)
      end
      all[i] = ends.without(table.concat(out), "\0")
    end
  end
  local strides, step, n = {}, 1, #h.shape
  for k = 1, n do
    local axis = h.fortran and k or n + 1 - k
    strides[axis], step = step, step * h.shape[axis]
  end
  local function nest(axis, at)
    if axis > n then
      return all[at]
    end
    local out = {}
    for i = 1, h.shape[axis] do
      out[i] = nest(axis + 1, at + (i - 1) * strides[axis])
    end
    return out
  end
  return h.count > 0 and nest(1, 1) or {}
end

-- The tensor in the bytes of an .npy file, or the texts.
local function tensor_of(bytes, path)
  local h = header_of(bytes, #bytes, path)
  if h.text then
    return texts_of(h, bytes:sub(h.at), path)
  end
  local data, shape, count, width, kind = bytes:sub(h.at), h.shape, h.count, h.width, h.kind
  if h.swapped and width > 1 and count > 0 then
    data = ops.flip(core.from_bytes("uint8", { count, width }, data), 2):tobytes()
  end
  local reversed = {}
  for i = 1, #shape do
    reversed[i] = shape[#shape + 1 - i]
  end
  local given = h.fortran and reversed or shape
  local t
  if kinds[kind] or kind == LONG then
    t = core.from_bytes(kinds[kind] or "int64", given, data)
    if kind == LONG and count > 0 and ops.min(t) < 0 then
      errors.raise("load", "%s holds numbers from 2^63 on, which no dtype holds", path)
    end
  else
    t = ops.reshape(widened(data, count, width, wider[kind][2], wider[kind][3]), given)
  end
  return h.fortran and #shape > 1 and ops.copy(ops.transpose(t)) or t
end

--- The tensor in the bytes of an .npy file; `path` names them in messages.
tensors.npy = tensor_of

local function save_npy(v, path)
  if not core.is_tensor(v) then
    errors.raise("save", "%s: an .npy file holds one tensor (got %s); .npz and .safetensors hold "
      .. "tables of them", path, check.show(v))
  end
  core.write_file(path, npy_of(v, path))
end

-- A tensor over the file itself: its pages are read when they are asked for. What is written to it
-- stays in this process.
local function map_npy(path)
  local size = core.file_size(path)
  local h = header_of(core.read_file(path, LARGEST, HEADER), size or 0, path)
  local why = h.swapped and h.width > 1 and "its bytes are in the other order"
    or not kinds[h.kind] and ("its elements are '%s'"):format(h.kind)
    or (h.at - 1) % h.width ~= 0 and "its elements begin at an odd place"
  if why then
    errors.raise("load", "%s cannot be mapped, for %s; load it without mmap", path, why)
  elseif h.count == 0 then
    return core.zeros(h.shape, { dtype = kinds[h.kind] })
  end
  local shape = {}
  for i = 1, #h.shape do
    shape[i] = h.fortran and h.shape[#h.shape + 1 - i] or h.shape[i]
  end
  local t = core.map_file(path, kinds[h.kind], shape, h.at - 1)
  return h.fortran and #shape > 1 and ops.transpose(t) or t
end

local function load_npy(path, o)
  if o and o.mmap then
    return map_npy(path)
  end
  return tensor_of(core.read_file(path, LARGEST), path)
end

-- ---- npz ----

local function save_npz(v, path)
  local entries = {}
  local description = flatten(v, "", entries, "save", 1)
  for i, e in ipairs(entries) do
    if e[1]:find "/" then
      errors.raise("save", "%s: '%s' lies in a table of the table, which .npz files do not keep; "
        .. "name the file .safetensors", path, e[1])
    elseif type(description) == "string" then
      e[1] = "arr_0"
    elseif description.list then
      e[1] = ("arr_%d"):format(i - 1)
    end
  end
  tensors.write_npz(path, entries)
end

--- Writes tensors, { name, tensor }, as an .npz file.
function tensors.write_npz(path, entries)
  local members = {}
  for i, e in ipairs(entries) do
    members[i] = { e[1] .. ".npy", npy_of(e[2], e[1]) }
  end
  core.zip_write(path, members)
end

--- What an .npz file holds, in its order: list of { name, shape }, and a function of the place in
--- it that reads the tensor.
--- Members of texts are refused unless `texts` is true.
function tensors.open_npz(path, texts)
  local z, members = core.zip_open(path)
  local entries = {}
  for i, m in ipairs(members) do
    local name = m.name:gsub("%.npy$", "")
    -- a member may be compressed
    local h = header_of(core.zip_head(z, m.name, HEADER), m.size, path .. ": " .. name)
    if h.text and not texts then
      errors.raise("load", "%s: %s holds texts (expected numbers)", path, name)
    end
    entries[i] = { name = name, shape = h.shape }
  end
  return entries, function(i)
    return tensor_of((core.zip_read(z, members[i].name, LARGEST)), path .. ": " .. entries[i].name)
  end
end

local function load_npz(path)
  local entries, read = tensors.open_npz(path, true)
  local out, unnamed = {}, 0
  for i, e in ipairs(entries) do
    out[e.name] = read(i)
    unnamed = unnamed + (e.name:find "^arr_%d+$" and 1 or 0)
  end
  if unnamed == 0 or unnamed ~= #entries then
    return out
  end
  local list = {}
  for i = 1, unnamed do
    list[i] = out["arr_" .. i - 1]
    if not list[i] then
      return out
    end
  end
  return list
end

-- ---- by extension ----

local formats = {
  safetensors = { save_safetensors, load_safetensors },
  npy = { save_npy, load_npy },
  npz = { save_npz, load_npz },
}

local function format_of(path, owner)
  local ext = path:match "%.(%w+)$"
  local format = formats[ext]
  if not format then
    errors.raise(owner, "%s: the name must end in .safetensors, .npy or .npz%s", check.show(path),
      (ext == "keras" or ext == "h5") and "; models are written by model:save and read by "
        .. "tide.load_model" or "")
  end
  return format
end

local save_args = check.args("save", {
  { "tensors", "any", check.required, "a tensor, a list of tensors, or tables of them by name",
    dict = true },
  { "path", "string", check.required, "ends in .safetensors, .npy or .npz" },
  { "overwrite", "bool", true, "replace an existing file" },
})

--- Writes a tensor, a list of tensors or a table of them by name to a file, atomically; a model is
--- written as model:save writes it. PyTorch's torch.save of tensors, NumPy's save and savez.
---
--- `.safetensors` keeps nested tables and every dtype, `.npz` lists and tables by name, `.npy` one
--- tensor; the last two have no bfloat16.
---
---     tide.save({ w = tide.ones { 2, 3 }, steps = { tide.zeros { 4 } } }, "state.safetensors")
---     local state = tide.load "state.safetensors"
function tensors.save(...)
  local o = save_args:call(...)
  if type(o.tensors) == "table" and o.tensors.kind == "layer" then
    return o.tensors:save(o.path, { overwrite = o.overwrite })
  end
  local format = format_of(o.path, "save")
  if not o.overwrite and core.file_exists(o.path) then
    errors.raise("save", "%s exists already and overwrite is false", o.path)
  end
  format[1](o.tensors, o.path)
end

local load_args = check.args("load", {
  { "path", "string", check.required, "ends in .safetensors, .npy or .npz" },
}, { named = {
  { "mmap", "bool", false, "an .npy file's pages are read when they are asked for" } } })

--- Reads what `tide.save` wrote, or any .safetensors, .npy or .npz file of numbers: a tensor, or a
--- table of them by name (a list where the file holds one). Arrays in Fortran's order and of the
--- other byte order are read too; int16, uint16 and uint32 become the next wider dtype, uint64
--- int64; arrays of texts are lists. With `mmap = true` an .npy file larger than the memory is a
--- tensor at once: its pages are read when they are asked for, and writing to it changes no file.
---
---     local state = tide.load "state.safetensors"
--- @return userdata|table
function tensors.load(...)
  local first = ...
  if type(first) ~= "string" and not check.is_plain(first) or first == "" then
    errors.raise("load", "takes a path (got %s)", check.show(first))
  end
  local o = load_args:call(...)
  if o.mmap and not o.path:find "%.npy$" then
    errors.raise("load", "%s: only .npy files are mapped; load it without mmap", o.path)
  end
  return guard.read("load", o.path, "the file is damaged", format_of(o.path, "load")[2], o.path, o)
end

return tensors
