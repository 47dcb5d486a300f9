-- What runs kernels: steps that are kept and run again.
local tide = require "tide"
local core = require "tide.core"

local function numbers(shape, seed)
  core.seed(seed or 1)
  return tide.random.normal(shape)
end

local function same(expected, bytes)
  assert.is_true(expected == bytes)
end

describe("A kept step", function()
  it("gives the same bits when it runs again", function()
    local x, kernel, bias = numbers { 2, 9, 9, 3 }, numbers { 3, 3, 3, 8 }, numbers { 8 }
    local y
    local kept = core.keep_steps(function()
      y = tide.ops.conv(x, kernel, { padding = "same", bias = bias, activation = "relu" })
      y = tide.ops.max_pool(y, { pool_size = { 2, 2 } })
      y = tide.ops.softmax(y:reshape { 2, 128 } * 2 + 1)
    end)
    local bytes = y:tobytes()
    y:multiply_(0)
    core.run_steps(kept)
    same(bytes, y:tobytes())
  end)

  -- Engines keep weights in layouts of their own, by version: with yesterday's version a step
  -- would compute with yesterday's weights.
  it("sees weights that changed meanwhile", function()
    for _, engine in ipairs { "plain", false } do
      core.engines(engine)
      local x, kernel = numbers { 2, 12, 12, 16 }, numbers { 3, 3, 16, 16 }
      local weight, y, z = numbers { 64, 96 }
      local rows = numbers { 32, 64 }
      local kept = core.keep_steps(function()
        y, z = tide.ops.conv(x, kernel), tide.ops.linear(rows, weight)
      end)
      kernel:copy_(numbers({ 3, 3, 16, 16 }, 2))
      weight:copy_(numbers({ 64, 96 }, 3))
      core.run_steps(kept)
      same(tide.ops.conv(x, kernel):tobytes(), y:tobytes())
      same(tide.ops.linear(rows, weight):tobytes(), z:tobytes())
    end
    core.engines(false)
  end)

  it("bumps the version of its results, as whoever reads them expects", function()
    local x = numbers { 2, 12, 12, 16 }
    local source, kernel = numbers { 3, 3, 16, 16 }
    local y
    local kept = core.keep_steps(function()
      kernel = source * 2
      y = tide.ops.conv(x, kernel)
    end)
    source:copy_(numbers({ 3, 3, 16, 16 }, 2))
    core.run_steps(kept)
    same(tide.ops.conv(x, source * 2):tobytes(), y:tobytes())
  end)

  it("draws random numbers anew, as a call would", function()
    local x = tide.ones { 64 }
    local function draw()
      return core.ops.dropout(x, 0.5)
    end
    core.seed(7)
    local y
    local kept = core.keep_steps(function()
      y = draw()
    end)
    local first = y:tobytes()
    core.run_steps(kept)
    local second = y:tobytes()
    core.seed(7)
    same(first, draw():tobytes())
    same(second, draw():tobytes())
    assert.is_true(first ~= second)
  end)

  -- Forward, backward and Adam, with a table of embeddings whose rows lag behind.
  it("trains as the steps by hand do", function()
    local ids = tide.tensor({ { 1, 5, 9 }, { 2, 5, 4000 } }, { dtype = "int32" })
    local function state()
      local s = { numbers({ 8192, 16 }, 3), numbers({ 16, 4 }, 4) }
      for i = 1, 2 do
        s[i].requires_grad = true
      end
      s.m = { tide.zeros { 8192, 16 }, tide.zeros { 16, 4 } }
      s.v = { tide.zeros { 8192, 16 }, tide.zeros { 16, 4 } }
      s.touched = { tide.zeros({ 8192 }, { dtype = "uint8" }), false }
      return s
    end
    local function step(s, number, rate)
      local y = tide.ops.tanh(tide.ops.linear(tide.ops.embedding(s[1], ids), s[2]))
      local g = core.gradients((y * y):sum(), { s[1], s[2] }, { sparse = true })
      local now = { learning_rate = rate, step = number }
      core.ops.adam_step_({ s[1], s[2] }, g, s.m, s.v, { false, false }, s.touched, now)
    end
    local by_hand, again = state(), state()
    local kept = core.keep_steps(function()
      step(again, 1, 0.1)
    end)
    step(by_hand, 1, 0.1)
    for number = 2, 70 do
      ids[1][2] = number
      local rate = 0.1 / number
      local _, set = core.run_steps(kept, { step = number, learning_rate = rate })
      assert.equal(2, set)
      step(by_hand, number, rate)
    end
    for i = 1, 2 do
      same(by_hand[i]:tobytes(), again[i]:tobytes())
      same(by_hand.m[i]:tobytes(), again.m[i]:tobytes())
    end
  end)

  it("cannot be of an op that counts elements to know its shape, which is named", function()
    for name, f in pairs {
      flatnonzero = function()
        return tide.ops.flatnonzero(tide.tensor { 0, 1 })
      end,
      bincount = function()
        return tide.ops.bincount(tide.tensor({ 1, 2 }, { dtype = "int32" }))
      end,
    } do
      local ok, message = pcall(core.keep_steps, f)
      assert.is_false(ok)
      message = tostring(message)
      local expected = name .. ": the shape of its result depends on the elements"
      assert.truthy(message:find(expected, 1, true), message)
    end
    assert.equal(2, tide.ops.flatnonzero(tide.tensor { 0, 1 })[1]) -- and nothing is kept any more
  end)

  it("fails as the op does", function()
    local ids = tide.tensor({ 1, 2 }, { dtype = "int32" })
    local table_ = numbers { 3, 2 }
    local kept = core.keep_steps(function()
      tide.ops.embedding(table_, ids)
    end)
    ids[2] = 7
    local ok, message = pcall(core.run_steps, kept)
    assert.is_false(ok)
    local expected = "embedding: ids[2] is out of range (expected 1..3, got 7)"
    assert.truthy(tostring(message):find(expected, 1, true), tostring(message))
  end)
end)

describe("A kernel that fails on its way", function()
  local expect = require "spec.support.expect"

  it("counts as a write into the results of a kept step", function()
    local ids, table_ = tide.tensor({ 1, 2 }, { dtype = "int32" }), numbers { 3, 2 }
    local weight = numbers { 2, 2 }:requires_grad_(true)
    local rows
    local kept = core.keep_steps(function()
      rows = tide.ops.embedding(table_, ids)
    end)
    local loss = (rows * weight):sum()
    ids:copy_(tide.tensor({ 3, 7 }, { dtype = "int32" }))
    expect.raises("ids[2] is out of range", core.run_steps, kept)
    expect.raises("changed in place", loss.backward, loss)
  end)
end)
