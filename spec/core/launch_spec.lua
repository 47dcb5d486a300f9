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

-- A call of plain tensors takes a way of its own, with fewer questions; while steps are kept, all
-- take the general one.
describe("The everyday call", function()
  -- What f gives by both ways: bytes, dtype and shape, or what is raised.
  local function both(f)
    local function outcome()
      local ok, y = pcall(f)
      return ok and core.is_tensor(y) and ("%s %s %s"):format(y.dtype, y.shape,
        (y:tobytes():gsub(".", function(c) return ("%02x"):format(c:byte()) end))) or tostring(y)
    end
    local everyday, general = outcome(), nil
    core.keep_steps(function()
      general = outcome()
    end)
    assert.equal(general, everyday)
    return everyday
  end

  it("gives the bits of the general one: dtypes, shapes, views, numbers, nothing at all", function()
    local ops = tide.ops
    local operands = { numbers { 5, 7 }, numbers { 5, 7 }:transpose(), numbers { 7 }, numbers {},
      numbers { 5, 1 }, numbers({ 5, 7 }):cast "float64", numbers({ 5, 7 }):cast "float16",
      tide.ones({ 5, 7 }, { dtype = "int32" }), tide.ones({ 5, 7 }, { dtype = "bool" }),
      tide.zeros { 0, 7 }, numbers({ 5, 14 })[{ {}, { 1, -1, 2 } }], 2, 0.5 }
    for _, name in ipairs { "add", "maximum", "less", "bitwise_and",
      "matmul" } do
      for _, a in ipairs(operands) do
        for _, b in ipairs(operands) do
          both(function() return ops[name](a, b) end)
        end
      end
    end
    for _, name in ipairs { "tanh", "negative", "softmax", "sum", "mean", "argmax", "cumsum",
      "relu", "copy", "transpose", "flatten" } do
      for _, a in ipairs(operands) do
        both(function() return ops[name](a) end)
      end
    end
  end)

  it("packs a number beside as many elements as there are", function()
    for _, n in ipairs { 1, 2, 255, 256, 257, 1024, 1025 } do
      local x = numbers { n }
      local y = (x * 3 - 1):tolist()
      for i, v in ipairs(x:tolist()) do
        local want = string.unpack("f", string.pack("f", string.unpack("f",
          string.pack("f", v * 3)) - 1))
        assert.near(want, y[i], 1e-6)
      end
      assert.equal((x * tide.full({ n }, 3.0)):tobytes(), (x * 3):tobytes())
    end
  end)

  it("records what the general one records", function()
    local function gradient()
      local x = tide.tensor({ 0.5, -1, 2 }, { requires_grad = true })
      local y = ((x * 2):tanh() + x[{ { 1, 3 } }]):maximum(0.1)
      return tide.grad(y:sum(), { x })[1]
    end
    both(gradient)
    local x = tide.ones({ 2 }, { requires_grad = true })
    assert.is_true((x * 2).requires_grad)
    assert.is_false((x:detach() * 2).requires_grad)
    assert.is_false(tide.no_grad(function() return x * 2 end).requires_grad)
  end)
end)

describe("Lists of numbers", function()
  it("are read a row at a time, and say what is wrong as when they are read one by one", function()
    local rows = {}
    for i = 1, 3 do
      rows[i] = {}
      for k = 1, 37 do
        rows[i][k] = (i * 100 + k) / 7
      end
    end
    local x = tide.tensor(rows)
    assert.same({ 3, 37 }, x.shape:totable())
    assert.equal(string.pack("f", 337 / 7), x[3][{ { 37 } }]:tobytes())
    assert.same(rows, tide.tensor(rows, { dtype = "float64" }):tolist())
    for _, case in ipairs {
      { 16777217, "cannot hold 16777217 exactly" }, { true, "mix numbers and booleans" },
      { "7", "must be numbers or booleans" }, { {}, "ragged" } } do
      rows[3][20] = case[1]
      local ok, e = pcall(tide.tensor, rows)
      assert.is_false(ok)
      assert.matches(case[2], tostring(e), 1, true)
    end
    rows[3][20] = tide.tensor(4)
    assert.equal(4.0, tide.tensor(rows)[{ 3, 20 }])
    rows[3][20] = nil
    assert.is_false((pcall(tide.tensor, rows)))
  end)
end)
