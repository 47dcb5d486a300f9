--- Recomputation (Chen et al. 2016): what a function computes is not kept for the gradient but
--- computed again when the gradient comes.
--
-- The function runs recorded once, so that the leaves that it uses are known; what was recorded
-- goes at once, and one node stands in its place. Its rule runs the function a second time, with
-- the random numbers, the mode and the states of the first.
local S = require "tide.private"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local ops = require "tide.ops"
local random = require "tide.random"

local checkpoint = {}

-- Tensors of a value, nested plain tables too, handed to `f`, which gives what stands in its place.
local function map(v, f)
  if core.is_tensor(v) then
    return f(v)
  elseif check.is_plain(v) then
    local out = {}
    for k, x in pairs(v) do
      out[k] = map(x, f)
    end
    return out
  end
  return v
end

local function map_all(values, f)
  local out = { n = values.n }
  for i = 1, values.n do
    out[i] = map(values[i], f)
  end
  return out
end

-- The layers that a function reaches by its upvalues, themselves or in tables, and what it is
-- itself.
local function layers_of(f)
  local out, seen = {}, {}
  local function look(v, deep)
    if type(v) ~= "table" or seen[v] then
      return
    end
    seen[v] = true
    if getmetatable(v) ~= nil and rawget(v, S) then
      out[#out + 1] = v
    elseif check.is_plain(v) and deep < 3 then
      for _, x in next, v do
        look(x, deep + 1)
      end
    end
  end
  look(f, 0)
  local i = 1
  while type(f) == "function" do
    local name, v = debug.getupvalue(f, i)
    if not name then
      break
    end
    look(v, 0)
    i = i + 1
  end
  return out
end

-- What layers keep from call to call and do not train: list of tensors with their versions.
local function states_of(layers)
  local out = {}
  for _, layer in ipairs(layers) do
    for _, r in ipairs(layer:_saved()) do
      if not r.tensor.requires_grad then
        out[#out + 1] = { r.tensor, r.tensor:version() }
      end
    end
  end
  return out
end

-- Puts states back that a second run changed.
local Kept = {}
function Kept.__close(kept)
  for _, e in ipairs(kept) do
    e[1]:assign(e[2])
  end
end

local Random = {}
function Random.__close(was)
  core.generator(table.unpack(was.generator))
  for generator, count in pairs(was.counts) do
    generator.count = count
  end
end

-- Has the random numbers of the first run come again until it is closed.
local function same_numbers(first)
  local was = { generator = { core.generator() }, counts = {} }
  core.generator(table.unpack(first.generator))
  for generator, count in pairs(first.counts) do
    was.counts[generator] = generator.count
    generator.count = count
  end
  return setmetatable(was, Random)
end

local function flat(results)
  local out = {}
  map_all(results, function(t)
    out[#out + 1] = t
    return t
  end)
  return out
end

-- Gradients of several results, weighted by those that came, by some tensors: in one walk, or,
-- where the gradients have gradients, one result after another, for what came must be no part of
-- the walk.
local function gradients(ys, dys, wanted, create)
  local used, loss, out = {}, nil, {}
  for i, y in ipairs(ys) do
    if y.requires_grad and dys[i] then
      used[#used + 1] = i
    end
  end
  if #used == 1 or create then
    for n, i in ipairs(used) do
      local found = core.gradients(ys[i], wanted, { gradient = dys[i], create_graph = create,
        retain_graph = n < #used })
      for k = 1, #wanted do
        out[k] = out[k] and found[k] and out[k] + found[k] or found[k] or out[k] or false
      end
    end
    return out
  end
  for _, i in ipairs(used) do
    local part = ops.sum(ys[i] * dys[i])
    loss = loss and loss + part or part
  end
  return loss and core.gradients(loss, wanted, {}) or out
end

-- Runs `f`, which reaches these layers.
local function run(f, layers, ...)
  if not core.grad_mode() then
    return f(...)
  end
  local Layer = require "tide.layers.base"
  local args = table.pack(...)
  local training
  if Layer.is_calling() then
    training = Layer.is_training()
  end
  local since = core.tape_position()
  local states, penalties = states_of(layers), Layer.penalties
  local first = { generator = { core.generator() }, counts = {} }
  local inputs, leaves = {}, {}
  local stands = map_all(args, function(t)
    inputs[#inputs + 1] = t
    if not t.requires_grad then
      return t
    end
    local leaf = t:detach()
    leaf:requires_grad_(true)
    leaves[#leaves + 1] = leaf
    return Layer.pass_mask(t, leaf)
  end)
  local results
  do
    local _ <close> = random.SeedGenerator._counting(first.counts)
    results = table.pack(f(table.unpack(stands, 1, stands.n)))
  end
  if Layer.penalties ~= penalties then
    errors.raise("checkpoint", "a layer in the function adds a loss, which would be added again \z
      when it runs again; leave that layer out")
  end
  local changed, versions = {}, 0
  for _, e in ipairs(states) do
    if e[1]:version() ~= e[2] then
      versions = versions + 1
      changed[versions] = e[1]
    end
  end
  states = nil -- luacheck: ignore
  local ys = flat(results)
  local weights = core.leaves(ys, since, leaves)
  local all = table.move(weights, 1, #weights, #inputs + 1, table.move(inputs, 1, #inputs, 1, {}))
  local needs = #weights + #leaves > 0
  if #ys == 0 or not needs then
    return table.unpack(results, 1, results.n)
  end
  local plain = {}
  for i, y in ipairs(ys) do
    plain[i] = y:detach()
  end

  ys, stands = nil, nil -- luacheck: ignore
  core.step_end(true) -- what was recorded goes with the results that nobody holds

  local function rule(...)
    local dys, create = { ... }, core.grad_mode()
    local numbers <close> = same_numbers(first) -- luacheck: ignore numbers
    local kept <close> = setmetatable({}, Kept)
    for i, t in ipairs(changed) do
      kept[i] = { t, ops.copy(t:detach()) }
    end
    local recording <close> = core.recording(true) -- luacheck: ignore recording
    local wanted, places, at = {}, {}, 0
    local given = map_all(args, function(t)
      at = at + 1
      if not t.requires_grad then
        return t
      end
      local stand = create and ops.reshape(t, t.shape) or t:detach()
      if not create then
        stand:requires_grad_(true)
      end
      wanted[#wanted + 1], places[#places + 1] = stand, at
      return Layer.pass_mask(t, stand)
    end)
    local again
    do
      local mode <close> = training ~= nil and core.enter_call(training) or nil -- luacheck: ignore
      again = flat(table.pack(f(table.unpack(given, 1, given.n))))
    end
    if #again ~= #plain then
      errors.raise("checkpoint", "the function gave other results the second time (expected %d \z
        tensors, got %d)", #plain, #again)
    end
    for i, w in ipairs(weights) do
      wanted[#wanted + 1], places[#places + 1] = w, #inputs + i
    end
    local found, out = gradients(again, dys, wanted, create), {}
    again, given = nil, nil -- luacheck: ignore
    core.step_end(true)
    for i, place in ipairs(places) do
      out[place] = found[i] or nil
    end
    return table.unpack(out, 1, #all)
  end

  local made, at = { core.record_custom(all, plain, rule) }, 0
  local out = map_all(results, function(y)
    at = at + 1
    return Layer.pass_mask(y, made[at])
  end)
  return table.unpack(out, 1, out.n)
end

--- A function that computes what `f` computes and keeps nothing of it for the gradient: when the
--- gradient comes, `f` runs again. That costs a second forward pass and saves the memory of what is
--- between arguments and results; in a chain of n layers, sqrt(n) pieces leave about sqrt(n) of it.
---
--- `f` is a function, a layer or a model, of tensors (in tables too) and anything else; its results
--- are up to 8 tensors, and anything else. Dropout drops the same elements the second time. What
--- layers count or average (BatchNormalization's statistics) changes once, for layers that `f` is
--- or reaches by its upvalues. Tensors with a gradient that were computed outside must be
--- arguments. Layers that add losses are refused. torch.utils.checkpoint; Keras: `keras.remat`.
---
---     local block = tide.Sequential { tide.layers.Dense { 8, "relu" }, tide.layers.Dense { 8 } }
---     local light = tide.checkpoint(block)
---     light(tide.ones { 2, 8 }).shape   --> { 2, 8 }
--- @param f function|table
--- @return function
function checkpoint.checkpoint(f)
  if type(f) ~= "function" and not (type(f) == "table" and getmetatable(f) ~= nil
    and getmetatable(f).__call) then
    errors.raise("checkpoint", "takes a function, a layer or a model (got %s)", check.show(f))
  end
  return function(...)
    return run(f, layers_of(f), ...)
  end
end

--- Keras' name of `tide.checkpoint`.
---
---     tide.remat(function(x) return x:exp() end)(tide.zeros { 1 })   --> { 1 }
checkpoint.remat = checkpoint.checkpoint

-- ---- layers ----

local scope -- the innermost RematScope that is open

local Scope = { __name = "tide.RematScope" }
function Scope.__close(self)
  scope = self.before
end

local scope_args = check.args("RematScope", {
  { "mode", "enum", "full", "which layers compute again; tide.none: none",
    of = "full|activations|larger_than|list_of_layers", none = true },
  { "output_size_threshold", "int", 1024, "elements per sample, for larger_than", min = 0 },
  { "layer_names", "list", nil, "names, for list_of_layers" },
})

--- Layers that are made until the value returned is closed keep nothing for the gradient and
--- compute again when it comes, as `tide.checkpoint` has functions do: all of them (`full`), those
--- with an activation (`activations`), those whose result has more elements than
--- `output_size_threshold` (`larger_than`), or those of some names (`list_of_layers`). As Keras'
--- RematScope.
---
---     local layer
---     do
---       local _ <close> = tide.RematScope { mode = "full" }
---       layer = tide.layers.Dense { 4 }
---     end
---     layer(tide.ones { 2, 3 }).shape   --> { 2, 4 }
--- @return table to be closed
function checkpoint.RematScope(...)
  local o = scope_args:construct(...)
  local names = {}
  for _, name in ipairs(o.layer_names or {}) do
    names[name] = true
  end
  scope = setmetatable({ before = scope, mode = o.mode, names = names,
    threshold = o.output_size_threshold }, Scope)
  return scope
end

--- The innermost RematScope that is open, where it has a mode.
function checkpoint.scope()
  return scope and type(scope.mode) == "string" and scope or nil
end

-- Elements per sample of a result, or of several, by shape.
local function elements(shape)
  local n = 1
  if type(shape[1]) == "table" and shape[1] ~= check.none then
    n = 0
    for _, one in ipairs(shape) do
      n = n + elements(one)
    end
    return n
  end
  for i = 2, #shape do
    n = n * (math.type(shape[i]) == "integer" and shape[i] or 1)
  end
  return n
end

--- The call of a layer that was made in a scope: the one given, or one that computes again.
function checkpoint.layer_call(layer, made_in, call)
  local mode = made_in.mode
  if mode == "activations" and rawget(layer, "activation") == nil
    or mode == "list_of_layers" and not made_in.names[layer.name]
    or mode == "larger_than" and elements(layer:compute_output_shape(
      table.unpack(layer[S].build_shapes or {}))) <= made_in.threshold then
    return call
  end
  local layers = { layer }
  return function(...)
    return run(call, layers, ...)
  end
end

return checkpoint
