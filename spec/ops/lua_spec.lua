-- Functions of tide.ops composed in Lua: norms, correlations, segments; and positions written out
-- as Lua numbers. Expected values are analytic.
local expect = require "spec.support.expect"
local tide = require "tide"
local ops = require "tide.ops"

local refused = expect.raises
local function near(want, got)
  expect.close(got, want, 1e-5)
end

describe("ops.norm", function()
  local m = tide.tensor { { 3, -4 }, { 0, 12 } }
  it("is the length of all elements by default", function()
    expect.close(ops.norm(m):item(), 13, 1e-5)
  end)
  it("takes an order and an axis", function()
    expect.close(ops.norm(m, { axis = 2 }):tolist(), { 5, 12 }, 1e-5)
    expect.close(ops.norm(m, 1, 2):tolist(), { 7, 12 }, 1e-5)
    expect.close(ops.norm(m, { ord = math.huge, axis = 2, keepdims = true }):tolist(),
      { { 4 }, { 12 } }, 1e-5)
    expect.close(ops.norm({ { 3, 4 } }, 3, 2):tolist(), { 91 ^ (1 / 3) }, 1e-5)
  end)
  it("of matrices sums columns or rows", function()
    expect.close(ops.norm(m, 1):item(), 16, 1e-5)
    expect.close(ops.norm(m, math.huge):item(), 12, 1e-5)
    expect.close(ops.norm(m, -1):item(), 3, 1e-5)
    expect.close(ops.norm(m, "fro"):item(), 13, 1e-5)
  end)
  it("refuses what is no order", function()
    refused("norm: ord of vectors must be a number", ops.norm, tide.ones { 2 }, "two")
  end)
end)

describe("ops.xlogy", function()
  it("is 0 where the first is 0", function()
    expect.close(ops.xlogy({ 0, 2 }, { 0, 3 }):tolist(), { 0, 2 * math.log(3) }, 1e-5)
  end)
end)

describe("ops.psnr", function()
  it("is 20 dB for a tenth of the peak", function()
    expect.close(ops.psnr({ 0, 0 }, { 0.1, 0.1 }, 1):item(), 20, 1e-5)
  end)
end)

describe("ops.corrcoef", function()
  it("is 1 and -1 for rows on a line", function()
    expect.close(ops.corrcoef({ { 1, 2, 3 }, { 6, 4, 2 } }):tolist(), { { 1, -1 }, { -1, 1 } },
      1e-5)
  end)
end)

describe("ops.broadcast_shapes", function()
  it("stretches ones and refuses others", function()
    expect.close(ops.broadcast_shapes({ 5, 1 }, { 2, 1, 3 }), { 2, 5, 3 }, 1e-5)
    refused("do not broadcast", ops.broadcast_shapes, { 2 }, { 3 })
  end)
end)

describe("ops.segment_sum", function()
  it("adds rows by ids that count from 1", function()
    expect.close(ops.segment_sum({ 1, 2, 4 }, { 1, 1, 2 }):tolist(), { 3, 4 }, 1e-5)
    expect.close(ops.segment_sum({ { 1, 2 }, { 3, 4 } }, { 2, 2 }, 3):tolist(),
      { { 0, 0 }, { 4, 6 }, { 0, 0 } }, 1e-5)
  end)
  it("wants one id a row", function()
    refused("segment_sum: segment_ids", ops.segment_sum, { 1, 2, 4 }, { 1, 1 })
  end)
end)

describe("positions written as Lua numbers", function()
  local x = tide.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
  it("stand wherever positions or ids are due", function()
    expect.close(ops.take(x, { 1, 3 }, 2):tolist(), { { 1, 3 }, { 4, 6 } }, 1e-5)
    expect.close(x:take(2.0, 2):tolist(), { 2, 5 }, 1e-5)
    expect.close(ops.one_hot({ 1, 3 }, 3):tolist(), { { 1, 0, 0 }, { 0, 0, 1 } }, 1e-5)
    expect.close(ops.take_along_axis(x, { { 3 }, { 1 } }, 2):tolist(), { { 3 }, { 4 } }, 1e-5)
    expect.close(ops.scatter({ { 1 }, { 3 }, { 3 } }, { 1, 2, 5 }, { 4 }):tolist(), { 1, 0, 7, 0 },
      1e-5)
    expect.close(ops.scatter_update(x, { { 1, 1 } }, { 9 }):tolist(), { { 9, 2, 3 }, { 4, 5, 6 } },
      1e-5)
    expect.close(ops.bincount({ 1, 3, 3 }):tolist(), { 1, 0, 2 }, 1e-5)
  end)
  it("must be whole", function()
    refused("1.5", ops.take, x, 1.5, 2)
  end)
end)

describe("functions written in Lua", function()
  it("are methods of tensors", function()
    expect.close(tide.tensor({ { 3, 1, 2 }, { 6, 5, 4 } }):median(2):tolist(), { 2, 5 }, 1e-5)
    expect.close(tide.tensor({ 3, 4 }):norm():item(), 5, 1e-5)
    refused("no method or field 'einsum'", function()
      return tide.ones({ 2 }):einsum()
    end)
  end)
  it("are nodes of a functional model", function()
    local x = tide.Input { 4 }
    local halves = ops.split(x, 2, 2)
    local y = ops.einsum("bi,ij->bj", halves[1] + ops.median(x, 2, { keepdims = true }),
      { { 1, 2 }, { 3, 4 } })
    local model = tide.Model { inputs = x, outputs = y + halves[2]:fliplr() }
    local got = model:predict(tide.tensor { { 1, 2, 3, 6 } }, { verbose = 0 }):tolist()
    expect.close(got, { { 3.5 + 3 * 4.5 + 6, 2 * 3.5 + 4 * 4.5 + 3 } }, 1e-5)
  end)
end)

describe("convolutions and pooling by Keras' arguments", function()
  local x, k = tide.random.normal { 2, 5, 6, 3 }, tide.random.normal { 3, 3, 3, 4 }
  it("take data_format after the padding", function()
    local last = ops.conv(x, k, 2, "same", "channels_last", 1)
    local first = ops.conv(ops.moveaxis(x, -1, 2), k, 2, "same", "channels_first", 1)
    expect.close(ops.moveaxis(first, 2, -1):tolist(), last:tolist(), 1e-5)
    local pooled = ops.max_pool(ops.moveaxis(x, -1, 2), 2, { data_format = "channels_first" })
    expect.close(ops.moveaxis(pooled, 2, -1):tolist(), ops.max_pool(x, 2):tolist(), 1e-5)
    local method = ops.moveaxis(x, -1, 2):conv(
      k, { strides = 2, padding = "same", data_format = "channels_first" })
    expect.close(method:tolist(), first:tolist(), 1e-6)
    refused("conv: data_format must be one of channels_last|channels_first", ops.conv, x, k, 1,
      "same", "nhwc")
  end)
  it("know the first argument as inputs", function()
    assert.are.equal(ops.average_pool(x, 2).shape,
      ops.average_pool({ inputs = x, pool_size = 2 }).shape)
  end)
  it("are nodes of a functional model", function()
    local s = tide.Input { 4, 4, 3 }
    assert.are.same({ 4, 2, 2 }, { table.unpack(ops.max_pool(s, 2, 2, "same",
      "channels_first").shape:totable(), 2) })
  end)
end)

describe("ops.segment_max, segment_min, segment_prod", function()
  it("reduce rows by ids from 1; empty segments hold the identity", function()
    assert.are.same({ 4, 2, -math.huge, -3 },
      ops.segment_max({ 1, 2, 4, -3 }, { 2, 2, 1, 4 }):tolist())
    near({ { 1, 1 }, { 2, 3 } }, ops.segment_min({ { 1, 5 }, { 2, 3 }, { 4, 1 } },
      { 1, 2, 1 }):tolist())
    near({ 6, 1, 4, 1 }, ops.segment_prod({ 2, 3, 4 }, { 1, 1, 3 }, 4):tolist())
    near({ 2, -2147483648, 3 }, ops.segment_max(tide.tensor({ 1, 2, 3 }, { dtype = "int32" }),
      { 1, 1, 3 }):tolist())
  end)
  it("pass the gradient to the element that was taken", function()
    local v = tide.tensor({ 1, 2, 4 }, { requires_grad = true })
    ops.sum(ops.segment_max(v, { 1, 1, 2 })):backward()
    near({ 0, 1, 1 }, v.grad:tolist())
  end)
  it("refuse ids that are no segment", function()
    refused("segment_max: segment_ids must be 1 to 2 (got 0 to 2)", ops.segment_max, { 1, 2 },
      { 0, 2 }, 2)
  end)
end)

describe("ops.argpartition", function()
  it("puts the kth smallest in its place", function()
    near({ 2, 3, 1 }, ops.argpartition({ 7, 1, 5 }, 2):tolist())
    refused("argpartition: kth must be 1 to 2", ops.argpartition, { 7, 1 }, 3)
  end)
end)

describe("ops.dot_product_attention", function()
  local formula = require "spec.support.formula"
  local q, k, v = formula.input("real", { 1, 3, 4, 2 }, 1),
    formula.input("real", { 1, 3, 2, 2 }, 2), formula.input("real", { 1, 3, 2, 2 }, 3)
  -- by Keras on JAX
  it("attends by groups of heads", function()
    near({ 0.522197, 0.21924, -1.1316, -0.478924, 0.109852, 0.98764, -0.00853812, -0.195175,
      1.03153, 0.519079, -0.657897, -0.382793, 0.0656544, 0.960188, 0.202658, 0.964869, 1.04269,
        0.530576, 0.476291, 0.193113, 0.087543, 0.9273, 0.113779,
      0.989599 }, ops.ravel(ops.dot_product_attention(q, k, v)):tolist())
  end)
  it("takes a bias, a scale and looks back only", function()
    local bias = formula.input("real", { 1, 4, 3, 3 }, 4)
    local y = ops.dot_product_attention(q, k, v, { bias = bias, scale = 0.5, is_causal = true })
    near({ -1.15915, -0.273244, -1.15915, -0.273244, 0.74117, 1.407, 0.74117, 1.407, 0.965483,
      0.573862, -0.56718, -0.0372221, 0.725606, 1.36728, 0.672108, 1.23077, 0.281064, 0.0351455,
        -0.315891, -0.342644, -0.144963, 0.763654, -0.138197,
      0.815473 }, ops.ravel(y):tolist())
  end)
  it("looks where the mask allows", function()
    local mask = ops.greater(formula.input("bits", { 1, 1, 3, 3 }, 5), 0)
    near({ 0.65128, 0.25705, -1.07932, -0.869208, -0.248498, 0.749602, -0.258607, -0.729587,
      1.08191, 0.537302, -0.413852, -0.436129, -0.248479, 0.752408, -0.249564, 0.593584, -1.49999,
        -1.14298, -1.49999, -1.14298, -0.248406, 0.762992,
      -0.248406, 0.762992 }, ops.ravel(ops.dot_product_attention(q, k, v, nil, mask)):tolist())
  end)
  it("refuses shapes that do not fit", function()
    refused("do not fit together", ops.dot_product_attention, q, k, tide.ones { 1, 2, 2, 2 })
  end)
end)

describe("functions of ops written in Lua", function()
  it("take their arguments by name, and nested lists as tensors", function()
    expect.close(ops.cross({ x1 = { 1, 0, 0 }, x2 = { 0, 1, 0 } }):tolist(), { 0, 0, 1 }, 1e-6)
    expect.close(ops.diff({ 1, 4, 9 }):tolist(), { 3, 5 }, 1e-6)
    expect.close(ops.multi_hot({ { 1, 3 } }, 3):tolist(), { { 1, 0, 1 } }, 1e-6)
    expect.close(ops.associative_scan(function(a, b)
      return a + b
    end, { 0, 1, 2 }):tolist(), { 0, 1, 3 }, 1e-6)
  end)
  it("refuse what is missing or of another kind", function()
    refused("cross: x1 is missing", ops.cross)
    refused("cross: unknown option 'x3'; did you mean 'x1'?", ops.cross, { x3 = 1 })
    refused("cond: true_fn is missing", ops.cond, true)
    refused("cond: true_fn must be a function", ops.cond, true, 1, 2)
    refused("hanning: x must be an integer", ops.hanning, "a")
    refused("hstack: xs must be a list of tensors", ops.hstack, 3)
    refused("percentile: q must be a number", ops.percentile, { 1, 2 }, "a")
    refused("fori_loop: lower and upper must be whole numbers", ops.fori_loop, 0)
  end)
end)

describe("tensors", function()
  it("are assigned as Keras' variables are, without a record", function()
    local w = tide.tensor({ 1, 2 }, { requires_grad = true })
    expect.close(w:assign({ 3, 4 }):tolist(), { 3, 4 }, 1e-6)
    refused("assign: the value has another shape than the variable", w.assign, w, { 1, 2, 3 })
  end)
  it("refuse a Lua boolean where a mask is due", function()
    local x = tide.ones { 2, 3 }
    refused("condition is a Lua boolean where a mask of several elements is due", ops.where, x == x,
      x, x)
  end)
end)

describe("namespaces of functions", function()
  it("refuse unknown names and suggest", function()
    refused("tide.datasets: unknown name 'mnst'; did you mean 'mnist'?", function()
      return tide.datasets.mnst
    end)
    refused("tide.utils: unknown name", function() return tide.utils.no_such end)
  end)
end)

describe("whole numbers written out", function()
  it("are whole for the ops of bits, in the dtype of their partner", function()
    assert.are.same({ 1, 0 }, ops.bitwise_and({ 1, 2 }, { 3, 4 }):tolist())
    assert.are.equal("int32", ops.bitwise_or({ 1, 2 }, { 3, 4 }).dtype)
    assert.are.equal("int64", ops.bitwise_xor(tide.tensor({ 1 }, { dtype = "int64" }), { 3 }).dtype)
    assert.are.same({ -2, -3 }, ops.bitwise_not({ 1, 2 }):tolist())
    assert.are.equal(6, ops.lcm(2, 3))
    refused("bitwise_and: int32 cannot hold 1.5", ops.bitwise_and, { 1.5 }, { 1 })
  end)
end)

describe("bools and integers", function()
  it("have no NaN to pass over", function()
    assert.are.equal(2, ops.nansum { true, false, true })
    near({ 0.5, 1 }, ops.nanmean({ { true, false }, { true, true } }, 2):tolist())
    assert.are.equal(3, ops.nanmax(tide.tensor({ 1, 3 }, { dtype = "int32" })))
    near(2 / 9, ops.nanvar { true, false, true })
  end)
  it("have Kronecker products and differences", function()
    assert.are.same({ true, false, false, false },
      ops.kron({ true, false }, { true, false }):tolist())
    assert.are.same({ true, false }, ops.diff({ true, false, false }):tolist())
  end)
end)

describe("lines without numbers", function()
  it("have no position of an extreme, and NaN as extreme", function()
    local v = tide.tensor { { 0 / 0, 0 / 0 }, { 0 / 0, 1 } }
    assert.are.same({ 0, 2 }, ops.nanargmax(v, 2):tolist())
    near({ 0 / 0, 1 }, ops.nanmin(v, 2):tolist())
  end)
end)

describe("errors", function()
  it("name the function that was called before the op that it is made of", function()
    refused("kron: multiply: float32 and float64 do not mix", ops.kron, { 1 },
      tide.ones({ 1 }, { dtype = "float64" }))
    refused("digitize: searchsorted: sorted_sequence must have one axis", ops.digitize, { 1 },
      { { 1 } })
    refused("layer_normalization: gamma does not fit", ops.layer_normalization, tide.ones { 2, 3 },
      tide.ones { 2 })
  end)
end)

describe("ops.i0", function()
  it("is the Bessel function, by torch, in float64", function()
    local x = tide.tensor({ 0, 0.5, 3, 17.9, 18.1, 60 }, { dtype = "float64" })
    expect.close(ops.i0(x):tolist(), { 1.0, 1.0634833707413236, 4.880792585865024,
      5642579.560048393, 6853118.77696302, 5.8940770556098e+24 }, 0, 1e-12)
  end)
end)

describe("numbers beside a mask", function()
  it("have the dtype of the other choice", function()
    local x = tide.tensor({ 1, 2 }, { dtype = "float64" })
    assert.are.equal("float64", ops.where(x:less(2), 0.5, x).dtype)
    assert.are.equal("float64", ops.where(x:less(2), x, 0).dtype)
    assert.are.equal("float32", ops.where(x:less(2), 0.5, 1.5).dtype)
    assert.are.equal("int32", ops.where(x:less(2), 1, 0).dtype)
  end)
end)

describe("decompositions", function()
  local function eye(n)
    return ops.eye(n, { dtype = "float64" })
  end
  it("multiply back to their matrix, and their bases are orthonormal", function()
    for n = 1, 40, 13 do
      local x = expect.numbers({ n, n }, n, "float64")
      local s = x + ops.transpose(x)
      local w, v = ops.eigh(s)
      expect.close(ops.matmul(v * w, ops.transpose(v)), s, 1e-11)
      expect.close(ops.matmul(v, ops.transpose(v)), eye(n), 1e-12)
      local q, r = ops.qr(x)
      expect.close(ops.matmul(q, r), x, 1e-12)
      expect.close(ops.matmul(ops.transpose(q), q), eye(n), 1e-12)
      local lu, pivot = ops.lu_factor(x)
      local y = ops.matmul(ops.tril(lu, -1) + eye(n), ops.triu(lu)):tolist()
      for i = n, 1, -1 do -- the exchanges undone
        y[i], y[pivot[i]] = y[pivot[i]], y[i]
      end
      expect.close(y, x, 1e-12)
    end
  end)
  it("of any shape have square bases with full_matrices", function()
    for _, shape in ipairs { { 5, 3 }, { 3, 5 }, { 4, 4 }, { 4, 1 } } do
      local x = expect.numbers(shape, 3, "float64")
      local u, s, vh = ops.svd(x)
      expect.close(ops.matmul(u, ops.transpose(u)), eye(shape[1]), 1e-12)
      expect.close(ops.matmul(vh, ops.transpose(vh)), eye(shape[2]), 1e-12)
      local k = #s
      expect.close(ops.matmul(u[{ {}, { 1, k } }] * s, vh[{ { 1, k } }]), x, 1e-12)
    end
  end)
  it("of singular matrices have zeros, and whole bases all the same", function()
    local u, s, vh = ops.svd(tide.zeros({ 3, 2 }, { dtype = "float64" }))
    expect.close(s, { 0, 0 }, 0)
    expect.close(ops.matmul(u, ops.transpose(u)), eye(3), 1e-12)
    expect.close(ops.matmul(vh, ops.transpose(vh)), eye(2), 1e-12)
    assert.are.equal(0, ops.det { { 1, 2 }, { 2, 4 } }:item())
    local sign, log = ops.slogdet { { 1, 2 }, { 2, 4 } }
    assert.are.same({ 0, -math.huge }, { sign:item(), log:item() })
  end)
  it("say where they have no gradient", function()
    local x = tide.tensor({ { 1, 2, 3 }, { 4, 5, 7 } }, { requires_grad = true })
    refused("qr: has a gradient where rows are at least as many as columns", function()
      ops.sum((ops.qr(x))):backward()
    end)
    refused("svd: vectors have a gradient with full_matrices = false alone", function()
      local _, _, vh = ops.svd(x)
      ops.sum(vh):backward()
    end)
  end)
  it("work in float16 through float32, and on integers", function()
    local x = tide.tensor({ { 2, 0 }, { 0, 4 } }, { dtype = "float16" })
    assert.are.equal("float16", ops.inv(x).dtype)
    near({ { 0.5, 0 }, { 0, 0.25 } }, ops.inv(tide.tensor({ { 2, 0 }, { 0, 4 } },
      { dtype = "int32" })):tolist())
  end)
end)

describe("ops.unique", function()
  it("cuts or fills up to a size", function()
    local values, counts = ops.unique({ 3, 1, 3 }, { return_counts = true, size = 4,
      fill_value = -1 })
    near({ 1, 3, -1, -1 }, values:tolist())
    assert.are.same({ 1, 2, 0, 0 }, counts:tolist())
    near({ 1 }, ops.unique({ 3, 1, 3 }, { size = 1 }):tolist())
  end)
  it("finds columns", function()
    near({ { 0, 1 }, { 3, 2 } }, ops.unique({ { 1, 0, 1 }, { 2, 3, 2 } }, { axis = 2 }):tolist())
  end)
end)

describe("ops.rearrange", function()
  it("says what is wrong with a pattern", function()
    local x = tide.ones { 2, 6 }
    refused('rearrange: pattern must be a text', ops.rearrange, x, "a b")
    refused('axis "b" stands twice on one side', ops.rearrange, x, "b b -> b")
    refused('the right side lacks axis "b"', ops.rearrange, x, "a b -> a")
    refused('the right side names axis "c", which the left lacks', ops.rearrange, x, "a b -> a b c")
    refused("the left side names 3 axes, the tensor has 2", ops.rearrange, x, "a b c -> a b c")
    refused('the lengths of axes "b" and "c" must be given', ops.rearrange, x, "a (b c) -> a b c")
    refused("axis 2 of [2, 6] does not split", ops.rearrange, x, "a (b c) -> a b c", { b = 4 })
    refused("unknown axis 'd'", ops.rearrange, x, "a b -> b a", { d = 1 })
  end)
  it("makes and drops axes of length 1", function()
    assert.are.same({ 6, 1, 2 }, ops.rearrange(tide.ones { 2, 6, 1 },
      "a b 1 -> b 1 a").shape:totable())
  end)
end)

describe("functions written in Lua", function()
  it("have the text of their own at the prompt", function()
    local text = require("tide.help").text(ops.kron, "kron")
    expect.has(text, "Kronecker product")
  end)
end)
