-- Recomputation: the same numbers, bit for bit, with less memory.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"

local L, ops = tide.layers, tide.ops

local function same(a, b, what)
  assert.is_true(ops.all(ops.equal(a, b)), what)
end

local function all_same(a, b)
  assert.equal(#a, #b)
  for i = 1, #a do
    same(a[i], b[i], "number " .. i)
  end
end

-- Sums in another order.
local function near(a, b)
  local far = ops.max(ops.abs(a - b)):item() / ops.max(ops.abs(a)):item()
  assert.is_true(far < 1e-5, tostring(far))
end

-- A block with all that could differ the second time.
local function block()
  tide.seed(7)
  local m = tide.Sequential { L.Dense { 8, "relu", input_shape = { 4 } }, L.BatchNormalization(),
    L.Dropout { 0.5 }, L.Dropout { 0.3, seed = 4 }, L.Dense { 4, "tanh" } }
  return m
end

describe("checkpoint", function()
  local x
  before_each(function()
    tide.seed(1)
    x = tide.random.normal({ 6, 4 }, { requires_grad = true })
  end)

  it("takes results by name in any order of the table that holds them", function()
    local runs = 0
    local function f(a)
      local out, names = {}, { "x", "loss", "aux_1", "b", "k9", "zeta", "mu", "q", "w2" }
      runs = runs + 1
      for i = runs % 2 == 1 and 1 or #names, runs % 2 == 1 and #names or 1, runs % 2 == 1 and 1
        or -1 do
        out[names[i]] = a * i
      end
      return out
    end
    local function gradient(g)
      return select(2, tide.value_and_grad(function(v)
        local t = g(v)
        return (t.x + t.loss * 10 + t.aux_1 * 100 + t.b * 1000 + t.q * 1e4):sum()
      end)(x))
    end
    same(gradient(f), gradient(tide.checkpoint(f)))
  end)

  it("gives values and gradients of functions of several tensors and results", function()
    local w = tide.random.normal({ 4, 4 }, { requires_grad = true })
    local function f(a, k, t)
      local h = a:matmul(w):tanh()
      return h:matmul(w), k, { e = a:exp() * t.scale }
    end
    local function loss(g)
      return tide.value_and_grad(function()
        local y, k, t = g(x, 3, { scale = x + 1 })
        assert.equal(3, k)
        return (y * y):sum() + (y * t.e):sum()
      end, { x, w })
    end
    local a, da = loss(f)
    local b, db = loss(tide.checkpoint(f))
    same(a, b)
    all_same(da, db)
    local c, dc = loss(tide.remat(tide.checkpoint(f)))
    same(a, c)
    all_same(da, dc)
  end)

  -- Of tensors that are used within, beside and behind, by functions in functions.
  it("adds gradients in the order that they have without it", function()
    local w = tide.random.normal({ 4, 4 }, { requires_grad = true })
    local outside = tide.random.normal({ 4, 4 }, { requires_grad = true })
    local function inner(a) return (a:matmul(w) * a:exp()):tanh() + a:matmul(outside) end
    local function run(wrap)
      w.grad, outside.grad, x.grad = nil, nil, nil
      local seen = {}
      local remove = w:register_hook(function(g) seen[#seen + 1] = g:copy() end)
      local f = wrap(function(a, b)
        local h = wrap(inner)(a * b)
        return wrap(inner)(h) * a + b:matmul(w), h
      end)
      local twice = wrap(function(a, b, c) return a:matmul(w) * b + c * a end)
      for _ = 1, 2 do
        local before = x:sin()
        local y, h = f(before, x)
        h = twice(h, h, before) + h
        collectgarbage()
        local loss = (y * before):sum() + (x:matmul(w):matmul(outside) * h):sum() + (h * h):mean()
        collectgarbage()
        collectgarbage()
        loss:backward()
      end
      remove()
      assert.equal(2, #seen)
      return { x.grad, w.grad, outside.grad, seen[1], seen[2] }
    end
    all_same(run(function(f) return f end), run(tide.checkpoint))
  end)

  it("takes part in whole models, in every precision, whatever the collector does", function()
    for _, policy in ipairs { "float32", "mixed_float16", "mixed_bfloat16" } do
      local function run(wrap)
        tide.seed(2)
        local made = { dtype = policy }
        local function with(o)
          o.dtype = made.dtype
          return o
        end
        local attention = L.MultiHeadAttention(with { num_heads = 2, key_dim = 3, dropout = 0.2 })
        local norm, dense = L.LayerNormalization(with {}), L.Dense(with { 4, "gelu" })
        local batch = L.BatchNormalization(with {})
        local function body(h)
          h = ops.cast(h, norm.compute_dtype)
          h = h + attention(norm(h), h, { training = true })
          return batch(dense(h), { training = true }), h
        end
        local f = wrap(body)
        local v = tide.random.normal({ 2, 3, 4 }, { requires_grad = true })
        body(v)
        local params, out = { v }, {}
        for _, layer in ipairs { attention, norm, dense, batch } do
          table.move(layer.trainable_weights, 1, #layer.trainable_weights, #params + 1, params)
        end
        tide.seed(8)
        for _ = 1, 2 do
          local loss, grads = tide.value_and_grad(function()
            local a, b = f(v)
            collectgarbage()
            local c = f(b)
            collectgarbage()
            return ops.sum(ops.cast(a, "float32") ^ 2) + ops.sum(ops.cast(c * b, "float32"))
          end, params)
          out[#out + 1] = loss
          table.move(grads, 1, #grads, #out + 1, out)
        end
        return table.move(batch.weights, 1, 4, #out + 1, out)
      end
      all_same(run(function(f) return f end), run(tide.checkpoint))
    end
  end)

  it("begins from the states of the first run, and leaves those that there are", function()
    local function run(wrap)
      tide.seed(6)
      local lstm = L.LSTM { 3, stateful = true, return_sequences = true }
      local f = wrap(lstm)
      local v = tide.random.normal({ 2, 4, 3 }, { requires_grad = true })
      lstm(v)
      local _, grads = tide.value_and_grad(function()
        return (f(v) * f(v + 1)):sum()
      end, { v, table.unpack(lstm.trainable_weights) })
      grads[#grads + 1] = lstm(v) -- from the states as they stand now
      return grads
    end
    all_same(run(function(f) return f end), run(tide.checkpoint))
  end)

  it("hands the losses on that layers add", function()
    local function run(wrap)
      tide.seed(3)
      local a = L.Dense { 4, activity_regularizer = "l2", kernel_regularizer = "l1" }
      local b = L.Dense { 4, "relu", activity_regularizer = "l1" }
      local inner = wrap(b)
      local f = wrap(function(v) return inner(a(v)) end)
      f(x)
      f(x):sum():backward()
      assert.same({ 2, 1 }, { #a.losses, #b.losses })
      local _, grads = tide.value_and_grad(function()
        local loss = f(x):sum()
        for _, layer in ipairs { a, b } do
          for _, l in ipairs(layer.losses) do
            loss = loss + l
          end
        end
        return loss
      end, { x, a.kernel, b.kernel, b.bias })
      assert.same({ 2, 1 }, { #a.losses, #b.losses })
      return table.move(a.losses, 1, 2, #grads + 1, grads)
    end
    all_same(run(function(f) return f end), run(tide.checkpoint))
  end)

  it("of many results passes on what came, and no other", function()
    local function run(wrap)
      local f = wrap(function(v)
        local out = {}
        for i = 1, 20 do
          out[i] = ops.log(v:exp() * i)
        end
        out[21] = ops.log(v * 0) -- its gradient would be no number
        return out
      end)
      return tide.grad(function()
        local out, loss = f(x), 0
        for i = 1, 20, 2 do
          loss = loss + (out[i] * out[i]):sum()
        end
        return loss
      end, { x })
    end
    all_same(run(function(f) return f end), run(tide.checkpoint))
  end)

  it("repeats dropout, and changes statistics and generators once", function()
    local function run(wrap)
      local m = block()
      local f = wrap and tide.checkpoint(m) or m
      tide.seed(9)
      local out = {}
      for step = 1, 2 do
        local loss, grads = tide.value_and_grad(function()
          return (f(x, { training = true }) ^ 2):sum()
        end, { x, table.unpack(m.trainable_weights) })
        out[#out + 1] = loss
        table.move(grads, 1, #grads, #out + 1, out)
        assert.equal(step, m.layers[4]:get_config().seed and step)
      end
      local states = m:get_weights()
      table.move(states, 1, #states, #out + 1, out)
      out[#out + 1] = tide.random.normal { 3 } -- the global generator stands where it stood
      return out
    end
    all_same(run(false), run(true))
  end)

  it("finds layers that a function reaches by its upvalues", function()
    local function run(wrap)
      local m = block()
      local inside = { m }
      local function f(v) return inside[1](v, { training = true }) * 2 end
      tide.seed(3)
      local _, grads = tide.value_and_grad(function()
        return (wrap and tide.checkpoint(f) or f)(x):sum()
      end, { x, table.unpack(m.trainable_weights) })
      return table.move(m:get_weights(), 1, #m:get_weights(), #grads + 1, grads)
    end
    all_same(run(false), run(true))
  end)

  it("adds into .grad, and lets gradients be differentiated again", function()
    local w = tide.random.normal({ 4, 4 }, { requires_grad = true })
    local function f(a) return a:matmul(w):tanh(), a * a end
    local light = tide.checkpoint(f)
    local function second(g)
      return tide.grad(function()
        local d = tide.grad(function()
          local y, z = g(x)
          return (y * y * z):sum()
        end, { x }, { create_graph = true })[1]
        return (d * d):sum()
      end, { x, w })
    end
    local a, b = second(f), second(light)
    for i = 1, 2 do
      near(a[i], b[i])
    end
    local y = light(x);
    (y * y):sum():backward()
    local want = tide.grad(function()
      local v = f(x)
      return (v * v):sum()
    end, { w })[1]
    same(want, w.grad)
  end)

  it("keeps masks", function()
    local e = L.Embedding { 5, 3, mask_zero = true }
    local lstm = L.LSTM { 2 }
    local ids = tide.tensor({ { 1, 2, 0 }, { 3, 0, 0 } }, { dtype = "int32" })
    local want = lstm(e(ids))
    same(want, tide.checkpoint(function(v) return lstm(v) end)(e(ids)))
    local light = tide.checkpoint(function(v) return e(v) end)
    same(want, lstm(light(ids)))
  end)

  it("does nothing where nothing is recorded or needs a gradient", function()
    local calls = 0
    local f = tide.checkpoint(function(v)
      calls = calls + 1
      return v * 2
    end)
    assert.same({ 2 }, f(tide.tensor { 1 }):tolist())
    tide.no_grad(function() assert.is_false(f(x).requires_grad) end)
    assert.equal(2, calls)
  end)

  it("says what it cannot do", function()
    local outside = x * 2
    local f = tide.checkpoint(function(v) return v * outside end)
    assert.error_matches(function() f(x) end, "was computed outside of it")
    assert.error_matches(function() tide.checkpoint(3) end, "takes a function, a layer or a model")
    local n = 0
    local h = tide.checkpoint(function(v)
      n = n + 1
      if n == 1 then return v * 2 end
      return v, v
    end)
    assert.error_matches(function() h(x):sum():backward() end, "other results the second time")
  end)

  it("takes a chain of 1,000 layers through less than a fourth of the memory", function()
    local pipe = io.popen(expect.command .. " spec/bench/recompute.lua 1000 512 16")
    local peaks = {}
    for line in pipe:lines() do
      local pieces, peak, equal = line:match "^| +(%d+) | +([%d.]+) |[^|]*| ([%a ]-) +|$"
      if pieces then
        peaks[tonumber(pieces)] = tonumber(peak)
        assert.equal("the same", equal)
      end
    end
    pipe:close()
    local gradients = 1000 * (16 * 16 + 16) * 4 / 2 ^ 20
    assert.is_true(peaks[32] - gradients < (peaks[1] - gradients) / 4,
      ("%g beside %g MB"):format(peaks[32], peaks[1]))
  end)
end)

describe("RematScope", function()
  local function made(o, f)
    local _ <close> = tide.RematScope(o)
    return f()
  end
  -- How much the gradient of a layer's call keeps.
  local function kept(layer)
    local v = tide.ones { 64, 32 }
    layer(v)
    collectgarbage()
    collectgarbage()
    local before = core.memory().live_bytes
    local y = layer(v)
    collectgarbage()
    collectgarbage()
    return core.memory().live_bytes - before - y.nbytes
  end
  local function stack(name)
    return L.Dense { 32, activation = function(v) return v:exp():tanh():exp() end, name = name }
  end

  it("makes layers that compute again, by mode", function()
    tide.seed(4)
    local plain = stack()
    assert.is_true(kept(plain) > 0)
    for _, row in ipairs {
      { { mode = "full" }, true }, { {}, true }, { { mode = tide.none }, false },
      { { mode = "activations" }, true },
      { { mode = "larger_than", output_size_threshold = 31 }, true },
      { { mode = "larger_than", output_size_threshold = 32 }, false },
      { { mode = "list_of_layers", layer_names = { "chosen" } }, true },
      { { mode = "list_of_layers", layer_names = { "other" } }, false },
    } do
      local layer = made(row[1], function() return stack "chosen" end)
      assert.equal(row[2], kept(layer) <= 0)
      layer:set_weights(plain:get_weights())
      local x = tide.ones({ 2, 32 }, { requires_grad = true })
      local function of(one)
        return tide.value_and_grad(function() return one(x):sum() end, { x, one.kernel })
      end
      local a, da = of(plain)
      local b, db = of(layer)
      same(a, b)
      all_same(da, db)
    end
    assert.is_true(kept(stack()) > 0)
  end)

  it("trains as without it", function()
    local function trained(o)
      tide.seed(5)
      local m = made(o, function()
        return tide.Sequential { tide.Input { 4 }, L.Dense { 8, "relu" }, L.Dropout { 0.2 },
          L.BatchNormalization(), L.Dense { 1 } }
      end)
      m:compile { optimizer = "adam", loss = "mse" }
      local x, y = tide.random.normal { 32, 4 }, tide.random.normal { 32, 1 }
      m:fit(x, y, { epochs = 3, verbose = 0 })
      return m:get_weights()
    end
    all_same(trained { mode = tide.none }, trained { mode = "full" })
  end)
end)
