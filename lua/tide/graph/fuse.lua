--- Two layers in one call, where the first declares that it can.
--
-- A class declares `fuse = { relu = function(self, x) ... end }`: what it gives for a layer of that
-- kind directly behind it; and `fuse_as(self)` returns the kind that a layer is to the one before
-- it, or nil. Both hold for the `call` that stands beside them or above them: a class that replaces
-- `call` inherits neither.
--
-- A convolution declares `_fold = function(self, x, norm, kind)`: its result with the normalization
-- `norm` behind it, which declares `_folds`, and a layer of `kind` behind that (nil: none); or nil
-- where that cannot be done now. It is asked where nothing is recorded.
local core = require "tide.core"
local errors = require "tide.errors"
local Layer = require "tide.layers.base"
local symbolic = require "tide.graph.symbolic"
local parts = require "tide.parts"

local fuse = {}

--- What a class or its bases declare under `key`, if none below that one replaces `call`.
function fuse.of_class(class, key)
  while class do
    local v = rawget(class, key)
    if v ~= nil then
      return v
    elseif rawget(class, "call") ~= nil then
      return nil
    end
    class = rawget(class, "super")
  end
end

-- Likewise of a layer's class, if the layer itself has no other call.
local function declared(layer, key)
  local class = getmetatable(layer)
  if rawget(layer, "call") ~= nil or class.__call ~= Layer.__call then
    return nil
  end
  return fuse.of_class(class, key)
end

local apart = 0 -- how many ask for layers one by one

--- Until the result is closed, layers are called one by one.
function fuse.one_by_one()
  apart = apart + 1
  return setmetatable({}, { __close = function() apart = apart - 1 end })
end

-- Runs both layers. The first one's frame is a layer's, so that errors name it. Masks and those who
-- trace need the layers one by one.
local function run(first, both, second, x)
  if apart > 0 or Layer.mask_of(x) ~= nil
    or type(x) == "table" and (symbolic.is(x) or symbolic.is(x[1])) then
    local y = second(first(x))
    return y
  end
  local _ <close> = parts.enter(first)
  local y = both(first, x)
  return y
end
errors.layer_frames[run] = true

-- Whether what the layer takes has its dtype already: the joined call casts nothing.
local function needs_no_cast(node)
  for _, x in ipairs(node.inputs) do
    if x.dtype ~= node.layer.dtype then
      return false
    end
  end
  return true
end

-- The layers of two nodes of which the second alone reads the first's one result and which do
-- nothing beside their call, or nil.
local function neighbours(first, second)
  local a, b = first.layer, second.layer
  if not (a and b and first.args.n == 1 and second.args.n == 1 and first.results.n == 1)
    or second.args[1] ~= first.results[1] or a.compute_dtype ~= b.compute_dtype
    or a.dtype_policy ~= a.dtype or a.activity_regularizer or b.activity_regularizer
    or not needs_no_cast(first) then
    return nil
  end
  return a, b
end

-- The function of the first node's layer that does the second's work too, or nil.
local function joined(first, second)
  local a, b = neighbours(first, second)
  if not a then
    return nil
  end
  local kinds, kind = declared(a, "fuse"), declared(b, "fuse_as")
  local both = kinds and kind and kinds[kind(b)]
  return both and function(x)
    return run(a, both, b, x)
  end
end

-- One by one, or the first's fold where that is possible now.
local function run_folded(first, norm, kind, fold, rest, x)
  if apart == 0 and not core.grad_mode() and not symbolic.is(x) and Layer.mask_of(x) == nil then
    local _ <close> = parts.enter(first)
    local y = fold(first, x, norm, kind)
    if y then
      return y
    end
  end
  local z = rest(first(x))
  return z
end
errors.layer_frames[run_folded] = true

-- The function that does the work of a convolution, a normalization and, if given, what stands
-- behind that; nil where they do not go together.
local function folded(first, second, third)
  local a, norm = neighbours(first, second)
  local fold = a and declared(a, "_fold")
  if not (fold and declared(norm, "_folds")) then
    return nil
  elseif not third then
    return function(x)
      return run_folded(a, norm, nil, fold, norm, x)
    end
  end
  local _, last = neighbours(second, third)
  local kind = last and declared(last, "fuse_as")
  kind = kind and kind(last)
  if not kind then
    return nil
  end
  local rest = joined(second, third) or function(y) return last(norm(y)) end
  return function(x)
    return run_folded(a, norm, kind, fold, rest, x)
  end
end

--- The calls that run nodes: the nodes themselves, and one for each two or three that go together,
--- because each alone reads what the one before makes.
--- @param nodes table in order
--- @param outputs table list of the symbolic outputs
--- @return table list of { fn, args, results, inputs, outputs }
function fuse.calls(nodes, outputs)
  local readers = {}
  for _, node in ipairs(nodes) do
    for _, x in ipairs(node.inputs) do
      readers[x] = (readers[x] or 0) + 1
    end
  end
  for _, x in ipairs(outputs) do
    readers[x] = (readers[x] or 0) + 1
  end
  local out, place, before = {}, {}, {} -- before: the convolution that a normalization is joined to
  for _, node in ipairs(nodes) do
    local x = #node.inputs == 1 and node.inputs[1]
    local at = x and readers[x] == 1 and place[x._node]
    local first = at and (before[x._node] or x._node)
    local third = first and first ~= x._node
    local fold = third and folded(first, x._node, node) or at and not third and folded(first, node)
    local fn = fold or at and not third and joined(first, node)
    if fn then
      if fold and not third then
        before[node], place[node] = first, at
      end
      out[at] = { fn = fn, args = first.args, inputs = first.inputs, results = node.results,
        outputs = node.outputs }
    else
      out[#out + 1] = node
      place[node] = #out
    end
  end
  return out
end

return fuse
