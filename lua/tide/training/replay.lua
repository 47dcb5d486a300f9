--- Steps that repeat are recorded and replayed (src/plan.c): here is decided which, what they are
--- given, and what of Lua's they hang on.
--
-- A step runs as always until two runs on tensors of the same forms made the same calls; from then
-- on a plan runs in its place. What the plan does not do, what Lua counts beside the ops (steps,
-- values in metrics), is done here.
--
-- `model[S].plans` holds a room for each kind of step and each structure of its data: { set =
-- core.plans, forms = what is known of each form, why = why it runs eagerly }.
local S = require "tide.private"
local check = require "tide.check"
local core = require "tide.core"
local watch = require "tide.training.watch"

local replay = {}

local MOST_FORMS = 8 -- forms of one step that are recorded; more have no plan
local MOST_TRIES = 6 -- runs of a form that may differ from one another
local MOST_CHANGES = 16 -- how often fields may change before nothing is recorded any more

local CHANGED = "a field that it hangs on changed"

local INFER = require("tide.layers.base").INFER
local plans_run, is_tensor = core.plans_run, core.is_tensor

--- Whether steps are replayed: not with TIDE_PLAN=0.
replay.on = os.getenv "TIDE_PLAN" ~= "0"

-- ---- tensors of structures ----

--- Appends the tensors of data (one, a list, a table by name) to `out`. Returns what tells
--- structures apart; nil where something else is among them.
function replay.flatten(v, out)
  if is_tensor(v) then
    out[#out + 1] = v
    return "."
  elseif v == nil then
    return "-"
  elseif not check.is_plain(v) then
    return nil
  end
  local names = {}
  for k, x in next, v do
    if not is_tensor(x) or type(k) ~= "string" and math.type(k) ~= "integer" then
      return nil
    end
    names[#names + 1] = k
  end
  for _, k in ipairs(names) do
    if type(k) ~= type(names[1]) or type(k) == "number" and #names ~= #v then
      return nil
    end
  end
  table.sort(names)
  for _, k in ipairs(names) do
    out[#out + 1] = v[k]
  end
  return "{" .. table.concat(names, ",") .. "}"
end

--- The structure of data, without its tensors.
function replay.structure(v)
  if type(v) ~= "table" then
    return v ~= nil or nil
  end
  local out = {}
  for k in next, v do
    out[k] = true
  end
  return out
end

--- Data of the same structure, of the tensors that `flatten` would give in their order, from number
--- `at` + 1 on; and how many are taken then.
function replay.rebuild(v, tensors, at)
  if v == nil then
    return nil, at
  elseif type(v) ~= "table" then
    return tensors[at + 1], at + 1
  end
  local names, out = {}, {}
  for k in next, v do
    names[#names + 1] = k
  end
  table.sort(names)
  for i, k in ipairs(names) do
    out[k] = tensors[at + i]
  end
  return out, at + #names
end

local flatten, rebuild = replay.flatten, replay.rebuild

-- What tells the forms of tensors apart.
local function form_of(tensors)
  local out = {}
  for i, t in ipairs(tensors) do
    out[i] = t.dtype .. tostring(t.shape)
  end
  return table.concat(out, " ")
end

-- ---- rooms ----

--- What is known of the steps of this kind, and of this structure of data.
function replay.room(model, kind)
  local own = model[S]
  local plans = own.plans
  if not plans then
    plans = {}
    own.plans = plans
  end
  local room = plans[kind]
  if not room then
    room = { own = own, forms = {}, count = 0, changes = 0, made = 0 }
    room.set = core.plans(own, room)
    plans[kind] = room
  end
  return room
end

--- Forgets the plans of a room, for what they hang on has changed.
function replay.drop(room, why)
  room.changes = room.changes + 1
  room.set, room.forms, room.count, room.made = core.plans(room.own, room), {}, 0, 0
  room.counts, room.calls, room.gave_up = nil, nil, nil
  room.off = room.changes > MOST_CHANGES
  room.why = room.off and "what it hangs on changes again and again" or why
end

local function refuse(room, note, why)
  note.off, note.why = true, why
  room.why, room.gave_up = why, why
end

-- Tells the recorder that nothing follows.
local Closing = {}
function Closing.__close(c)
  core.record_close(c.recorder)
end

-- ---- recording ----

-- The first `n` tensors copied: so that what the step is given is nothing that it holds besides;
-- nil where one cannot be.
local function copies(tensors, n)
  local out, known = {}, {}
  for i, t in ipairs(tensors) do
    known[t] = known[t] or i > n and t or core.record_copy(t)
    if not known[t] then
      return nil
    end
    out[i] = known[t]
  end
  return out
end

-- How many seeds the layers' own generators have given.
local function drawn(w)
  local n = 0
  for _, generator in ipairs(w.generators) do
    n = n + generator.count
  end
  return n
end

-- What is known of a form, and, where a second recording is due, the watch over what it hangs on;
-- nil where nothing is recorded.
local function begin(room, form, look)
  local note = room.forms[form]
  if not note and room.count < MOST_FORMS then
    note = { tries = 0 }
    room.forms[form], room.count = note, room.count + 1
  elseif not note then
    room.why = ("it is given more than %d forms of data"):format(MOST_FORMS)
  end
  if not note or note.off or room.off then
    return nil
  end
  if core.memory().limit_bytes > 0 then -- for while it is noted, a step's data are there twice
    room.why = "a limit of memory is set"
    return nil
  end
  local w
  if note.last then
    if room.made > 0 and core.plans_changed(room.set) ~= nil then
      replay.drop(room, CHANGED) -- what is watched next is not what plans of other forms hang on
      return begin(room, form, look)
    end
    w = watch.new()
    look(w)
    if w.why then
      refuse(room, note, w.why)
      return nil
    end
    core.plans_watch(room.set, w.owners, w.keys)
    w.drawn = drawn(w)
  end
  return note, w
end

-- Behind the step: makes the plan where two recordings are the same.
local function finish(room, note, recorder, w)
  local last, why = note.last, core.record_why(recorder)
  note.last, note.tries = not why and recorder or nil, note.tries + 1
  if last and not why then
    core.step_end() -- what outlives the step shows when its garbage has gone: in two young
    core.step_end() -- collections, or in a full one, which takes long in a large state
    if not core.record_clear(recorder, w.tensors) then
      core.collect()
    end
    local key = core.plans_changed(room.set)
    if drawn(w) ~= w.drawn then
      why = "a layer draws seeds of its own (seed = n)"
    elseif key ~= nil then
      why = ("the field '%s' changes in the step, or is a tensor with hooks"):format(tostring(key))
    elseif core.record_same(last, recorder)
      and core.plans_add(room.set, recorder, w.tensors) then
      note.last, note.off, room.why = nil, true, nil
      room.made = room.made + 1
      return true
    end
    note.last, why = nil, why or core.record_why(recorder)
  end
  room.why = why or room.why
  if note.tries >= MOST_TRIES then
    refuse(room, note, why)
  end
end

--- Runs `body(inputs, over)`, noting it for the room; it calls over(results, together) where the
--- step ends, with its tensors, false for those that are not there; `together`: they go together
--- soon. `look(w)` watches what it hangs on. The first `n` inputs are data.
--- @return any what body returned
--- @return boolean|nil whether a plan was made
function replay.record(room, inputs, n, body, look)
  local note, w = begin(room, form_of(inputs), look)
  local given = inputs
  if w then
    given = copies(inputs, n)
    if not given then
      refuse(room, note, "what it is given cannot be copied as it lies in memory")
    end
  end
  local recorder = note and given and core.record(given)
  if not recorder then
    return body(inputs)
  end
  local closing <close> = setmetatable({ recorder = recorder }, Closing) -- luacheck: ignore
  local y = body(given, function(results, together)
    core.record_end(recorder, results, together)
  end)
  given = nil -- luacheck: ignore
  return y, finish(room, note, recorder, w)
end

-- ---- predicting ----

local function predict_eagerly(model, x, room)
  local inputs = {}
  flatten(x, inputs)
  return replay.record(room, inputs, #inputs, function(given, over)
    local y = model(rebuild(x, given, 0), INFER)
    if over then
      local out = {}
      if not flatten(y, out) then
        core.record_refuse "its outputs are no tensors"
      end
      for _, t in ipairs(out) do
        for _, v in ipairs(given) do
          if rawequal(t, v) then
            core.record_refuse "it hands out what it is given"
          end
        end
      end
      room.like = type(y) == "table" and replay.structure(y) or nil
      over(out)
    end
    return y
  end, function(w)
    w:model(model)
  end)
end

-- The same for any structure of inputs, and where there is no plan yet.
local function predict(model, x)
  local inputs = {}
  local form = flatten(x, inputs)
  if not replay.on or not form or rawget(model, "run_eagerly") then
    return model(x, INFER)
  end
  local room = replay.room(model, form == "." and "predict" or "predict " .. form)
  local out = table.pack(plans_run(room.set, table.unpack(inputs)))
  if out[1] then
    return room.like and (rebuild(room.like, out, 0)) or out[1]
  elseif out[2] then
    replay.drop(room, CHANGED)
  end
  return predict_eagerly(model, x, room)
end

--- The outputs of a model for a batch, by its plan where there is one.
--- @param model table
--- @param x any
function replay.predict(model, x)
  local plans = model[S].plans
  local room = plans and plans.predict
  if room and replay.on and not room.like and type(x) == "userdata" then -- the everyday case
    local y = plans_run(room.set, x)
    if y then
      return y
    end
  end
  return predict(model, x)
end

return replay
