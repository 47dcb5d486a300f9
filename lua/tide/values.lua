--- Values of options: what a value is, how a message shows it, and how each type of a row (see
--- tide.check) takes it.
local none = require "tide.none"
local list = require "tide.list"
local names = require "tide.names"
local printable = require "tide.printable"

local values = { did_you_mean = names.did_you_mean }

--- Default of an option that must be given.
values.required = setmetatable({}, { __tostring = function() return "required" end })

--- A value for a message: numbers and strings as written, tables as lists, others by type.
function values.show(v)
  local t = type(v)
  if t == "string" then
    return #v > 40 and ("%q"):format(printable.text(v:sub(1, 37)) .. "...")
      or ("'%s'"):format(printable.name(v))
  elseif math.type(v) == "float" then
    return list.number("%s", v)
  elseif t == "number" or t == "boolean" or t == "nil" or v == none then
    return tostring(v)
  elseif t == "table" then
    local m = getmetatable(v)
    if m == nil then
      return #v > 0 and list.format(v) or (next(v) == nil and "{}" or "a table")
    elseif type(m) == "table" and type(m.__name) == "string" and rawget(m, "__names") then
      return "the namespace " .. m.__name -- its text lists what is in it
    end
    local ok, text = pcall(tostring, v) -- of an object of a person's own
    return ok and text or "a table"
  elseif t == "userdata" and pcall(function() return v.shape end) and v.shape then
    return "a tensor " .. tostring(v.shape)
  elseif t == "userdata" and tostring(v) == "tensor (released)" then
    return "a tensor that was released"
  end
  return "a " .. t
end

--- Whether `v` is a table without a metatable: options or a list, never an object.
function values.is_plain(v)
  return type(v) == "table" and getmetatable(v) == nil
end

local function has_string_key(t)
  for k in pairs(t) do
    if type(k) == "string" then
      return true
    end
  end
  return false
end
values.has_string_key = has_string_key

--- A number as an integer if it is whole, else nil.
local function whole(v)
  return type(v) == "number" and math.tointeger(v) or nil
end
values.whole = whole

local function is_list(v)
  return type(v) == "table" and (getmetatable(v) == nil or list.is(v)) and v ~= none
end
values.is_list = is_list

--- A copy of what stands at positions: of a table with holes `#` may be any number.
local function positions(t)
  local out = {}
  for k, v in next, t do
    if math.type(k) == "integer" and k > 0 then
      out[k] = v
    end
  end
  return out
end

values.positions = positions

--- The first place of a list at which there is nothing while something stands behind it; nil where
--- the list is whole.
function values.hole(t)
  local n, top = 0, 0
  for k in next, t do
    if math.type(k) == "integer" and k > 0 then
      n = n + 1
      top = k > top and k or top
    end
  end
  if n ~= top then
    for i = 1, top do
      if rawget(t, i) == nil then
        return i
      end
    end
  end
end

-- Each type: function(value, row) -> converted value, or nil and what was expected.
local types = {}
values.types = types

function types.any(v)
  return v
end

-- What a method takes as it is: a tensor, numbers, anything; literal data in a table.
types.data = types.any

--- Whether the values of an option count from 1 in Tide: axes, and what its row says so of.
function values.counts(row)
  local t = row[2]
  for _, one in ipairs(type(t) == "table" and t or { t }) do
    if one == "axis" or one == "axes" then
      return true
    end
  end
  return row.counts or false
end

--- Whether `t` names a type, or several.
function values.is_type(t)
  return type(t) == "table" or types[t] ~= nil
end

local function limits(v, row)
  if not (row.min and v < row.min or row.max and v > row.max or row.above and v <= row.above
    or row.below and v >= row.below) then
    return v
  end
  local what = row[2] == "int" and "an integer" or "a number"
  if row.min and row.max then
    return nil, ("%s from %s to %s"):format(what, row.min, row.max)
  end
  local bounds = {}
  for _, bound in ipairs { { "min", "at least" }, { "above", "above" }, { "max", "at most" },
    { "below", "below" } } do
    if row[bound[1]] then
      bounds[#bounds + 1] = ("%s %s"):format(bound[2], row[bound[1]])
    end
  end
  return nil, what .. " " .. table.concat(bounds, " and ")
end

function types.int(v, row)
  local n = whole(v)
  if not n then
    return nil, "an integer"
  end
  return limits(n, row)
end

function types.number(v, row)
  if type(v) ~= "number" then
    return nil, "a number"
  end
  if v ~= v then
    return nil, "a number that is not NaN"
  end
  return limits(v, row)
end

function types.bool(v)
  if type(v) ~= "boolean" then
    return nil, "true or false"
  end
  return v
end

function types.string(v)
  if type(v) ~= "string" then
    return nil, "a string"
  end
  return v
end

function types.enum(v, row)
  if not row._set then
    row._set, row._names = {}, {}
    for name in row.of:gmatch("[^|]+") do
      row._set[name] = name
      row._names[#row._names + 1] = name
    end
  end
  local hit = type(v) == "string" and (row._set[v] or row._set[v:lower()])
  if hit then
    return hit
  end
  return nil, "'" .. table.concat(row._names, "', '") .. "'",
    type(v) == "string" and values.did_you_mean(v, row._names)
end

types["function"] = function(v)
  if type(v) ~= "function" then
    return nil, "a function"
  end
  return v
end

function types.callable(v)
  local m = getmetatable(v)
  if type(v) == "function" or (type(m) == "table" and m.__call) then
    return v
  end
  return nil, "a function or a callable object"
end

function types.table(v)
  if type(v) ~= "table" then
    return nil, "a table"
  end
  return v
end

function types.dict(v)
  if type(v) ~= "table" then
    return nil, "a table by name"
  end
  return v
end

function types.list(v)
  if not is_list(v) then
    return nil, "a list"
  end
  local hole = values.hole(v)
  if hole then
    return nil, "a list without holes", ("; entry %d is nil, leave it out"):format(hole)
  end
  return v
end

function types.shape(v)
  if not is_list(v) then
    return nil, "a shape, a list of sizes"
  end
  local out = {}
  for i = 1, #v do
    local n = v[i]
    if n ~= none and n ~= false then
      n = whole(n)
      if not n or n < -1 then
        return nil, "a shape, a list of sizes"
      end
      out[i] = n
    else
      out[i] = none
    end
  end
  return list.new(out)
end

--- One integer, or a list of `row.n` of them; one stands for all.
function types.ints(v, row)
  local n = row.n
  local what = n and n > 1 and ("an integer or a list of %d integers"):format(n)
    or "an integer or a list of integers"
  local low = row.min or 1
  if low > math.mininteger then
    what = what .. (", each at least %d"):format(low)
  end
  local one = whole(v)
  if one then
    if one < low then
      return nil, what
    end
    local out = {}
    for i = 1, n or 1 do
      out[i] = one
    end
    return list.new(out)
  end
  if not is_list(v) or (n and #v ~= n) then
    return nil, what
  end
  local out = {}
  for i = 1, #v do
    out[i] = whole(v[i])
    if not out[i] or out[i] < low then
      return nil, what
    end
  end
  return list.new(out)
end

--- An axis counted from 1, or from the end by negative numbers. `row.batch = false`: axis 1, the
--- batch, is refused.
function types.axis(v, row)
  local n = whole(v)
  if not n or n == 0 then
    if type(v) == "userdata" then
      return nil, "an axis", "; a call in the middle of arguments needs parentheses"
    end
    return nil, "an axis from 1, or negative from the end"
  end
  if row.batch == false and n == 1 then
    return nil, "an axis other than the batch; axis 1 is the batch, the first axis after it is 2"
  end
  return n
end

function types.axes(v, row)
  if type(v) == "number" then
    return types.axis(v, row)
  end
  if not is_list(v) then
    return nil, "an axis or a list of axes"
  end
  local out = {}
  for i = 1, #v do
    local a, why, hint = types.axis(v[i], row)
    if not a then
      return nil, why, hint
    end
    out[i] = a
  end
  return list.new(out)
end

function types.tensor(v, row)
  local t = type(v)
  local core = require "tide.core"
  local meta = t == "table" and getmetatable(v)
  if core.is_tensor(v) or meta and type(meta) == "table" and rawget(meta, "__tide_op") then
    return v
  elseif t == "number" or t == "boolean" or t == "table"
    and (meta == nil or list.is(v) and v ~= none) then
    return core.tensor(v, row.whole and { dtype = "int64" } or nil)
  end
  return nil, "a tensor"
end

local dtypes = { f16 = "float16", f32 = "float32", f64 = "float64", bf16 = "bfloat16", i8 = "int8",
  u8 = "uint8", i32 = "int32", i64 = "int64", bool = "bool" }
local dtype_names = { "float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32",
  "int64", "bool" }
for _, name in ipairs(dtype_names) do
  dtypes[name] = name
end

-- policy -> dtype of the computation, where that of the weights is float32
values.mixed = { mixed_float16 = "float16", mixed_bfloat16 = "bfloat16" }

--- The name of a policy: a dtype, or one of the mixed ones, or of an object of
--- tide.dtype_policies; a DTypePolicyMap is itself.
function types.policy(v)
  if values.mixed[v] then
    return v
  elseif type(v) == "table" and getmetatable(v) ~= nil and v.kind == "dtype_policy" then
    return rawget(v, "policy_map") and v or v.name
  end
  local dtype, expected, near = types.dtype(v)
  return dtype, not dtype and "a policy: mixed_bfloat16, mixed_float16, or " .. expected or nil,
    near
end

function types.dtype(v)
  if dtypes[v] then
    return dtypes[v]
  end
  return nil, "a dtype: " .. table.concat(dtype_names, ", "),
    type(v) == "string" and values.did_you_mean(v, dtype_names)
end

--- The dtype of a model's input: of a tensor, or "string".
function types.input_dtype(v)
  if v == "string" then
    return v
  end
  local dtype, expected, near = types.dtype(v)
  return dtype, expected and expected .. ", string", near
end

--- Declares a type whose values are resolved by a namespace: names, configurations, objects,
--- functions.
--- @param name string the type
--- @param module string module with `get(value)` returning the object, or raising
function values.resolved(name, module)
  types[name] = function(v)
    return require(module).get(v)
  end
end

values.resolved("activation", "tide.activations")
values.resolved("initializer", "tide.initializers")
values.resolved("regularizer", "tide.regularizers")
values.resolved("constraint", "tide.constraints")
values.resolved("layer", "tide.layers")

--- A value as its row wants it; nil, what was expected and perhaps a hint where it does not fit.
function values.convert(row, v)
  local t = row[2]
  if type(t) == "table" then
    local expected, hint = {}, nil
    for _, one in ipairs(t) do
      local ok, why, more = types[one](v, row)
      if ok ~= nil then
        return ok
      end
      expected[#expected + 1] = why
      hint = hint or more
    end
    return nil, table.concat(expected, " or "), hint
  end
  return types[t](v, row)
end

return values
