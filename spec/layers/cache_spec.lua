-- Calls step by step with a KeyValueCache against the call with all steps at once.
local core = require "tide.core"
local expect = require "spec.support.expect"
local formula = require "spec.support.formula"
local ops = require "tide.ops"
local tide = require "tide"

local L = tide.layers

local function close(got, want)
  assert.are.same(want.shape:totable(), got.shape:totable())
  local d = ops.max(ops.abs(got:detach() - want:detach())):item()
  assert.is_true(d < 2e-6, ("the largest difference is %g"):format(d))
end

-- The results for x (batch, steps, ...) called in parts that end at these steps.
local function in_parts(f, x, ends)
  local out, from = {}, 1
  for i, to in ipairs(ends) do
    out[i] = f(x[{ {}, { from, to } }], from, to)
    from = to + 1
  end
  return ops.concatenate(out, 2)
end

local function causal(layer, cache)
  return function(x)
    return layer(x, x, { use_causal_mask = true, cache = cache })
  end
end

describe("a key-value cache", function()
  local x

  before_each(function()
    x = formula.input("real", { 2, 9, 8 }, 0)
  end)

  it("gives attention the numbers of all steps at once", function()
    for _, layer in ipairs { L.MultiHeadAttention { 2, 4 },
      L.MultiHeadAttention { 3, 2, value_dim = 5, use_gate = true, sliding_window = 3 },
      L.GroupQueryAttention { 4, 6, 2 }, L.GroupQueryAttention { 4, 4, 1, sliding_window = 2 },
      L.MultiHeadAttention { 2, 4, dtype = "float64" } } do
      local all = layer(x, x, { use_causal_mask = true })
      for _, ends in ipairs { { 9 }, { 1, 2, 3, 4, 5, 6, 7, 8, 9 }, { 4, 5, 8, 9 } } do
        local cache = tide.KeyValueCache { 9 }
        close(in_parts(causal(layer, cache), x, ends), all)
        assert.are.equal(9, cache.position)
      end
    end
  end)

  it("gives the scores of the steps that there are", function()
    local layer = L.MultiHeadAttention { 2, 4 }
    local _, all = layer(x, x, { use_causal_mask = true, return_attention_scores = true })
    local cache = tide.KeyValueCache { 12 }
    local first, rest = x[{ {}, { 1, 5 } }], x[{ {}, { 6, 9 } }]
    layer(first, first, { use_causal_mask = true, cache = cache })
    local _, scores = layer(rest, rest, { use_causal_mask = true, cache = cache,
      return_attention_scores = true })
    close(scores, ops.copy(all[{ {}, {}, { 6, 9 } }]))
  end)

  it("remembers which steps are masked, and takes explicit masks of all steps", function()
    local layer = L.MultiHeadAttention { 2, 4 }
    local mask = tide.tensor { { false, false, true, true, true, true, true, true, true },
      { true, true, true, true, true, false, true, true, true } }
    local all = layer(x, x, { use_causal_mask = true, value_mask = mask })
    local cache = tide.KeyValueCache { 9 }
    local got = in_parts(function(part, from, to)
      return layer(part, part, { use_causal_mask = true, cache = cache,
        value_mask = from < 7 and mask[{ {}, { from, to } }] or nil })
    end, x, { 4, 6, 7, 9 })
    close(ops.copy(got[{ {}, { 3, 9 } }]), ops.copy(all[{ {}, { 3, 9 } }]))

    cache:reset()
    got = in_parts(function(part, from, to)
      local own = mask[{ {}, { from, to } }]
      return layer(part, part, { use_causal_mask = true, cache = cache, query_mask = own,
        value_mask = own })
    end, x, { 4, 6, 7, 9 })
    all = layer(x, x, { use_causal_mask = true, value_mask = mask, query_mask = mask })
    close(ops.copy(got[{ {}, { 7, 9 } }]), ops.copy(all[{ {}, { 7, 9 } }]))

    cache:reset()
    local each = ops.greater(formula.input("real", { 2, 9, 9 }, 3), -0.3)
    all = layer(x, x, { use_causal_mask = true, attention_mask = each })
    got = in_parts(function(part, from, to)
      return layer(part, part, { use_causal_mask = true, cache = cache,
        attention_mask = each[{ {}, { from, to }, { 1, to } }] })
    end, x, { 4, 5, 9 })
    local seen = ops.any(ops.logical_and(each, ops.tril(ops.ones { 9, 9 }):equal(1)), 3)
    seen = ops.cast(seen:reshape { 2, 9, 1 }, "float32") -- what sees nothing has no numbers
    close(got * seen, all * seen)
  end)

  it("keeps what attention to something else made at the first call", function()
    local layer, source = L.MultiHeadAttention { 2, 4 }, formula.input("real", { 2, 5, 6 }, 1)
    local mask = ops.not_equal({ { 1, 1, 1, 0, 0 }, { 1, 1, 1, 1, 1 } }, 0)
    local all = layer(x, source, { value_mask = mask })
    local cache = tide.KeyValueCache { 4 }
    close(in_parts(function(part)
      return layer(part, source, { cache = cache, value_mask = mask })
    end, x, { 3, 4, 9 }), all)
    local ran = 0
    layer.key_dense.call = function() ran = ran + 1 end
    layer(x, source, { cache = cache })
    assert.are.equal(0, ran)
  end)

  it("serves models however they are made, each layer of them on its own", function()
    local function block(y, window)
      local z = L.LayerNormalization()(y)
      return y + L.MultiHeadAttention { 2, 4, sliding_window = window } (z, z,
        { use_causal_mask = true })
    end
    local input = tide.Input { tide.none, 8 }
    local inner = tide.Model { inputs = input, outputs = block(block(input), 3) }
    local outer = tide.Input { tide.none, 8 }
    local functional = tide.Model { inputs = outer, outputs = L.Dense { 3 } (inner(outer)) }
    local shared = L.MultiHeadAttention { 2, 4 }
    local Own = tide.Model:extend("CacheSpecOwn", {
      call = function(_, y)
        y = functional(y)
        y = ops.concatenate({ y, y }, 3)
        y = shared(y, y, { use_causal_mask = true })
        return shared(y, y, { use_causal_mask = true }) -- the same layer, another place
      end,
    })
    for _, model in ipairs { functional, Own(), tide.Sequential { functional, L.ReLU() } } do
      local all, cache = model(x), tide.KeyValueCache { 10 }
      tide.no_grad(function()
        close(in_parts(function(part) return model(part, { cache = cache }) end, x,
          { 5, 6, 7, 8, 9 }), all)
      end)
      assert.are.equal("KeyValueCache (9 of 10 steps)", tostring(cache))
      assert.is_nil(require("tide.layers.cache").current())
    end
  end)

  it("works under a mixed policy", function()
    local layer = L.MultiHeadAttention { 2, 4, dtype = "mixed_bfloat16" }
    local all, cache = layer(x, x, { use_causal_mask = true }), tide.KeyValueCache { 9 }
    local got = in_parts(causal(layer, cache), x, { 5, 6, 9 })
    assert.are.equal("bfloat16", got.dtype)
    assert.is_true(ops.max(ops.abs(got:detach() - all:detach())):item() < 0.02)
  end)

  it("goes back, forgets, and keeps chosen rows", function()
    local layer, cache = L.MultiHeadAttention { 2, 4 }, tide.KeyValueCache { 9 }
    local step = causal(layer, cache)
    local all = layer(x, x, { use_causal_mask = true })
    step(x)
    cache:truncate(6)
    assert.are.equal(6, cache.position)
    close(step(x[{ {}, { 7, 9 } }]), ops.copy(all[{ {}, { 7, 9 } }]))
    cache:truncate(8)
    cache:select { 2, 2, 1 }
    local rows = ops.take(x, tide.tensor({ 2, 2, 1 }, { dtype = "int32" }), 1)
    close(step(rows[{ {}, { 9 } }]), layer(rows, rows, { use_causal_mask = true })[{ {}, { 9 } }])
    cache:reset()
    assert.are.equal(0, cache.position)
    close(step(x), all)
  end)

  it("is as it was after a call that failed", function()
    local first, second = L.MultiHeadAttention { 2, 4 }, L.MultiHeadAttention { 2, 4 }
    local fails = false
    local model = tide.Model:extend("CacheSpecFails", { call = function(_, y)
      y = first(y, y, { use_causal_mask = true })
      assert(not fails, "no")
      return second(y, y, { use_causal_mask = true })
    end })()
    local all, cache = model(x), tide.KeyValueCache { 9 }
    model(x[{ {}, { 1, 4 } }], { cache = cache })
    fails = true
    assert.is_false(pcall(model, x[{ {}, { 5, 8 } }], { cache = cache }))
    assert.are.equal(4, cache.position)
    assert.is_nil(require("tide.layers.cache").current())
    fails = false
    close(model(x[{ {}, { 5, 9 } }], { cache = cache }), ops.copy(all[{ {}, { 5, 9 } }]))
  end)

  it("takes no new room with each step", function()
    local layer, cache = L.MultiHeadAttention { 2, 4 }, tide.KeyValueCache { 200 }
    local function bytes()
      collectgarbage()
      return core.memory().live_bytes
    end
    tide.no_grad(function()
      local one = ops.ones { 1, 1, 8 }
      causal(layer, cache)(one)
      local before = bytes()
      for _ = 1, 199 do
        causal(layer, cache)(one)
      end
      assert.are.equal(before, bytes())
    end)
  end)

  it("refuses what does not fit, each with one clear error", function()
    local layer, cache = L.MultiHeadAttention { 2, 4, name = "mha" }, tide.KeyValueCache { 4 }
    local step = causal(layer, cache)
    local three, one = ops.ones { 2, 3, 8 }, ops.ones { 2, 1, 8 }
    expect.raises("length must be an integer at least 1 (got 0)", tide.KeyValueCache, { 0 })
    step(three)
    expect.raises("the cache is too short (expected a length of at least 6, got 4)", step, three)
    assert.are.equal(3, cache.position)
    expect.raises("the cache holds another batch (expected 2 rows, got 1); reset it, or select \z
      rows", step, ops.ones { 1, 1, 8 })
    step(one)
    expect.raises("the cache is too short (expected a length of at least 5, got 4)", step, one)
    expect.raises("steps must be an integer from 0 to 4, the steps taken (got 5)", cache.truncate,
      cache, 5)
    cache:reset()
    expect.raises("a cache grows by a key for each query (expected 3, got 1)", layer, three, one,
      { use_causal_mask = true, cache = cache })
    expect.raises("a cache serves predictions alone (got a call in training)", layer, three, three,
      { use_causal_mask = true, cache = cache, training = true })
    local wide = ops.ones { 2, 3, 1, 8 }
    expect.raises("a cache takes other axes (expected (batch, steps, features), got the shape \z
      [2, 3, 1, 8])", L.MultiHeadAttention { 2, 4 }, wide, wide, { cache = cache })
    expect.raises("sliding_window with a cache needs use_causal_mask",
      L.MultiHeadAttention { 2, 4, sliding_window = 2 }, three, three, { cache = cache })
    layer(three, three, { cache = cache })
    expect.raises("the cache holds another value (expected 3 steps, got 1); attention to earlier \z
      steps needs use_causal_mask", layer, one, one, { cache = cache })
    expect.raises("a cache serves calls on numbers (got a symbolic tensor)", layer,
      tide.Input { 3, 8 }, tide.Input { 3, 8 }, { cache = cache })
    expect.raises("cache must be a KeyValueCache (got 5)", layer, one, one, { cache = 5 })
    local filled = tide.KeyValueCache { 4 }
    layer(three, three, { use_causal_mask = true, cache = filled })
    for _, bad in ipairs { { 9 }, { 0 }, { 1.5 }, { "1" }, {}, 1, "x" } do
      expect.raises("select: rows must be a list of whole numbers from 1 to 2, the rows held (got",
        filled.select, filled, bad)
    end
    expect.raises("steps must be an integer from 0 to 3, the steps taken (got '1')",
      filled.truncate, filled, "1")
    filled:select(tide.tensor({ 2, 1 }, { dtype = "int32" }))
    filled:select { 2.0, 1 }
    local other = L.MultiHeadAttention { 2, 4, name = "other" }
    local model = tide.Model:extend("CacheSpecSteps", { call = function(_, y)
      y = layer(y, y, { use_causal_mask = true })
      return other(y[{ {}, { 1 } }], y[{ {}, { 1 } }], { use_causal_mask = true })
    end })()
    expect.raises("layers of one call took different numbers of steps (mha 3, other 1); what an \z
      encoder does belongs in a call without the cache", model, three,
      { cache = tide.KeyValueCache { 4 } })
  end)
end)
