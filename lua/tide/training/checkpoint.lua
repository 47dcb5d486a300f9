--- The file from which another process goes on with a fit: weights and states, optimizers, random
--- generators, the place in the data, metrics, callbacks and the history, after a whole batch.
---
--- It is a safetensors file, written atomically, whose checksums cover everything. The data
--- themselves, the options and the functions are given to the fit that goes on.
local S = require "tide.private"
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local guard = require "tide.saving.guard"
local json = require "tide.utils.json"
local safetensors = require "tide.saving.safetensors"
local seeds = require "tide.layers.seeds"

local keeps = require "tide.training.kept"
local pass = require "tide.training.pass"
local plain = require "tide.training.plain"
local steps = require "tide.training.steps"
local Layer = require "tide.layers.base"
local Optimizer = require("tide.optimizers.base").Optimizer

local checkpoint = {}

local FORMAT = 1
local function is_count(v)
  return math.type(v) == "integer" and v >= 0
end
local function is_flag(v)
  return v == nil or type(v) == "boolean"
end
local function is_table(v)
  return v == nil or type(v) == "table"
end
local stages = { epoch = true, batches = true, validation = true }
-- Where a run is, and what tells that a file's value may be that; see training/fit.lua.
local PLACE = { epoch = is_count, seen = is_count, used = is_count, started = is_flag,
  validated = is_flag, ended = is_flag, own = is_table, logs = is_table, last_logs = is_table,
  stage = function(v)
    return stages[v] ~= nil
  end, source = is_table, validation = is_table }
-- What History:rows gives.
local function is_history(v)
  if type(v) ~= "table" or type(v.epoch) ~= "table" or type(v.history) ~= "table" then
    return false
  end
  for name, l in pairs(v.history) do
    if type(name) ~= "string" or type(l) ~= "table" then
      return false
    end
  end
  return true
end

-- Those that the run itself has.
local KEPT = { "epoch", "seen", "used", "stage", "started", "validated", "ended", "own", "logs",
  "last_logs" }
-- Options that change which batches there are.
local SAME = { "batch_size", "shuffle", "steps_per_epoch" }

-- The optimizers of a model: the compiled one, then those in its fields by name.
local function optimizers_of(model, T)
  local out, names = { T.optimizer }, {}
  for k, v in next, model do
    if type(k) == "string" and class.is(v, Optimizer) and v ~= T.optimizer then
      names[#names + 1] = k
    end
  end
  table.sort(names)
  for _, k in ipairs(names) do
    out[#out + 1] = model[k]
  end
  return out
end

local function options_of(run)
  local out = { batches = run.source.batches }
  for _, k in ipairs(SAME) do
    out[k] = run.o[k]
  end
  return out
end

-- What the bits of a step depend on beside the program's input.
local function machine()
  return { version = core.version, cpu = core.cpu_level, bfloat16 = core.bf16_products,
    engines = table.concat(core.engines(), ", ") }
end

-- ---- writing ----

--- Where a source is; nil where it has nothing to say.
function checkpoint.place_of(source)
  return source and not source.once and (source.where or not source.step) and source:state() or nil
end

-- What an optimizer counts, bad losses that nobody has taken back yet among it.
local function numbers_of(optimizer)
  local settle = rawget(optimizer, "_settle")
  rawset(optimizer, "_settle", nil)
  local out = optimizer:_numbers()
  rawset(optimizer, "_settle", settle)
  return out
end

local function optimizer_state(optimizer, k, places, writer)
  local out = { class = getmetatable(optimizer).__name }
  if not optimizer.built then
    return out
  end
  out.params, out.slots, out.numbers = {}, {}, writer:value(numbers_of(optimizer))
  for i, t in ipairs(optimizer._params) do
    if not places[t] then
      errors.raise("checkpoint", "parameter %d of the optimizer %s is no weight of the model", i,
        out.class)
    end
    out.params[i] = places[t]
  end
  for i, s in ipairs(optimizer:_state()) do
    local name = ("@optimizer/%d/%s/%d"):format(k, s.slot, i)
    out.slots[i] = { s.slot, s.index, name }
    writer.entries[#writer.entries + 1] = { name, s.tensor:detach() }
  end
  out.touched = writer:value(optimizer._touched)
  return out
end

--- Writes where a run is.
--- @param path string
--- @param model table
--- @param run table the run of training/fit.lua
--- @param history table|nil the callback History
function checkpoint.save(path, model, run, history)
  local T = model[S].training
  local entries, order, places = {}, {}, {}
  for i, r in ipairs(model:_saved()) do
    entries[i], order[i], places[r.tensor] = { r.path, r.tensor:detach() }, r.path, i
  end
  local writer = plain.writer(entries)
  local where = {}
  for _, k in ipairs(KEPT) do
    where[k] = run[k]
  end
  where.source = run.source:state()
  where.validation = run.stage == "validation" and run.validation_place
    or checkpoint.place_of(run.validation)
  local header = { format = FORMAT, kind = "training", version = core.version, order = order,
    seeds = seeds.counts_of(model), options = options_of(run), machine = machine(),
    place = writer:value(where), generator = writer:value { core.generator() },
    history = history and writer:value(history:rows()), optimizers = {}, metrics = {},
    callbacks = {}, guard = writer:value { T.guard, bad = T.bad } }
  for k, optimizer in ipairs(optimizers_of(model, T)) do
    header.optimizers[k] = optimizer_state(optimizer, k, places, writer)
  end
  for i, m in ipairs(pass.named_metrics(model)) do
    header.metrics[i] = { name = m.name, fields = writer:fields(m.metric) }
  end
  for i, c in ipairs(run.callbacks) do
    header.callbacks[i] = { class = getmetatable(c).__name,
      fields = writer:fields(c, keeps.left_out(c)) }
  end
  local folder = path:match "^(.*)/[^/]*$"
  if folder and folder ~= "" then
    core.mkdirs(folder)
  end
  core.safetensors_write(path, entries,
    { format = "tide", tide = json.written(header, path) })
end

-- ---- reading ----

local function differs(path, what, ...)
  errors.raise("fit", "%s does not fit: " .. what, path, ...)
end

-- Makes what is made at the first batch: weights, losses, metrics.
local function build(model, T, run)
  if model.built and (T.built or T.own_step) then
    return
  end
  run.source:begin(1)
  local x, y, w = run.source:next()
  local _ <close> = core.recording(false)
  if T.own_step then
    core.no_grad(model, x)
  else
    steps.test(model, T, x, y, w)
  end
  pass.refresh(model, T, "fit")
end

local function check_options(path, header, run)
  local now = options_of(run)
  for _, k in ipairs(check.sorted_keys(now)) do
    if header.options[k] == nil then
      differs(path, "it was written without %s (got %s)", k, check.show(now[k]))
    end
  end
  for _, k in ipairs(check.sorted_keys(header.options)) do
    if header.options[k] ~= now[k] then
      differs(path, "it was written with other data or options (expected %s = %s, got %s)", k,
        check.show(header.options[k]), check.show(now[k]))
    end
  end
end

-- In deterministic mode a run goes on only where its bits can be those of one that was not
-- interrupted.
local function check_machine(path, header)
  local now, was = machine(), type(header.machine) == "table" and header.machine or {}
  for _, k in ipairs(core.determined() and check.sorted_keys(now) or {}) do
    if was[k] ~= now[k] then
      differs(path, "deterministic mode cannot keep its bits here (expected %s = %s, got %s)", k,
        check.show(was[k]), check.show(now[k]))
    end
  end
end

local function check_weights(path, header, saved)
  if #header.order ~= #saved then
    differs(path, "the model has other weights (expected %d, got %d)", #header.order, #saved)
  end
  for i, r in ipairs(saved) do
    if safetensors.unnumbered(header.order[i]) ~= safetensors.unnumbered(r.path) then
      differs(path, "the model has other weights (expected %s, got %s)", header.order[i], r.path)
    end
  end
end

-- An optimizer for the parameters that the file names; its state as pairs { tensor, name }.
local function optimizer_plan(path, kept, optimizer, saved, plan)
  local name = optimizer and getmetatable(optimizer).__name or "none"
  if name ~= kept.class then
    differs(path, "the model has another optimizer (expected %s, got %s)", kept.class, name)
  elseif not kept.params then
    return
  end
  local records = {}
  for i, at in ipairs(kept.params) do
    records[i] = saved[at]
  end
  local params, info = Layer._parameters_of(records)
  if not optimizer.built then
    optimizer:build(params, info)
  end
  local same = #optimizer._params == #params
  for i, t in ipairs(params) do
    same = same and optimizer._params[i] == t
  end
  local state = optimizer:_state()
  if not same or #state ~= #kept.slots then
    differs(path, "the optimizer %s has other parameters or options", kept.class)
  end
  for i, s in ipairs(state) do
    if s.slot ~= kept.slots[i][1] or s.index ~= kept.slots[i][2] then
      differs(path, "the optimizer %s has another state (expected %s of parameter %d, got %s of "
        .. "%d)", kept.class, kept.slots[i][1], kept.slots[i][2], s.slot, s.index)
    end
    plan[#plan + 1] = { s.tensor, kept.slots[i][3] }
  end
end

-- Callbacks take over the fields of those of their class, in order; the others are returned.
local function restore_callbacks(path, header, callbacks, reader)
  local waiting, fresh = {}, {}
  for _, kept in ipairs(header.callbacks) do
    waiting[kept.class] = waiting[kept.class] or {}
    table.insert(waiting[kept.class], kept)
  end
  for _, c in ipairs(callbacks) do
    local written = table.remove(waiting[getmetatable(c).__name] or {}, 1)
    if written then
      reader:fields(written.fields, c, nil, keeps.left_out(c), path)
    else
      fresh[#fresh + 1] = c
    end
  end
  return fresh
end

local function assign(pairs_)
  for _, pair in ipairs(pairs_) do
    pair[1]:assign(pair[2])
  end
end

local function restore(path, file, found, header, model, T, run)
  local by_name = {}
  for i, e in ipairs(found) do
    by_name[e.name] = i
  end
  local function tensor(name)
    if not by_name[name] then
      differs(path, "it lacks %s", name)
    end
    return core.safetensors_read(file, by_name[name])
  end
  check_machine(path, header)
  check_options(path, header, run)
  if model.built then
    check_weights(path, header, model:_saved())
  end
  build(model, T, run)
  local saved, plan, todo = model:_saved(), {}, {}
  check_weights(path, header, saved)
  local optimizers = optimizers_of(model, T)
  for k, kept in ipairs(header.optimizers) do
    optimizer_plan(path, kept, optimizers[k], saved, plan)
  end
  local metrics = pass.named_metrics(model)
  for i = 1, math.max(#metrics, #header.metrics) do
    local kept, m = header.metrics[i] or {}, metrics[i] or {}
    if kept.name ~= m.name then
      differs(path, "the model has other metrics (expected %s, got %s)", kept.name or "none",
        m.name or "none")
    end
  end
  for i, r in ipairs(saved) do
    plan[#plan + 1] = { r.tensor, header.order[i] }
  end
  for i, p in ipairs(plan) do
    local value = tensor(p[2])
    if value.shape ~= p[1].shape or value.dtype ~= p[1].dtype then
      differs(path, "%s has another shape or dtype (expected %s %s, got %s %s)", p[2],
        tostring(value.shape), value.dtype, tostring(p[1].shape), p[1].dtype)
    end
    todo[i] = { p[1], value }
  end
  local late = {} -- what optimizers work out of their slots, which may differ from what they knew
  local into = todo
  local reader = plain.reader(tensor, function(t, value)
    into[#into + 1] = { t, value }
  end)
  local where = reader:value(header.place)
  for k, allows in pairs(PLACE) do
    if not allows(where[k]) then
      differs(path, "its place in the training is damaged (got %s for %s)", check.show(where[k]), k)
    end
  end
  local generator = reader:value(header.generator)
  local rows = header.history and reader:value(header.history)
  if rows ~= nil and not is_history(rows) then
    differs(path, "its history is damaged")
  end
  -- in the order of writing, which is that of values that stand in several places
  local last = reader:value(header.guard)
  local numbers = {}
  for k, kept in ipairs(header.optimizers) do
    numbers[k] = kept.numbers and reader:value(kept.numbers)
    into = late
    if kept.touched then
      reader:value(kept.touched, optimizers[k]._touched)
    end
    into = todo
  end
  for i, kept in ipairs(header.metrics) do
    reader:fields(kept.fields, metrics[i].metric)
  end
  local fresh = restore_callbacks(path, header, run.callbacks, reader)
  assign(todo)
  for k in pairs(numbers) do
    optimizers[k]:_set_numbers(numbers[k])
  end
  assign(late)
  local guarded = last[1] == nil or core.is_tensor(last[1]) and last[1].size == 3
  if not guarded or not is_flag(last.bad) then
    differs(path, "its count of bad losses is damaged")
  end
  T.guard, T.bad = last[1], last.bad
  seeds.set_counts(model, header.seeds)
  for _, k in ipairs(KEPT) do
    run[k] = where[k]
  end
  run.source:restore(where.source)
  if run.validation and where.validation then
    run.validation:restore(where.validation)
  end
  core.generator(table.unpack(generator))
  return { rows = rows, fresh = fresh }
end

--- Whether a file can be read to its end; false and the error where it is damaged.
function checkpoint.whole(path)
  return pcall(function()
    local file <close>, entries = core.safetensors_open(path)
    for i = 1, #entries do
      core.safetensors_read(file, i)
    end
  end)
end

--- Puts a run where the file says.
--- @param path string
--- @param model table
--- @param run table the run of training/fit.lua, at its beginning
--- @return table `rows` of the history, `fresh`: the callbacks of which the file knows nothing
function checkpoint.restore(path, model, run)
  local file <close>, found, metadata = core.safetensors_open(path)
  local header = metadata.tide and json.decode(metadata.tide, path)
  if type(header) ~= "table" or header.kind ~= "training" then
    errors.raise("fit", "%s is no checkpoint of a training; BackupAndRestore and \z
      CheckpointManager write them", path)
  elseif header.format ~= FORMAT then
    errors.raise("fit", "%s: the checkpoint has another format (expected %d, got %s)", path, FORMAT,
      check.show(header.format))
  end
  return guard.read("fit", path, "the description of the training is damaged", restore, path, file,
    found, header, model, model[S].training, run)
end

return checkpoint
