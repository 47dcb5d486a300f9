-- Values at the ends of what numbers can hold: large logits, infinities, digits that sums of
-- squares lose, ranges that end exactly, NaN among others, nothing at all.
local expect = require "spec.support.expect"
local tide = require "tide"
local ops, layers, metrics = tide.ops, tide.layers, tide.metrics

local inf, nan = math.huge, 0 / 0
local refused = expect.raises

local function typed(values, dtype)
  return tide.tensor(values, { dtype = dtype })
end

describe("logarithms of probabilities", function()
  local x = { { 1e4, 1e4, 0 } }
  local want = { { -0.6931472, -0.6931472, -10000.6931 } }
  it("keep their digits beside large logits, along any axis", function()
    expect.close(ops.log_softmax(x), want, 1e-7)
    local column = ops.transpose(tide.tensor(want))
    expect.close(ops.log_softmax({ { 1e4 }, { 1e4 }, { 0 } }, 1), column, 1e-7)
    local long = tide.full({ 1, 5000 }, 1e6)
    expect.close(ops.max(ops.log_softmax(long)):item(), -8.517193, 1e-5)
    expect.close(ops.logsumexp({ 1e4, 1e4 }):item() - 1e4, 0.6931472, 1e-3)
  end)
  it("keep them in the cross-entropies, and so do the gradients", function()
    local function loss(f)
      local logits = tide.tensor(x, { requires_grad = true })
      local y = f(logits)
      ops.sum(y):backward()
      expect.close(y, { 0.6931472 }, 1e-7)
      expect.close(logits.grad, { { -0.5, 0.5, 0 } }, 1e-7)
    end
    loss(function(z) return ops.categorical_crossentropy({ { 1, 0, 0 } }, z, true) end)
    loss(function(z) return ops.sparse_categorical_crossentropy({ 1 }, z, true) end)
    loss(function(z) return -ops.log_softmax(z)[{ {}, 1 }] end)
    local function turned(f) -- the classes along the first axis
      local logits = tide.tensor(x):transpose():copy()
      logits.requires_grad = true
      local y = f(logits)
      ops.sum(y):backward()
      expect.close(y, { 0.6931472 }, 1e-7)
      expect.close(logits.grad, { { -0.5 }, { 0.5 }, { 0 } }, 1e-7)
    end
    turned(function(z)
      local target = { { 1 }, { 0 }, { 0 } }
      return ops.categorical_crossentropy(target, z, { from_logits = true, axis = 1 })
    end)
    turned(function(z)
      return ops.sparse_categorical_crossentropy({ 1 }, z, { from_logits = true, axis = 1 })
    end)
    expect.close(ops.binary_crossentropy({ 1, 0 }, { 1e4, -1e4 }, true), { 0, 0 })
    expect.close(ops.binary_crossentropy({ 0, 1 }, { 1e4, -1e4 }, true), { 1e4, 1e4 })
  end)
end)

describe("softmax over several axes", function()
  local x = { { { 0, 1 }, { 2, 3 } }, { { 1, 1 }, { 1, 1 } } }
  it("sums to one over all of them, in any order", function()
    local y = ops.softmax(x, { 2, 3 })
    expect.close(y, { { { 0.0320586, 0.0871443 }, { 0.2368828, 0.6439143 } },
      { { 0.25, 0.25 }, { 0.25, 0.25 } } }, 1e-6)
    expect.close(ops.softmax(x, { -1, -2 }), y)
    expect.close(ops.log_softmax(x, { axis = { 3, 2 } }), ops.log(y), 1e-6)
    expect.close(ops.softmax(ops.moveaxis(tide.tensor(x), 1, 2), { 1, 3 }), ops.moveaxis(y, 1, 2))
    expect.close(ops.softmax(x, { 3 }), ops.softmax(x, 3))
    assert.same({ 0, 2, 3 }, ops.softmax(tide.zeros { 0, 2, 3 }, { 2, 3 }).shape:totable())
  end)
  it("has the gradient of one axis", function()
    local v = tide.tensor(x, { requires_grad = true })
    local w = tide.tensor { { { 1, 0 }, { 0, 0 } }, { { 0, 0 }, { 0, 2 } } }
    ops.sum(ops.softmax(v, { 2, 3 }) * w):backward()
    local flat = ops.reshape(tide.tensor(x), { 2, 4 })
    flat.requires_grad = true
    ops.sum(ops.softmax(flat) * w:reshape { 2, 4 }):backward()
    expect.close(v.grad:reshape { 2, 4 }, flat.grad)
  end)
  it("refuses none, and an axis twice", function()
    refused("softmax: needs at least one axis", ops.softmax, x, { axis = {} })
    refused("softmax: axis 1 is named twice", ops.softmax, x, { 1, -3 })
  end)
end)

describe("quantiles", function()
  it("between equal infinities are that infinity", function()
    for _, v in ipairs { inf, -inf } do
      for _, method in ipairs { "linear", "lower", "higher", "midpoint", "nearest" } do
        for _, q in ipairs { 0, 0.3, 0.5, 1 } do
          expect.close(ops.quantile({ v, v, v, v }, q, { method = method }), v)
          expect.close(ops.nanquantile({ v, nan, v, v }, q, { method = method }), v)
          expect.close(ops.percentile({ v, v }, 100 * q, { method = method }), v)
        end
      end
      expect.close(ops.median({ v, v }), v)
      expect.close(ops.nanmedian({ v, nan, v }), v)
    end
  end)
  it("next to an infinity are NumPy's", function()
    expect.close(ops.median({ 1, inf }), inf)
    expect.close(ops.median({ -inf, 1 }), -inf)
    expect.close(ops.median({ -inf, 1, inf }), 1)
    expect.close(ops.quantile({ 1, 2, 3, 4 }, 0.3), 1.9)
  end)
end)

describe("norms of float16", function()
  it("do not overflow in the squares", function()
    local x = typed({ 300, 400 }, "float16")
    expect.close(ops.norm(x):item(), 500)
    expect.close(ops.normalize(x, { axis = 1 }), { 0.6, 0.8 }, 1e-3)
    expect.close(ops.std(typed({ 300, -300 }, "float16")):item(), 300)
    assert.equal("float16", ops.norm(x).dtype)
  end)
end)

describe("the R2 score", function()
  it("keeps the digits of targets far from 0, batch by batch", function()
    local m = metrics.R2Score {}
    m:update_state({ { 1e6 }, { 1e6 + 1 } }, { { 1e6 }, { 1e6 + 1.5 } })
    m:update_state({ { 1e6 + 2 }, { 1e6 + 3 } }, { { 1e6 + 2 }, { 1e6 + 3 } })
    expect.close(m:result(), 1 - 0.25 / 5, 1e-6)
    m:reset_state()
    m:update_state({ { 1e6, 1 }, { 1e6 + 2, 3 } }, { { 1e6 + 1, 1 }, { 1e6 + 2, 3 } })
    expect.close(m:result(), (0.5 + 1) / 2, 1e-6)
  end)
end)

describe("ranges", function()
  it("end exactly in geomspace and logspace", function()
    for _, dtype in ipairs { "float32", "float64" } do
      for _, ends in ipairs { { 1, 1000 }, { 3, 7 }, { -2, -5 }, { 0.1, 1e6 } } do
        local a, b = typed(ends[1], dtype), typed(ends[2], dtype)
        local y = ops.geomspace(a, b, 7)
        assert.equal(a:item(), y[1])
        assert.equal(b:item(), y[7])
      end
    end
    assert.equal(1000, ops.geomspace(1, 1000, 4)[4])
    assert.equal(1000, ops.logspace(0, 3, 4)[4])
    expect.close(ops.geomspace(1, 1000, 4, { dtype = "int32" }), { 1, 10, 100, 1000 })
    expect.close(ops.geomspace(1, 16, 4, { endpoint = false }), { 1, 2, 4, 8 })
    assert.equal(5, ops.geomspace(5, 5, 1)[1])
  end)
  it("count whole numbers in integers, and one step past an infinite one", function()
    assert.same({ 10000000000000000, 10000000000000001, 10000000000000002 },
      ops.arange(10000000000000000, 10000000000000003):tolist())
    assert.equal("int64", ops.arange(1e16, 1e16 + 4).dtype)
    assert.equal(4, ops.arange(1e16, 1e16 + 4).size)
    assert.same({ 9007199254740993, 9007199254740994 },
      ops.arange(9007199254740993, 9007199254740995):tolist())
    assert.same({ 0 }, ops.arange(0, 1, inf):tolist())
    assert.same({ 5 }, ops.arange(5, -1, -inf):tolist())
    assert.same({}, ops.arange(0, -1, inf):tolist())
    assert.same({}, ops.arange(0, 0, inf):tolist())
    refused("arange", ops.arange, 0, inf)
    refused("arange", ops.arange, 0, nan)
  end)
  it("of infinities are refused in integers", function()
    refused("linspace: int32 cannot hold", ops.linspace, 0, inf, 3, { dtype = "int32" })
    refused("linspace: int64 cannot hold", ops.linspace, nan, 1, 3, { dtype = "int64" })
    refused("logspace: int32 cannot hold", ops.logspace, 0, 400, 3, { dtype = "int32" })
    refused("geomspace: uint8 cannot hold", ops.geomspace, 1, inf, 3, { dtype = "uint8" })
    expect.close(ops.linspace(0, 4, 3, { dtype = "int32" }), { 0, 2, 4 })
  end)
end)

describe("differences of bools", function()
  local a, b = typed({ true, false }, "bool"), typed({ true, true }, "bool")
  it("are refused naming logical_xor", function()
    for _, f in ipairs {
      function() return ops.subtract(a, b) end, function() return a - b end,
      function() return a:subtract(b) end,
      function() return a:copy():subtract_(b) end,
    } do
      refused("logical_xor", f)
    end
    expect.close(a - typed({ 1, 1 }, "int32"), { 0, -1 })
    expect.close(a - 1, { 0, -1 })
    assert.same({ true }, ops.diff(a):tolist()) -- as NumPy's
  end)
  it("and their negation, naming logical_not", function()
    refused("logical_not", function() return -a end)
    refused("logical_not", ops.negative, a)
  end)
end)

describe("powers of integers", function()
  it("are refused for negative exponents, naming the cast", function()
    local two = typed({ 2, 3 }, "int32")
    refused('cast("float32")', ops.power, two, typed({ -1, 2 }, "int32"))
    refused('cast("float32")', function() return two ^ -1 end)
    refused('cast("float32")', ops.power, two, typed({ -1, 2 }, "int64"))
    expect.close(two ^ 2, { 4, 9 })
    expect.close(two ^ 0, { 1, 1 })
    expect.close(two ^ -1.0, { 0.5, 1 / 3 })
    expect.close(two:cast "float32" ^ -1, { 0.5, 1 / 3 })
    expect.close(ops.power(typed({ 2 }, "uint8"), typed({ 3 }, "uint8")), { 8 })
  end)
end)

describe("ops.unique", function()
  it("gives NaN once, with its count and place", function()
    local v, index, inverse, counts = ops.unique({ nan, 2, nan, 1, nan, 2 },
      { return_index = true, return_inverse = true, return_counts = true })
    expect.close(v, { 1, 2, nan })
    expect.close(index, { 4, 2, 1 })
    expect.close(inverse, { 3, 2, 3, 1, 3, 2 })
    expect.close(counts, { 1, 2, 3 })
  end)
end)

describe("a trailing nil", function()
  local x = tide.tensor { 1, -2 }
  it("is no argument too many", function()
    assert.same({ 1, 2 }, ops.abs(x, nil, nil):tolist())
    assert.same({ 1, 2 }, x:abs(nil):tolist())
    assert.same({ 1, 2 }, x:copy():abs_(nil):tolist())
    assert.same({ 2, -4 }, ops.add(x, x, nil, nil):tolist())
    assert.equal(-1, ops.sum(x, nil, nil, nil, nil, nil):item())
    assert.same({ 0, 0 }, ops.zeros_like(x, nil, nil, nil):tolist())
    assert.equal(2, ops.norm(x, inf, nil, nil, nil, nil, nil):item())
    assert.same({ 1, -2 }, x:detach(nil):tolist())
  end)
  it("leaves one argument too many that", function()
    refused("too many arguments", ops.abs, x, nil, 3)
  end)
end)

describe("ops.conv", function()
  it("takes its groups from the shapes", function()
    local x, w = expect.numbers({ 1, 4, 4, 4 }, 1), expect.numbers({ 2, 2, 2, 6 }, 2)
    expect.close(ops.conv(x, w), ops.conv(x, w, { groups = 2 }))
    expect.close(ops.conv(x, w)[{ 1, 1, 1, 1 }],
      ops.sum(x[{ 1, { 1, 2 }, { 1, 2 }, { 1, 2 } }] * w[{ "...", 1 }]):item(), 1e-5)
    refused("channels", ops.conv, x, tide.ones { 2, 2, 3, 6 })
    refused("channels", ops.conv, x, tide.ones { 2, 2, 4, 6 }, { groups = 2 })
  end)
end)

describe("empty batches", function()
  local x = tide.zeros { 0, 4, 4, 3 }
  local cases = {
    { layers.Flatten {}, { 0, 48 } }, { layers.Reshape { { -1, 6 } }, { 0, 8, 6 } },
    { layers.Reshape { { 16, -1 } }, { 0, 16, 3 } }, { layers.Dense { 5 }, { 0, 4, 4, 5 } },
    { layers.Conv2D { 2, 3 }, { 0, 2, 2, 2 } }, { layers.MaxPooling2D { 2 }, { 0, 2, 2, 3 } },
    { layers.AveragePooling2D { 2 }, { 0, 2, 2, 3 } },
    { layers.GlobalAveragePooling2D {}, { 0, 3 } }, { layers.GlobalMaxPooling2D {}, { 0, 3 } },
    { layers.BatchNormalization {}, { 0, 4, 4, 3 } }, { layers.Dropout { 0.5 }, { 0, 4, 4, 3 } },
    { layers.UpSampling2D { 2 }, { 0, 8, 8, 3 } }, { layers.RepeatVector { 2 }, nil },
  }
  for _, c in ipairs(cases) do
    if c[2] then
      it("pass through " .. tostring(c[1]), function()
        assert.same(c[2], c[1](x).shape:totable())
      end)
    end
  end
  it("pass through Embedding and a model's predict", function()
    local ids = tide.zeros({ 0, 4 }, { dtype = "int32" })
    assert.same({ 0, 4, 3 }, layers.Embedding { 5, 3 }(ids).shape:totable())
    local model = tide.Sequential {
      tide.Input { 4, 4, 3 }, layers.Conv2D { 2, 3 }, layers.BatchNormalization {},
      layers.Flatten {}, layers.Dense { 5, activation = "softmax" },
    }
    assert.same({ 0, 5 }, model(x).shape:totable())
    assert.same({ 0, 5 }, model:predict(x, { verbose = 0 }).shape:totable())
  end)
  it("reshape where the other extents tell the unknown one", function()
    assert.same({ 0, 12 }, ops.reshape(tide.zeros { 0, 4, 3 }, { 0, 12 }).shape:totable())
    refused("reshape", ops.reshape, tide.zeros { 0, 4 }, { 0, -1 })
  end)
end)

describe("arange at the end of int32", function()
  it("has the dtype that holds its values, which are NumPy's", function()
    local x = tide.arange(2147483648, 2147483640, -1)
    assert.equal("int64", x.dtype)
    local want = {}
    for i = 1, 8 do
      want[i] = 2147483649 - i
    end
    assert.same(want, x:tolist())
    assert.equal("int32", tide.arange(2147483646, 2147483648).dtype)
    assert.same({ 2147483646, 2147483647 }, tide.arange(2147483646, 2147483648):tolist())
    assert.equal("int64", tide.arange(2147483646, 2147483649).dtype)
    assert.same({ -2147483647, -2147483648 }, tide.arange(-2147483647, -2147483649, -1):tolist())
    assert.equal("int32", tide.arange(-2147483647, -2147483649, -1).dtype)
    assert.equal("int64", tide.arange(-2147483647, -2147483650, -1).dtype)
  end)
end)

describe("whole numbers at their ends", function()
  it("are where the numbers of rows begin", function()
    local x = tide.zeros { 2, 2 }
    for _, base in ipairs { math.maxinteger, math.mininteger } do
      local _, pivots = ops.lu_factor(x, { base = base })
      assert.same({ base, base + 1 }, pivots:tolist())
    end
  end)
  it("give an empty diagonal far outside, and gradients of zero", function()
    for _, offset in ipairs { math.maxinteger, math.mininteger } do
      local y = tide.zeros { 2, 3 }
      y.requires_grad = true
      local d = ops.diagonal(y, { offset = offset })
      assert.same({ 0 }, d.shape:totable())
      local g = tide.grad(d:sum(), { y }, { create_graph = true })[1]
      assert.same({ { 0, 0, 0 }, { 0, 0, 0 } }, g:tolist())
    end
  end)
end)

describe("factorizations of very large and very small numbers", function()
  local la = ops.linalg
  local function like(want, got, factor, what)
    expect.close(got / factor, want:tolist(), 1e-12, 1e-12, what)
  end
  it("are those of the same numbers near one", function()
    tide.seed(24)
    local all = tide.random.normal({ 90, 70 }, { dtype = "float64" })
    for _, shape in ipairs { { 6, 4 }, { 90, 70 } } do -- by Tide's own kernels, and by LAPACK
      local n = shape[2]
      local x = all[{ { 1, shape[1] }, { 1, n } }]
      local both = x[{ { 1, n } }] + x[{ { 1, n } }]:transpose()
      local w, v = la.eigh(both)
      local u, s, vh = la.svd(x, { full_matrices = false })
      local q, r = la.qr(x)
      for _, factor in ipairs { 2.0 ^ 1015, 2.0 ^ 1000, 2.0 ^ 300, 2.0 ^ -300, 2.0 ^ -1000 } do
        local name = ("%g"):format(factor)
        local w2, v2 = la.eigh(both * factor)
        like(w, w2, factor, name)
        like(v, v2, 1, name)
        local u2, s2, vh2 = la.svd(x * factor, { full_matrices = false })
        like(s, s2, factor, name)
        like(u, u2, 1, name)
        like(vh, vh2, 1, name)
        local q2, r2 = la.qr(x * factor)
        like(q, q2, 1, name)
        like(r, r2, factor, name)
      end
    end
  end)
end)

-- float32's own functions (kernels/cpu/vector.h) beside float64's, which are libm's; 1003 elements
-- leave a rest to whole vectors.
describe("tanh, gelu and its gradient in float32", function()
  local wide = ops.linspace(-14, 14, 1003)
  local small = ops.linspace(-1e-3, 1e-3, 1003)
  local function gelu(x) return ops.gelu(x, { approximate = false }) end
  local function fused(x) -- as the product's last step applies it
    return ops.linear(x:reshape { 17, 59 }, ops.eye(59, { dtype = x.dtype }),
      ops.zeros({ 59 }, { dtype = x.dtype }), "gelu"):reshape { 1003 }
  end
  local function slope(f)
    return function(x)
      x = x:copy()
      x.requires_grad = true
      ops.sum(f(x)):backward()
      return x.grad
    end
  end
  for name, f in pairs { tanh = ops.tanh, gelu = gelu, ["gelu of a product"] = fused,
    ["gelu's slope"] = slope(gelu) } do
    it("keep their digits over the whole range: " .. name, function()
      for _, x in ipairs { wide, small } do
        local y, want = f(x), f(x:cast "float64")
        local off = ops.abs(y:cast "float64" - want) / (ops.abs(want) + 0.1)
        assert(ops.max(off):item() < 1e-6, ("%s: off by %g"):format(name, ops.max(off):item()))
      end
    end)
  end
  it("keep small results' own digits", function()
    for _, f in ipairs { ops.tanh, gelu } do
      local want = f(small:cast "float64")
      local off = ops.abs(f(small):cast "float64" - want) / (ops.abs(want) + 1e-30)
      assert(ops.max(off):item() < 1e-6)
    end
  end)
  it("have the limits and NaN of libm", function()
    expect.close(ops.tanh { inf, -inf, 0, 1e-40 }, { 1, -1, 0, 1e-40 }, 0)
    expect.close(gelu { inf, 0, 100, -100 }, { inf, 0, 100, 0 }, 0)
    for _, f in ipairs { ops.tanh, gelu } do
      local y = f { nan, 1 }
      assert(y[1] ~= y[1] and y[2] == y[2])
    end
  end)
end)
