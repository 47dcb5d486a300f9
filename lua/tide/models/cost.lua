--- What a model costs for a batch, without computing: multiply-accumulates, what its layers keep
--- for the gradient, and the most memory that training and predicting take.
--
-- The model runs on tensors of the device "meta", which have shapes and no elements and which the
-- allocator counts as if they had memory (core.count_shapes). Work space is counted where it grows
-- with the batch (`room` of an op); the copy of one weight, of 16 MiB at most, that a product may
-- lay out anew is not. Weights stand on their own device and are read by their shapes.
local S = require "tide.private"
local core = require "tide.core"
local errors = require "tide.errors"
local fuse = require "tide.graph.fuse"
local graph = require "tide.graph"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local photo = require "tide.training.photo"
local symbolic = require "tide.graph.symbolic"

local cost = {}

local MANY = 400 -- layers; of more the collector's garbage is not told from what is kept

-- Bytes as the allocator gives them: 64, or a quarter of a power of two more (src/alloc.c).
local function block(bytes)
  if bytes <= 64 then
    return 64
  end
  local e = 0
  while (2 << e) < bytes do
    e = e + 1
  end
  local step = (1 << e) // 4
  return (bytes + step - 1) // step * step
end

local function blocks(tensors)
  local n = 0
  for _, t in ipairs(tensors) do
    n = n + block(t.nbytes)
  end
  return n
end

-- ---- inputs ----

local function on_meta(shape, dtype, batch, what)
  local sizes = {}
  for i = 1, #shape do
    sizes[i] = i == 1 and batch or shape[i]
    if sizes[i] == none then
      errors.raise("summary", "size %d of %s is unknown (got %s); give the shape: \z
        summary { batch = %d, shape = { … } }", i, what, list.format(shape), batch)
    end
  end
  return ops.zeros(sizes, { dtype = dtype, device = "meta" })
end

-- What the model is called on: packed arguments.
local function arguments(model, batch, shape)
  local g = graph.of(model)
  local n = model._input_names and #model._input_names or 1
  local symbols
  if shape or not g then
    local shapes = shape and { shape } or model[S].build_shapes
    if not shapes then
      errors.raise("summary", "%s is not built yet; call it on a batch first, or give the shape: \z
        summary { batch = %d, shape = { tide.none, … } }", model:_label(), batch)
    end
    symbols = { n = n }
    for i = 1, n do
      symbols[i] = shapes[i] and symbolic.argument(model, i, shapes[i])
    end
  else
    symbols = { g.input, n = 1 }
  end
  local out = { n = symbols.n }
  for i = 1, symbols.n do
    out[i] = symbols[i] and symbolic.map(symbols[i], function(s)
      if s.dtype == "string" then
        errors.raise("summary", "%s reads text, whose cost is not known by its shape",
          model:_label())
      end
      return on_meta(s.shape, s.dtype, batch, "the input '" .. tostring(s.name) .. "'")
    end)
  end
  return out
end

local function call(model, args, training)
  local given = table.move(args, 1, args.n, 1, {})
  given[args.n + 1] = { training = training }
  return model(table.unpack(given, 1, args.n + 1))
end

-- ---- layer by layer ----

local function live()
  return core.memory("meta").live_bytes
end

-- Runs the model with every layer's call measured: layer -> { macs, activations, peak }, summed
-- over its calls but for the peak; and macs and activations of all.
local function by_layer(model, args)
  local found, open, layers = {}, {}, model:_flat()
  local exact = #layers <= MANY
  local function start()
    local outer = open[#open]
    local m = core.memory "meta"
    if outer then
      outer.peak = math.max(outer.peak, m.peak_bytes)
    end
    core.memory_reset_peak "meta"
    open[#open + 1] = { peak = 0, live = live(), work = core.profile_work() }
  end
  local function stop(layer)
    local one = table.remove(open)
    one.peak = math.max(one.peak, core.memory("meta").peak_bytes)
    if exact then
      collectgarbage()
    end
    local e = found[layer] or { macs = 0, activations = 0, peak = 0 }
    found[layer] = e
    e.macs = e.macs + math.tointeger((core.profile_work() - one.work) // 2)
    e.activations = e.activations + math.max(0, live() - one.live)
    e.peak = math.max(e.peak, one.peak)
    local outer = open[#open]
    if outer then
      outer.peak = math.max(outer.peak, one.peak)
    end
  end
  local calls = {}
  for _, layer in ipairs(layers) do
    local own = layer[S]
    local inner = own.call
    if inner and layer ~= model then
      calls[own] = inner
      own.call = function(...)
        start()
        local out = table.pack(inner(...))
        stop(layer)
        return table.unpack(out, 1, out.n)
      end
    end
  end
  local _ <close> = setmetatable({}, { __close = function()
    for own, inner in pairs(calls) do
      own.call = inner
    end
  end })
  local _ <close> = fuse.one_by_one()
  local base = live()
  local y = call(model, args, true) -- luacheck: ignore
  collectgarbage()
  return found, math.tointeger(core.profile_work() // 2), live() - base
end

-- ---- the whole ----

-- A loss of the outputs: the compiled one where targets of a likely shape do.
local function loss_of(model, args, y_pred)
  local T = model[S].training
  local one = T and T.loss and type(y_pred) == "userdata" and T.loss.given
  if type(one) == "table" and one.targets ~= nil or type(one) == "function" then
    local shape = {}
    local labels = type(one) == "table" and one.targets == "labels"
    for i = 1, y_pred.ndim - (labels and 1 or 0) do
      shape[i] = y_pred.shape[i]
    end
    local y = ops.zeros(shape, { device = "meta", dtype = labels and "int32" or y_pred.dtype })
    local ok, loss = pcall(model.compute_loss, model, args[1], y, y_pred)
    if ok then
      return loss, y
    end
  end
  local total
  for _, p in ipairs(symbolic.is(y_pred) and {} or type(y_pred) == "userdata" and { y_pred }
    or y_pred) do
    local s = ops.sum(ops.square(p))
    total = total and total + s or s
  end
  return total
end

-- The bytes of the state that the optimizer has, or will have, for the parameters.
local function slots(model, params)
  local optimizer = rawget(model, "optimizer")
  if type(optimizer) ~= "table" or not optimizer._state then
    return 0
  end
  if not optimizer.built then
    optimizer = getmetatable(optimizer).from_config(optimizer:get_config())
    local _, info = model._parameters_of(model:_trained())
    local _ <close> = core.device "meta"
    optimizer:build(params, info)
  end
  local tensors = {}
  for _, s in ipairs(optimizer:_state()) do
    tensors[#tensors + 1] = s.tensor
  end
  for _, t in ipairs(optimizer._touched or {}) do
    tensors[#tensors + 1] = t or nil
  end
  return blocks(tensors)
end

local function clean()
  collectgarbage()
  collectgarbage()
  core.memory_reset_peak "meta"
  return live()
end

-- The peak of a step of training and what is live when the optimizer begins.
local function training(model, batch, shape, params)
  local base = clean()
  local _ <close> = core.recording(true)
  local args = arguments(model, batch, shape)
  local loss, y = loss_of(model, args, call(model, args, true)) -- luacheck: ignore y
  if loss and loss.requires_grad and #params > 0 then
    local grads = core.gradients(loss, params) -- luacheck: ignore
    loss = nil -- luacheck: ignore
  end
  return core.memory("meta").peak_bytes - base
end

local function prediction(model, batch, shape)
  local base = clean()
  local _ <close> = core.recording(false)
  call(model, arguments(model, batch, shape), false)
  return core.memory("meta").peak_bytes - base
end

-- Layers keep what a call leaves in them: notes of losses, the number of the call.
local function counted(f)
  core.count_shapes(true)
  local _ <close> = setmetatable({}, { __close = function() core.count_shapes(false) end })
  return f()
end

--- What a model costs for a batch.
--- @param model table
--- @param batch integer samples
--- @param shape table|nil of the input with the batch, where the model does not say it
--- @return table `macs`, `activations` (bytes kept for the gradient), `training` and `prediction`
---   (peaks in bytes, with `weights`, and for training the `optimizer`'s state and gradients),
---   `layers`: layer -> { macs, activations, peak }
function cost.of(model, batch, shape)
  local kept <close> = photo.take(model, true) -- luacheck: ignore
  if not model.built and shape then
    model:build(shape)
  end
  local params, all = {}, {}
  for _, r in ipairs(model:_records()) do
    all[#all + 1] = r.tensor
    params[#params + 1] = r.trainable and r.tensor or nil
  end
  return counted(function()
    local out = { batch = batch, weights = blocks(all) }
    core.profile_start()
    local ok, e = pcall(function()
      clean()
      local _ <close> = core.recording(true)
      out.layers, out.macs, out.activations = by_layer(model, arguments(model, batch, shape))
    end)
    core.profile_stop()
    if not ok then
      error(e, 0)
    end
    out.optimizer = slots(model, params)
    out.training = training(model, batch, shape, params) + out.weights + out.optimizer
    out.prediction = prediction(model, batch, shape) + out.weights
    return out
  end)
end

return cost
