--- tf.train.Example, the usual content of TFRecord files: features by name, each a list of texts,
--- of float32 or of int64 numbers. Written by `example`, read by `parse_example`.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local protobuf = require "tide.utils.protobuf"
local strings = require "tide.strings"

local M = {}

local bytes, fields = protobuf.bytes, protobuf.fields
local TEXTS, FLOATS, INTEGERS = 1, 2, 3 -- fields of a Feature
local NAMES = { "texts", "float32 numbers", "int64 numbers" }

-- ---- writing ----

local function varints(values)
  local out = {}
  for i, v in ipairs(values) do
    out[i] = protobuf.integer(0, v):sub(2) -- without the tag
  end
  return table.concat(out)
end

-- The bytes of a Feature.
local function feature(v, name)
  local where = ("example: feature '%s'"):format(name)
  if core.is_tensor(v) then
    local whole = not v.dtype:find "float"
    if not whole then
      local raw = v:cast("float32"):reshape({ -1 }):tobytes()
      return bytes(FLOATS, #raw > 0 and bytes(1, raw) or "")
    end
    v = v:cast("int64"):reshape({ -1 }):tolist()
  end
  v = type(v) == "table" and v or { v }
  if #v == 0 then
    return "" -- of no kind
  end
  local whole = true
  for _, x in ipairs(v) do
    whole = whole and math.type(x) == "integer"
    if type(x) ~= type(v[1]) or type(x) ~= "number" and type(x) ~= "string" then
      errors.raise(where, "must be texts, or numbers (got %s)", check.show(x))
    end
  end
  if type(v[1]) == "string" then
    local out = {}
    for i, x in ipairs(v) do
      out[i] = bytes(1, x)
    end
    return bytes(TEXTS, table.concat(out))
  elseif whole then
    return bytes(INTEGERS, bytes(1, varints(v)))
  end
  local out = {}
  for i, x in ipairs(v) do
    out[i] = string.pack("<f", x)
  end
  return bytes(FLOATS, bytes(1, table.concat(out)))
end

--- A serialized tf.train.Example for TFRecordWriter: texts, numbers (whole ones are int64, others
--- float32), lists of such, tensors.
---
---     local text = tide.data.example { label = 3, name = "cat" }
---     tide.data.parse_example(text, { label = { dtype = "int64", shape = {} } }).label   --> 3
--- @param features table by name
--- @return string
function M.example(features)
  if not check.is_plain(features) then
    errors.raise("example", "takes a table of features by name (got %s)", check.show(features))
  end
  local out = {}
  for _, name in ipairs(check.sorted_keys(features)) do
    if type(name) ~= "string" then
      errors.raise("example", "features have names (got %s)", check.show(name))
    end
    out[#out + 1] = bytes(1, bytes(1, name) .. bytes(2, feature(features[name], name)))
  end
  return bytes(1, table.concat(out))
end

-- ---- reading ----

-- The kind of list that a Feature holds and its values; nil: it holds none.
local function values_of(text, first, last)
  local kind, out, raw = nil, {}, {}
  for number, wire, from, to in fields(text, first, last) do
    if wire == 2 and NAMES[number] then
      kind, out, raw = number, {}, {} -- of a oneof the last one counts
      for inner, how, a, b in fields(text, from, to) do
        if inner ~= 1 then
          error("a list has a field that none has", 0)
        elseif number == TEXTS then
          out[#out + 1] = how == 2 and text:sub(a, b) or error("a text is none", 0)
        elseif number == FLOATS then
          if how ~= 5 and how ~= 2 or (b - a + 1) % 4 ~= 0 then
            error("floats are none", 0)
          end
          raw[#raw + 1] = text:sub(a, b)
        elseif how == 0 then
          out[#out + 1] = a
        else
          local at = how == 2 and a or error("integers are none", 0)
          while at <= b do
            local v, behind = protobuf.varint(text, at, b)
            out[#out + 1], at = v, behind or error("a number is cut off", 0)
          end
        end
      end
    end
  end
  if kind == FLOATS then
    local joined = table.concat(raw)
    return kind, core.from_bytes("float32", { #joined // 4 }, joined), #joined // 4
  end
  return kind, out, #out
end

-- Where each feature of an Example stands: name -> { first, last }.
local function features_of(text)
  local out = {}
  for number, wire, from, to in fields(text, 1, #text) do
    if number == 1 and wire == 2 then
      for entry, how, a, b in fields(text, from, to) do
        if entry == 1 and how == 2 then
          local name, first, last = "", 1, 0
          for key, kind, c, d in fields(text, a, b) do
            if key == 1 and kind == 2 then
              name = text:sub(c, d)
            elseif key == 2 and kind == 2 then
              first, last = c, d
            end
          end
          out[name] = { first, last }
        end
      end
    end
  end
  return out
end

local KINDS = { string = TEXTS, float32 = FLOATS, int64 = INTEGERS }

local function product(shape)
  local n = 1
  for _, v in ipairs(shape) do
    n = n * v
  end
  return n
end

-- The specification of a feature, checked.
local function described(name, s)
  local where = ("parse_example: feature '%s'"):format(name)
  if type(s) == "string" then
    s = { dtype = s }
  end
  if type(s) ~= "table" or not KINDS[s.dtype] then
    errors.raise(where, "needs dtype \"string\", \"float32\" or \"int64\" (got %s)",
      check.show(type(s) == "table" and s.dtype or s))
  end
  local shape = s.shape
  shape = type(shape) == "number" and { shape } or shape
  for _, v in ipairs(type(shape) == "table" and shape or {}) do
    if math.type(v) ~= "integer" or v < 0 then
      errors.raise(where, "shape must be sizes (got %s)", check.show(v))
    end
  end
  return { name = name, dtype = s.dtype, kind = KINDS[s.dtype], shape = shape,
    default = s.default_value, n = shape and product(shape) }
end

-- The values of a feature of an Example, and how many.
local function found(text, place, s, at)
  local where = at and ("parse_example: example %d"):format(at) or "parse_example"
  local kind, values, n
  if place then
    kind, values, n = values_of(text, place[1], place[2])
  end
  if kind == nil and s.default ~= nil then
    local v = s.default
    v = core.is_tensor(v) and v:reshape({ -1 }):tolist() or v
    if type(v) ~= "table" then
      values = {}
      for i = 1, s.n or 1 do
        values[i] = v
      end
    end
    kind, values = s.kind, values or v
    n = #values
  end
  if kind == nil and not s.shape then
    return {}, 0
  elseif kind == nil then
    errors.raise(where, "has no feature '%s'; default_value fills it in", s.name)
  elseif kind ~= s.kind then
    errors.raise(where, "feature '%s' holds %s (expected %s)", s.name, NAMES[kind], NAMES[s.kind])
  elseif s.n and n ~= s.n then
    errors.raise(where, "feature '%s' has another number of values (expected %d, got %d)%s", s.name,
      s.n, n, n > 0 and "; without shape as many as there are are read" or "")
  end
  return values, n
end

-- Nested lists of a flat one.
local function shaped(values, shape, axis, at)
  local out = {}
  for i = 1, shape[axis] do
    if axis == #shape then
      at.n = at.n + 1
      out[i] = values[at.n]
    else
      out[i] = shaped(values, shape, axis + 1, at)
    end
  end
  return out
end

local function tensor_of(values, dtype, n)
  if core.is_tensor(values) then
    return values
  end
  return n > 0 and core.tensor(values, { dtype = dtype }) or core.zeros({ 0 }, { dtype = dtype })
end

-- Values of one Example: a Lua value where the shape has no axes, else a tensor or lists of texts.
local function single(s, values, n)
  local shape = s.shape or { n }
  if #shape == 0 then
    local v = values[1]
    return core.is_tensor(v) and v:item() or v
  elseif s.kind == TEXTS then
    return shaped(values, shape, 1, { n = 0 })
  end
  return tensor_of(values, s.dtype, n):reshape(shape)
end

-- Values of several Examples as a batch; without a shape, padded with their lengths.
local function batch(s, all, counts)
  if s.shape then
    local flat, tensors = {}, {}
    for i, values in ipairs(all) do
      if core.is_tensor(values) then
        tensors[i] = values
      else
        table.move(values, 1, counts[i], #flat + 1, flat)
      end
    end
    local shape = { #all, table.unpack(s.shape) }
    if s.kind == TEXTS then
      return #s.shape == 0 and flat or shaped(flat, shape, 1, { n = 0 })
    elseif #tensors == #all and #all > 0 then
      return require("tide.ops").concatenate(tensors, { axis = 1 }):reshape(shape)
    end
    for i, values in ipairs(all) do
      tensors[i] = tensor_of(values, s.dtype, counts[i])
    end
    return require("tide.ops").concatenate(tensors, { axis = 1 }):reshape(shape)
  end
  local longest, lists = 0, {}
  for i, values in ipairs(all) do
    lists[i], longest = core.is_tensor(values) and values:tolist() or values,
      math.max(longest, counts[i])
  end
  local filling = s.kind == TEXTS and "" or 0
  for i, values in ipairs(lists) do
    local row = table.move(values, 1, counts[i], 1, {})
    for k = counts[i] + 1, longest do
      row[k] = filling
    end
    lists[i] = row
  end
  return { values = s.kind == TEXTS and lists or longest == 0
    and core.zeros({ #all, 0 }, { dtype = s.dtype }) or core.tensor(lists, { dtype = s.dtype }),
    lengths = core.tensor(counts, { dtype = "int64" }) }
end

local args = check.args("parse_example", {
  { "serialized", "any", check.required, "an Example as text, or a list of them" },
  { "features", "any", check.required, "what is read, by name: { dtype = \"string\", \"float32\" \z
    or \"int64\", shape = sizes, default_value = ... }", dict = true },
})

--- The features of serialized tf.train.Examples: a table by name. Of one text numbers, texts,
--- tensors and lists; of a list of texts batches, as a `map` behind `batch` needs them. A feature
--- without `shape` has as many values as there are: in a batch { values, lengths }, padded with 0
--- or "". What is missing is an error without `default_value`. TensorFlow: io.parse_example and
--- parse_single_example; `feature_column.make_parse_example_spec` gives `features`.
---
---     local data = tide.data
---     local texts = { data.example { x = { 1.5, 2.5 }, y = 1 },
---       data.example { x = { 3, 4.5 }, y = 2 } }
---     local out = data.parse_example(texts, { x = { dtype = "float32", shape = { 2 } },
---       y = { dtype = "int64", shape = {} } })
---     out.x:tolist()   --> { { 1.5, 2.5 }, { 3, 4.5 } }
--- @return table by name
function M.parse_example(...)
  local o = args:call(...)
  local one = type(o.serialized) == "string"
  local texts = one and { o.serialized } or o.serialized
  if not check.is_list(texts) or not strings.is(texts) and #texts > 0 then
    errors.raise("parse_example", "takes a text or a list of texts (got %s)",
      check.show(o.serialized))
  elseif type(o.features) ~= "table" then
    errors.raise("parse_example", "features must be a table by name (got %s)",
      check.show(o.features))
  end
  local places = {}
  for i, text in ipairs(texts) do
    local ok, out = pcall(features_of, text)
    if not ok then
      errors.raise("parse_example", "example %d is no tf.train.Example: %s", i, tostring(out))
    end
    places[i] = out
  end
  local out = {}
  for _, name in ipairs(check.sorted_keys(o.features)) do
    local s = described(name, o.features[name])
    local all, counts = {}, {}
    for i, text in ipairs(texts) do
      local ok, values, n = pcall(found, text, places[i][name], s, not one and i or nil)
      if not ok and errors.is(values) then
        error(values, 0)
      elseif not ok then
        errors.raise("parse_example", "example %d, feature '%s': %s", i, name, tostring(values))
      end
      all[i], counts[i] = values, n
    end
    if one then
      out[name] = single(s, all[1], counts[1])
    else
      out[name] = batch(s, all, counts)
    end
  end
  return out
end

return M
