--- Training and test steps that are replayed (replay.lua): what they are given, and what Lua does
--- beside their plans.
--
-- A training step is one plan, the optimizer's step its end: it is given the data, the guard of bad
-- losses, the sums of metrics, and the numbers of the step (`Optimizer:_dials`). Where the
-- optimizer's step cannot be recorded it is two plans. The first one goes from the batch to the
-- gradients of all parameters, the second one takes targets, predictions and weights into the
-- metrics; then the optimizer steps as always. A test step is one plan.
--
-- Metrics count in Lua how many values they saw: a plan notes by how much, and the count goes on.
local core = require "tide.core"
local ops = require "tide.ops"
local replay = require "tide.training.replay"
local Optimizer = require("tide.optimizers.base").Optimizer
local strategies = require "tide.distribute"

local planned = {}

local flatten, rebuild, plans_run = replay.flatten, replay.rebuild, core.plans_run
local is_tensor = core.is_tensor

-- ---- metrics ----

-- The metrics of a step that keep sums (metrics/base.lua), and all of it; each once, for several
-- outputs may have the same.
local function metrics_of(T, losses, values)
  local sums, all, known = {}, {}, {}
  local function add(m)
    if known[m] then
      return
    end
    known[m], all[#all + 1] = true, m
    if rawget(m, "_total") ~= nil then
      sums[#sums + 1] = m
    end
  end
  if losses then
    add(T.tracker)
    for _, m in ipairs(T.loss and T.loss.trackers or {}) do
      add(m)
    end
  end
  for _, e in ipairs(values and T.metrics and T.metrics.entries or {}) do
    add(e.metric)
  end
  return sums, all
end

-- Appends their sums, which the first batch behind a reset makes.
local function add_sums(metrics, device, out)
  for i = 1, #metrics do
    local m = metrics[i]
    local sums = m._sums
    if not sums then
      sums = ops.zeros({ 2 }, { dtype = "float64", device = device })
      core.scope_leave(sums)
      m._sums = sums
    end
    out[#out + 1] = sums
  end
end

local function counts_of(metrics)
  local out = {}
  for i, m in ipairs(metrics) do
    out[i] = { m._count, m._total }
  end
  return out
end

-- Notes for the plan that was just made by how much the counts grew.
local function note_counts(room, metrics, before)
  local grown = {}
  for i, m in ipairs(metrics) do
    grown[i] = m._count - before[i][1]
    if m._total ~= before[i][2] then
      return false
    end
  end
  room.counts = room.counts or {}
  room.counts[room.made] = grown
  return true
end

local function go_on_counting(room, metrics)
  local grown = room.counts[room.ran]
  for i = 1, #metrics do
    if grown[i] ~= 0 then
      metrics[i]._count = metrics[i]._count + grown[i]
    end
  end
end

-- ---- what a step hangs on ----

local TRAINING = { "loss", "metrics", "own_loss", "own_metrics", "optimizer", "by_host" }
local OPTIMIZER = { "loss_scale_factor", "strategy", "scale_loss", "_takes_rows" }

-- `trains`: "whole", "gradients", or false of a test step.
local function look(model, T, all, trains)
  return function(w)
    w:model(model)
    w:fields(T, TRAINING)
    for _, r in ipairs(model:_records()) do
      if r.regularizer then
        w:object(r.regularizer, "a regularizer")
      end
    end
    if T.loss then
      w:object(T.loss, "the loss")
    end
    for _, m in ipairs(all) do
      w:object(m, "the metric " .. m.name)
    end
    if T.metrics then
      w:object(T.metrics, "the metrics")
    end
    if trains then
      if T.optimizer.scale_loss ~= Optimizer.scale_loss then
        w:refuse("the optimizer scales the loss as it goes (%s)", T.optimizer:_class_name())
      end
      w:fields(T.optimizer, OPTIMIZER)
      if trains == "whole" then
        w:optimizer(T.optimizer)
      end
      for _, p in ipairs(T.params) do
        w.tensors[#w.tensors + 1] = p
      end
    end
  end
end

-- Whether the parameters are those of the plan; another fit makes the list anew.
local function same_parameters(room, params)
  local known = room.params
  if known == params then
    return true
  elseif not known or #known ~= #params then
    return false
  end
  for i = 1, #params do
    if known[i] ~= params[i] then
      return false
    end
  end
  room.params = params
  return true
end

-- The data of a step as a list of tensors, and the name of the step for such data; nil where they
-- are no tensors.
local function data_of(kind, x, y, w)
  local out = {}
  if w == nil and is_tensor(x) and is_tensor(y) then
    out[1], out[2] = x, y
    return out, kind
  end
  local a, b, c = flatten(x, out), flatten(y, out), flatten(w, out)
  return a and b and c and out, a and b and c and ("%s %s|%s|%s"):format(kind, a, b, c)
end

local function restore(x, y, w, given)
  local at
  x, at = rebuild(x, given, 0)
  y, at = rebuild(y, given, at)
  return x, y, (rebuild(w, given, at))
end

local function changed(room)
  replay.drop(room, "a field that it hangs on changed")
end

-- The room of a step; its plans are of one state of training, which compile makes anew.
local function enter(model, T, kind, losses, values)
  local room = replay.room(model, kind)
  if room.state ~= T then
    if room.state then
      changed(room)
    end
    room.params = nil
    room.sums, room.all = metrics_of(T, losses, values)
    room.state = T -- last: Ctrl-C may come between any two of these
  end
  return room
end

-- Until it is closed, `noting` hears of the parts of the step.
local Noting = {}
function Noting.__close(n)
  n.state.noting = nil
end
local function hear(T, noting)
  noting.state = T
  T.noting = noting
  return setmetatable(noting, Noting)
end

-- ---- the metrics of a training step ----

local function update_metrics(model, T, ys, ps, ws)
  local data = {}
  local a, b, c = flatten(ys, data), flatten(ps, data), flatten(ws, data)
  local n = #data
  if not (a and b and c) then
    return T.metrics:update(ys, ps, ws)
  end
  local room = enter(model, T, ("metrics %s|%s|%s"):format(a, b, c), false, true)
  local sums, all = room.sums, room.all
  add_sums(sums, T.guard.device, data)
  local ran, differs = plans_run(room.set, table.unpack(data))
  if ran then
    return go_on_counting(room, sums)
  elseif differs then
    changed(room)
  end
  local before = counts_of(sums)
  local _, made = replay.record(room, data, n, function(given, over)
    local y, p, w = restore(ys, ps, ws, given)
    T.metrics:update(y, p, w)
    if over then
      over {}
    end
  end, function(w)
    w:fields(T, TRAINING)
    for _, m in ipairs(all) do
      w:object(m, "the metric " .. m.name)
    end
    w:object(T.metrics, "the metrics")
  end)
  if made and not note_counts(room, sums, before) then
    changed(room)
    room.off = true
  end
end

-- Predictions without their history.
local function plain(ps)
  local out = {}
  for i, p in ipairs(ps) do
    out[i] = p.requires_grad and p:detach() or p
  end
  return out
end

-- ---- steps ----

-- The numbers of calls of the optimizer are those of the room's plans.
local function note_calls(room, calls)
  local known = room.calls or calls
  local same = #known == #calls
  for i = 1, #calls do
    same = same and known[i] == calls[i]
  end
  room.calls = known
  return same
end

-- Runs a whole training step, noting it. Where no such step can be recorded, those that follow end
-- at the gradients.
local function whole(model, T, steps, x, y, w, room, inputs, n)
  local before, optimizer, calls = counts_of(room.sums), T.optimizer, {}
  optimizer:_begin()
  local _, made = replay.record(room, inputs, n, function(given, over)
    local bx, by, bw = restore(x, y, w, given)
    local grads
    do
      local listening <close> = hear(T, { learned = function(all) -- luacheck: ignore
        grads = all
      end })
      steps._pass(model, T, bx, by, bw, true)
    end
    T.y_list, T.p_list, T.w_list = {}, {}, {} -- nothing outlives the step
    optimizer._noted = over and calls or false
    steps.apply(T, grads, T.guard, true)
    optimizer._noted = false
    return over and over {}
  end, look(model, T, room.all, "whole"))
  optimizer:_end()
  if made and not (note_counts(room, room.sums, before) and note_calls(room, calls)) then
    changed(room)
    room.off = true
  elseif made then
    room.params = T.params
  end
  T.apart = room.gave_up or room.off and room.why
end

-- Runs a test step (`trains` false) as always, noting it, or a training step, up to the gradients,
-- which with the predictions are what is noted of it.
local function eagerly(model, T, steps, trains, x, y, w, room, inputs, n)
  local before = counts_of(room.sums)
  local _, made = replay.record(room, inputs, n, function(given, over)
    local bx, by, bw = restore(x, y, w, given)
    if not over or not trains then
      steps._pass(model, T, bx, by, bw, trains)
      T.y_list, T.p_list, T.w_list = {}, {}, {} -- nothing outlives the step
      return over and over {}
    end
    local noting = { update = true }
    function noting.learned(grads, guard)
      local results = {}
      for i = 1, #T.params do
        results[i] = grads[i] or false
      end
      if T.metrics then
        room.like = replay.structure(noting.predictions)
        if not flatten(noting.predictions, results) then
          core.record_refuse "its predictions are no tensors"
        end
      end
      over(results, true)
      if T.metrics then
        local ys, ps, ws = table.unpack(noting.parts, 1, 3)
        local _ <close> = core.recording(false)
        update_metrics(model, T, ys, plain(ps), ws)
      end
      steps.apply_unless_bad(T, grads, guard)
    end
    local listening <close> = hear(T, noting) -- luacheck: ignore
    steps._pass(model, T, bx, by, bw, trains)
    T.y_list, T.p_list, T.w_list = {}, {}, {}
  end, look(model, T, room.all, trains))
  if made and not note_counts(room, room.sums, before) then
    changed(room)
    room.off = true
  elseif made then
    room.params = T.params
  end
end

-- The room of a step on such data, and its inputs, of which the first n are data; nil where it
-- cannot be replayed.
local function prepare(model, T, trains, x, y, w)
  if not replay.on or not T.built or T.loss and T.loss.source or rawget(model, "run_eagerly")
    or trains and (not T.params or #T.params == 0 or not T.guard
      or strategies.of(T.optimizer)) then
    return nil
  end
  local inputs, kind = data_of(trains == "whole" and "train" or trains or "test", x, y, w)
  if not inputs then
    return nil
  end
  local room, n = enter(model, T, kind, true, trains ~= "gradients"), #inputs
  if trains and room.params and not same_parameters(room, T.params) then
    changed(room)
    room.params = nil
  end
  if trains then
    inputs[n + 1] = T.guard
  end
  add_sums(room.sums, inputs[1].device, inputs)
  return room, inputs, n
end

--- A training step of a compiled model, if it can be replayed or noted; whether it is done.
--- @param steps table tide.training.steps
function planned.train(model, T, x, y, w, steps)
  local asks = T.apart or steps.asks(T)
  local trains = asks and "gradients" or "whole"
  local room, inputs, n = prepare(model, T, trains, x, y, w)
  if not room then
    return false
  elseif not asks then
    local optimizer = T.optimizer
    optimizer:_begin()
    local given = #inputs
    if room.calls then
      optimizer:_dials(room.calls, inputs)
    end
    local ran, differs = plans_run(room.set, table.unpack(inputs))
    if ran then
      go_on_counting(room, room.sums)
      optimizer:_end()
      return true
    elseif differs then
      changed(room)
    end
    for i = #inputs, given + 1, -1 do
      inputs[i] = nil
    end
    whole(model, T, steps, x, y, w, room, inputs, n)
    return true
  end
  local params = #T.params
  local out = { plans_run(room.set, table.unpack(inputs)) }
  if out[1] == nil then
    if out[2] then
      changed(room)
    end
    eagerly(model, T, steps, trains, x, y, w, room, inputs, n)
    return true
  end
  go_on_counting(room, room.sums)
  local predictions = T.metrics and rebuild(room.like, out, params)
  for i = #out, params + 1, -1 do
    out[i] = nil
  end
  if predictions then
    local _ <close> = core.recording(false)
    update_metrics(model, T, steps._parts(T, y, predictions, w))
    T.y_list, T.p_list, T.w_list = {}, {}, {} -- predictions hold the memory of all the step
  end
  steps.apply_unless_bad(T, out, T.guard)
  return true
end

--- Likewise a test step.
function planned.test(model, T, x, y, w, steps)
  local room, inputs, n = prepare(model, T, false, x, y, w)
  if not room then
    return false
  end
  local ran, differs = plans_run(room.set, table.unpack(inputs))
  if ran then
    go_on_counting(room, room.sums)
    return true
  elseif differs then
    changed(room)
  end
  eagerly(model, T, steps, false, x, y, w, room, inputs, n)
  return true
end

return planned
