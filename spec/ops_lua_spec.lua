-- Functions of tide.ops composed in Lua: norms, correlations, segments; and positions written out as Lua numbers. Expected
-- values are analytic.
local tide = require "tide"
local ops = require "tide.ops"

local function near(want, got)
  if type(want) == "table" then
    assert.are.equal(#want, #got)
    for i = 1, #want do
      near(want[i], got[i])
    end
  else
    assert.is_true(math.abs(want - got) <= 1e-5, ("expected %s, got %s"):format(want, got))
  end
end
local function refused(says, f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.truthy(tostring(err):find(says, 1, true), tostring(err))
end

describe("ops.norm", function()
  local m = tide.tensor { { 3, -4 }, { 0, 12 } }
  it("is the length of all elements by default", function()
    near(13, ops.norm(m):item())
  end)
  it("takes an order and an axis", function()
    near({ 5, 12 }, ops.norm(m, { axis = 2 }):tolist())
    near({ 7, 12 }, ops.norm(m, 1, 2):tolist())
    near({ { 4 }, { 12 } }, ops.norm(m, { ord = math.huge, axis = 2, keepdims = true }):tolist())
    near({ 91 ^ (1 / 3) }, ops.norm({ { 3, 4 } }, 3, 2):tolist())
  end)
  it("of matrices sums columns or rows", function()
    near(16, ops.norm(m, 1):item())
    near(12, ops.norm(m, math.huge):item())
    near(3, ops.norm(m, -1):item())
    near(13, ops.norm(m, "fro"):item())
  end)
  it("refuses what is no order", function()
    refused("norm: ord of vectors must be a number", ops.norm, tide.ones { 2 }, "two")
  end)
end)

describe("ops.xlogy", function()
  it("is 0 where the first is 0", function()
    near({ 0, 2 * math.log(3) }, ops.xlogy({ 0, 2 }, { 0, 3 }):tolist())
  end)
end)

describe("ops.psnr", function()
  it("is 20 dB for a tenth of the peak", function()
    near(20, ops.psnr({ 0, 0 }, { 0.1, 0.1 }, 1):item())
  end)
end)

describe("ops.corrcoef", function()
  it("is 1 and -1 for rows on a line", function()
    near({ { 1, -1 }, { -1, 1 } }, ops.corrcoef({ { 1, 2, 3 }, { 6, 4, 2 } }):tolist())
  end)
end)

describe("ops.broadcast_shapes", function()
  it("stretches ones and refuses others", function()
    near({ 2, 5, 3 }, ops.broadcast_shapes({ 5, 1 }, { 2, 1, 3 }))
    refused("do not broadcast", ops.broadcast_shapes, { 2 }, { 3 })
  end)
end)

describe("ops.segment_sum", function()
  it("adds rows by ids that count from 1", function()
    near({ 3, 4 }, ops.segment_sum({ 1, 2, 4 }, { 1, 1, 2 }):tolist())
    near({ { 0, 0 }, { 4, 6 }, { 0, 0 } }, ops.segment_sum({ { 1, 2 }, { 3, 4 } }, { 2, 2 }, 3):tolist())
  end)
  it("wants one id a row", function()
    refused("segment_sum: segment_ids", ops.segment_sum, { 1, 2, 4 }, { 1, 1 })
  end)
end)

describe("positions written as Lua numbers", function()
  local x = tide.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
  it("stand wherever positions or ids are due", function()
    near({ { 1, 3 }, { 4, 6 } }, ops.take(x, { 1, 3 }, 2):tolist())
    near({ 2, 5 }, x:take(2.0, 2):tolist())
    near({ { 1, 0, 0 }, { 0, 0, 1 } }, ops.one_hot({ 1, 3 }, 3):tolist())
    near({ { 3 }, { 4 } }, ops.take_along_axis(x, { { 3 }, { 1 } }, 2):tolist())
    near({ 1, 0, 7, 0 }, ops.scatter({ { 1 }, { 3 }, { 3 } }, { 1, 2, 5 }, { 4 }):tolist())
    near({ { 9, 2, 3 }, { 4, 5, 6 } }, ops.scatter_update(x, { { 1, 1 } }, { 9 }):tolist())
    near({ 1, 0, 2 }, ops.bincount({ 1, 3, 3 }):tolist())
  end)
  it("must be whole", function()
    refused("1.5", ops.take, x, 1.5, 2)
  end)
end)

describe("functions written in Lua", function()
  it("are methods of tensors", function()
    near({ 2, 5 }, tide.tensor({ { 3, 1, 2 }, { 6, 5, 4 } }):median(2):tolist())
    near(5, tide.tensor({ 3, 4 }):norm():item())
    refused("no method or field 'einsum'", function()
      return tide.ones({ 2 }):einsum()
    end)
  end)
  it("are nodes of a functional model", function()
    local x = tide.Input { 4 }
    local halves = ops.split(x, 2, 2)
    local y = ops.einsum("bi,ij->bj", halves[1] + ops.median(x, 2, { keepdims = true }), { { 1, 2 }, { 3, 4 } })
    local model = tide.Model { inputs = x, outputs = y + halves[2]:fliplr() }
    local got = model:predict(tide.tensor { { 1, 2, 3, 6 } }, { verbose = 0 }):tolist()
    near({ { 3.5 + 3 * 4.5 + 6, 2 * 3.5 + 4 * 4.5 + 3 } }, got)
  end)
end)

describe("convolutions and pooling by Keras' arguments", function()
  local x, k = tide.random.normal { 2, 5, 6, 3 }, tide.random.normal { 3, 3, 3, 4 }
  it("take data_format after the padding", function()
    local last = ops.conv(x, k, 2, "same", "channels_last", 1)
    local first = ops.conv(ops.moveaxis(x, -1, 2), k, 2, "same", "channels_first", 1)
    near(last:tolist(), ops.moveaxis(first, 2, -1):tolist())
    local pooled = ops.max_pool(ops.moveaxis(x, -1, 2), 2, { data_format = "channels_first" })
    near(ops.max_pool(x, 2):tolist(), ops.moveaxis(pooled, 2, -1):tolist())
    refused("conv: data_format must be 'channels_last' or 'channels_first'", ops.conv, x, k, 1, "same", "nhwc")
  end)
  it("know the first argument as inputs", function()
    assert.are.equal(ops.average_pool(x, 2).shape, ops.average_pool({ inputs = x, pool_size = 2 }).shape)
  end)
  it("are nodes of a functional model", function()
    local s = tide.Input { 4, 4, 3 }
    assert.are.same({ 4, 2, 2 }, { table.unpack(ops.max_pool(s, 2, 2, "same", "channels_first").shape:totable(), 2) })
  end)
end)
