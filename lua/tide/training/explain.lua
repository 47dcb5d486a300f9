--- `model:explain_plan()`: which steps of a model are replayed, and why others are not.
local S = require "tide.private"
local core = require "tide.core"
local Model = require "tide.models.model"
local replay = require "tide.training.replay"
local steps = require "tide.training.steps"
local strategies = require "tide.distribute"

local explain = {}

local Explanation = { __name = "tide.plans" }
Explanation.__index = Explanation

function Explanation:__tostring()
  local out = {}
  for _, row in ipairs(self) do
    local what = row.plans == 0 and "eager"
      or ("%d plan%s"):format(row.plans, row.plans == 1 and "" or "s")
    if row.plans > 0 then
      what = ("%s, %d launches, %.1f KB"):format(what, row.launches, row.bytes / 1024)
    end
    out[#out + 1] = ("%-8s %s%s"):format(row.step, what, row.why and ": " .. row.why or "")
  end
  return table.concat(out, "\n")
end

-- Why no step of this kind is even recorded; nil where nothing speaks against it.
local function refused(model, step)
  local T = model[S].training
  if not replay.on then
    return "TIDE_PLAN=0"
  elseif rawget(model, "run_eagerly") then
    return "compile { run_eagerly = true }"
  elseif step == "predict" then
    return model.predict_step ~= Model.predict_step and "predict_step is the model's own" or nil
  elseif not T then
    return "the model is not compiled"
  end
  local method = step == "train" and "train_step" or "test_step"
  for _, name in ipairs { step == "metrics" and "train_step" or method, "compute_loss",
    "compute_metrics" } do
    if model[name] ~= Model[name] then
      return name .. " is the model's own"
    end
  end
  if step == "train" and T.optimizer._evaluates then
    return "the optimizer asks for the loss several times"
  elseif step == "train" and strategies.of(T.optimizer) then
    return "gradients are shared with other processes"
  end
end

-- What all rooms of a kind of step hold together.
local function row_of(model, step)
  local row = { step = step, plans = 0, launches = 0, bytes = 0 }
  row.why = refused(model, step)
  local seen, T = false, model[S].training
  local apart = T and not row.why and T.optimizer and (T.apart or steps.asks(T))
  local rooms = step == "train" and apart and "gradients" or step
  for name, room in pairs(not row.why and model[S].plans or {}) do
    if name:match "^%a+" == rooms then
      seen = true
      for _, f in ipairs(core.plans_facts(room.set)) do
        row.plans = row.plans + 1
        row.launches = math.max(row.launches, f.launches)
        row.bytes = math.max(row.bytes, f.arena)
      end
      row.why = row.why or room.why
    end
  end
  row.why = row.why or not seen and (step == "metrics" and not apart
    and "part of the training step" or "has not run yet")
    or row.plans == 0 and "no two steps were compared yet"
    or rooms == "gradients" and "the optimizer steps op by op: " .. apart or nil
  return row
end

--- Which steps of the model are replayed, and why others are not.
---
--- A step of predicting, training or testing that two runs have made of the same ops, on tensors of
--- the same shapes, is recorded, and from then on replayed: the same kernels with the same results,
--- without what is around them. Where the optimizer's step cannot be (it looks at values, gradients
--- are accumulated), training steps are replayed up to the gradients, and the metrics by a plan of
--- their own. The rows say for each kind of step how many plans there are (one for each shape of a
--- batch), how many launches the longest has and how many bytes it needs while it runs. `why` tells
--- why the last step, or a part of it, ran op by op: it looks at values, a layer or loss has code
--- of one's own, a result has a mask, fields of layers changed, and so on. While `tide.profile` or
--- hooks watch, and with `compile { run_eagerly = true }` or `TIDE_PLAN=0` in the environment, all
--- steps do.
---
---     local model = tide.Sequential { tide.Input { 3 }, tide.layers.Dense { 2 } }
---     for _ = 1, 4 do model:predict_on_batch(tide.ones { 1, 3 }) end
---     model:explain_plan()[1].plans   --> 1
--- @return table list of { step, plans, launches, bytes, why }, which prints as a table
function explain.explain_plan(self)
  local out = setmetatable({}, Explanation)
  for _, step in ipairs { "predict", "train", "metrics", "test" } do
    out[#out + 1] = row_of(self, step)
  end
  return out
end

return explain
