--- How layers of categories give what they found: numbers, or rows with a place for each category.
--
-- Numbers are 1..depth here, and 0 is nothing: it has no place.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"

local encode = {}

-- Keras' old names of the modes.
local older = { binary = "multi_hot", ["tf-idf"] = "tf_idf" }

--- The option `output_mode` of a class that has these modes.
function encode.mode_row(default, modes)
  return { "output_mode", "enum", default, "what is given: numbers, or rows with a place for each",
    of = modes }
end

--- The options of all classes of categories: rows that stand last.
function encode.last_rows()
  return { "sparse", "bool", false, "kept for Keras: must be false" },
    { "zero_based", "bool", false, "numbers count from 0, as Keras'", own = true }
end

--- Checks what the classes share, once the options are read.
function encode.init(self)
  self.output_mode = older[self.output_mode] or self.output_mode
  if self.sparse then
    errors.raise(self:_label(), "sparse must be false (got true): results are dense here")
  end
end

--- An integer tensor of whole numbers, whatever came: what has no axes is a number to the ops.
function encode.whole(x)
  if math.type(x) or x.dtype ~= "int64" then
    x = ops.cast(x, "int64")
  end
  return math.type(x) and core.tensor(x, { dtype = "int64" }) or x
end

-- The shape in which each category has a place, of an input of this shape.
function encode.shape(mode, shape, depth)
  local out = list.copy(shape)
  if mode == "int" then
    return out
  end
  local n = #out
  if mode ~= "one_hot" and n > 0 or n > 1 and out[n] == 1 then
    out[n] = nil
  end
  out[#out + 1] = depth or none
  return out
end

--- The dtype of what a layer gives.
function encode.dtype(self)
  return self.output_mode == "int" and "int64" or self.compute_dtype
end

-- How often each number stands in each row: (rows, n) becomes (rows, depth).
local function counts(ids, depth, weights, dtype)
  local rows, width = ids.shape[1], depth + 1
  if ids.size == 0 then
    return ops.zeros({ rows, depth }, { dtype = dtype })
  end
  local places = ids + ops.arange(1, rows * width, width, "int64"):reshape { rows, 1 }
  local o = { minlength = rows * width }
  if weights then
    o.weights = ops.reshape(ops.cast(weights, dtype), { -1 })
  end
  local all = ops.bincount(ops.reshape(places, { -1 }), o)
  return ops.cast(ops.reshape(all, { rows, width })[{ {}, { 2, -1 } }], dtype)
end

--- Numbers in the form of `mode`.
--- @param ids userdata int64 (...): numbers 1..depth, 0: nothing
--- @param mode string "int", "one_hot", "multi_hot", "count"; the last two take a row along the
---   last axis
--- @param weights userdata|nil what each counts, of the ids' shape
function encode.ids(ids, mode, depth, dtype, weights)
  if mode == "int" then
    return ids
  end
  ids = encode.whole(ids)
  local shape = ids.shape
  local n = #shape
  if mode == "one_hot" then
    local x = n > 1 and shape[n] == 1 and ops.squeeze(ids, { axis = -1 }) or ids
    return ops.one_hot(x, depth, { dtype = dtype })
  end
  local length = n == 0 and 1 or shape[n]
  local flat = ops.reshape(ids, { length > 0 and -1 or encode.rows(shape), length })
  local out = counts(flat, depth, weights and ops.reshape(weights, flat.shape), dtype)
  if mode == "multi_hot" then
    out = ops.minimum(out, 1)
  end
  return ops.reshape(out, encode.shape(mode, shape, depth))
end

--- The rows of a shape: the product of all axes but the last.
function encode.rows(shape)
  local rows = 1
  for i = 1, #shape - 1 do
    rows = rows * shape[i]
  end
  return rows
end

--- Raises where a number is not one of first..last.
function encode.check_range(self, ids, first, last)
  if ids.size == 0 then
    return ids
  end
  local low, high = ops.min(ids), ops.max(ids)
  if low >= first and high <= last then
    return ids
  end
  local flat = ops.reshape(ids, { -1 })
  local wrong = ops.logical_or(ops.less(flat, first), ops.greater(flat, last))
  local at = ops.argmax(ops.cast(wrong, "int32"))
  errors.raise(self:_label(), "element %d is out of range (expected %d..%d, got %d)%s", at, first,
    last, flat[at], low == 0 and first == 1 and "; numbers count from 1: add 1"
      .. (self.args.index.zero_based and ", or say zero_based = true" or "") or "")
end

--- The two keys of a hash from the option `salt`: a whole number or a list of two.
function encode.salt(self)
  local salt = self.salt
  if salt == nil then
    return nil
  elseif math.type(salt) == "integer" then
    return { salt, salt }
  elseif check.is_list(salt) and #salt == 2 and math.tointeger(salt[1])
    and math.tointeger(salt[2]) then
    return { math.tointeger(salt[1]), math.tointeger(salt[2]) }
  end
  errors.raise(self:_label(), "salt must be a whole number or a list of two (got %s)",
    check.show(salt))
end

--- The elements of text or of a tensor in one row, and their shape.
function encode.flat(x, strings)
  if core.is_tensor(x) then
    return ops.reshape(encode.whole(x), { -1 }), x.shape:totable()
  end
  local shape = strings.shape(x):totable()
  if #shape == 1 then
    return table.move(x, 1, #x, 1, {}), shape
  end
  local out = {}
  local function gather(v)
    if type(v) == "string" then
      out[#out + 1] = v
    else
      for i = 1, #v do
        gather(v[i])
      end
    end
  end
  gather(x)
  return out, shape
end

return encode
