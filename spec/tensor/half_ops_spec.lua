-- Ops that read and write float16 and bfloat16 themselves, by pieces: positions, running sums,
-- several contributions to one place, dropout.
local expect = require "spec.support.expect"
local runner = require "spec.support.op_runner"
local support = require "spec.support.half"
local tide = require "tide"
local core = require "tide.core"
local ops = tide.ops

local halves, half, wide = support.formats, support.half, support.wide
local rounds_once = support.rounds_once
local shapes = { { 1 }, { 7 }, { 9000 }, { 64, 100 }, { 30, 257 }, { 4, 5, 6 }, { 3, 513, 2 } }

-- Bytes of work space that a call of `f` takes at its highest, its result with it.
local function peak(f)
  collectgarbage()
  collectgarbage()
  core.memory_reset_peak()
  local before = tide.memory().live_bytes
  local keep = f()
  return tide.memory().peak_bytes - before, keep
end

describe("running sums and products in half precision", function()
  it("are float32's, rounded once, with their gradients", function()
    tide.seed(15)
    for _, d in ipairs(halves) do
      for _, s in ipairs(shapes) do
        local x = tide.random.normal(s) * 0.05 + 1
        for axis = 1, #s do
          for _, name in ipairs { "cumsum", "cumprod" } do
            rounds_once(name .. table.concat(s, "x") .. axis, function(v)
              return ops[name](v, { axis = axis })
              -- the rule of cumprod reads its result rounded
            end, { name == "cumsum" and x * 0.1 or x ^ 0.01 }, d, name == "cumsum" and 1 or 3)
          end
        end
        rounds_once("flat " .. table.concat(s, "x"), ops.cumsum, { x * 0.1 }, d)
      end
    end
  end)
end)

describe("positions in half precision", function()
  local special = { 3, -0.0, 0, 1 / 0, -1 / 0, 0 / 0, 2 ^ -20, -2 ^ -20, 3, 1, 0 / 0, -7 }

  it("are those of the same numbers in float32", function()
    tide.seed(16)
    for _, d in ipairs(halves) do
      local inputs = { half(special, d), half({ 1, 0 / 0, 3 }, d), half({ -1 / 0 }, d) }
      for _, s in ipairs(shapes) do
        inputs[#inputs + 1] = ops.round(tide.random.normal(s) * 20):cast(d)
      end
      for _, x in ipairs(inputs) do
        local z = x:cast "float32"
        for axis = 1, x.ndim do
          for _, name in ipairs { "argmax", "argmin", "argsort" } do
            local got, want = ops[name](x, { axis = axis }), ops[name](z, { axis = axis })
            expect.close(got, type(want) == "number" and want or want:tolist(), 0, 0, name)
          end
          local sorted = ops.sort(x, { axis = axis })
          assert.equal(d, sorted.dtype)
          expect.close(wide(sorted), wide(ops.sort(z, { axis = axis })), 0, 0)
        end
        assert.equal(ops.argmax(z), ops.argmax(x))
        assert.equal(ops.argmin(z), ops.argmin(x))
        for _, k in ipairs { 1, 3, 60 } do
          if k <= x.shape[x.ndim] then
            local v, at = ops.top_k(x, k)
            local w, there = ops.top_k(z, k)
            assert.equal(d, v.dtype)
            expect.close(wide(v), wide(w), 0, 0)
            expect.close(at, there:tolist(), 0, 0)
          end
        end
      end
      local line = half({ -2, 0, 1, 1, 5 }, d)
      local values = half({ -3, 1, 0.5, 9 }, d)
      assert.same({ 1, 3, 3, 6 }, ops.searchsorted(line, values):tolist())
    end
  end)

  it("pass gradients to where elements came from", function()
    tide.seed(17)
    for _, d in ipairs(halves) do
      for _, s in ipairs { { 9 }, { 5, 7 }, { 4, 5, 6 }, { 2, 300, 3 } } do
        local n = 1
        for _, e in ipairs(s) do
          n = n * e
        end
        local x = ops.reshape(ops.mod(ops.arange(n):cast "float32" * 7, n), s) -- no two alike
        for axis = 1, #s do
          rounds_once("sort", function(v)
            return ops.sort(v, { axis = axis })
          end, { x * (200 / n) }, d)
        end
        rounds_once("top_k", function(v)
          return (ops.top_k(v, 2))
        end, { x * (200 / n) }, d)
      end
    end
  end)
end)

describe("several contributions to one place in half precision", function()
  it("are added in float32 and rounded once", function()
    tide.seed(18)
    for _, d in ipairs(halves) do
      local table_ = tide.random.normal { 11, 5 }
      local ids = ops.mod(ops.arange(700) * 5, 11) + 1
      for axis = 1, 2 do
        local at = axis == 1 and ids or ops.mod(ids, 5) + 1
        rounds_once("take", function(v)
          return ops.take(v, at, { axis = axis })
        end, { table_ }, d)
      end
      rounds_once("take flat", function(v)
        return ops.take(v, ids)
      end, { table_ }, d)
      rounds_once("embedding", function(v)
        return ops.embedding(v, ids)
      end, { table_ }, d)
      local along = ops.mod(ops.reshape(ops.arange(11 * 60), { 11, 60 }) * 3, 5) + 1
      rounds_once("take_along", function(v)
        return ops.take_along_axis(v, along, { axis = 2 })
      end, { table_ }, d)
      local places = ops.reshape(ids, { 700, 1 })
      rounds_once("scatter", function(v)
        return ops.scatter(places, v, { 11, 5 })
      end, { tide.random.normal { 700, 5 } }, d)
    end
  end)

  it("are combined by every reduction of scatter_update", function()
    tide.seed(19)
    local places = ops.reshape(ops.mod(ops.arange(60) * 5, 11) + 1, { 60, 1 })
    for _, d in ipairs(halves) do
      for _, how in ipairs { "add", "mul", "max", "min" } do
        local x, u = tide.random.uniform({ 11, 5 }) + 0.5, tide.random.uniform({ 60, 5 }) + 0.5
        rounds_once("scatter_update " .. how, function(v, w)
          return ops.scatter_update(v, places, w, { reduction = how })
        end, { x, u }, d, how == "mul" and 3 or 1)
      end
      local x = half({ 1, 2, 0 / 0, 4 }, d)
      local at, by = tide.tensor { { 1 }, { 2 }, { 2 } }, half({ 5, 0 / 0, 7 }, d)
      local most = ops.scatter_update(x, at:cast "int64", by, { reduction = "max" })
      expect.close(wide(most), { 5, 0 / 0, 0 / 0, 4 }, 0, 0)
    end
  end)
end)

describe("dropout in half precision", function()
  it("keeps what float32 keeps, forward and backward", function()
    for _, d in ipairs(halves) do
      for _, s in ipairs { { 1 }, { 63 }, { 64 }, { 1000 }, { 30, 70 } } do
        for _, name in ipairs { "dropout", "alpha_dropout" } do
          for _, rate in ipairs { 0.3, 1 } do
            rounds_once(name, function(v)
              return ops[name](v, rate, { seed = 5 })
            end, { tide.random.normal(s) }, d)
            if #s == 2 then
              rounds_once(name .. " with its shape", function(v)
                return ops[name](v, rate, { seed = 5, noise_shape = { 30, 1 } })
              end, { tide.random.normal(s) }, d)
            end
          end
        end
      end
    end
  end)
end)

describe("a convolution in half precision, with its gradients", function()
  -- Sums of products of small whole numbers are exact in float32.
  it("of whole bfloat16 numbers is an exact sum rounded once, gradients too", function()
    local function whole(shape)
      return ops.round(tide.random.uniform(shape, { minval = -2.4, maxval = 2.4 }))
    end
    tide.seed(6)
    for i, c in ipairs {
      { { 3, 10, 12, 11 }, { 1, 1, 11, 7 }, { padding = "same" } }, -- oneDNN 2.6: wrong dx
      { { 5, 10, 12, 8 }, { 1, 1, 8, 5 }, { strides = 2 } },
      { { 2, 20, 20, 1 }, { 3, 3, 1, 32 }, {} },
      { { 4, 13, 13, 32 }, { 3, 3, 32, 64 }, { padding = "same" } },
      { { 1, 40, 40, 16 }, { 3, 3, 16, 16 }, { padding = "same" } },
      { { 1, 17, 15, 24 }, { 5, 2, 24, 9 }, { strides = 2, padding = "same" } },
      { { 2, 14, 9, 12 }, { 3, 3, 4, 21 }, { groups = 3 } },
      { { 2, 9, 9, 20 }, { 3, 3, 1, 20 }, { groups = 20, dilation_rate = 2 } },
      { { 2, 50, 16 }, { 5, 16, 24 }, { padding = "causal" } },
      { { 1, 6, 7, 8, 4 }, { 3, 2, 3, 4, 8 }, { padding = "same" } },
    } do
      local function all(dtype)
        local leaves = {}
        for k, x in ipairs { whole(c[1]), whole(c[2]), whole { c[2][#c[2]] } } do
          leaves[k] = x:cast(dtype):copy()
          leaves[k]:requires_grad_(true)
        end
        local options = { bias = leaves[3] }
        for k, v in pairs(c[3]) do
          options[k] = v
        end
        local y = ops.conv(leaves[1], leaves[2], options)
        local dy = whole(y.shape):cast(dtype)
        return y, table.unpack(core.gradients((y * dy):cast("float32"):sum(), leaves))
      end
      tide.seed(i)
      local want = { all "float32" }
      tide.seed(i)
      for k, got in ipairs { all "bfloat16" } do
        local rounded = want[k]:cast("bfloat16"):cast "float32"
        local off = ops.max(ops.abs(rounded - got:cast "float32")):item()
        -- or one in the last place, where Winograd's sums are not exact
        assert.is_true(off <= 2 ^ -7 * ops.max(ops.abs(rounded)):item(),
          ("case %d, part %d"):format(i, k))
      end
    end
  end)

  it("is float32's, rounded once, by blocks of images too", function()
    tide.seed(20)
    local cases = {
      { { 3, 9, 9, 5 }, { 3, 3, 5, 7 }, { padding = "valid" } },
      { { 3, 9, 9, 5 }, { 3, 3, 5, 7 }, { padding = "same", strides = { 2, 2 } } },
      { { 2, 8, 8, 4 }, { 1, 1, 4, 6 }, { padding = "valid" } },
      { { 2, 8, 8, 4 }, { 3, 3, 2, 6 }, { groups = 2 } },
      { { 2, 8, 8, 4 }, { 3, 3, 1, 4 }, { groups = 4 } },
      { { 2, 12, 3 }, { 3, 3, 5 }, { dilation_rate = { 2 } } },
      { { 0, 8, 8, 4 }, { 3, 3, 4, 2 }, { padding = "same" } },
      { { 37, 64, 64, 16 }, { 3, 3, 16, 8 }, { padding = "same" } }, -- more than one block
    }
    for _, d in ipairs(halves) do
      for _, case in ipairs(cases) do
        local x, w = tide.random.normal(case[1]), tide.random.normal(case[2]) * 0.3
        local b = tide.random.normal { case[2][#case[2]] }
        local name = table.concat(case[1], "x")
        rounds_once("conv " .. name, function(v, k)
          return ops.conv(v, k, case[3])
        end, { x, w }, d)
        for _, activation in ipairs { "linear", "relu", "tanh", "gelu" } do
          if case[1][1] < 30 then
            rounds_once("conv " .. activation .. name, function(v, k, c)
              local args = { x = v, kernel = k, bias = c, activation = activation }
              for key, value in pairs(case[3]) do
                args[key] = value
              end
              return (core.ops.conv(args))
            end, { x, w, b }, d, activation == "tanh" and 4 or activation == "gelu" and 3 or 1.01)
          end
        end
      end
      rounds_once("transposed", function(v, k)
        return ops.conv_transpose(v, k, { strides = { 2, 2 }, padding = "same" })
      end, { tide.random.normal { 3, 6, 6, 4 }, tide.random.normal { 3, 3, 5, 4 } * 0.3 }, d)
      rounds_once("depthwise", function(v, k)
        return ops.depthwise_conv(v, k, { padding = "same" })
      end, { tide.random.normal { 3, 6, 6, 4 }, tide.random.normal { 3, 3, 4, 2 } * 0.3 }, d)
    end
  end)
end)

describe("a large product of halves", function()
  it("is float32's, whichever operand is the smallest", function()
    tide.seed(21)
    for _, d in ipairs(halves) do
      for _, s in ipairs {
        { 3000, 500, 300 }, { 300, 500, 3000 }, { 300, 6000, 200 }, { 70, 6000, 200 },
      } do
        rounds_once(table.concat(s, "x"), ops.matmul,
          { tide.random.normal { s[1], s[2] }, tide.random.normal { s[2], s[3] } }, d)
        rounds_once("linear " .. table.concat(s, "x"), function(x, w, b)
          return ops.linear(x, w, b, { activation = "relu" })
        end, { tide.random.normal { s[1], s[2] }, tide.random.normal { s[2], s[3] },
          tide.random.normal { s[3] } }, d, 1.01)
      end
    end
  end)

  it("widens a matrix of halves once per version, where no gradient passes", function()
    for _, d in ipairs(halves) do
      local x = tide.random.normal({ 100, 300 }):cast(d)
      local w = tide.random.normal({ 300, 200 }):cast(d)
      for _, f in ipairs { ops.matmul, ops.linear } do
        local want = ops.matmul(x:cast "float32", w:cast "float32"):cast(d)
        expect.close(wide(f(x, w)), wide(want), 1e-3, 2 ^ -7)
        w:multiply_(2)
        expect.close(wide(f(x, w)), wide(want * 2), 1e-3, 2 ^ -7)
        local most = peak(function()
          return f(x, w)
        end)
        -- the result, and x and it as float32; no w. The CPU's own products widen nothing: slices
        -- of both and the sums of a block, for two threads, as the allocator rounds
        local packed = 1.25 * 2 * (2 * (108 + 32) * 300 + 4 * 108 * 128)
        local own = d == "bfloat16" and core.bf16_products ~= "as float32"
        local room = own and packed or 100 * 500 * 4 + 300 * 200 * 2
        assert.is_true(most < 100 * 200 * 2 + room + 8192, tostring(most))
      end
    end
  end)
end)

describe("statistics of halves", function()
  it("are float32's, rounded once, by parts too", function()
    tide.seed(22)
    local x, g = tide.random.normal { 2, 600, 500 }, tide.random.normal { 500 }
    local big = tide.random.normal { 50, 30, 40, 16 }
    local names = { "var", "std", "logsumexp" }
    for _, d in ipairs(halves) do
      for axis = 1, 3 do
        for _, keep in ipairs { false, true } do
          for _, name in ipairs(names) do
            rounds_once(name .. axis, function(v)
              return ops[name](v, { axis = axis, keepdims = keep })
            end, { x }, d)
          end
          rounds_once("norm", function(v)
            return ops.norm(v, { axis = axis, keepdims = keep })
          end, { x }, d)
          rounds_once("variance", function(v)
            local _, variance = ops.moments(v, { axis }, { keepdims = keep })
            return variance
          end, { x }, d)
        end
        rounds_once("normalize", function(v)
          return ops.normalize(v, { axis = axis })
        end, { x }, d)
      end
      rounds_once("two axes", function(v)
        return ops.var(v, { axis = { 1, 3 } })
      end, { x }, d)
      rounds_once("sinc", ops.sinc, { x }, d)
      rounds_once("group", function(v, scale, offset)
        return ops.group_normalization(v, scale, offset, { groups = 4, axis = 4 })
      end, { big, g[{ { 1, 16 } }], g[{ { 17, 32 } }] }, d)
    end
  end)
end)

-- Every row of the ops' specs that has a second derivative, by machine: the gradients of its
-- gradients in float16 beside those of the same numbers in float32, in units of float16 beside the
-- largest.
local function second_gradients(row, d)
  local args, leaves, info = runner.arguments(row, "float32"), {}, core.op_info(row.op)
  local wanted, k = {}, 0
  for _, i in ipairs(row.grad or {}) do
    wanted[i] = true
  end
  for _, a in ipairs(info.args) do
    if a.kind == "tensor" or a.kind == "tensors" then
      k = k + 1
      local v = args[a.name]
      if core.is_tensor(v) and v.dtype == "float32" then
        local grad = not row.grad or wanted[k] == true
        args[a.name] = tide.tensor(v:cast("float16"):cast(d), { requires_grad = grad })
        leaves[#leaves + 1] = args[a.name].requires_grad and args[a.name] or nil
      elseif a.kind == "tensors" then
        return {}
      end
    end
  end
  local y = core.ops[row.op](args)
  if not core.is_tensor(y) or y.dtype ~= d or #leaves == 0 then
    return {}
  end
  local function weights(v) -- of either sign, and exact in both formats
    local n = ops.reshape(ops.arange(v.size):cast "float32", v.shape)
    return (ops.mod(n * 5, 7) * 0.25 - 0.5):cast(v.dtype)
  end
  local out = {}
  local first = core.gradients(y, leaves, { gradient = weights(y), create_graph = true })
  for _, g in pairs(first) do
    if g and g.requires_grad then
      local options = { gradient = weights(g), retain_graph = true }
      for i, s in pairs(core.gradients(g, leaves, options)) do
        out[#out + 1] = s and { s:cast "float32", i } or nil
      end
    end
  end
  return out
end

describe("second gradients in half precision", function()
  it("are rounded where they are stored, and not between the steps of a rule", function()
    local found = {}
    for _, row in ipairs(runner.rows()) do
      if row.gradgrad and row.op ~= "batch_norm_train_" then -- its averages are float32
        local got, want = second_gradients(row, "float16"), second_gradients(row, "float32")
        assert.equal(#want, #got)
        for i = 1, #want do
          local a, b = got[i][1], want[i][1]
          if a.size > 0 then
            local scale = b:abs():max():item()
            local off = (a - b):abs():max():item() / (scale + 2 ^ -14) * 2 ^ 11
            found[#found + 1] = { off, row.op .. (row.label and " " .. row.label or "") }
          end
        end
      end
    end
    table.sort(found, function(x, y)
      return x[1] > y[1]
    end)
    assert.is_true(#found > 400)
    for _, f in ipairs(found) do
      -- what is stored between is rounded: results that rules read, and the inner result of the two
      -- convolutions of a separable one
      local most = f[2]:find "^separable_conv" and 16 or 6
      assert.is_true(f[1] <= most, ("%.1f units: %s"):format(table.unpack(f)))
    end
  end)
end)

describe("contributions to places of halves", function()
  -- What comes to a place is no half on the way; the sum is rounded once.
  it("are brought together among few places and among millions", function()
    for _, places in ipairs { 1, 2, 2048, 2049, 5000000 } do
      for _, d in ipairs(halves) do
        local first, last = 1, places
        local at = tide.tensor { { last }, { first }, { last }, { last }, { first } }
        local values = tide.tensor { 2048, 3, 1, 0.0625, 4 }
        local y = ops.scatter(at:cast "int64", values:cast(d), { places })
        local sums = { [first] = 0 }
        sums[last] = 2048 + 1 + 0.0625
        sums[first] = sums[first] + 7
        for place, v in pairs(sums) do
          assert.equal(tide.tensor(v):cast(d):item(), y[place])
        end
        assert.equal(places == 1 and 1 or 2, ops.count_nonzero(y))
      end
    end
  end)
end)

describe("work space of ops on halves", function()
  it("holds no float32 copy of the tensor", function()
    local n = 1 << 20
    for _, d in ipairs(halves) do
      local x = ops.reshape(ops.mod(ops.arange(n):cast "float32", 251):cast(d), { 1024, 1024 })
      local at, three = ops.cast(tide.tensor { { 9 }, { 2 }, { 9 } }, "int64"), x[1][{ { 1, 3 } }]
      local flat = x:reshape(n)
      local f = {
        scatter = { n * 2, function() return ops.scatter(at, three, { n }) end },
        scatter_update = { n * 2, function()
          return ops.scatter_update(flat, at, three, { reduction = "max" })
        end },
        cumsum = { n * 2, function() return ops.cumsum(x, { axis = 2 }) end },
        cumprod = { n * 2, function() return ops.cumprod(x, { axis = 1 }) end },
        sort = { n * 2, function() return ops.sort(x, { axis = 2 }) end },
        argsort = { n * 8, function() return ops.argsort(x, { axis = 2 }) end },
        argmax = { 1024 * 8, function() return ops.argmax(x, { axis = 1 }) end },
        top_k = { 1024 * 20, function() return { ops.top_k(x, 2) } end },
        dropout = { n * 2, function() return ops.dropout(x, 0.5) end },
        normal = { n * 2, function() return tide.random.normal({ n }, { dtype = d }) end },
        uniform = { n * 2, function() return tide.random.uniform({ n }, { dtype = d }) end },
      }
      for name, case in pairs(f) do
        local most = peak(case[2])
        assert.is_true(most < case[1] + n, name .. " " .. most)
      end
    end
  end)
end)

describe("the peak of forward and backward", function()
  -- Bytes above what lives before: activations, work space and gradients.
  local function of(d, weights, x, forward)
    local leaves = {}
    for i, w in ipairs(weights) do
      leaves[i] = tide.tensor((w * 0.05):cast(d), { requires_grad = true })
    end
    x = x:cast(d)
    return (peak(function()
      return tide.grad(forward(x, table.unpack(leaves)):mean(), leaves)
    end))
  end

  it("is at most 0.72 of float32's in a network of matrices", function()
    local n, weights = 1024, {}
    for i = 1, 4 do
      weights[i] = tide.random.normal { n, n }
    end
    local x = tide.random.normal { 4096, n }
    local function forward(v, ...)
      for _, w in ipairs { ... } do
        v = ops.linear(v, w, { activation = "relu" })
      end
      return v
    end
    local whole = of("float32", weights, x, forward)
    for _, d in ipairs(halves) do
      local part = of(d, weights, x, forward)
      assert.is_true(part <= 0.72 * whole, ("%d of %d"):format(part, whole))
    end
  end)

  -- Winograd's transforms and the kernels' gradients are float32 for both.
  it("is at most 0.7 of float32's in a network of convolutions", function()
    local weights = { tide.random.normal { 3, 3, 8, 32 } }
    for i = 2, 4 do
      weights[i] = tide.random.normal { 3, 3, 32, 32 }
    end
    local x = tide.random.normal { 32, 32, 32, 8 }
    local function forward(v, ...)
      for _, w in ipairs { ... } do
        v = core.ops.conv { x = v, kernel = w, padding = "same", activation = "relu" }
      end
      return ops.average_pool(v, { 2, 2 })
    end
    local whole = of("float32", weights, x, forward)
    for _, d in ipairs(halves) do
      local part = of(d, weights, x, forward)
      assert.is_true(part <= 0.7 * whole, ("%d of %d"):format(part, whole))
    end
  end)
end)

describe("statistics over all axes in half precision", function()
  local of = { "var", "std", "logsumexp" }
  it("are float32's, rounded once, with their gradients", function()
    tide.seed(30)
    for _, d in ipairs(halves) do
      for _, s in ipairs { { 1 }, { 1000 }, { 70, 40 }, { 3, 50, 300 } } do
        local x, name = tide.random.normal(s) + 0.25, table.concat(s, "x")
        local axes = { false }
        for axis = 1, #s do
          axes[#axes + 1] = axis
        end
        for _, axis in ipairs(axes) do
          for _, f in ipairs(of) do
            rounds_once(f .. name, function(v)
              return ops[f](v, { axis = axis or nil })
            end, { x }, d)
          end
          for _, order in ipairs { 0, 1, 2, 3, -2, math.huge } do
            rounds_once("norm " .. order .. name, function(v)
              return axis and ops.norm(v, { ord = order, axis = axis })
                or ops.norm(ops.reshape(v, { -1 }), { ord = order })
            end, { x }, d, 2)
          end
        end
      end
    end
  end)

  it("make no float32 form of what they read, forward or backward", function()
    local n = 1 << 20
    for _, d in ipairs(halves) do
      local x = tide.zeros({ 1024, n // 1024 }, { dtype = d })
      local leaf = tide.tensor(x, { requires_grad = true })
      for _, f in ipairs { ops.var, ops.std, ops.logsumexp, ops.norm, ops.moments } do
        local function run(v)
          local a, b = f(v, f == ops.moments and { 1, 2 } or nil)
          return b and a + b or a
        end
        assert.is_true(peak(function()
          return run(x)
        end) < n / 4)
        local y = run(leaf)
        assert.is_true(peak(function()
          return tide.grad(y, { leaf })
        end) < (f == ops.moments and 4.25 or 2.25) * n) -- the sum of two gradients
      end
    end
  end)
end)

describe("margins in half precision", function()
  it("have float32's gradient, rounded once, in its own memory", function()
    tide.seed(31)
    for _, d in ipairs(halves) do
      for _, mode in ipairs { "reflect", "symmetric", "edge" } do
        local cases = { { { 5 }, { { 3, 4 } } }, { { 4, 7 }, { { 9, 2 }, { 0, 20 } } },
          { { 2, 3, 1500 }, { { 1, 1 }, { 2, 0 }, { 5, 7 } } }, { { 1, 2 }, { { 2, 2 }, { 3,
            1 } } } }
        for _, c in ipairs(cases) do
          rounds_once(mode .. #c[1], function(v)
            return ops.pad(v, c[2], { mode = mode })
          end, { tide.random.normal(c[1]) }, d)
        end
        local x = tide.zeros({ 1024, 1024 }, { dtype = d, requires_grad = true })
        local y = ops.pad(x, { { 3, 3 }, { 3, 3 } }, { mode = mode })
        local dy = tide.ones(y.shape, { dtype = d })
        assert.is_true(peak(function()
          return tide.grad(y, { x }, { gradient = dy })
        end) < 2.25 * 1024 * 1024)
      end
    end
  end)
end)

describe("weights in half precision", function()
  it("are counted in float32 and rounded once", function()
    for _, d in ipairs(halves) do
      local n = 3000 -- ones: halves alone would stop at 256, or at 2048
      local ids = ops.mod(ops.arange(n), 2) + 1
      local got = ops.bincount(ids, { weights = tide.ones({ n }, { dtype = d }) })
      assert.equal(d, got.dtype)
      expect.close(wide(got), { d == "float16" and 1500 or 1504, d == "float16" and 1500 or 1504 },
        0)
      local w = tide.ones({ 1 << 20 }, { dtype = d })
      local many = ops.mod(ops.arange(1 << 20), 100) + 1
      assert.is_true(peak(function()
        return ops.bincount(many, { weights = w })
      end) < 1 << 16)
    end
  end)
end)

describe("the gradient of a half convolution with an activation", function()
  it("makes no float32 form of what the convolution read or gave", function()
    for _, d in ipairs(halves) do
      local x = tide.zeros({ 16, 64, 64, 16 }, { dtype = d, requires_grad = true })
      local w = tide.zeros({ 3, 3, 16, 16 }, { dtype = d, requires_grad = true })
      local bytes = 2 * x.size
      for _, act in ipairs { "tanh", "elu", "sigmoid", "gelu", "silu" } do
        local y = core.ops.conv { x = x, kernel = w, activation = act, padding = "same" }
        local dy = tide.ones(y.shape, { dtype = d })
        -- of halves: dx, what stands before the activation and its gradient; some images in float32
        assert.is_true(peak(function()
          return tide.grad(y, { x, w }, { gradient = dy })
        end) < 3 * bytes + (9 << 20), act)
      end
    end
  end)
end)

describe("attention in half precision", function()
  local function heads(d, b, t, s, h, g, w, v)
    local function some(...)
      return (tide.random.normal { ... } * 0.7):cast(d)
    end
    return some(b, t, h, w), some(b, s, g, w), some(b, s, g, v)
  end

  it("is float32's, rounded once, with its gradients", function()
    tide.seed(31)
    for _, d in ipairs(halves) do
      for _, row in ipairs {
        { 2, 5, 7, 2, 1, 4, 3 }, { 1, 70, 140, 4, 2, 8, 8, causal = true, offset = 70 },
        { 2, 65, 129, 1, 1, 5, 7, window = 9, cap = 2 }, { 1, 3, 300, 2, 2, 16, 16 },
        { 2, 66, 66, 2, 2, 4, 4, rate = 0.3, seed = 5 }, { 1, 1, 1, 1, 1, 1, 1 },
        { 2, 4, 6, 3, 3, 4, 4, mask = true }, { 2, 4, 6, 3, 1, 4, 4, bias = true },
        { 1, 66, 130, 2, 2, 4, 4, bias = true, whole = true },
      } do
        local q, k, v = heads(d, table.unpack(row))
        local b, t, n = row[1], row[2], row[3]
        local mask = row.mask and ops.greater(ops.sin(ops.reshape(ops.arange(b * t * n) * 1.9,
          { b, 1, t, n })), 0.3) or nil
        if row.mask then
          mask[1] = false -- queries that see nothing
        end
        local bias = row.bias and tide.random.normal(row.whole and { b, row[4], t, n }
          or { 1, row[4], 1, n }) or nil
        local name = table.concat(row, " ")
        rounds_once(name, function(x, y, z, more)
          return (core.ops.attention_(x, y, z, more, mask, 0.4, row.causal or false,
            row.window or 0, row.cap or 0, row.offset or 0, row.rate or 0, row.seed))
        end, { q, k, v, bias }, d, 2) -- the rule reads the rounded result
      end
    end
  end)

  it("widens no more than tiles, and sums gradients of a head for each thread", function()
    for _, d in ipairs(halves) do
      local q, k, v = heads(d, 2, 1024, 1024, 8, 8, 64, 64)
      local bytes = 2 * q.size -- 2 MB; in float32 all three and the result were 16
      assert.is_true(peak(function()
        return (core.ops.attention_(q, k, v, nil, nil, 0.125))
      end) < bytes + (1 << 20))
      for _, x in ipairs { q, k, v } do
        x:requires_grad_(true)
      end
      local y = core.ops.attention_(q, k, v, nil, nil, 0.125)
      local dy = tide.ones(y.shape, { dtype = d })
      assert.is_true(peak(function()
        return tide.grad(y, { q, k, v }, { gradient = dy })
      end) < 3 * bytes + tide.get_threads() * (1 << 20))
    end
  end)
end)

describe("recurrent ops in half precision", function()
  local gates = { simple = 1, lstm = 4, gru = 3, gru_before = 3 }

  local function inputs(d, cell, b, t, u)
    local function some(...)
      return (tide.random.normal { ... } * 0.5):cast(d)
    end
    local w = gates[cell] * u
    return some(b, t, w), some(b, u), cell == "lstm" and some(b, u) or nil,
      (tide.random.normal { u, w } * (u ^ -0.5)):cast(d), cell == "gru" and some(w) or nil
  end

  it("are float32's, by stretches of steps, with their gradients", function()
    tide.seed(33)
    for _, d in ipairs(halves) do
      for _, cell in ipairs { "simple", "lstm", "gru", "gru_before" } do -- the numbers drawn stay
        for _, o in ipairs { { 3, 5, 4 }, { 70, 30, 64 }, { 33, 40, 48, backwards = true },
          { 3, 700, 8, mask = true }, { 40, 60, 32, mask = true, zero = true, backwards = true },
          { 1, 1, 1 } } do
          local b, t, u = o[1], o[2], o[3]
          local mask = o.mask and ops.greater(ops.sin(ops.reshape(ops.arange(b * t) * 1.9,
            { b, t })), -0.5) or nil
          local z, h, c, kernel, bias = inputs(d, cell, b, t, u)
          local name = ("%s %d %d %d"):format(cell, b, t, u)
          local given = { z, h, kernel, c or bias }
          rounds_once(name, function(x, state, k, more)
            local y, last = core.ops.recurrent_(x, state, c and more or nil, k,
              not c and more or nil, mask, cell, "tanh", "sigmoid", o.backwards or false,
              o.zero or false)
            return y + ops.expand_dims(last, 2)
          end, given, d, 8, 0.1) -- what gradients read is rounded at each step
        end
      end
    end
  end)

  it("widen no sequence as a whole", function()
    for _, d in ipairs(halves) do
      for cell, n in pairs(gates) do
        local b, t, u = 32, 400, 64
        local z, h, c, kernel, bias = inputs(d, cell, b, t, u)
        local planes = cell == "lstm" and 6 or cell == "simple" and 2 or 5
        local bytes = 2 * b * t * u -- 1.6 MB: of the output
        local function run()
          return (core.ops.recurrent_(z, h, c, kernel, bias, nil, cell, "tanh", "sigmoid"))
        end
        assert.is_true(peak(run) < (1 + planes) * bytes + (3 << 20), cell)
        for _, x in ipairs { z, h, kernel } do
          x:requires_grad_(true)
        end
        local y = run()
        local dy = tide.ones(y.shape, { dtype = d })
        assert.is_true(peak(function()
          return tide.grad(y, { z, h, kernel }, { gradient = dy })
        end) < n * bytes + (4 << 20), cell)
      end
    end
  end)
end)
