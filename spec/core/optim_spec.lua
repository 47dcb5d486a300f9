-- The optimizer steps: sgd_step_, adam_step_, rmsprop_step_, adagrad_step_, adamax_step_,
-- nadam_step_, adadelta_step_, lion_step_, ema_step_, accumulate_step_, global_norm_.
local expect = require "spec.support.expect"
local core = require "tide.core"
local refs = dofile "spec/ref/optim.lua"
local flat_of = require("spec.support.op_runner").flat_of

local ops = core.ops

local function tensor(entry, dtype, first, count)
  local data = {}
  count = count or #entry.data
  for i = 1, count do
    data[i] = string.pack(dtype == "float64" and "<d" or "<f", entry.data[(first or 0) + i])
  end
  return table.concat(data)
end

local function tensors(entries, dtype)
  local out = {}
  for i, e in ipairs(entries) do
    out[i] = core.from_bytes(dtype, e.shape, tensor(e, dtype))
  end
  return out
end

-- Gradients of step s: the s-th slices.
local function gradients(entries, dtype, s)
  local out = {}
  for i, e in ipairs(entries) do
    local shape, n = {}, 1
    for k = 2, #e.shape do
      shape[k - 1] = e.shape[k]
      n = n * e.shape[k]
    end
    out[i] = core.from_bytes(dtype, shape, tensor(e, dtype, (s - 1) * n, n))
  end
  return out
end

local function filled(params, value)
  local out = {}
  for i, p in ipairs(params) do
    out[i] = core.full(p.shape, value or 0.0, { dtype = p.dtype })
  end
  return out
end

local none = { false, false }

-- key -> a function that makes the step from the parameters: (grads, number of the step)
local cases = {
  ["sgd"] = function(p)
    return function(g)
      ops.sgd_step_(p, g, none, none, { learning_rate = 0.1 })
    end
  end,
  ["sgd, momentum"] = function(p)
    local m = filled(p)
    return function(g)
      ops.sgd_step_(p, g, m, none, { learning_rate = 0.1, momentum = 0.9 })
    end
  end,
  ["sgd, nesterov, decay"] = function(p)
    local m = filled(p)
    return function(g)
      ops.sgd_step_(p, g, m, none, { learning_rate = 0.1, momentum = 0.9, nesterov = true,
        weight_decay = 0.02 })
    end
  end,
  ["sgd, clipvalue"] = function(p)
    return function(g)
      ops.sgd_step_(p, g, none, none, { learning_rate = 0.1, clipvalue = 0.5 })
    end
  end,
  ["sgd, clipnorm"] = function(p)
    return function(g)
      ops.sgd_step_(p, g, none, none, { learning_rate = 0.1, clipnorm = 1.0 })
    end
  end,
  ["sgd, global_clipnorm"] = function(p)
    return function(g)
      ops.sgd_step_(p, g, none, none, { learning_rate = 0.1, global_clipnorm = 1.5 })
    end
  end,
  ["adam"] = function(p)
    local m, v = filled(p), filled(p)
    return function(g, t)
      ops.adam_step_(p, g, m, v, none, none, { learning_rate = 0.01, step = t })
    end
  end,
  ["adam, amsgrad, decay"] = function(p)
    local m, v, h = filled(p), filled(p), filled(p)
    return function(g, t)
      ops.adam_step_(p, g, m, v, h, none,
        { learning_rate = 0.01, step = t, amsgrad = true, weight_decay = 0.1 })
    end
  end,
  ["adam, global_clipnorm"] = function(p)
    local m, v = filled(p), filled(p)
    return function(g, t)
      ops.adam_step_(p, g, m, v, none, none,
        { learning_rate = 0.01, step = t, global_clipnorm = 1.5 })
    end
  end,
  ["rmsprop"] = function(p)
    local v = filled(p)
    return function(g)
      ops.rmsprop_step_(p, g, v, none, none, none, { learning_rate = 0.01 })
    end
  end,
  ["rmsprop, momentum, centered"] = function(p)
    local v, m, a = filled(p), filled(p), filled(p)
    return function(g)
      ops.rmsprop_step_(p, g, v, m, a, none,
        { learning_rate = 0.01, momentum = 0.8, centered = true, weight_decay = 0.1 })
    end
  end,
  ["adagrad"] = function(p)
    local a = filled(p, 0.1)
    return function(g)
      ops.adagrad_step_(p, g, a, none, { learning_rate = 0.1 })
    end
  end,
  ["adamax"] = function(p)
    local m, u = filled(p), filled(p)
    return function(g, t)
      ops.adamax_step_(p, g, m, u, none, { learning_rate = 0.01, step = t })
    end
  end,
  ["nadam"] = function(p)
    local m, v, product = filled(p), filled(p), 1
    return function(g, t)
      product = product * 0.9 * (1 - 0.5 * 0.96 ^ t)
      ops.nadam_step_(p, g, m, v, none, { learning_rate = 0.01, step = t, u_product = product })
    end
  end,
  ["adadelta"] = function(p)
    local a, d = filled(p), filled(p)
    return function(g)
      ops.adadelta_step_(p, g, a, d, none, { learning_rate = 0.5 })
    end
  end,
  ["lion"] = function(p)
    local m = filled(p)
    return function(g)
      ops.lion_step_(p, g, m, none, { learning_rate = 0.01 })
    end
  end,
}

local names = {}
for name in pairs(refs) do
  names[#names + 1] = name
end
table.sort(names)

describe("an optimizer step", function()
  for _, name in ipairs(names) do
    local ref = refs[name]
    for dtype, tolerance in pairs { float64 = 2e-6, float32 = 2e-5 } do
      it(("%s equals Keras' in %s"):format(name, dtype), function()
        local p = tensors({ ref.inputs[1], ref.inputs[2] }, dtype)
        local step = cases[name](p)
        for s = 1, 5 do
          step(gradients({ ref.inputs[3], ref.inputs[4] }, dtype, s), s)
        end
        for i = 1, 2 do
          expect.close(flat_of(p[i]), ref.outputs[i].data, tolerance, tolerance)
        end
      end)
    end
  end

  it("takes strided gradients", function()
    local a, b = core.ones { 3, 4 }, core.ones { 3, 4 }
    local g = core.tensor { { 1, 2, 3 }, { 4, 5, 6 }, { 7, 8, 9 }, { 10, 11, 12 } }
    ops.sgd_step_({ a }, { g:transpose() }, { false }, { false }, { learning_rate = 0.5 })
    ops.sgd_step_({ b }, { ops.copy(g:transpose()) }, { false }, { false }, { learning_rate = 0.5 })
    assert.are.equal(a:tobytes(), b:tobytes())
    assert.are.equal(-4.0, a[{ 3, 4 }] + 1) -- 1 - 0.5 * 12 = -5
  end)

  it("leaves parameters without a gradient alone", function()
    local a, b = core.ones { 3 }, core.ones { 3 }
    ops.sgd_step_({ a, b }, { false, core.ones { 3 } }, none, none, { learning_rate = 0.5 })
    assert.are.same({ { 1, 1, 1 }, { 0.5, 0.5, 0.5 } }, { a:tolist(), b:tolist() })
  end)

  it("scales gradients before it clips them", function()
    local a = core.zeros { 2 }
    ops.sgd_step_({ a }, { core.tensor { 8, -2 } }, { false }, { false },
      { learning_rate = 1, grad_scale = 0.25, clipvalue = 1 })
    assert.are.same({ -1, 0.5 }, a:tolist())
  end)

  it("has equal bits on one thread and two", function()
    local was, seen = core.get_threads(), {}
    for n = 1, 2 do
      core.set_threads(n)
      local p = { ops.random_normal({ 300, 200 }, { seed = 1 }),
        ops.random_normal({ 77 }, { seed = 2 }) }
      local g = { ops.random_normal({ 300, 200 }, { seed = 3 }),
        ops.random_normal({ 77 }, { seed = 4 }) }
      ops.adam_step_(p, g, filled(p), filled(p), none, none,
        { learning_rate = 0.01, step = 1, global_clipnorm = 1 })
      seen[n] = p[1]:tobytes() .. p[2]:tobytes()
    end
    core.set_threads(was)
    assert.are.equal(seen[1], seen[2])
  end)

  it("names the list and the entry that does not fit", function()
    local ok, err = pcall(ops.sgd_step_, { core.ones { 3 } }, { core.ones { 4 } }, { false },
      { false }, { learning_rate = 1 })
    assert.is_false(ok)
    assert.truthy(
      tostring(err):find("grads[1] does not fit params[1] (expected float32 [3], got float32 [4])",
      1, true))
    ok, err = pcall(ops.adam_step_, { core.ones { 3 } }, { core.ones { 3 } }, { false }, { false },
      { false }, { false }, { learning_rate = 1, step = 1 })
    assert.is_false(ok)
    assert.truthy(tostring(err):find("m[1] is missing", 1, true))
  end)

  it("names a list that is missing, whatever else was given", function()
    local one = { core.ones { 3 } }
    local ok, err = pcall(ops.sgd_step_, nil, one, one, { false }, { 1, 2, 3 },
      { learning_rate = 1 })
    assert.is_false(ok)
    assert.truthy(tostring(err):find("params is missing (expected a list of tensors)", 1, true))
  end)

  it("marks what it wrote, so that a graph that needs the old value says so", function()
    local w = core.tensor({ 1, 2, 3 }, { requires_grad = true })
    local loss = w:square():sum()
    ops.sgd_step_({ w }, { core.ones { 3 } }, { false }, { false }, { learning_rate = 1 })
    local ok, err = pcall(loss.backward, loss)
    assert.is_false(ok)
    assert.truthy(tostring(err):find("changed in place", 1, true))
  end)
end)

describe("an optimizer step with a sparse gradient", function()
  local rules = {
    sgd_step_ = { slots = 1, options = {} },
    ["sgd_step_ with momentum"] = { op = "sgd_step_", slots = 1, options = { momentum = 0.9 } },
    adam_step_ = { slots = 3, options = { step = 1 } },
    ["adam_step_ with decay"] = {
      op = "adam_step_", slots = 3, options = { step = 1, weight_decay = 0.1 } },
    ["adam_step_ with a norm limit"] = {
      op = "adam_step_", slots = 3, options = { step = 1, global_clipnorm = 0.5 } },
    rmsprop_step_ = { slots = 3, options = {} },
    adagrad_step_ = { slots = 1, options = {}, start = 0.1 },
    adamax_step_ = { slots = 2, options = { step = 1 } },
    nadam_step_ = { slots = 2, options = { step = 1, u_product = 0.5 } },
    adadelta_step_ = { slots = 2, options = {} },
    lion_step_ = { slots = 1, options = {} },
  }
  local sorted = {}
  for name in pairs(rules) do
    sorted[#sorted + 1] = name
  end
  table.sort(sorted)
  local batches = { { 3, 7, 3, 1 }, { 2, 7, 9, 9 }, { 5, 5, 5, 5 } }

  for _, name in ipairs(sorted) do
    it("equals the dense rule: " .. name, function()
      local rule = rules[name]
      local function run(sparse)
        local table_ = ops.random_normal({ 10, 6 }, { seed = 1 }):requires_grad_(true)
        local slots = {}
        for s = 1, rule.slots do
          slots[s] = { core.full({ 10, 6 }, rule.start or 0.0) }
        end
        local touched = sparse and core.zeros({ 10 }, { dtype = "uint8" })
        for t, ids in ipairs(batches) do
          local weights = ops.random_normal({ 4, 6 }, { seed = 10 + t })
          local loss = (ops.embedding(table_, core.tensor(ids, { dtype = "int32" })) * weights):sum(
            )
          local g = core.gradients(loss, { table_ }, { sparse = sparse })
          local o = { learning_rate = 0.1 }
          for k, v in pairs(rule.options) do
            o[k] = v
          end
          if o.step then
            o.step = t
          end
          local args = { { table_ }, g }
          for _, s in ipairs(slots) do
            args[#args + 1] = s
          end
          args[#args + 1] = { touched or false }
          args[#args + 1] = o
          core.ops[rule.op or name](table.unpack(args))
        end
        return table_, touched
      end
      local dense = run(false)
      local sparse, touched = run(true)
      expect.close(flat_of(sparse), flat_of(dense), 1e-7, 1e-7)
      assert.are.same({ 1, 1, 1, 0, 1, 0, 1, 0, 1, 0 }, touched:tolist())
    end)
  end

  -- One step of SGD on a table by many ids, some of them several times.
  local function stepped(rows, ids, sparse)
    local table_ = ops.random_normal({ rows, 4 }, { seed = 1 }):requires_grad_(true)
    local weights = ops.random_normal({ #ids, 4 }, { seed = 2 })
    local at = core.tensor(ids, { dtype = "int32" })
    local g = core.gradients((ops.embedding(table_, at) * weights):sum(), { table_ },
      { sparse = sparse })
    core.memory_reset_peak()
    local before = core.memory().live_bytes
    ops.sgd_step_({ table_ }, g, { false }, { false }, { learning_rate = 0.1 })
    return table_, core.memory().peak_bytes - before
  end
  local ids = {}
  for i = 1, 3000 do
    ids[i] = i * i * 7919 % 19997 + 1
  end

  it("finds every row among thousands", function()
    expect.close(flat_of((stepped(20000, ids, true))), flat_of((stepped(20000, ids, false))), 1e-6,
      1e-6)
  end)

  it("takes work space for the batch, not for the table", function()
    local _, few = stepped(20000, ids, true)
    local _, many = stepped(500000, ids, true)
    assert.are.equal(few, many)
    assert.is_true(few > 0)
  end)
end)

-- Tables large enough that rows outside of the batch make their steps when they are read
-- (src/lag.c).
describe("rows that lag behind", function()
  local ROWS, D = 2100, 40

  -- `steps` steps on tables of several sizes; a function of the state may look at it after each.
  local function run(sparse, steps, look)
    local s = { p = {}, m = {}, v = {}, touched = {}, g = {} }
    for k, shape in ipairs { { ROWS, D }, { ROWS + 9, 33 }, { 10, 6 } } do
      s.p[k] = ops.random_normal(shape, { seed = k }):requires_grad_(true)
      s.m[k], s.v[k] = core.zeros(shape), core.zeros(shape)
      s.touched[k] = sparse and core.zeros({ shape[1] }, { dtype = "uint8" })
    end
    local none_ = { false, false, false }
    for t = 1, steps do
      local loss = core.tensor(0.0)
      for k, p in ipairs(s.p) do
        local ids = ops.random_randint({ 50 }, 1, k == 3 and 11 or 400, { seed = 100 * t + k })
        local e = ops.embedding(p, ids)
        loss = loss + (e * e * ops.random_normal({ 50, p.shape[2] }, { seed = 7 * t + k })):sum()
      end
      local g = core.gradients(loss, s.p, { sparse = sparse })
      if t % 5 == 0 then
        g[2] = false -- no gradient for the second table this time
      end
      ops.adam_step_(s.p, g, s.m, s.v, none_, s.touched,
        { learning_rate = 0.01 / t, step = t, beta_2 = t > 9 and 0.99 or 0.999, clipvalue = 0.5 })
      if look then
        look(s, t)
      end
    end
    return s
  end

  local function same(a, b, what)
    for k = 1, 3 do
      for _, list in ipairs { "p", "m", "v" } do
        assert(a[list][k]:tobytes() == b[list][k]:tobytes(),
          ("%s: %s[%d] differs"):format(what, list, k))
      end
    end
  end

  it("end with the bits of the dense rule", function()
    same(run(true, 12), run(false, 12), "12 steps")
  end)

  it("also after more steps than are written down at once", function()
    same(run(true, 70), run(false, 70), "70 steps")
  end)

  it("whatever reads or writes them on the way", function()
    local seen = { {}, {} }
    local function look(which)
      return function(s, t)
        local out = seen[which]
        if t == 3 then
          out[#out + 1] = (s.p[1] * 2):tobytes()
        elseif t == 4 then
          out[#out + 1] = s.m[1]:tobytes()
        elseif t == 6 then
          s.p[1]:detach():copy_(s.p[1]:detach() * 0.5)
        elseif t == 7 then
          out[#out + 1] = tostring(s.p[1][{ 17, 3 }])
          out[#out + 1] = ops.embedding(
            s.p[2][{ { 5, 300 } }], core.tensor({ 1, 9 }, { dtype = "int32" })):tobytes()
        elseif t == 8 then
          s.v[2]:copy_(s.v[2] * 0.5)
        end
      end
    end
    local a, b = run(true, 11, look(1)), run(false, 11, look(2))
    assert.are.same(seen[2], seen[1])
    same(a, b, "reads and writes")
  end)

  it("when other options end the lagging, and when the moments are thrown away", function()
    local function last(sparse)
      local s = run(sparse, 5)
      local loss = ops.embedding(s.p[1], core.tensor({ 2, 3 }, { dtype = "int32" })):sum()
      local g = core.gradients(loss, { s.p[1] }, { sparse = sparse })
      ops.adam_step_({ s.p[1] }, g, { s.m[1] }, { s.v[1] }, { false }, { s.touched[1] },
        { learning_rate = 0.01, step = 6, weight_decay = 0.1 })
      s.m, s.v, s.touched = nil, nil, nil
      collectgarbage()
      collectgarbage()
      return s.p[1]:tobytes() .. s.p[2]:tobytes()
    end
    assert(last(true) == last(false))
  end)

  -- How often late steps were made while f ran.
  local function late_steps(f)
    core.profile_start()
    local ok, message = pcall(f)
    local n = 0
    for _, row in ipairs(core.profile_stop()) do
      n = n + (row.name == "adam_lag_" and row.calls or 0)
    end
    assert(ok, message)
    return n
  end

  it("are dropped with the table and its moments, in any order", function()
    collectgarbage()
    collectgarbage()
    local before = core.memory().live_bytes
    for _, order in ipairs { { "p", "m", "v", "touched" }, { "touched", "v", "m", "p" } } do
      local s = run(true, 3)
      assert.equal(0, late_steps(function()
        for _, list in ipairs(order) do
          for k = 1, 2 do
            core.release(s[list][k])
          end
        end
      end))
      for _, list in ipairs(order) do
        core.release(s[list][3])
      end
      collectgarbage()
      collectgarbage()
    end
    assert.equal(before, core.memory().live_bytes)
  end)

  it("are made where some of the four are kept, once they are read", function()
    local function rest(sparse, gone, kept)
      local s = run(sparse, 6)
      for _, list in ipairs(gone) do
        for k = 1, 2 do
          core.release(s[list][k] or nil)
        end
      end
      collectgarbage() -- graphs of the steps hold the tables too
      collectgarbage()
      local bytes = core.memory().live_bytes
      local out = {}
      for _, list in ipairs(kept) do
        local copy = s[list][2] * 1
        out[#out + 1] = s[list][1]:tobytes() .. copy:tobytes()
        core.release(copy)
      end
      return table.concat(out), bytes - core.memory().live_bytes
    end
    for _, case in ipairs {
      { { "p" }, { "m", "v" } },
      { { "m", "touched" }, { "v", "p" } },
      { { "m", "v", "touched" }, { "p" } },
    } do
      local bits, freed = rest(true, case[1], case[2])
      assert.is_true(bits == rest(false, case[1], case[2]))
      assert.is_true(freed > 0) -- what was kept for the late steps
    end
  end)

  it("are all made by a look-up when some of the four are gone", function()
    local s = run(true, 4)
    local ids = core.tensor({ 1, 2 }, { dtype = "int32" })
    core.release(s.m[1])
    local bytes = core.memory().live_bytes
    ops.embedding(s.p[1]:detach(), ids)
    assert.is_true(core.memory().live_bytes <= bytes - ROWS * D * 4)
    assert.is_true(s.p[1]:tobytes() == run(false, 4).p[1]:tobytes())
  end)

  it("mark which rows ever had a gradient", function()
    local s = run(true, 3)
    local n, flat = 0, flat_of(s.touched[1])
    for i = 1, ROWS do
      assert(flat[i] == 0 or flat[i] == 1)
      assert(i < 400 or flat[i] == 0)
      n = n + flat[i]
    end
    assert(n > 100 and n <= 150)
  end)
end)

describe("list ops", function()
  it("ema_step_ moves averages", function()
    local average, p = core.tensor { 1, 2 }, core.tensor { 3, 4 }
    ops.ema_step_({ average }, { p }, 0.75)
    assert.are.same({ 1.5, 2.5 }, average:tolist())
  end)

  it("accumulate_step_ adds scaled gradients, sparse ones too", function()
    local sum = core.ones { 3, 2 }
    ops.accumulate_step_({ sum }, { core.ones { 3, 2 } }, 0.5)
    local w = core.tensor({ { 1, 1 }, { 1, 1 }, { 1, 1 } }, { requires_grad = true })
    local g = core.gradients(
      ops.embedding(w, core.tensor({ 2, 2 }, { dtype = "int32" })):sum(), { w }, { sparse = true })
    ops.accumulate_step_({ sum }, g, 2.0)
    assert.are.same({ { 1.5, 1.5 }, { 5.5, 5.5 }, { 1.5, 1.5 } }, sum:tolist())
  end)

  it("global_norm_ counts rows that occur twice once, summed", function()
    local w = core.tensor({ { 1, 1 }, { 1, 1 }, { 1, 1 } }, { requires_grad = true })
    local g = core.gradients(
      ops.embedding(w, core.tensor({ 2, 2 }, { dtype = "int32" })):sum(), { w }, { sparse = true })
    g[2] = core.tensor { 1, 0 }
    assert.are.equal(3.0, ops.global_norm_(g):item())
  end)
end)
