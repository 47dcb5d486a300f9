-- Tensors that have a shape and a dtype and no elements.
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local ops = tide.ops

local message, has = expect.message, expect.has

local NONE = "a tensor on device meta has no elements"

local function meta(shape, dtype)
  return tide.zeros(shape, { dtype = dtype or "float32", device = "meta" })
end

describe("the device meta", function()
  it("checks, infers and computes nothing", function()
    local before = core.memory()
    local x = meta { 100000, 4, 4, 512 } -- 3 GB, were it there
    local y = ops.conv(x, meta { 3, 3, 512, 64 }, { padding = "same" })
    y = ops.relu(y):reshape({ -1, 1024 }):matmul(tide.zeros { 1024, 10 })
    assert.same({ 100000, 10 }, y.shape)
    assert.equal("float32", y.dtype)
    assert.equal("meta", y.device)
    local after = core.memory()
    assert.is_true(after.peak_bytes <= math.max(before.peak_bytes, before.live_bytes + 1e6))
    assert.same({ 100000 }, ops.argmax(y, -1).shape)
    assert.equal("int64", meta({ 2 }, "int32"):cast("int64").dtype)
    has(message(x.matmul, meta { 2, 3 }, tide.ones { 4, 2 }),
      "matmul: the last axis of x1 and the last but one axis of x2 differ (expected 3, got 4")
  end)

  it("refuses whoever wants elements", function()
    local x = meta { 1 }
    for _, f in ipairs {
      function() return x:item() end, function() return x:tolist() end,
      function() return x[1] end, function() return x < 2 end,
      function() return x:to "cpu" end, function() return ops.any(x) end,
      function() return ops.nonzero(x) end, function() return tide.tensor { x, 1 } end,
      function() return ops.boolean_mask(tide.ones { 1 }, meta({ 1 }, "bool")) end,
    } do
      has(message(f), NONE)
    end
    assert.equal("[tide.Tensor float32 1 meta]", tostring(x))
  end)

  it("writes nothing into tensors of other devices, and draws no numbers", function()
    local c = tide.zeros { 3 }
    has(message(c.copy_, c, meta { 3 }), NONE)
    local mean, variance = tide.zeros { 3 }, tide.ones { 3 }
    core.ops.batch_norm_train_(
      meta { 5, 3 }, tide.ones { 3 }, tide.zeros { 3 }, mean, variance, { momentum = 0.5 })
    assert.same({ 0, 0, 0 }, mean:tolist())
    assert.same({ 1, 1, 1 }, variance:tolist())
    tide.seed(5)
    local want = tide.random.normal({ 3 }):tolist()
    tide.seed(5)
    assert.same({ 3 }, ops.dropout(meta { 3 }, 0.5).shape)
    assert.same(want, tide.random.normal({ 3 }):tolist())
  end)

  it("is named by whoever asks for elements, under his own name", function()
    local x, c = meta { 1 }, tide.zeros { 1 }
    for where, f in pairs {
      item = function() return x:item() end, tolist = function() return x:tolist() end,
      tobytes = function() return x:tobytes() end, index = function() c[1] = x end,
      copy_ = function() return c:copy_(x) end, add_ = function() return c:add_(x) end,
      [".."] = function() return "" .. x end,
    } do
      has(message(f), where .. ": " .. NONE)
    end
    assert.same({ 0 }, c:tolist())
  end)

  it("changes no tensor of another device by a gradient, nor leaves it one", function()
    local w = tide.ones({ 3 }, { requires_grad = true })
    local loss = (w * meta { 3 }):sum()
    has(message(loss.backward, loss),
      "a gradient is on another device than its tensor (expected it on cpu, got it on meta)")
    assert.is_nil(w.grad)
    local sgd = tide.optimizers.SGD(0.1)
    has(message(sgd.apply, sgd, { meta { 3 } }, { w }),
      "SGD: a tensor on cpu is to be changed by one on device meta, which has no elements")
    assert.same({ 1, 1, 1 }, w:tolist())
    assert.same({ 3 }, tide.grad((w * meta { 3 }):sum(), { w })[1].shape)
  end)

  it("has gradients of the right shapes", function()
    local x = tide.zeros({ 2, 3 }, { device = "meta", requires_grad = true })
    local loss = (x:matmul(tide.ones { 3, 4 }) ^ 2):sum()
    loss:backward()
    assert.same({ 2, 3 }, x.grad.shape)
    assert.equal("meta", x.grad.device)
  end)
end)
