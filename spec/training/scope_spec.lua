-- tide.scope around what keeps tensors from call to call: fit, evaluate and predict, hand-written
-- loops over every metric, optimizer, layer and stage of data.
local expect = require "spec.support.expect"
local tide = require "tide"
local ops, L = tide.ops, tide.layers

local x = tide.random.normal({ 40, 6 }, { seed = 3 })
local y = tide.random.randint({ 40 }, 1, 4, { seed = 4 })

-- Calls f in a scope of its own.
local function scoped(f, ...)
  local s <close> = tide.scope()
  return s:keep(f(...))
end
local function plainly(f, ...)
  return f(...)
end

local function model(optimizer)
  tide.set_random_seed(5)
  local m = tide.Sequential { L.Dense { 8, activation = "relu", input_shape = { 6 } },
    L.Dropout { 0.2 }, L.BatchNormalization(), L.Dense { 3, activation = "softmax" } }
  m:compile { optimizer = optimizer or tide.optimizers.Adam { use_ema = true,
    gradient_accumulation_steps = 2 }, loss = "sparse_categorical_crossentropy",
    metrics = { "accuracy", tide.metrics.SparseTopKCategoricalAccuracy { 2 } } }
  return m
end

describe("tide.scope around", function()
  for _, name in ipairs { "fit", "train_on_batch" } do
    it(name .. ", evaluate and predict changes nothing that they do", function()
      local function run(call)
        local m, out = model(), {}
        local function train()
          if name == "train_on_batch" then
            return m:train_on_batch(x, y)
          end
          return m:fit(x, y, { epochs = 2, batch_size = 8, verbose = 0, shuffle = false,
            validation_split = 0.2, callbacks = { tide.callbacks.EarlyStopping {
              "val_loss", restore_best_weights = true }, tide.callbacks.SwapEMAWeights() } })
            .loss[-1]
        end
        for _ = 1, 3 do
          out[#out + 1] = call(train)
          out[#out + 1] = call(m.evaluate, m, x, y, { verbose = 0 })
          out[#out + 1] = call(m.test_on_batch, m, x, y)
          out[#out + 1] = call(m.predict, m, x, { verbose = 0, batch_size = 16 }):sum():item()
        end
        for _, w in ipairs(m:get_weights()) do
          out[#out + 1] = w:sum():item()
        end
        return out
      end
      assert.same(run(plainly), run(scoped))
    end)
  end

  it("predict releases its result like any other, and nothing while it runs", function()
    local m = model()
    local p
    do
      local _ <close> = tide.scope()
      p = m:predict(x, { verbose = 0 })
      assert.equal(40, p.shape[1])
    end
    expect.raises("was released", function() return p.shape end)
  end)

  it("fit keeps what callbacks keep, but not what their own scopes release", function()
    local kept, named, released
    local m = model()
    scoped(function()
      m:fit(x, y, { verbose = 0, callbacks = { tide.callbacks.LambdaCallback {
        on_epoch_end = function()
          kept = ops.ones { 3 } * 2
          local s <close> = tide.scope()
          named = s:keep(ops.ones { 3 } * 3)
          released = ops.ones { 3 } * 4
        end } } })
    end)
    assert.same({ 2, 2, 2 }, kept:tolist())
    assert.same({ 3, 3, 3 }, named:tolist())
    expect.raises("was released", function() return released.shape end)
  end)

  it("fit that fails leaves the scope as it was", function()
    local inside
    do
      local _ <close> = tide.scope()
      expect.raises("boom", function()
        model():fit(x, y, { verbose = 0, callbacks = { tide.callbacks.LambdaCallback {
          on_epoch_end = function() error "boom" end } } })
      end)
      inside = ops.ones { 2 } * 2
    end
    expect.raises("was released", function() return inside.shape end)
  end)

  it("find_lr and find_batch_size leaves the model usable", function()
    local m = model("adam")
    scoped(function() m:find_lr(x, y, { steps = 12, verbose = 0 }) end)
    scoped(function() m:find_batch_size(x, y, { max = 16 }) end)
    m:fit(x, y, { verbose = 0 })
  end)

  it("each update of a metric changes nothing in its values", function()
    for i, r in ipairs(require "spec.ref.metrics") do
      local m = tide.metrics[r.metric](r.args)
      for _ = 1, 2 do
        for k, u in ipairs(r.updates) do
          scoped(function()
            if u.values then
              m:update_state(u.values, u.weight or nil)
            else
              m:update_state(u.y_true, u.y_pred, u.weight or nil)
            end
          end)
          expect.close(scoped(m.result, m), r.values[k], 3e-6, 1.5e-5, r.metric .. i)
        end
        scoped(m.reset_state, m)
      end
    end
  end)

  it("each step of an optimizer changes nothing in what it does", function()
    local O = tide.optimizers
    local makers = {
      LossScaleOptimizer = function() return O.LossScaleOptimizer { "adam", 1024, 2 } end,
      Lookahead = function() return O.Lookahead { "adam", 2 } end,
      MultiOptimizer = function()
        return O.MultiOptimizer { O.OptimizerMap { "sgd", { x = "adam" } } }
      end,
      LBFGS = function() return O.LBFGS() end,
    }
    for _, name in ipairs(O.class_names) do
      makers[name] = makers[name] or function() return O[name]() end
    end
    for name, make in pairs(makers) do
      local function run(call)
        local o = make()
        local a = tide.random.normal({ 4, 3 }, { seed = 1 }):requires_grad_(true)
        local b = tide.random.normal({ 3 }, { seed = 2 }):requires_grad_(true)
        local params = { a, b }
        local function loss()
          return (x[{ {}, { 1, 4 } }]:matmul(a) + b):square():mean()
        end
        for _ = 1, 4 do
          call(function()
            if name == "LBFGS" then
              o:step(loss, params)
            else
              o:apply(tide.grad(loss, params), params)
            end
          end)
        end
        return { a:tolist(), b:tolist() }
      end
      local wanted = run(plainly)
      local fine, got = pcall(run, scoped)
      assert.is_true(fine, name .. ": " .. tostring(got))
      assert.same(wanted, got, name)
    end
  end)

  it("each call of a layer changes nothing in the next one", function()
    for _, case in ipairs(require "spec.support.layer_cases") do
      local layer = case[3](L)
      local shapes = type(case[4][1]) == "table" and case[4] or { case[4] }
      local ins = {}
      for k, s in ipairs(shapes) do
        ins[k] = case[5].ids and tide.random.randint(s, 1, case[5].ids + 1, { seed = k })
          or tide.random.normal(s, { seed = k })
      end
      local given = #ins > 1 and ins or ins[1]
      for _, training in ipairs { false, true, false, true } do
        scoped(function()
          local out = layer(given, { training = training })
          if type(out) == "userdata" and out.requires_grad then
            out:sum():backward()
          end
        end)
      end
      local ok, e = pcall(layer, given)
      assert.is_true(ok, case[1] .. ": " .. tostring(e))
      for _, w in ipairs(layer.weights) do
        assert.is_true(#w.shape >= 0)
        if w.requires_grad and w.grad then
          w.grad:sum()
        end
      end
    end
  end)

  it("a step of what keeps states changes nothing in the next one", function()
    local at = tide.random.normal({ 2, 5, 4 }, { seed = 1 })
    local function run(call)
      tide.set_random_seed(2)
      local lstm = L.LSTM { 3, stateful = true }
      local cell = L.GRUCell { 3, dropout = 0.4, recurrent_dropout = 0.4 }
      local cache, heads = tide.KeyValueCache { 8 }, L.MultiHeadAttention { 2, 3 }
      local out, h = {}, ops.zeros { 2, 3 }
      for i = 1, 5 do
        local step = at[{ {}, { i } }]
        h = call(function()
          out[#out + 1] = lstm(step):sum():item()
          if i == 3 then
            cache:select { 2, 1 }
          end
          out[#out + 1] = heads(step, step, { use_causal_mask = true, cache = cache }):sum():item()
          return (cell(step[{ {}, 1 }], { h }, { training = true }))
        end)
        out[#out + 1] = h:sum():item()
      end
      return out
    end
    assert.same(run(plainly), run(scoped))
  end)

  it("adapt leaves layers usable", function()
    local texts = { "one two", "three one" }
    for name, row in pairs { Normalization = { x }, Discretization = { x, num_bins = 3 },
      TextVectorization = { texts }, StringLookup = { texts }, IntegerLookup = { { 3, 4, 3 } } } do
      local layer = L[name] { num_bins = row.num_bins }
      scoped(layer.adapt, layer, row[1])
      local first = layer(row[1])
      scoped(layer, row[1])
      assert.same(tide.ops.convert_to_tensor(first):tolist(), layer(row[1]):tolist(), name)
    end
  end)

  it("each element of a pass changes nothing in the next ones", function()
    local D = tide.data.Dataset
    local function base()
      return D.from_tensor_slices(x, y)
    end
    for name, make in pairs {
      cache = function() return base():cache():batch(4) end,
      batch = function() return base():batch(7) end,
      shuffle = function()
        return base():map(function(a, b) return a * 2, b end):shuffle(8, { seed = 1 }):batch(4)
      end,
      prefetch = function()
        return base():map(function(a, b) return a + 1, b end):batch(3):prefetch(2)
      end,
      window = function()
        return base():window(5):flat_map(function(a) return a:batch(5) end)
      end,
      unbatch = function() return D.from_tensor_slices(x):batch(6):map(ops.square):unbatch() end,
      zip = function() return D.zip(base(), base():map(function(a) return a * 2 end)):batch(4) end,
      interleave = function()
        return D.range(3):interleave(function(i) return base():skip(i):take(5) end)
      end,
      padded_batch = function() return base():padded_batch(4) end,
      scan = function()
        return base():scan(ops.zeros { 6 }, function(state, a) return state + a, state * 2 end)
      end,
    } do
      local function run(call)
        local ds, out = make(), {}
        for _ = 1, 2 do
          local it = ds:iter()
          while true do
            local sum = call(function()
              local a = it()
              return a ~= nil and (type(a) == "userdata" and a:sum():item() or 0) or nil
            end)
            if sum == nil then break end
            out[#out + 1] = sum
          end
        end
        assert.is_true(#out > 4, name)
        return out
      end
      local wanted = run(plainly)
      local ok, got = pcall(run, scoped)
      assert.is_true(ok, name .. ": " .. tostring(got))
      assert.same(wanted, got, name)
    end
  end)
end)
