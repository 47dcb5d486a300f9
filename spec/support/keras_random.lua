-- Random models of real Keras (spec/ref/keras_random.py) beside Tide's of the same configurations.
--
--   build/tide -e 'require("spec.support.keras_random").report "FILE.zip"'   which cases differ
local core = require "tide.core"
local formula = require "spec.support.formula"
local import = require "tide.saving.keras.import"
local none = require "tide.none"
local tide = require "tide"

local ops = tide.ops
local random = {}

--- The members of an archive, or of all that are stored, each a function that gives its cases.
function random.parts(path)
  local out = {}
  local pipe = not path and io.popen "ls spec/fixtures/random/*.zip"
  for file in path and path:gmatch ".+" or pipe:lines() do
    local archive, members = core.zip_open(file)
    for _, m in ipairs(members) do
      out[#out + 1] = function()
        return core.json_decode(core.zip_read(archive, m.name), none, m.name)
      end
    end
  end
  if pipe then
    pipe:close()
  end
  return out
end

-- ---- inputs ----

local function numbers(shape, f)
  local n, flat = 1, {}
  for _, d in ipairs(shape) do
    n = n * d
  end
  for i = 0, n - 1 do
    flat[i + 1] = f(i)
  end
  return flat
end

local function inputs(case)
  local out = {}
  for k, kind in ipairs(case.kinds) do
    local shape = case.shapes[k]
    if kind == "ids" then
      out[k] = tide.tensor(numbers(shape, function(i)
        return math.floor((math.sin(i * 2.3 + k - 1) + 1) * 0.4999 * 9)
      end), { dtype = "int32" }):reshape(shape)
    else
      out[k] = formula.input("real", shape, k - 1)
    end
    if kind == "steps" then
      local steps = { shape[1], shape[2], 1 }
      out[k] = out[k] * tide.tensor(numbers(steps, function(i)
        return math.sin(i * 1.9 + k - 1) < 0.6 and 1 or 0
      end)):reshape(steps)
    end
  end
  return #out > 1 and out or out[1]
end

-- ---- comparing ----

local function sums(t)
  if t.size == 0 then
    return { 0, 0, 0 }
  end
  local x = ops.reshape(ops.cast(t, "float64"), { -1 })
  local i = ops.arange(0, t.size, 1, "float64")
  return { ops.mean(x * ops.sin(i * 0.7 + 0.3)):item(), ops.mean(x * ops.cos(i * 1.9 + 1)):item(),
    ops.mean(ops.abs(x)):item() }
end

-- Raises unless the tensor's sums are these, to `near` of their size.
local function same(what, t, want, near, least)
  local got = sums(t)
  local scale = math.max(math.abs(want[3]), least or 1e-3)
  for i = 1, 3 do
    local far = math.abs(got[i] - want[i]) / scale
    if far ~= far or far > near then
      error(("%s differs by %.3g of its size (expected %.7g, got %.7g)"):format(what, far, want[i],
        got[i]), 0)
    end
  end
end

local function all_outputs(what, y, want, near)
  local list = core.is_tensor(y) and { y } or y
  for i, w in ipairs(want) do
    local shape = table.concat(w[1], ", ")
    if table.concat(list[i].shape:totable(), ", ") ~= shape then
      error(("%s %d has the shape %s (expected [%s])"):format(what, i, list[i].shape, shape), 0)
    end
    same(("%s %d"):format(what, i), list[i], { w[2], w[3], w[4] }, near)
  end
  return list
end

local function fill(model)
  for k, w in ipairs(model.weights) do
    w:assign(formula.weight(w, w.name:find "variance", k - 0.5):cast(w.dtype))
  end
end

local function objective(list)
  local total = 0
  for k, y in ipairs(list) do
    y = ops.cast(y, "float32")
    local wave = formula.input("real", { y.size }, k - 1 + 5)
    total = total + ops.sum(ops.reshape(y, { -1 }) * wave) / math.sqrt(y.size)
  end
  return total
end

--- Raises where Tide's model of the case gives something else than Keras' did.
function random.check(case)
  local ctx = import.context(case.id, {})
  local entry = case.model
  local model = import.guarded(ctx, import.model, ctx, entry)
  if #model.weights ~= #case.weights then
    error(("the model has %d weights (expected %d)"):format(#model.weights, #case.weights), 0)
  end
  for i, w in ipairs(model.weights) do
    local shape = table.concat(case.weights[i], ", ")
    if table.concat(w.shape:totable(), ", ") ~= shape then
      error(("weight %d (%s) has the shape %s (expected [%s])"):format(i, w.path or w.name, w.shape,
        shape), 0)
    end
  end
  fill(model)
  local x = inputs(case)
  local near = case.half and 0.04 or 1e-4
  all_outputs("output", model(x, { training = false }), case.outputs, near)
  if not case.gradients then
    return
  end
  local training, list = not case.random
  local y = model(x, { training = training })
  if training then
    all_outputs("output in training", y, case.trained, near)
    fill(model)
  end
  list = core.is_tensor(y) and { y } or y
  local grads = {}
  if #model.trainable_variables > 0 then
    grads = select(2, tide.value_and_grad(function()
      local made = model(x, { training = training })
      return objective(core.is_tensor(made) and { made } or made)
    end, model.trainable_variables))
  end
  for i, want in ipairs(case.gradients) do
    local g, name = grads[i], model.trainable_variables[i].path or ""
    if want == none then
      if g and ops.max(ops.abs(g)):item() ~= 0 then
        error(("gradient %d (%s) is not 0, though Keras has none"):format(i, name), 0)
      end
    elseif not g then
      if want[3] ~= 0 then
        error(("gradient %d (%s) is missing"):format(i, name), 0)
      end
    else
      same(("gradient %d (%s)"):format(i, name), g, want, 2e-4, 1e-2)
    end
  end
  fill(model)
  if case.losses then
    local options = import.compile(ctx, { optimizer = case.optimizer, loss = "mse" })
    model:compile(options)
    local targets = {}
    for k, t in ipairs(list) do
      targets[k] = formula.input("real", t.shape:totable(), 7 + k - 1)
    end
    for i, want in ipairs(case.losses) do
      local v = model:train_on_batch(x, #targets > 1 and targets or targets[1])
      v = type(v) == "number" and v or v:item()
      if v ~= v or math.abs(v - want) > 3e-4 * math.max(0.1, math.abs(want)) then
        error(("loss %d differs (expected %.7g, got %.7g)"):format(i, want, v), 0)
      end
    end
    for i, want in ipairs(case.after or {}) do
      same(("weight %d (%s) after training"):format(i, model.weights[i].path or ""),
        model.weights[i], want, 1e-3, 1e-2)
    end
  end
end

--- Prints the cases of a file that differ, and how many there are.
function random.report(path)
  local count, bad = 0, 0
  for _, part in ipairs(random.parts(path)) do
    for _, case in ipairs(part()) do
      count = count + 1
      local ok, message = xpcall(random.check, function(m)
        return type(m) == "string" and m or tostring(m) .. "\n" .. debug.traceback()
      end, case)
      if not ok then
        bad = bad + 1
        local classes = {}
        for _, l in ipairs(case.model.config.layers) do
          classes[#classes + 1] = l.class_name
        end
        print(case.id, message, "[" .. table.concat(classes, " ") .. "]")
      end
    end
  end
  print(count .. " cases, " .. bad .. " differ")
end

return random
