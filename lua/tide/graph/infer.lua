--- What a call gives whose inputs have unknown sizes: shapes, in which `tide.none` stands for what
--- is not known, and dtypes.
--
-- The call runs on tensors of the device "meta", which have shapes and no elements: the core checks
-- and infers, and computes nothing. It runs several times, with other sizes in the place of those
-- that are unknown: a size of the result that is the same each time is known. Calls that must read
-- elements run on small tensors instead.
local S = require "tide.private"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local strings = require "tide.strings"

local infer = {}

-- Sizes that stand for unknown ones. They have many divisors, since calls may cut an axis into
-- parts, and windows must fit; the small one, where it does, tells sizes that a call only bounds.
local PAIRS, SMALL = { { 24, 60 }, { 720, 1680 }, { 2, 3 } }, 2

--- Makes the symbolic tensor of a result; set by tide.graph.symbolic.
infer.new = nil
--- Replaces the symbolic tensors in a value: map(v, f); set by tide.graph.symbolic.
infer.map = nil

local function with_size(shape, size)
  local out = {}
  for i = 1, #shape do
    out[i] = shape[i] == none and size or shape[i]
  end
  return out
end

local function on_meta(s, size)
  if s.dtype == "string" then
    return strings.sample(with_size(s.shape, size))
  end
  return ops.zeros(with_size(s.shape, size), { dtype = s.dtype, device = "meta" })
end

local function sample(s, size)
  if s.dtype == "string" then
    return strings.sample(with_size(s.shape, size))
  end
  local make = s.dtype:find("float", 1, true) and ops.zeros or ops.ones
  return make(with_size(s.shape, size), { dtype = s.dtype })
end

-- What a layer keeps from call to call: states, moving statistics, weights that its calls write. It
-- gets all back, for samples are no data.
local Kept = {}
function Kept.__close(kept)
  for state, value in pairs(kept) do
    core.no_grad(state.assign, state, value)
  end
end
local function keep(fn)
  local kept = {}
  for _, layer in ipairs(type(fn) == "table" and rawget(fn, S) and fn:_flat() or {}) do
    for _, group in ipairs { layer[S].weights, layer[S].states or {} } do
      for _, r in ipairs(group) do
        kept[r.tensor] = ops.copy(r.tensor:detach())
      end
    end
  end
  return setmetatable(kept, Kept)
end

-- The results of the call with one size: true, packed results; or false, the error.
local function run(fn, args, make, size)
  local o = args[args.n]
  local writes = make == sample or type(o) == "table" and rawget(o, "training") == true
  local _ <close> = writes and keep(fn) or nil
  local values = infer.map(args, function(s) return make(s, size) end)
  local out = table.pack(pcall(core.no_grad, fn, table.unpack(values, 1, args.n)))
  if out[1] then
    return true, table.pack(table.unpack(out, 2, out.n))
  end
  return false, out[2]
end

local function reads_elements(e)
  return errors.is(e) and e.message:find("a tensor on device meta has no elements", 1, true)
end

-- A value of several runs as one: symbolic tensors where tensors are.
local function merge(runs)
  local a = runs[1]
  if core.is_tensor(a) or list.is(a) then
    local shape = {}
    for i, n in ipairs(list.is(a) and a or a.shape) do
      shape[i] = n
      for _, other in ipairs(runs) do
        if (list.is(a) and other or other.shape)[i] ~= n then
          shape[i] = none
        end
      end
    end
    return list.is(a) and list.new(shape) or infer.new(shape, a.dtype)
  elseif type(a) == "table" and strings.is(a) then
    local shapes = {}
    for i, v in ipairs(runs) do
      shapes[i] = strings.shape(v)
    end
    return infer.new(merge(shapes), "string")
  elseif type(a) == "table" and getmetatable(a) == nil then
    local out = {}
    for k in pairs(a) do
      local parts = {}
      for i, v in ipairs(runs) do
        parts[i] = v[k]
      end
      out[k] = merge(parts)
    end
    return out
  elseif type(a) == "boolean" then
    return infer.new({}, "bool")
  elseif type(a) == "number" then
    return infer.new({}, math.type(a) == "integer" and "int32" or "float32")
  end
  return a
end

local function merge_all(runs)
  local out = { n = runs[1].n }
  for i = 1, out.n do
    local parts = {}
    for k, r in ipairs(runs) do
      parts[k] = r[i]
    end
    out[i] = merge(parts)
  end
  return out
end

-- The runs of the first pair of sizes with which the call works; or nil, an error.
local function try(fn, args, make)
  local failure
  for _, pair in ipairs(PAIRS) do
    local ok, first = run(fn, args, make, pair[1])
    local second
    if ok then
      ok, second = run(fn, args, make, pair[2])
    else
      second = first
    end
    if ok then
      local fits, small = run(fn, args, make, SMALL)
      return { first, second, fits and small.n == first.n and small or nil }
    elseif reads_elements(second) or errors.is(second) and second.status == "interrupted" then
      return nil, second
    end
    failure = failure or second
  end
  return nil, failure
end

-- The error with unknown sizes called so.
local function unknown_sizes(fn, args, make, failure)
  local large = PAIRS[2][2]
  local ok, e = run(fn, args, make, large)
  if ok or not errors.is(e) then
    return failure
  end
  e.message = e.message:gsub("%f[%w]" .. large .. "%f[%W]", "none")
  return e
end

local function has(args, what)
  local found = false
  infer.map(args, function(s)
    found = found or what(s)
  end)
  return found
end

local function is_unknown(s)
  for i = 1, #s.shape do
    if s.shape[i] == none then
      return true
    end
  end
end

--- What a call gives, as symbolic tensors.
--- @param fn function|table what is called
--- @param args table packed arguments with symbolic tensors in them
--- @return table packed results
function infer.results(fn, args)
  -- what is made of text stands where the text is
  local make = has(args, function(s) return s.dtype == "string" end) and sample or on_meta
  if not has(args, is_unknown) then
    local ok, out = run(fn, args, make, SMALL)
    if ok then
      return merge_all { out }
    elseif not reads_elements(out) then
      error(out, 0)
    end
  end
  local runs, failure = try(fn, args, make)
  if not runs and reads_elements(failure) then
    runs, failure = try(fn, args, sample)
  elseif not runs then
    failure = unknown_sizes(fn, args, make, failure)
  end
  if not runs then
    error(failure, 0)
  end
  return merge_all(runs)
end

return infer
