--- One step of training, testing and predicting: what `train_step` and its siblings do unless a
--- model defines its own.
---
--- The state of a compiled model stands in `model[S].training`: optimizer, losses, metrics, the
--- running loss, the parameters.
local S = require "tide.private"
local check = require "tide.check"
local core = require "tide.core"
local strategies = require "tide.distribute"
local errors = require "tide.errors"
local metrics = require "tide.metrics"
local ops = require "tide.ops"
local seeds = require "tide.layers.seeds"
local structure = require "tide.data.structure"
local planned = require "tide.training.planned"
local replay = require "tide.training.replay"
local tensors = require "tide.training.tensors"

local Layer = require "tide.layers.base"
local TRAIN, INFER = Layer.TRAIN, Layer.INFER

local steps = {}

local SPARSE = { sparse = true }
local take_loss = metrics.Mean._take_loss
local NO_NAMES = {}

--- State for a model that was not compiled, or just was.
function steps.state(o)
  o.tracker = metrics.Mean { name = "loss" }
  o.y_list, o.p_list, o.w_list = {}, {}, {}
  return o
end

--- The training state of a model, or an error that names compile.
function steps.of(model, what)
  local T = model[S].training
  if not T then
    errors.raise(
      what or "fit", "%s is not compiled; call model:compile { optimizer = ..., loss = ... } first",
      model:_label())
  end
  return T
end

-- ---- parts of a batch ----

-- Targets or weights given as a list or by name: one entry per output, nil where there is none.
-- `losses`: the numbers of the outputs that have a loss; a list of so many entries is theirs.
local function distribute(T, v, what, n, names, losses)
  local out = {}
  if structure.kind(v) == "list" then
    local places = #v ~= n and losses and #v == #losses and losses or nil
    if #v ~= n and not places then
      errors.raise(T.method or "compute_loss", "%s has %d part%s, the model %d output%s", what, #v,
        #v == 1 and "" or "s", n,
        n == 1 and "" or "s")
    end
    for i = 1, #v do
      out[places and places[i] or i] = structure.kind(v[i]) ~= nil and tensors.of(v[i], nil,
        what) or nil
    end
    return out
  end
  local known = {}
  names = names or {}
  for i, name in ipairs(names) do
    known[name] = i
  end
  for _, name in ipairs(check.sorted_keys(v)) do
    local t = v[name]
    local i = known[name] or (#names == 0 and n == 1 and next(v, name) == nil and 1)
    if not i then
      errors.raise(T.method or "compute_loss",
        "%s names the output '%s', which the model does not have; outputs are %s",
        what, tostring(name),
        table.concat(names, ", "))
    end
    out[i] = structure.kind(t) ~= nil and tensors.of(t, nil, what) or nil
  end
  return out
end

-- Targets, predictions and weights as lists, one entry per output.
local function parts(T, y, y_pred, w)
  local ys, ps, ws = T.y_list, T.p_list, nil
  if type(y_pred) == "userdata" then
    if type(y) == "table" and structure.kind(y) ~= "leaf" then
      y = structure.kind(y) and distribute(T, y, "y", 1, T.names)[1]
    elseif y ~= nil and type(y) ~= "userdata" then
      y = tensors.of(y, nil, "y")
    end
    ys[1], ps[1] = y, y_pred
    if w ~= nil then
      ws = T.w_list
      if type(w) == "table" and structure.kind(w) ~= "leaf" then
        w = distribute(T, w, "sample_weight", 1, T.names)[1]
      end
      ws[1] = w
    end
    return ys, ps, ws
  end
  local names = T.names
  if structure.kind(y_pred) == "dict" then
    names = structure.names(y_pred, names)
    T.dict_names = names
  end
  ps = structure.flatten(y_pred, "output", names)
  local n = #ps
  ys = {}
  local kind = structure.kind(y)
  if kind == "other" then
    errors.raise(T.method or "compute_loss", "y must be a tensor, or a list or table of them (got \z
      %s)", check.show(y))
  elseif kind then
    local losses = T.loss and (kind == "leaf" or #y ~= n) and T.loss:indices(n, names) or nil
    if kind == "leaf" then
      ys[losses and losses[1] or 1] = tensors.of(y, nil, "y")
    else
      ys = distribute(T, y, "y", n, names, losses)
    end
  end
  if w ~= nil then
    if structure.kind(w) == "leaf" then
      ws = {}
      for i = 1, n do
        ws[i] = w
      end
    else
      ws = distribute(T, w, "sample_weight", n, names)
    end
  end
  return ys, ps, ws
end

-- Builds losses and metrics at the first batch.
local function build(T, ys, ps)
  local names = T.dict_names or T.names or NO_NAMES
  if T.loss and not T.loss.built then
    T.loss:build(ys, ps, names, T.method or "compute_loss")
  end
  if T.metrics and not T.metrics.built then
    local taken = { "loss" }
    for _, m in ipairs(T.loss and T.loss.trackers or NO_NAMES) do
      taken[#taken + 1] = m.name
    end
    T.metrics:build(ys, ps, names, T.method or "compute_loss", taken)
  end
  T.built = true
end

local function prepare(T, ys, ps)
  if not T.built then
    build(T, ys, ps)
  end
end

-- ---- losses ----

-- Layers and regularized weights that may add to the loss; looked up once per fit.
local function penalty_sources(model, T)
  T.layers = model:_flat()
  T.regularized = {}
  for _, r in ipairs(model:_records()) do
    if r.regularizer and r.trainable then
      T.regularized[#T.regularized + 1] = r
    end
  end
end

local function penalties(model, T, total)
  if not T.layers then
    penalty_sources(model, T)
  end
  local call = model[S].called
  if call and Layer.last_penalized >= call then
    for i = 1, #T.layers do
      local own = T.layers[i][S]
      for k = 1, own.losses_of == call and #own.losses or 0 do
        local l = own.losses[k]
        if l.ndim > 0 then
          l = ops.sum(l)
        end
        total = tensors.plus(total, l)
      end
    end
  end
  for i = 1, #T.regularized do
    local r = T.regularized[i]
    local l = r.regularizer(r.tensor)
    total = tensors.plus(total, l)
  end
  return total
end

--- The loss of a batch: the compiled losses plus what layers and regularizers add.
function steps.compute_loss(model, _, y, y_pred, sample_weight)
  local T = steps.of(model, "compute_loss")
  local total
  if T.loss then
    local kind = structure.kind(y_pred)
    if not kind or kind == "other" then
      errors.raise("compute_loss", "y_pred must be what the model gave (got %s)",
        check.show(y_pred))
    end
    local ys, ps, ws = parts(T, y, y_pred, sample_weight)
    prepare(T, ys, ps)
    total = T.loss:compute(ys, ps, ws)
  end
  total = penalties(model, T, total)
  if total == nil then
    errors.raise(
      "compute_loss", "there is no loss: give compile a loss, or add one in a layer (add_loss)")
  end
  return total
end

-- The loss, through the model's own compute_loss if it has one.
local function loss_of(model, T, x, y, y_pred, w, training)
  if T.own_loss then
    return model:compute_loss(x, y, y_pred, w, training)
  end
  return steps.compute_loss(model, x, y, y_pred, w)
end

local function samples(x)
  local first = structure.first(x)
  return first and structure.samples(first) or 1
end

-- ---- bad losses ----
--
-- Whether a loss is NaN or infinite is found out where it is, by the op that adds it to the epoch's
-- mean (tally_loss_): `T.guard` holds how many steps were left out, whether that of the loss at
-- hand is one, and the last such loss. The optimizer's op looks there and then writes nothing. The
-- optimizer counted the step all the same; `settle` takes it back where somebody reads.

-- The guard, in the dtype that the optimizer's op works in.
local function guard_of(T, loss)
  local wide = T.params[1] and T.params[1].dtype == "float64"
  T.guard = ops.zeros({ 3 }, { dtype = wide and "float64" or "float32", device = loss.device })
  core.scope_leave(T.guard) -- the next batches add to it
  return T.guard
end

-- How many steps were left out since the last `settle`; the first of a fit is said.
local function left_out(T)
  local guard = T.guard:tolist()
  if guard[1] > 0 and not T.bad then
    T.bad = true
    local v = guard[3]
    errors.warn("the loss of a batch is %s; its step is not applied",
      v ~= v and "nan" or v - v ~= 0 and v or "not finite in another process")
  end
  return math.tointeger(guard[1])
end

--- Takes steps that were left out for their losses off what the optimizer counted.
--- @param T table|nil
function steps.settle(T)
  if T and T.guard then
    local n = left_out(T)
    if n > 0 then
      T.guard:zero_()
      T.optimizer._iterations = T.optimizer._iterations - n
    end
  end
end

-- ---- metrics ----

local function update_metrics(T, y, y_pred, w)
  if not T.metrics then
    return
  end
  local _ <close> = core.recording(false)
  local ys, ps, ws = parts(T, y, y_pred, w)
  prepare(T, ys, ps)
  T.metrics:update(ys, ps, ws)
end

--- Values of the loss and of all metrics by name.
function steps.results(model)
  local T = model[S].training
  local out = {}
  if T then
    if T.guard and not T.bad then
      left_out(T)
    end
    out.loss = T.tracker:result()
    if T.metrics then
      T.metrics:results(out)
    end
    for _, m in ipairs(T.loss and T.loss.trackers or NO_NAMES) do
      out[m.name] = m:result()
    end
  end
  for _, m in ipairs(steps.extra_metrics(model, T)) do
    local v = m:result()
    out[m.name] = type(v) == "userdata" and v.size == 1 and v:item() or v
  end
  return out
end

--- Metrics that a person keeps in fields of the model or its layers; `found`, if they were just
--- looked up.
function steps.extra_metrics(model, T, found)
  found = found or model:_metrics()
  for i = 1, T and T.loss and not T.own_step and #found or 0 do
    if found[i].name == "loss" then
      errors.raise(T.method, "a metric kept in %s is named 'loss', which is what logs call the \z
        loss; give it another name", model:_label())
    end
  end
  return found
end

--- All metrics back to their beginning.
--- @param found table|nil those in fields of the model, if they were just looked up
function steps.reset_metrics(model, found)
  local T = model[S].training
  steps.settle(T)
  if T then
    T.tracker:reset_state()
    if T.metrics then
      T.metrics:reset()
    end
    for _, m in ipairs(T.loss and T.loss.trackers or NO_NAMES) do
      m:reset_state()
    end
  end
  for _, m in ipairs(steps.extra_metrics(model, T, found)) do
    m:reset_state()
  end
end

-- ---- parameters ----

--- The optimizer that training uses from now on: what compile was given, or what a person assigned
--- to `model.optimizer` since.
--- @param T table the state of a compiled model
--- @param optimizer any
function steps.use_optimizer(model, T, optimizer)
  optimizer = require("tide.optimizers").get(optimizer)
  optimizer._records = function()
    return model:_records()
  end
  optimizer._settle = function()
    steps.settle(T)
  end
  model.optimizer, T.optimizer = optimizer, optimizer
  T.by_host = optimizer:_steps_by_host()
end

--- Looks up the trainable parameters and prepares the optimizer for them.
function steps.find_parameters(model, T)
  local params, info = model._parameters_of(model:_trained())
  T.params = params
  if #params == 0 then
    errors.warn("fit: %s has no trainable weights", model:_label())
    return
  end
  local optimizer = T.optimizer
  if not optimizer.built then
    optimizer:build(params, info)
  end
  T.same = #optimizer._params == #params
  for i = 1, #params do
    T.same = T.same and optimizer._params[i] == params[i]
  end
end

--- Why the host must know of a bad loss before the optimizer steps, because more than ops that look
--- there hangs on it; nil where it need not.
function steps.asks(T)
  local optimizer = T.optimizer
  return T.by_host and "the optimizer's step is more than its op"
    or rawget(optimizer, "gradient_accumulation_steps") and "gradients are accumulated"
    or rawget(optimizer, "ema_overwrite_frequency") and "averages overwrite the weights"
    or nil
end

-- Whether the step of a bad loss is left out by the host.
local function leaves_out(T, guard)
  if steps.asks(T) and guard[2] ~= 0 then
    left_out(T)
    guard:zero_()
    T.optimizer:_left_out()
    return true
  end
  return false
end

--- The optimizer's step with the gradients of the parameters.
--- @param guard userdata|nil what says that the loss is bad; see `settle`
--- @param bare boolean|nil without what Lua does around it
function steps.apply(T, grads, guard, bare)
  local optimizer = T.optimizer
  local places = not T.same and optimizer:_places(grads, T.params) or nil
  if bare then
    return optimizer:_step(grads, places, guard)
  end
  optimizer:_apply(grads, places, guard)
end

--- As apply, where a bad loss was not looked at before.
function steps.apply_unless_bad(T, grads, guard)
  if not leaves_out(T, guard) then
    steps.apply(T, grads, guard)
  end
end

--- Applies the gradients of a loss to the model's parameters.
--- @param guard userdata|nil what says that the loss is bad; see `settle`
function steps.minimize(model, T, loss, guard)
  local optimizer = T.optimizer
  if not T.params then
    steps.find_parameters(model, T)
  end
  local params = T.params
  if #params == 0 then
    return
  end
  local scaled = optimizer:scale_loss(loss)
  if not loss.requires_grad then
    errors.raise("fit", "the loss depends on no trainable weight of %s", model:_label())
  end
  local grads = core.gradients(scaled, params, optimizer:_takes_rows() and SPARSE or nil)
  if T.noting then
    return T.noting.learned(grads, guard)
  end
  steps.apply(T, grads, guard)
end

-- ---- the steps ----

-- The gradient step of a loss, which joins the epoch's mean; unless it is NaN or infinite: then the
-- weights stay as they are. `again`: a function that gives the loss of the batch once more, for
-- optimizers that ask for it several times.
local function learn(model, T, loss, x, again)
  if loss.ndim > 0 and loss.size ~= 1 then
    errors.raise("compute_loss", "the loss must be one number (expected shape (), got %s)",
      tostring(loss.shape))
  end
  if not T.params then
    steps.find_parameters(model, T)
  end
  local guard = T.guard or guard_of(T, loss)
  take_loss(T.tracker, loss, samples(x), guard)
  local strategy = strategies.of(T.optimizer)
  if strategy then
    strategy:agree(guard)
  end
  if not T.noting and leaves_out(T, guard) then -- who notes looks behind the gradients
    return
  end
  local optimizer = T.optimizer
  if again and strategy then
    errors.raise(getmetatable(optimizer).__name, "its steps cannot be shared by several \z
      processes; train with another optimizer, or in one process")
  elseif again and #T.params > 0 then
    optimizer:step(again, T.params)
    return
  end
  steps.minimize(model, T, loss, guard)
end

-- A loss that joins the epoch's mean.
local function track(_, T, loss, x)
  if loss.ndim > 0 then
    loss:item() -- raises where there are several
  end
  T.tracker:_take(loss, samples(x))
end

-- Loss and metrics of the compiled kind, the parts of the batch taken apart once; `use` is learn or
-- track. The step of the optimizer comes last: what is wrong with the batch shows before.
local function compiled_pass(model, T, x, y, y_pred, w, use)
  local ys, ps, ws = parts(T, y, y_pred, w)
  if not T.built then
    build(T, ys, ps)
  end
  local loss
  if T.loss or use ~= track then
    loss = penalties(model, T, T.loss and T.loss:compute(ys, ps, ws))
    if loss == nil then
      errors.raise(
        "compute_loss", "there is no loss: give compile a loss, or add one in a layer (add_loss)")
    end
  end
  if T.noting then
    T.noting.predictions, T.noting.parts = y_pred, { ys, ps, ws }
  end
  if T.metrics and not (T.noting and T.noting.update) then
    local _ <close> = core.recording(false)
    T.metrics:update(ys, ps, ws)
  end
  if loss then
    use(model, T, loss, x)
  end
end

local function own_pass(model, T, x, y, y_pred, w, use)
  if T.loss or T.own_loss or use ~= track then
    use(model, T, loss_of(model, T, x, y, y_pred, w, use ~= track), x)
  end
  if T.own_metrics then
    model:compute_metrics(x, y, y_pred, w)
  else
    update_metrics(T, y, y_pred, w)
  end
end

-- `learn` for optimizers that ask for the loss several times: the first answer is the loss at hand,
-- for the others the batch runs again, with the random numbers of the first time.
local function learn_again(model, y, w)
  local generator, counts = { core.generator() }, seeds.counts_of(model)
  return function(_, T, loss, x)
    local behind, after = { core.generator() }, seeds.counts_of(model)
    local first = loss
    learn(model, T, loss, x, function()
      if first then
        local v = first
        first = nil
        return v
      end
      core.generator(table.unpack(generator))
      seeds.set_counts(model, counts)
      local y_pred = model(x, TRAIN)
      if T.own_loss then
        return model:compute_loss(x, y, y_pred, w, true)
      end
      local ys, ps, ws = parts(T, y, y_pred, w)
      return penalties(model, T, T.loss and T.loss:compute(ys, ps, ws, true))
    end)
    core.generator(table.unpack(behind))
    seeds.set_counts(model, after)
  end
end

--- A training step without the logs.
function steps.train(model, T, x, y, w)
  local own = T.own_loss or T.own_metrics
  local again = T.optimizer._evaluates
  if not own and not again and planned.train(model, T, x, y, w, steps) then
    return
  end
  local use = again and learn_again(model, y, w) or learn
  return (own and own_pass or compiled_pass)(model, T, x, y, model(x, TRAIN), w, use)
end

steps._parts = parts

-- The step of a compiled model without more, for who notes it.
function steps._pass(model, T, x, y, w, trains)
  return compiled_pass(model, T, x, y, model(x, trains and TRAIN or INFER), w,
    trains and learn or track)
end

--- A test step without the logs.
function steps.test(model, T, x, y, w)
  local own = T.own_loss or T.own_metrics
  if not own and planned.test(model, T, x, y, w, steps) then
    return
  end
  return (own and own_pass or compiled_pass)(model, T, x, y, model(x, INFER), w, track)
end

--- The outputs for a batch.
function steps.predict(model, x)
  return replay.predict(model, x)
end

--- Updates the compiled metrics and returns all values.
function steps.compute_metrics(model, _, y, y_pred, sample_weight)
  local T = steps.of(model, "compute_metrics")
  update_metrics(T, y, y_pred, sample_weight)
  return steps.results(model)
end

return steps
