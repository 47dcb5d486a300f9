--- Recomputation (Chen et al. 2016): what a function computes is not kept for the gradient but
--- computed again when the gradient comes.
--
-- The function runs recorded once, so that the leaves that it uses are known; what was recorded
-- goes at once, and one node stands in its place. Its rule runs the function a second time, with
-- the random numbers, the mode and the states of the first, and adds the gradients to those that
-- have come already, one by one, so that the sums have the same order, and the same bits.
local S = require "tide.private"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local ops = require "tide.ops"
local random = require "tide.random"

local checkpoint = {}

local DEEPEST = 16 -- tables in tables; one may hold itself

-- Tensors of a value, nested plain tables too, handed to `f`, which gives what stands in its place.
local function map(v, f, depth)
  if core.is_tensor(v) then
    return f(v)
  elseif check.is_plain(v) or list.is(v) then
    if (depth or 1) > DEEPEST then
      errors.raise("checkpoint", "tables of tensors are nested too deeply (expected at most %d \z
        levels)", DEEPEST)
    end
    local out = list.is(v) and list.new {} or {}
    for _, k in ipairs(check.sorted_keys(v)) do -- the same order in both runs
      out[k] = map(v[k], f, (depth or 1) + 1)
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

-- What layers keep from call to call and do not train, as it stands: list of { tensor, a copy,
-- version }.
local function states_of(layers)
  local out = {}
  for _, layer in ipairs(layers) do
    for _, r in ipairs(layer:_saved()) do
      local t = r.tensor
      if not t.requires_grad then
        out[#out + 1] = { t, ops.copy(t:detach()), t:version() }
      end
    end
  end
  return out
end

-- Puts states, pairs of tensor and value, back where it is closed.
local States = {}
function States.__close(states)
  for _, e in ipairs(states) do
    e[1]:assign(e[2])
  end
end

local Numbers = {}
function Numbers.__close(was)
  core.call_count(math.max(was.calls, core.call_count()))
  core.generator(table.unpack(was.generator))
  for generator, count in pairs(was.counts) do
    generator.count = count
  end
end

-- Has the random numbers and the numbers of calls of the first run come again until it is closed.
local function same_numbers(first)
  local was = { generator = { core.generator() }, counts = {} }
  was.calls = core.call_count(first.calls)
  core.generator(table.unpack(first.generator))
  for generator, count in pairs(first.counts) do
    was.counts[generator] = generator.count
    generator.count = count
  end
  return setmetatable(was, Numbers)
end

-- Has the states of the first run come again until it is closed.
local function same_states(changed)
  local now = {}
  for i, e in ipairs(changed) do
    now[i] = { e[1], ops.copy(e[1]:detach()) }
    e[1]:assign(e[2])
  end
  return setmetatable(now, States)
end

-- Calls `f`: its results as table.pack gives them, their tensors, and those that layers added as
-- losses, in a list, and of these what add_loss noted.
local function call(Layer, f, stored, ...)
  local noted, results = { stored = stored }
  do
    local _ <close> = Layer._noting_losses(noted)
    results = table.pack(f(...))
  end
  local ys = {}
  map_all(results, function(t)
    ys[#ys + 1] = t
    return t
  end)
  for _, e in ipairs(noted) do
    ys[#ys + 1] = e.loss
  end
  return results, ys, noted
end

-- Gradients of several results by some tensors, weighted by those that came and added onto what
-- there is: in one walk, or, where the gradients have gradients, one result after another, for what
-- came must be no part of the walk.
local function gradients(ys, dys, wanted, onto, create)
  local used, loss, out = {}, nil, {}
  local came = core.rule_results()
  for i, y in ipairs(ys) do
    if y.requires_grad and came[i] then
      used[#used + 1] = i
    end
  end
  if create then
    for n, i in ipairs(used) do
      local found = core.gradients(ys[i], wanted, { gradient = dys[i], create_graph = true,
        retain_graph = n < #used, onto = {} })
      for k = 1, #wanted do
        out[k] = out[k] and found[k] and out[k] + found[k] or found[k] or out[k] or false
      end
    end
    return out
  elseif #used == 0 or #wanted == 0 then
    return onto
  end
  local seed = dys[used[1]]
  if #used > 1 then
    seed = nil
    for _, i in ipairs(used) do
      local part = ops.sum(ys[i] * dys[i])
      loss = loss and loss + ops.cast(part, loss.dtype) or part
    end
  end
  local o = { gradient = seed, onto = onto, sparse = true }
  return core.gradients(loss or ys[used[1]], wanted, o)
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
  local states = states_of(layers)
  local number = core.call_number()
  local first = { generator = { core.generator() }, counts = {},
    calls = number and number - 1 or core.call_count() }
  local inputs, leaves = {}, {} -- what needs a gradient, each once, and what stands for it
  local stands = map_all(args, function(t)
    if not t.requires_grad then
      return t
    elseif not inputs[t] then
      local leaf = t:detach()
      leaf:requires_grad_(true)
      inputs[#inputs + 1], leaves[#leaves + 1] = t, leaf
      inputs[t] = Layer.pass_mask(t, leaf)
    end
    return inputs[t]
  end)
  local results, ys, losses
  do
    local _ <close> = random.SeedGenerator._counting(first.counts)
    results, ys, losses = call(Layer, f, true, table.unpack(stands, 1, stands.n))
  end
  local changed = {}
  for _, e in ipairs(states) do
    if e[1]:version() ~= e[3] then
      changed[#changed + 1] = e
    end
  end
  states = nil -- luacheck: ignore
  local weights = core.leaves(ys, since, leaves)
  local all = table.move(weights, 1, #weights, #inputs + 1, table.move(inputs, 1, #inputs, 1, {}))
  if #ys == 0 or #weights + #leaves == 0 then
    for _, e in ipairs(losses) do
      Layer._note_loss(e)
    end
    return table.unpack(results, 1, results.n)
  end
  local plain, count = {}, #ys
  for i, y in ipairs(ys) do
    plain[i] = y:detach()
  end

  for _, t in ipairs(inputs) do
    inputs[t] = nil
  end
  ys, stands, leaves = nil, nil, nil -- luacheck: ignore
  core.step_end(true) -- what was recorded goes with the results that nobody holds

  local function rule(...)
    local dys, create = { ... }, core.grad_mode()
    local so_far = create and {} or core.rule_inputs(#all) -- false: no gradient is needed
    local wanted, places, onto, stand_of = {}, {}, {}, {}
    local function want(t, place)
      wanted[#wanted + 1], places[#places + 1] = t, place
      onto[#wanted] = so_far[place] ~= true and so_far[place] or false
    end
    local again
    local recording <close> = core.recording(true) -- luacheck: ignore recording
    for i, t in ipairs(inputs) do
      local stand = create and ops.reshape(t, t.shape) or t:detach()
      if not create then
        stand:requires_grad_(true)
      end
      if so_far[i] ~= false then
        want(stand, i)
      end
      stand_of[t] = Layer.pass_mask(t, stand)
    end
    local given = map_all(args, function(t) return stand_of[t] or t end)
    for i, w in ipairs(weights) do
      if so_far[#inputs + i] ~= false then
        want(w, #inputs + i)
      end
    end
    do
      local numbers <close> = same_numbers(first) -- luacheck: ignore numbers
      local now <close> = same_states(changed) -- luacheck: ignore now
      local mode <close> = training ~= nil and core.enter_call(training) or nil -- luacheck: ignore
      again = select(2, call(Layer, f, false, table.unpack(given, 1, given.n)))
    end
    if #again ~= count then
      errors.raise("checkpoint", "the function gave other results the second time (expected %d \z
        tensors, got %d)", count, #again)
    end
    local found, out = gradients(again, dys, wanted, onto, create), {}
    again, given, stand_of = nil, nil, nil -- luacheck: ignore
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
  for i, e in ipairs(losses) do
    e.loss = made[at + i]
    if e.list then
      e.list[e.place] = e.loss
    end
    Layer._note_loss(e)
  end
  return table.unpack(out, 1, out.n)
end

--- A function that computes what `f` computes and keeps nothing of it for the gradient: when the
--- gradient comes, `f` runs again. That costs a second forward pass and saves the memory of what is
--- between arguments and results; in a chain of n layers, sqrt(n) pieces leave about sqrt(n) of it.
---
--- `f` is a function, a layer or a model, of tensors (in tables too) and anything else, and so are
--- its results. Values and gradients are those of `f`, bit by bit: dropout drops the same elements
--- the second time, states that the first run changed (a recurrent layer's) are there again, and
--- what layers count or average (BatchNormalization's statistics) changes once, for layers that `f`
--- is or reaches by its upvalues. Tensors with a gradient that were computed outside must be
--- arguments. torch.utils.checkpoint; Keras: `keras.remat`.
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
function checkpoint.layer_call(layer, made_in, plain)
  local mode = made_in.mode
  if mode == "activations" and rawget(layer, "activation") == nil
    or mode == "list_of_layers" and not made_in.names[layer.name]
    or mode == "larger_than" and elements(layer:compute_output_shape(
      table.unpack(layer[S].build_shapes or {}))) <= made_in.threshold then
    return plain
  end
  local layers = { layer }
  return function(...)
    return run(plain, layers, ...)
  end
end

return checkpoint
