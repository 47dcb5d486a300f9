-- Tensors by the names that Keras gives them, where Tide's ops have others: both are taken, and
-- messages say both.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"

local ops = tide.ops
local image, kernel = tide.random.normal { 1, 6, 6, 2 }, tide.random.normal { 3, 3, 2, 4 }
local depth = tide.random.normal { 3, 3, 2, 1 }
local whole, other = tide.tensor({ 5, 6, 7 }, { dtype = "int32" }),
  tide.tensor({ 3, 1, 2 }, { dtype = "int32" })

-- function, its tensors by Keras' names, by Tide's, further options
local cases = {
  { "conv", { inputs = image, kernel = kernel }, { x = image, kernel = kernel }, {} },
  { "conv_transpose", { inputs = image, kernel = tide.ones { 3, 3, 4, 2 } },
    { x = image, kernel = tide.ones { 3, 3, 4, 2 } }, { strides = 2 } },
  { "depthwise_conv", { inputs = image, kernel = depth }, { x = image, kernel = depth }, {} },
  { "separable_conv", { inputs = image, depthwise_kernel = depth,
    pointwise_kernel = tide.ones { 1, 1, 2, 3 } }, { x = image, depthwise_kernel = depth,
    pointwise_kernel = tide.ones { 1, 1, 2, 3 } }, {} },
  { "max_pool", { inputs = image }, { x = image }, { pool_size = 2 } },
  { "average_pool", { inputs = image }, { x = image }, { pool_size = 2 } },
  { "adaptive_max_pool", { inputs = image }, { x = image }, { output_size = 2 } },
  { "adaptive_average_pool", { inputs = image }, { x = image }, { output_size = 2 } },
  { "ctc_decode", { inputs = image[1], sequence_lengths = { 6, 6, 6, 6, 6, 6 } },
    { x = image[1], sequence_lengths = { 6, 6, 6, 6, 6, 6 } }, {} },
  { "stop_gradient", { variable = image }, { x = image }, {} },
  { "bitwise_and", { x = whole, y = other }, { x1 = whole, x2 = other }, {} },
  { "bitwise_or", { x = whole, y = other }, { x1 = whole, x2 = other }, {} },
  { "bitwise_xor", { x = whole, y = other }, { x1 = whole, x2 = other }, {} },
  { "left_shift", { x = whole, y = other }, { x1 = whole, x2 = other }, {} },
  { "right_shift", { x = whole, y = other }, { x1 = whole, x2 = other }, {} },
  { "bitwise_left_shift", { x = whole, y = other }, { x1 = whole, x2 = other }, {} },
  { "bitwise_right_shift", { x = whole, y = other }, { x1 = whole, x2 = other }, {} },
}

local function with(a, b)
  local out = {}
  for _, t in ipairs { a, b } do
    for k, v in pairs(t) do
      out[k] = v
    end
  end
  return out
end

describe("names of tensors", function()
  for _, case in ipairs(cases) do
    it("are Keras' and Tide's: " .. case[1], function()
      local f = ops[case[1]]
      local a, b = f(with(case[2], case[4])), f(with(case[3], case[4]))
      assert.equal(b:tobytes(), a:tobytes())
    end)
  end

  it("are Keras' in random.dropout and in models too", function()
    expect.close(tide.random.dropout { inputs = tide.ones { 3 }, rate = 0 }, { 1, 1, 1 })
    local x = tide.Input { 6, 6, 2 }
    local model = tide.Model { inputs = x, outputs = ops.conv { inputs = x, kernel = kernel } }
    expect.close(model(image), ops.conv(image, kernel), 1e-6, 1e-6)
  end)

  it("stand both in messages", function()
    expect.has(expect.message(ops.conv, { kernel = kernel }), "conv: x (inputs) is missing")
    expect.has(expect.message(ops.conv, { x = image, inputs = image, kernel = kernel }),
      "x (inputs) is given twice")
    expect.has(expect.message(ops.conv, { inputs = "a", kernel = kernel }),
      "x (inputs) must be a tensor (got a string)")
    expect.has(expect.message(ops.max_pool, { input = image, pool_size = 2 }),
      "unknown option 'input'; did you mean 'inputs'? (expected x (inputs), pool_size")
    expect.has(expect.message(ops.bitwise_and, { x = whole }), "x2 (y) is missing")
  end)

  it("are declared by the op itself", function()
    assert.equal("inputs", core.op_info("conv").args[1].also)
    assert.is_nil(core.op_info("conv").args[2].also)
  end)
end)
