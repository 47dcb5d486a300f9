-- Where numbers, sizes and graphs end: the limits of narrow dtypes, sizes that no machine holds,
-- gradients at corners.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"
local ops = tide.ops

local message = expect.message

local function typed(values, dtype)
  return tide.tensor(values, { dtype = dtype })
end

describe("integers of few bits", function()
  it("are clipped by limits that they cannot hold", function()
    expect.close(ops.clip(typed({ 1, 100, 255 }, "uint8"), -5, 300), { 1, 100, 255 })
    expect.close(ops.clip(typed({ -128, 5, 127 }, "int8"), -1000, 100), { -128, 5, 100 })
    expect.close(ops.clip(typed({ 1, 100, 255 }, "uint8"), 300, 400), { 255, 255, 255 })
    expect.close(ops.clip(typed({ -7, 0, 7 }, "int32"), 0, math.huge), { 0, 0, 7 })
  end)

  it("are not drawn from a range that they cannot hold", function()
    local text = message(tide.random.randint, { 3 }, 500, 1000, { dtype = "uint8" })
    assert.matches("uint8 holds 0..255 %(asked for 500..999%)", text)
    assert.matches("int32 holds", message(tide.random.randint, { 3 }, 0, 2 ^ 40))
    local x = tide.random.randint({ 1000 }, -128, 128, { dtype = "int8" })
    assert.is_true(x:min() >= -128 and x:max() <= 127 and x:min() < -100 and x:max() > 100)
    local wide = tide.random.randint({ 4 }, 2 ^ 40, 2 ^ 40 + 2, { dtype = "int64" })
    assert.is_true(wide:min() >= 2 ^ 40)
  end)

  it("give way to int64 in a range that begins or ends beyond int32", function()
    local x = ops.arange(2 ^ 31, 2 ^ 31 + 3)
    assert.equal("int64", x.dtype)
    expect.close(x, { 2147483648, 2147483649, 2147483650 })
    local y = ops.arange((2 ^ 53 | 0) + 1, (2 ^ 53 | 0) + 5, 2, { dtype = "int64" })
    assert.same({ 9007199254740993, 9007199254740995 }, y:tolist())
    assert.equal("int32", ops.arange(5).dtype)
  end)
end)

describe("integers of 64 bits", function()
  local big = 2 ^ 53 | 0

  it("fill a tensor with what no double holds; narrow ones refuse what they do not hold", function()
    assert.equal(big + 1, tide.full({ 2 }, big + 1, { dtype = "int64" })[2])
    assert.equal(math.mininteger, ops.full_like(typed({ 0 }, "int64"), math.mininteger)[1])
    local text = message(tide.full, { 1 }, 300, { dtype = "uint8" })
    assert.matches("full: uint8 cannot hold 300", text)
    expect.close(tide.full({ 2 }, 2.5, { dtype = "int32" }), { 2, 2 })
  end)

  it("are compared as they are", function()
    local a, b = typed(big, "int64"), typed(big + 1, "int64")
    assert.is_true(a < b and a <= b and a < big + 1 and big <= a and a < 2 ^ 60)
    assert.is_false(b < a or b <= a or big + 1 <= a)
  end)

  it("are counted up to the largest, without a table of that length for too large ones", function()
    local text = message(ops.bincount, typed({ math.maxinteger }, "int64"), { base = 0 })
    assert.matches("an id of x is too large", text)
    expect.close(ops.bincount(typed({ 1, 3, 3 }, "int64")), { 1, 0, 2 })
    expect.close(ops.bincount(typed({}, "int64"), { minlength = 2 }), { 0, 0 })
  end)
end)

describe("a mask", function()
  it("of bytes other than 0 and 1 is as true as any other", function()
    local mask = core.from_bytes("bool", { 4 }, "\2\0\255\1")
    expect.close(ops.nonzero(mask), { 1, 3, 4 })
    expect.close(tide.tensor({ 5, 6, 7, 8 })[mask], { 5, 7, 8 })
  end)
end)

describe("a product", function()
  it("of more axes than a tensor has is refused, of length 1 too", function()
    local x, y = tide.ones { 1, 1, 1, 1, 1, 1, 1, 2 }, tide.ones { 1, 1, 1, 1, 1, 1, 2, 1 }
    assert.matches("dot: the result would have 14 axes %(at most 8%)", message(ops.dot, x, y))
  end)
end)

describe("an optimizer step", function()
  it("counts from 1", function()
    local p, g, m, v = tide.ones { 2 }, tide.ones { 2 }, tide.zeros { 2 }, tide.zeros { 2 }
    for _, name in ipairs { "adam_step_", "adamax_step_", "nadam_step_" } do
      local lists = { { p }, { g }, { m }, { v } }
      for _ = 1, name == "adam_step_" and 2 or 1 do
        lists[#lists + 1] = { false }
      end
      local product = name == "nadam_step_" and 0.9 or nil
      lists[#lists + 1] = { learning_rate = 0.1, step = 0, u_product = product }
      assert.matches("step counts from 1 %(got 0%)", message(core.ops[name], table.unpack(lists)))
    end
    expect.close(p, { 1, 1 })
  end)
end)

describe("an op that writes in place", function()
  it("refuses halves, of which it would see a copy", function()
    local p, g = tide.ones({ 3 }):cast "float16", tide.ones({ 3 }):cast "float16"
    for name, call in pairs {
      sgd_step_ = function()
        core.ops.sgd_step_({ p }, { g }, { false }, { false }, { learning_rate = 0.5 })
      end,
      ema_step_ = function()
        core.ops.ema_step_({ p }, { g }, { momentum = 0.5 })
      end,
      batch_norm_train_ = function()
        core.ops.batch_norm_train_(tide.ones { 4, 3 }, nil, nil, p, p)
      end,
    } do
      assert.matches(name .. ": writes in place, and not into float16", message(call))
    end
    expect.close(p, { 1, 1, 1 })
  end)

  it("takes halves where it only reads them", function()
    local mean, var = tide.zeros { 3 }, tide.ones { 3 }
    local x = tide.full({ 4, 3 }, 2):cast "float16"
    core.ops.batch_norm_train_(x, nil, nil, mean, var, { momentum = 0.5 })
    expect.close(mean, { 1, 1, 1 })
  end)

  it("leaves no gradient of the value that it replaced", function()
    local x = tide.tensor({ 1, 2, 3 }, { requires_grad = true })
    local y = x * 2
    y:greater_(3)
    expect.close(y, { 0, 1, 1 })
    assert.is_false(y.requires_grad)
    expect.close(tide.grad((y * x):sum(), { x })[1], { 0, 1, 1 })
  end)
end)

describe("padding", function()
  it("with NaN is padding with NaN, and without a number with 0", function()
    local nan = 0 / 0
    expect.close(ops.pad(tide.ones { 1 }, 1, "constant", nan), { nan, 1, nan })
    expect.close(ops.pad(tide.ones { 1 }, 1, { constant_values = nan }), { nan, 1, nan })
    expect.close(ops.pad(tide.ones { 1 }, 1), { 0, 1, 0 })
  end)
end)

describe("a part assigned by a mask or by positions", function()
  local w = tide.tensor({ 1, 2 }, { requires_grad = true })
  local mask, places = tide.tensor { true, false, true }, typed({ 1, 3 }, "int32")

  it("takes the gradient of its value", function()
    for _, key in ipairs { mask, places } do
      for _, recorded in ipairs { false, true } do
        local t = recorded and w[1] * tide.ones { 3 } or tide.zeros { 3 }
        t[key] = w
        expect.close(tide.grad((t * t):sum(), { w })[1], { recorded and 4 or 2, 4 })
      end
    end
    local t = tide.zeros { 3 }
    t[mask] = w[2]
    expect.close(tide.grad((t * t):sum(), { w })[1], { 0, 8 })
  end)

  it("is refused where a view would lose it", function()
    local t = tide.zeros { 3, 2 }
    assert.matches("a view cannot take over a value that carries a gradient", message(function()
      t[{ { 1, 2 } }][typed({ 1 }, "int32")] = w
    end))
    expect.close(t, { { 0, 0 }, { 0, 0 }, { 0, 0 } })
    tide.no_grad(function()
      t[{ { 1, 2 } }][typed({ 1 }, "int32")] = w
    end)
    expect.close(t, { { 1, 2 }, { 0, 0 }, { 0, 0 } })
  end)
end)

describe("a hook", function()
  it("must return a gradient or nothing", function()
    local x = tide.tensor({ 1, 2 }, { requires_grad = true })
    local y = x * 2
    y:register_hook(function()
      return 7
    end)
    assert.matches("a hook must return a gradient or nothing %(got a number%)", message(function()
      y:sum():backward()
    end))
    assert.is_nil(x.grad)
  end)
end)

describe("gradients that are differentiated again", function()
  it("of binary cross-entropy stay finite where the sigmoid rounds to 0 or 1", function()
    local x = tide.tensor({ 30, -30, 200, -200, 0 }, { requires_grad = true })
    local y = tide.tensor { 1, 0, 1, 0, 0 }
    local loss = ops.binary_crossentropy(y, x, { from_logits = true }):sum()
    local g = tide.grad(loss, { x }, { create_graph = true })[1]
    expect.close(g, { 0, 0, 0, 0, 0.5 }, 1e-6)
    expect.close(tide.grad(g:sum(), { x })[1], { 0, 0, 0, 0, 0.25 }, 1e-6)
  end)

  it("of normalize are finite at 0", function()
    local x = tide.tensor({ { 0, 0 }, { 3, 4 } }, { requires_grad = true, dtype = "float64" })
    local g = tide.grad((ops.normalize(x) * x):sum(), { x })[1]
    expect.close(g, { { 0, 0 }, { 0.6, 0.8 } }, 1e-9)
  end)
end)

describe("a size that no machine holds", function()
  it("is refused at once, by one message, before anything is made", function()
    local one, two = typed({ 1 }, "int32"), typed({ 1, 2 }, "int32")
    local most, image = 2 ^ 31 - 1, tide.ones { 1, 1, 4, 4 }
    core.memory_reset_peak()
    local before = core.memory().peak_bytes
    for name, call in pairs {
      eye = function() ops.eye(2 ^ 31) end,
      tri = function() ops.tri(2 ^ 31) end,
      identity = function() ops.identity(2 ^ 31) end,
      arange = function() ops.arange(2 ^ 40) end,
      linspace = function() ops.linspace(0, 1, 2 ^ 40) end,
      one_hot = function() ops.one_hot(one, 2 ^ 40) end,
      rep = function() ops.rep(two, 2 ^ 38) end,
      tile = function() ops.tile(two, { 2 ^ 38 }) end,
      pad = function() ops.pad(one, 2 ^ 38) end,
      bincount = function() ops.bincount(typed({ 2 ^ 40 }, "int64")) end,
      unfold = function() ops.unfold(image, { most, most }, { padding = most }) end,
    } do
      assert.matches("not enough memory", message(call), name)
    end
    assert.is_true(core.memory().peak_bytes - before < 1e6)
  end)

  it("is a stride that leaves most positions without a gradient", function()
    local was = core.engines()
    core.engines "plain"
    local x = tide.ones({ 1, 4, 4, 2 }, { requires_grad = true })
    local y = core.ops.conv(x, tide.ones { 3, 3, 2, 8 }, { strides = { 2 ^ 31 - 1, 2 ^ 31 - 1 } })
    local g = tide.grad(y:sum(), { x })[1]
    core.engines(table.concat(was, ","))
    local row = { 8, 8, 8, 0 }
    expect.close(g[{ 1, {}, {}, 1 }], { row, row, row, { 0, 0, 0, 0 } })
  end)
end)

describe("logsumexp of nothing", function()
  it("is -inf, the logarithm of 0", function()
    assert.equal(-math.huge, ops.logsumexp(tide.zeros { 0 }):item())
    local inf = math.huge
    assert.same({ -inf, -inf }, ops.logsumexp(tide.zeros { 0, 2 }, { axis = 1 }):tolist())
  end)
end)

describe("max and min with an initial value that is NaN", function()
  it("are NaN, of nothing too; integers refuse it", function()
    for _, choose in ipairs { ops.max, ops.min } do
      for _, x in ipairs { tide.tensor { 1, 2 }, tide.zeros { 0 } } do
        local y = choose(x, { initial = 0 / 0 }):item()
        assert.is_true(y ~= y)
      end
    end
    assert.matches("max: initial is NaN, which no int32 is",
      message(ops.max, typed({ 1, 2 }, "int32"), { initial = 0 / 0 }))
  end)
end)

describe("functions of text below the tokenizers", function()
  it("take no notice of an argument too many, and end where their text ends", function()
    assert.same({ "a", "b" }, core.text.chars("ab", 5))
    for _, json in ipairs { '{"a":', '{"a": ', '{"a": \n' } do
      local text = message(core.text.value, json, "a")
      assert.is_true(tonumber(text:match "at byte (%d+)") <= #json + 1, text)
    end
  end)
end)

describe("attention over more scores than numbers count", function()
  it("is refused before its dropout is drawn", function()
    local far = tide.zeros { 1, 2 ^ 40, 1, 0 }
    local options = { scale = 1, rate = 0.5 }
    local text = message(core.ops.attention_, far, far, far, nil, nil, options)
    assert.matches("too many elements", text)
  end)
end)
