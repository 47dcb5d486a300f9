-- float16 and bfloat16: stored in two bytes, computed in float32. The values are PyTorch's (CPU,
-- the same dtype) or follow from the formats: float16 has 11 bits of mantissa and ends at 65504,
-- bfloat16 has 8 bits and float32's range.
local expect = require "spec.support.expect"
local support = require "spec.support.half"
local tide = require "tide"
local core = require "tide.core"
local ops = tide.ops

local halves, half, wide = support.formats, support.half, support.wide
local rounds_once = support.rounds_once


describe("a leaf in half precision", function()
  it("gathers the gradients of every use and of every walk, each sum rounded once", function()
    for _, d in ipairs(halves) do
      local x = half({ 1, 2, -3, 0.5 }, d, true)
      ;(x * x):sum():backward()
      assert.equal(d, x.grad.dtype)
      expect.close(x.grad, { 2, 4, -6, 1 }, 0)
      ;(x * x):sum():backward()
      expect.close(x.grad, { 4, 8, -12, 2 }, 0)
      -- 257 has nine bits: bfloat16 rounds it to 256, as PyTorch does
      local y = half({ 1 }, d, true)
      ;(y * 256 + y):sum():backward()
      expect.close(wide(y.grad), { d == "float16" and 257 or 256 }, 0)
    end
  end)

  it("may be a table that is looked up twice", function()
    for _, d in ipairs(halves) do
      local rows = half({ { 1, 2 }, { 3, 4 }, { 5, 6 } }, d, true)
      ;(ops.embedding(rows, { 1, 2 }) + ops.embedding(rows, { 2, 2 })):sum():backward()
      assert.equal(d, rows.grad.dtype)
      expect.close(rows.grad, { { 1, 1 }, { 3, 3 }, { 0, 0 } }, 0)
    end
  end)
end)

describe("elementwise ops in half precision", function()
  it("compute in float32 and round once", function()
    -- torch.tensor([1, 2, -3, .1], dtype = d).exp().tanh()
    local want = {
      float16 = { 0.9912109375, 1, 0.04974365234375, 0.80224609375 },
      bfloat16 = { 0.9921875, 1, 0.0498046875, 0.80078125 },
    }
    for _, d in ipairs(halves) do
      local y = half({ 1, 2, -3, 0.1 }, d):exp():tanh()
      assert.equal(d, y.dtype)
      expect.close(wide(y), want[d], 0)
    end
  end)

  it("serve views, broadcasting, and every length of a run", function()
    for _, d in ipairs(halves) do
      local a = half({ { 1, 2, 3 }, { 4, 5, 6 } }, d)
      expect.close(a:transpose() + half({ 1, 10 }, d), { { 2, 14 }, { 3, 15 }, { 4, 16 } }, 0)
      expect.close(a * half(2, d) - 1, { { 1, 3, 5 }, { 7, 9, 11 } }, 0)
      for _, n in ipairs { 1, 7, 8, 15, 16, 17, 33, 1023, 1024, 1025, 40000 } do
        local x = ops.arange(n):cast "float32"
        x = ops.mod(x, 101) - 50
        local got, plain = x:cast(d), x * 0.5
        expect.close(((got * 0.5):cast "float32" - plain):abs():max():item(), 0, 0)
        local size = got:maximum(got * -1):cast "float32"
        expect.close((size - x:abs()):abs():max():item(), 0, 0)
      end
      local wideish = half({ { 1, 2, 3, 4 } }, d):transpose() * tide.ones({ 4, 130 }):cast(d)
      expect.close(wide(wideish:sum { axis = 2 }), { 130, 260, 390, 520 }, 0)
    end
  end)

  it("compare with every dtype", function()
    for _, d in ipairs(halves) do
      local x = half({ 1, 2, -3, 0.1 }, d)
      expect.close(x:greater(half({ 0, 2, -4, 1 }, d)), { true, false, true, false })
      expect.close(ops.equal(x, tide.tensor { 1, 2, -3, 0.1 }), { true, true, true, false })
      local twos = tide.tensor({ 2, 2, 2, 2 }, { dtype = "int64" })
      expect.close(ops.less(x, twos), { true, false, true, true })
      expect.close(ops.isinf(half({ 1 / 0, 1, 0 / 0 }, d)), { true, false, false })
    end
  end)

  it("write in place", function()
    for _, d in ipairs(halves) do
      local x = half({ 1, 2, 3 }, d)
      x:add_(1)
      x:multiply_(x)
      assert.equal(d, x.dtype)
      expect.close(x, { 4, 9, 16 }, 0)
    end
  end)

  it("know the spacing and the range of the format", function()
    -- torch.nextafter and torch.nan_to_num
    local largest = { float16 = 65504, bfloat16 = 3.3895313892515355e38 }
    local step = { float16 = 2 ^ -10, bfloat16 = 2 ^ -7 }
    local least = { float16 = 2 ^ -24, bfloat16 = 2 ^ -133 }
    for _, d in ipairs(halves) do
      local from = half({ 1, 1, 0, -1, 2, 5, 0 / 0, largest[d] }, d)
      local to = half({ 2, 0, -1, -2, 2, 0 / 0, 1, 1 / 0 }, d)
      local got = wide(ops.nextafter(from, to))
      local want = { 1 + step[d], 1 - step[d] / 2, -least[d], -1 - step[d], 2, 0 / 0, 0 / 0, 1 / 0 }
      expect.close(got, want, 0, 0)
      local x = half({ 1 / 0, -1 / 0, 0 / 0, 2 }, d)
      expect.close(wide(ops.nan_to_num(x)), { largest[d], -largest[d], 0, 2 }, 0, 0)
      local given = ops.nan_to_num(x, { nan = 3, posinf = 4, neginf = 5 })
      expect.close(wide(given), { 4, 5, 3, 2 }, 0, 0)
    end
  end)

  it("have a gradient of addcdiv where the square of the divisor leaves the format", function()
    for _, v in ipairs { 300, 1e-4 } do -- float16: 300^2 is infinite, 1e-8 is 0
      local x3 = half({ v }, "float16", true)
      local given = x3:item() -- 1e-4 is rounded
      ops.addcdiv(half({ 1 }, "float16"), half({ v }, "float16"), x3):sum():backward()
      expect.close(wide(x3.grad), { -1 / given }, 2e-3 / given)
    end
  end)

  it("give the gradients of float32, rounded", function()
    for _, d in ipairs(halves) do
      local atol, rtol = table.unpack(d == "float16" and { 1e-3, 2 ^ -9 } or { 8e-3, 2 ^ -6 })
      for _, name in ipairs { "tanh", "exp", "sigmoid", "gelu_tanh", "silu", "softplus", "relu" } do
        local values = { 0.25, 1.5, 0.75, 2 }
        local x, y = half(values, d, true), tide.tensor(values, { requires_grad = true })
        ops[name](x):sum():backward()
        ops[name](y):sum():backward()
        assert.equal(d, x.grad.dtype)
        -- rules that read the result read it rounded, as PyTorch's do: 1 - y^2 of tanh
        expect.close(x.grad, y.grad, atol, rtol)
      end
    end
  end)
end)

describe("matrix products in half precision", function()
  it("are float32's, rounded once: vectors, batches, broadcast and transposed", function()
    tide.seed(4)
    local shapes = {
      { { 5, 7 }, { 7, 3 } }, { { 200, 130 }, { 130, 90 } }, { { 1, 300 }, { 300, 50 } },
      { { 2, 700 }, { 700, 70 } }, { { 7 }, { 7, 4 } }, { { 4, 7 }, { 7 } }, { { 9 }, { 9 } },
      { { 6, 5, 7 }, { 7, 4 } }, { { 6, 80, 16 }, { 6, 16, 90 } }, { { 3, 1, 8, 9 }, { 4, 9, 5 } },
      { { 40, 70, 32 }, { 40, 32, 70 } }, { { 0, 4 }, { 4, 3 } }, { { 3, 0 }, { 0, 4 } },
      { { 1, 100, 100 }, { 20, 100, 100 } }, { { 100, 100 }, { 20, 100, 100 } },
    }
    local function turned(x) -- the last two axes as a view
      local axes = {}
      for i = 1, x.ndim do
        axes[i] = i
      end
      axes[x.ndim], axes[x.ndim - 1] = x.ndim - 1, x.ndim
      return ops.transpose(x, axes)
    end
    for _, d in ipairs(halves) do
      for _, s in ipairs(shapes) do
        for turn = 0, 3 do
          local a, b = tide.random.normal(s[1]), tide.random.normal(s[2])
          local ta, tb = turn % 2 == 1 and a.ndim > 1, turn >= 2 and b.ndim > 1
          rounds_once(table.concat(s[1], "x") .. " " .. turn, function(x, y)
            return ops.matmul(ta and turned(x) or x, tb and turned(y) or y)
            -- the gradient of what was broadcast is a sum of rounded products
          end, { ta and turned(a):copy() or a, tb and turned(b):copy() or b }, d, 3)
        end
      end
    end
  end)

  -- Sums of products of small whole numbers are exact in float32, whatever their order, so every
  -- way of multiplying rounds the same numbers once.
  it("of whole numbers in bfloat16 are exact sums, rounded once, on one thread and two", function()
    local function whole(shape)
      return ops.round(tide.random.uniform(shape, { minval = -3.4, maxval = 3.4 }))
    end
    local threads = core.get_threads()
    tide.seed(5)
    for _, s in ipairs {
      { 8, 16, 512 }, { 13, 33, 170 }, { 128, 784, 100 }, { 205, 1500, 270 }, { 12, 4097, 31 },
      { 400, 64, 33 }, { 33, 65, 530 },
    } do
      local a, b = whole { 3, s[1], s[2] }, whole { 3, s[2], s[3] }
      local ah, bh = a:cast "bfloat16", b:cast "bfloat16"
      local function turned(x)
        return ops.transpose(x, { 1, 3, 2 })
      end
      local at, bt = turned(ah):copy(), turned(bh):copy()
      local want = ops.matmul(a, b):cast("bfloat16"):tobytes()
      local first = ops.relu(ops.matmul(a[1], b[1])):cast("bfloat16"):tobytes()
      for n = 1, 2 do
        core.set_threads(n)
        for i, x in ipairs { ah, turned(at) } do
          for j, y in ipairs { bh, turned(bt) } do
            assert.is_true(want == ops.matmul(x, y):tobytes(),
              ("%s, %d, %d, threads %d"):format(table.concat(s, "x"), i, j, n))
          end
        end
        assert.is_true(first == ops.linear(ah[1], bh[1], { activation = "relu" }):tobytes())
      end
      core.set_threads(threads)
    end
  end)

  it("keep halves on the tape, and nothing else", function()
    for _, d in ipairs(halves) do
      local a, b = half(tide.zeros { 512, 512 }, d, true), half(tide.zeros { 512, 512 }, d, true)
      local before = tide.memory().live_bytes
      local y = ops.matmul(a, b)
      assert.is_true(tide.memory().live_bytes - before < 512 * 512 * 2 + 4096)
      assert.equal(d, y.dtype)
    end
  end)
end)

describe("reductions in half precision", function()
  local names = { "sum", "mean", "max", "min", "prod", "logsumexp", "var", "std" }
  local shapes = {
    { 1 }, { 1000 }, { 40000 }, { 64, 100 }, { 1000, 10 }, { 10, 1000 }, { 4, 5, 6 }, { 2, 300, 3 },
    { 7, 1, 9 }, { 20000, 2 }, { 2, 20000 },
  }

  it("are float32's, rounded once, with their gradients", function()
    tide.seed(5)
    for _, d in ipairs(halves) do
      for _, s in ipairs(shapes) do
        local x = tide.random.normal(s) * 0.5 + 0.1
        for _, axis in ipairs { false, 1, #s } do
          for _, name in ipairs(names) do
            for turn = 1, #s > 1 and 2 or 1 do
              rounds_once(name .. " " .. table.concat(s, "x"), function(v)
                if turn == 2 then
                  v = ops.transpose(v)
                end
                return ops[name](v, { axis = axis or nil })
              end, { x }, d)
            end
          end
        end
      end
    end
  end)

  it("ask for truth as float32 does", function()
    for _, d in ipairs(halves) do
      local x = half({ { 0, 0, 0 }, { 0, 2 ^ -14, 0 }, { 1, 0 / 0, 1 / 0 } }, d)
      expect.close(ops.any(x, { axis = 2 }), { false, true, true })
      expect.close(ops.all(x, { axis = 2 }), { false, false, true })
      expect.close(ops.any(x, { axis = 1 }), { true, true, true })
    end
  end)

  it("sum more than the format counts", function()
    -- 70,000 ones: float16 ends at 65,504, and bfloat16 would stop at 256
    for _, d in ipairs(halves) do
      local x = half(tide.ones { 70000 }, d, true)
      local mean = ops.mean(x)
      expect.close(wide(mean), 1, 0)
      expect.close(wide(ops.sum(x)), d == "float16" and 1 / 0 or 70144, 0)
      ops.max(x):backward() -- equal parts: 1 / 70,000
      expect.close(x.grad[1], 1 / 70000, 2 ^ -25, 2 ^ -8)
    end
  end)
end)

describe("rows in half precision", function()
  local shapes = {
    { 5 }, { 3, 4 }, { 64, 10 }, { 3, 5000 }, { 2, 3, 4 }, { 7, 50, 6 }, { 300, 1 }, { 0, 4 },
  }

  it("have the softmax of float32, rounded", function()
    tide.seed(6)
    for _, d in ipairs(halves) do
      for _, s in ipairs(shapes) do
        for axis = 1, #s do
          for _, name in ipairs { "softmax", "log_softmax", "sparsemax" } do
            rounds_once(name .. " " .. table.concat(s, "x") .. " " .. axis, function(v)
              return ops[name](v, { axis = axis })
              -- the rule reads the result rounded
            end, { tide.random.normal(s) * 2 }, d, 4)
          end
        end
      end
    end
  end)

  it("have a sinc that is rounded once, near 0 too", function()
    -- torch.sinc of the same numbers in float64, and its gradient, rounded
    local x = half({ 0, 0.1, 0.3, 0.7, 0.01 }, "bfloat16", true)
    local y = ops.sinc(x)
    assert.same({ 1, 0.984375, 0.859375, 0.369140625, 1 }, wide(y):tolist())
    y:sum():backward()
    expect.close(wide(x.grad), { 0, -0.326171875, -0.90234375, -1.3671875, -0.032958984375 },
      1e-4, 2 ^ -8)
  end)

  it("do not mix with another float where a group is normalized", function()
    for _, other in ipairs { "float32", "float16" } do
      expect.raises("group_normalization: bfloat16 and " .. other .. " do not mix",
        ops.group_normalization, tide.ones { 2, 4 }:cast "bfloat16",
        tide.ones { 4 }:cast(other), tide.ones { 4 }:cast(other), { groups = 2 })
    end
  end)

  it("are normalized as in float32, and rounded", function()
    tide.seed(7)
    for _, d in ipairs(halves) do
      for _, s in ipairs(shapes) do
        local x, name = tide.random.normal(s), table.concat(s, "x")
        local gamma, beta = tide.random.normal { s[#s] }, tide.random.normal { s[#s] }
        rounds_once("layer " .. name, ops.layer_normalization, { x, gamma, beta }, d)
        rounds_once("rms " .. name, ops.rms_normalization, { x, gamma }, d)
        for axis = 1, #s > 1 and s[1] > 0 and #s or 0 do
          local C = { s[axis] }
          local g, b = tide.random.normal(C), tide.random.normal(C)
          for _, activation in ipairs { "linear", "relu", "relu6" } do
            rounds_once("batch " .. name .. " " .. axis, function(...)
              local v, scale, offset = ...
              local options = { axis = axis, epsilon = 1e-3, activation = activation }
              local zeros, ones = tide.zeros(C), tide.ones(C)
              return (core.ops.batch_norm_train_(v, scale, offset, zeros, ones, options))
            end, { x, g, b }, d, 1.01)
          end
        end
        if #s > 1 and s[1] > 0 then
          rounds_once("inference " .. name, function(v, m, b, g)
            local variance = tide.ones({ s[#s] }):cast(v.dtype)
            return ops.batch_normalization(v, m, variance, #s, { offset = b, scale = g })
          end, { x, gamma, beta, gamma }, d, 2)
        end
        if s[#s] % 2 == 0 and #s > 1 then
          rounds_once("group " .. name, function(v, g, b)
            return ops.group_normalization(v, g, b, { groups = 2, axis = #s })
          end, { x, gamma, beta }, d)
        end
      end
    end
  end)

  it("have the losses of float32, rounded", function()
    tide.seed(8)
    for _, d in ipairs(halves) do
      for _, s in ipairs { { 3, 4 }, { 64, 10 }, { 2, 3000 }, { 7, 5, 6 } } do
        local x, t = tide.random.normal(s), ops.softmax(tide.random.normal(s))
        local name = table.concat(s, "x")
        local lead = { table.unpack(s, 1, #s - 1) }
        local labels = ops.mod(ops.reshape(ops.arange(x.size // s[#s]), lead), s[#s]) + 1
        for _, logits in ipairs { true, false } do
          local options = { from_logits = logits }
          rounds_once("categorical " .. name, function(v, w)
            return ops.categorical_crossentropy(w, v, options)
          end, { logits and x or ops.softmax(x) * 0.5 + 0.1, t }, d, 2)
          rounds_once("binary " .. name, function(v, w)
            return ops.binary_crossentropy(w, v, options)
          end, { logits and x or ops.sigmoid(x), t }, d, 2)
          rounds_once("sparse " .. name, function(v)
            return ops.sparse_categorical_crossentropy(labels, v, options)
          end, { logits and x or ops.softmax(x) * 0.5 + 0.1 }, d, 2)
        end
        rounds_once("squared " .. name, tide.losses.mean_squared_error, { x, t }, d, 2)
      end
    end
  end)

  it("are pooled as in float32", function()
    tide.seed(9)
    local image = tide.random.normal { 3, 8, 8, 5 }
    for _, d in ipairs(halves) do
      rounds_once("max", function(v)
        return ops.max_pool(v, { 2, 2 })
      end, { image }, d)
      rounds_once("average", function(v)
        return ops.average_pool(v, { 3, 3 }, { strides = { 2, 2 }, padding = "same" })
      end, { image }, d)
      rounds_once("adaptive", function(v)
        return ops.adaptive_average_pool(v, { 3, 3 })
      end, { image }, d)
    end
  end)

  it("may have labels in half", function()
    for _, d in ipairs(halves) do
      local labels, logits = half({ 2, 3 }, d), half({ { 1, 2, 0 }, { 0, 1, 3 } }, d)
      local loss = ops.sparse_categorical_crossentropy(labels, logits, { from_logits = true })
      expect.close(wide(loss), { 0.40760597, 0.16984603 }, 0, 2 ^ -8)
      local table_ = half({ { 1, 2 }, { 3, 4 }, { 5, 6 } }, d)
      expect.close(ops.embedding(table_, labels), { { 3, 4 }, { 5, 6 } }, 0)
    end
  end)
end)

describe("the linear layer in half precision", function()
  it("is float32's, rounded once, for few and many rows, forward and backward", function()
    tide.seed(3)
    local shapes = {
      { 1, 64, 40 }, { 2, 300, 33 }, { 3, 17, 64 }, { 4, 100, 31 }, { 12, 300, 70 },
      { 64, 100, 65 }, { 65, 100, 64 }, { 1, 5, 3 }, { 0, 4, 3 }, { 4, 0, 3 },
    }
    for _, d in ipairs(halves) do
      local unit = d == "float16" and 2 ^ -11 or 2 ^ -8
      for _, activation in ipairs { "linear", "relu", "gelu" } do
        for _, s in ipairs(shapes) do
          local small, whole = {}, {}
          for i, shape in ipairs { { s[1], s[2] }, { s[2], s[3] }, { s[3] } } do
            local v = (tide.random.normal(shape) * 0.5):cast(d)
            small[i] = tide.tensor(v, { requires_grad = true })
            whole[i] = tide.tensor(v:cast "float32", { requires_grad = true })
          end
          local dy = tide.random.normal({ s[1], s[3] }):cast(d)
          local y = ops.linear(small[1], small[2], small[3], { activation = activation })
          local z = ops.linear(whole[1], whole[2], whole[3], { activation = activation })
          local got = tide.grad(y, small, { gradient = dy })
          local want = tide.grad(z, whole, { gradient = dy:cast "float32" })
          got[4], want[4] = y:detach(), z:detach()
          for i = 1, 4 do
            assert.equal(d, got[i].dtype)
            if want[i].size > 0 then
              local scale = want[i]:abs():max():item()
              -- gelu's rule reads its argument rounded
              local most = (activation == "gelu" and 4 or 1) * unit * scale
              local off = (got[i]:cast "float32" - want[i]):abs():max():item()
              expect.close(off, 0, most, 0, table.concat(s, "x"))
            end
          end
        end
      end
    end
  end)

  it("keeps what it read for its gradient as it was, in two bytes", function()
    for _, d in ipairs(halves) do
      local w = tide.zeros({ 512, 512 }):cast(d)
      w:requires_grad_(true)
      local x = tide.zeros({ 512, 512 }):cast(d)
      local before = tide.memory().live_bytes
      local y = ops.linear(x, w)
      assert.is_true(tide.memory().live_bytes - before < 512 * 512 * 2 + 4096)
      assert.equal(d, y.dtype)
    end
  end)
end)

describe("a convolution in half precision", function()
  it("widens its kernel once per version, where no gradient passes", function()
    local function run(d)
      local x = ops.reshape(ops.mod(ops.arange(576), 5):cast(d), { 1, 6, 6, 16 })
      local w = ops.reshape(ops.mod(ops.arange(2304), 7):cast(d), { 3, 3, 16, 16 })
      local function right(kernel) -- sums of small whole numbers: float32's are exact
        local want = ops.conv(x:cast "float32", kernel:cast "float32"):cast(d)
        expect.close(ops.conv(x, kernel), want, 0, 0)
      end
      right(w)
      local reorders = core.engine_stats().weight_reorders
      for _ = 1, 3 do
        ops.conv(x, w)
      end
      assert.equal(reorders, core.engine_stats().weight_reorders)
      right(w)
      right(w:transpose { 2, 1, 3, 4 })
      right(w)
      w:multiply_(2)
      right(w)
      local leaf = tide.tensor(w, { requires_grad = true })
      ops.conv(x, leaf):sum():backward()
      assert.equal(d, leaf.grad.dtype)
      tide.no_grad(function()
        right(leaf)
      end)
    end
    for _, d in ipairs(halves) do
      collectgarbage()
      local before = tide.memory().live_bytes
      run(d)
      collectgarbage()
      collectgarbage()
      assert.equal(before, tide.memory().live_bytes)
    end
  end)
end)

describe("conversions", function()
  -- Just beside the middle of two halves, where float32 lies on it: as NumPy's float16(float64).
  it("round doubles and whole numbers once", function()
    local e = 2 ^ -40
    local beside = { 1 + 2 ^ -11 + e, 1 + 3 * 2 ^ -11 - e, -1 - 2 ^ -11 - e, 2 ^ -25 * (1 + e) }
    beside[5] = 65520 - 2 ^ -30
    local x = tide.tensor(beside, { dtype = "float64" })
    local want = { 1 + 2 ^ -10, 1 + 2 ^ -10, -1 - 2 ^ -10, 2 ^ -24, 65504 }
    assert.same(want, x:cast("float16"):tolist())
    x = tide.tensor({ 1 + 2 ^ -8 + e, 1 + 3 * 2 ^ -8 - e, 1 / 0, 1e300, 0 }, { dtype = "float64" })
    assert.same({ 1 + 2 ^ -7, 1 + 2 ^ -7, 1 / 0, 1 / 0, 0 }, x:cast("bfloat16"):tolist())
    x = tide.tensor({ 2 ^ 30 + 2 ^ 22 + 1, -2 ^ 30 - 2 ^ 22 - 1 }, { dtype = "int32" })
    assert.same({ 2 ^ 30 + 2 ^ 23, -2 ^ 30 - 2 ^ 23 }, x:cast("bfloat16"):tolist())
  end)

  it("have the same bits however long the run", function()
    for _, d in ipairs(halves) do
      local special = {
        0, -0.0, 1 / 0, -1 / 0, 65504, 65519, 65520, 2 ^ -24, 2 ^ -25, 1.5 * 2 ^ -25, -2 ^ -14,
        1 + 2 ^ -11, 1 + 3 * 2 ^ -11, 1e-40,
      }
      local long = {}
      for _ = 1, 5 do
        for _, v in ipairs(special) do
          long[#long + 1] = v
        end
      end
      local x = tide.tensor(long, { dtype = "float32" })
      local run, back = x:cast(d), x:cast(d):cast "float32"
      for i = 1, #special do
        local one = tide.tensor({ long[i] }, { dtype = "float32" }):cast(d)
        assert.equal(one:tobytes(), run[{ { i, i } }]:tobytes())
        assert.equal(one:cast("float32"):tobytes(), back[{ { i, i } }]:tobytes())
      end
    end
    -- halves to even, overflow and underflow of float16, as IEEE 754 has them
    local edges = { 65519, 65520, 2 ^ -25, 1.5 * 2 ^ -25, 1 + 2 ^ -11, 1 + 3 * 2 ^ -11 }
    local x = tide.tensor(edges, { dtype = "float32" })
    expect.close(wide(x:cast "float16"), { 65504, 1 / 0, 0, 2 ^ -24, 1, 1 + 2 ^ -9 }, 0, 0)
  end)
end)

describe("the dtype of a result", function()
  it("is that of the values, not of what is read beside them", function()
    local logits, labels = tide.tensor { { 1, 2, 0 }, { 0, 1, 3 } }, half({ 2, 3 }, "float16")
    local options = { from_logits = true }
    local loss = ops.sparse_categorical_crossentropy(labels, logits, options)
    assert.equal("float32", loss.dtype)
    expect.close(loss, { 0.40760597, 0.16984603 })
    loss = ops.sparse_categorical_crossentropy(labels, logits:cast "bfloat16", options)
    assert.equal("bfloat16", loss.dtype)
    labels, logits = labels:cast "float32", logits:cast "float16"
    loss = ops.sparse_categorical_crossentropy(labels, logits, options)
    assert.equal("float16", loss.dtype)
  end)
end)

describe("an op on halves", function()
  local reference = dofile "spec/ref/half.lua"
  local last = { axis = -1 }
  local logits = { from_logits = true }
  local places = ops.reshape(tide.tensor({ 1, 3, 2, 3, 3, 1, 2 }, { dtype = "int64" }), { 7, 1 })
  local function attention(options)
    return function(q, k, v)
      return ops.dot_product_attention(q, k, v, { is_causal = options.causal == true,
        mask = options.mask })
    end
  end
  local function recurrent(cell)
    return function(x, w, u, b)
      local h = ops.zeros({ x.shape[1], u.shape[1] }, { dtype = x.dtype })
      local c = cell == "lstm" and ops.zeros_like(h) or nil
      return (core.ops.recurrent_(ops.matmul(x, w) + b, h, c, u, nil, nil, cell, "tanh",
        "sigmoid", false, false))
    end
  end
  -- recurrent ones are three ops; attention's gradient reads the rounded result; both round what an
  -- activation of a convolution gave, and its slope is that of the rounded
  local roundings = { lstm = 3, simple = 3, gru = 3, attention = 2, conv = 4 }
  local f = {
    ["matmul"] = ops.matmul,
    ["matmul batched"] = ops.matmul,
    ["matmul broadcast"] = ops.matmul,
    ["matmul long"] = ops.matmul,
    ["matmul vector"] = ops.matmul,
    ["linear"] = ops.linear,
    ["norm"] = function(x)
      return ops.norm(x, { axis = -1 })
    end,
    ["mean"] = function(x)
      return ops.mean(x, { axis = 1 })
    end,
    ["mean long"] = ops.mean,
    ["softmax first"] = function(x)
      return ops.softmax(x, { axis = 1 })
    end,
    ["layer"] = function(x, gamma, beta)
      return ops.layer_normalization(x, gamma, beta, { epsilon = 1e-3 })
    end,
    ["rms"] = function(x, gamma)
      return ops.rms_normalization(x, gamma, { epsilon = 1e-3 })
    end,
    ["batch"] = function(x, gamma, beta)
      local zeros, ones = tide.zeros { 6 }, tide.ones { 6 }
      local options = { axis = 2, epsilon = 1e-3 }
      return (core.ops.batch_norm_train_(x, gamma, beta, zeros, ones, options))
    end,
    ["group"] = function(x, gamma, beta)
      return ops.group_normalization(x, gamma, beta, { groups = 2, axis = 2, epsilon = 1e-3 })
    end,
    ["sparse"] = function(x)
      local labels = tide.tensor({ 1, 3, 2, 4, 3 }, { dtype = "int64" })
      return ops.sparse_categorical_crossentropy(labels, x, logits)
    end,
    ["categorical"] = function(x, t)
      return ops.categorical_crossentropy(t, x, logits)
    end,
    ["binary"] = function(x, t)
      return ops.binary_crossentropy(t, x, logits)
    end,
    ["squared"] = tide.losses.mean_squared_error,
    ["max_pool"] = function(x)
      return ops.max_pool(x, { 2, 2 })
    end,
    ["average_pool"] = function(x)
      return ops.average_pool(x, { 2, 2 })
    end,
    ["conv"] = function(x, w, b)
      return ops.conv(x, w) + b
    end,
    ["conv_transpose"] = function(x, w)
      return ops.conv_transpose(x, w, { strides = { 2, 2 }, padding = "valid" })
    end,
    ["depthwise"] = function(x, w)
      return ops.depthwise_conv(x, w, { padding = "valid" })
    end,
    ["top_k"] = function(x)
      return (ops.top_k(x, 2))
    end,
    ["take"] = function(x)
      return ops.take(x, { 1, 3, 2, 3, 3, 1, 2 }, { axis = 1 })
    end,
    ["scatter"] = function(x)
      return ops.scatter(places, x, { 4, 3 })
    end,
    ["scatter_update"] = function(x, u)
      return ops.scatter_update(x, places, u, { reduction = "add" })
    end,
    ["attention"] = attention {},
    ["attention causal"] = attention { causal = true },
    ["attention masked"] = attention { mask = ops.greater(ops.sin(ops.reshape(ops.arange(60) * 1.9,
      { 2, 1, 5, 6 })), -0.4) },
    ["conv one"] = function(x, w, b)
      return ops.conv(x, w) + b
    end,
    ["lstm"] = recurrent "lstm",
    ["simple"] = recurrent "simple",
    ["gru"] = recurrent "gru",
    ["divide"] = ops.divide,
    ["arctan2"] = ops.arctan2,
    ["tanh"] = ops.tanh,
    ["gelu"] = ops.gelu_erf,
    ["embedding"] = function(x)
      return ops.embedding(x, { 2, 1, 2, 4 })
    end,
  }
  for _, name in ipairs { "elu", "gelu", "sigmoid", "silu", "tanh" } do
    f["conv " .. name] = function(x, w, b)
      return (core.ops.conv { x = x, kernel = w, bias = b, activation = name })
    end
  end
  for _, name in ipairs { "var", "std", "logsumexp" } do
    f[name .. " all"] = function(x)
      return ops[name](x)
    end
  end
  for _, order in ipairs { "1", "2", "3", "inf" } do
    f["norm " .. order .. " all"] = function(x)
      local ord = order == "inf" and math.huge or tonumber(order)
      return ops.norm(ops.reshape(x, { -1 }), { ord = ord })
    end
  end
  f["var middle"] = function(x)
    return ops.var(x, { axis = 2 })
  end
  f["norm 3 middle"] = function(x)
    return ops.norm(x, { ord = 3, axis = 2 })
  end
  f["moments"] = function(x)
    local mean, variance = ops.moments(x, { 1, 3 })
    return mean + variance
  end
  for _, mode in ipairs { "reflect", "symmetric", "edge" } do
    f["pad " .. mode] = function(x)
      return ops.pad(x, { { 7, 2 }, { 3, 8 } }, { mode = mode })
    end
  end
  for _, name in ipairs {
    "sum", "max", "min", "prod", "logsumexp", "var", "std", "softmax", "log_softmax", "cumsum",
    "cumprod", "sort", "normalize",
  } do
    f[name] = function(x)
      return ops[name](x, last)
    end
  end

  it("is as near the exact value and gradient as PyTorch's, or rounds it once", function()
    local n = 0
    for key, case in pairs(reference) do
      local name, d = key:match "^(.*) (%S+)$"
      local unit = d == "float16" and 2 ^ -11 or 2 ^ -8
      local inputs = {}
      for i, v in ipairs(case.inputs) do
        inputs[i] = ops.reshape(tide.tensor(v.data, { dtype = "float64" }), v.shape):cast(d)
        inputs[i] = tide.tensor(inputs[i], { requires_grad = true })
      end
      local dy = table.remove(inputs)
      local y = f[name](table.unpack(inputs))
      local got = tide.grad(y, inputs, { gradient = dy })
      table.insert(got, 1, y:detach())
      for i, g in ipairs(got) do
        assert.equal(d, g.dtype)
        local exact, theirs = case.outputs[i].data, case.outputs[#got + i].data
        local scale, off, most = 0, 0, 0
        for k, v in ipairs(ops.reshape(wide(g), { -1 }):tolist()) do
          scale = math.max(scale, math.abs(exact[k]))
          off = math.max(off, math.abs(v - exact[k]))
          most = math.max(most, math.abs(theirs[k] - exact[k]))
        end
        local part = roundings[name:match "%a+"] or 1
        expect.close(off, 0, part * math.max(most, unit * scale), 0, key .. " " .. i)
      end
      n = n + 1
    end
    assert.equal(140, n)
  end)
end)

describe("rows of no halves", function()
  it("have the results of no numbers, every one of them", function()
    for _, d in ipairs { "float16", "bfloat16" } do
      for _ = 1, 8 do -- what was freed holds other numbers
        for _ = 1, 50 do
          tide.full({ 3, 4 }, 875, { dtype = d })
        end
        collectgarbage()
        local none = tide.zeros({ 3, 4, 0 }, { dtype = d })
        local loss = ops.categorical_crossentropy(none, none)
        expect.close(wide(loss), wide(tide.zeros { 3, 4 }), 0, 0)
      end
    end
  end)
end)
