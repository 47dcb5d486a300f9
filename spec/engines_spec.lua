-- The engines of the CPU: they agree with Tide's own kernels on shapes where each works
-- differently, and do no work twice.
local expect = require "spec.support.expect"
local core = require "tide.core"
local tide = require "tide"
local runner = require "spec.support.op_runner"
local ops = tide.ops
local all = table.concat(core.engines(), " ")

local numbers = expect.numbers

-- Results and gradients of f over leaves.
local function everything(f, leaves)
  for _, x in ipairs(leaves) do
    x:requires_grad_(true)
  end
  local y = f(table.unpack(leaves))
  local out = { y }
  for i, g in ipairs(core.gradients((y * numbers(y.shape, 9, y.dtype)):sum(), leaves)) do
    out[i + 1] = g
  end
  return out
end

local function largest(x)
  return ops.max(ops.abs(x)):item()
end

local function check_parity(f, leaves, tolerance)
  core.engines "plain"
  local want = everything(f, leaves)
  for _, name in ipairs { "blas", "onednn", "onednn blas" } do
    core.engines(name)
    local ok, got = pcall(everything, f, leaves)
    core.engines(all)
    assert(ok, got)
    for k, w in ipairs(want) do
      local off, scale = largest(got[k] - w), largest(w)
      assert.is_true(off <= tolerance * scale,
        ("%s: part %d is off by %g (largest element %g)"):format(name, k, off, scale))
    end
  end
end

describe("engines agree", function()
  after_each(function()
    core.engines(all)
  end)

  -- however few lines and positions are to be cut for threads
  it("on convolutions of a few small images", function()
    for k = 1, 3 do
      for stride = 1, 3 do
        for lines = k, k + 6 do
          for _, width in ipairs { k, k + 3, 11 } do
            check_parity(function(x, w)
              return ops.conv(x, w, { strides = stride })
            end, { numbers({ 3, lines, width, 16 }, 1), numbers({ k, k, 16, 24 }, 2) }, 1e-5)
          end
        end
      end
    end
  end)

  local shapes = { { 1, 64, 64 }, { 1, 300, 70 }, { 5, 70, 1 }, { 32, 100, 10 }, { 64, 33, 129 },
    { 40, 80, 600 }, { 100, 257, 65 }, { 1, 100, 19 }, { 2, 50, 13 }, { 3, 129, 70 },
      { 1, 1100, 133 }, { 200, 90, 40 }, { 32, 784, 64 } }
  for _, s in ipairs(shapes) do
    it(("on products of %d x %d x %d"):format(s[1], s[2], s[3]), function()
      for dtype, tolerance in pairs { float32 = 1e-4, float64 = 1e-11 } do
        local x, w, b = numbers({ s[1], s[2] }, 1, dtype), numbers({ s[2], s[3] }, 2, dtype),
          numbers({ s[3] }, 3, dtype)
        check_parity(ops.matmul, { x, w }, tolerance)
        check_parity(function(p, q)
          return ops.linear(p, q, { activation = "tanh" })
        end, { x, w }, tolerance)
        check_parity(function(p, q, r)
          return ops.linear(p, q, { bias = r, activation = "relu" })
        end, { x, w, b }, tolerance)
      end
    end)
  end

  it("on batches of products", function()
    check_parity(ops.matmul, { numbers({ 4, 3, 20, 30 }, 1), numbers({ 3, 30, 10 }, 2) }, 1e-4)
    check_parity(function(q, k)
      return ops.matmul(q, ops.transpose(k, { 1, 3, 2 }))
    end, { numbers({ 8, 40, 16 }, 1), numbers({ 8, 40, 16 }, 2) }, 1e-4)
  end)

  for label, case in pairs {
    ["one channel in"] = { { 2, 10, 10, 1 }, { 3, 3, 1, 32 } },
    ["three channels in"] = { { 2, 9, 9, 3 }, { 3, 3, 3, 16 }, { padding = "same" } },
    ["many channels"] = { { 2, 9, 9, 32 }, { 3, 3, 32, 64 } },
    ["odd channels"] = { { 2, 9, 8, 13 }, { 3, 2, 13, 7 },
      { padding = "same", strides = { 2, 1 } } },
    ["stride 2"] = { { 2, 16, 16, 16 }, { 3, 3, 16, 32 }, { strides = 2, padding = "same" } },
    ["1x1"] = { { 2, 8, 8, 16 }, { 1, 1, 16, 32 } },
    ["1x1, stride 2"] = { { 2, 8, 8, 16 }, { 1, 1, 16, 32 }, { strides = 2 } },
    ["5x5, dilated"] = { { 1, 15, 15, 8 }, { 5, 5, 8, 8 },
      { dilation_rate = 2, padding = "same" } },
    ["groups"] = { { 2, 8, 8, 16 }, { 3, 3, 4, 32 }, { groups = 4 } },
    ["depthwise"] = { { 2, 8, 8, 24 }, { 3, 3, 1, 24 }, { groups = 24, padding = "same" } },
    ["1-D, causal"] = { { 2, 40, 16 }, { 5, 16, 24 }, { padding = "causal" } },
    ["3-D"] = { { 1, 5, 6, 7, 4 }, { 3, 2, 3, 4, 8 }, { padding = "same" } },
  } do
    it("on convolutions: " .. label, function()
      local options = { activation = "relu" }
      for k, v in pairs(case[3] or {}) do
        options[k] = v
      end
      check_parity(function(x, k, b)
        options.bias = b
        return ops.conv(x, k, options)
      end, { numbers(case[1], 1), numbers(case[2], 2), numbers({ case[2][#case[2]] }, 3) }, 1e-4)
    end)
  end

  -- One image's result and gradient are cut into bands of rows.
  for label, case in pairs {
    ["3x3"] = { { 1, 32, 32, 16 }, { 3, 3, 16, 16 }, { padding = "same" } },
    ["stride 2, odd extents"] = { { 1, 35, 33, 16 }, { 3, 3, 16, 32 },
      { strides = 2, padding = "same" } },
    ["stride 3 of 2x2, which skips rows"] = { { 1, 62, 60, 32 }, { 2, 2, 32, 32 },
      { strides = 3 } },
    ["1x1, stride 2"] = { { 1, 64, 64, 32 }, { 1, 1, 32, 32 }, { strides = 2 } },
    ["5x5, dilated"] = { { 1, 40, 24, 16 }, { 5, 5, 16, 16 },
      { dilation_rate = 2, padding = "same" } },
    ["7x7, stride 2, three images"] = { { 3, 31, 30, 3 }, { 7, 7, 3, 16 },
      { strides = 2, padding = "same" } },
    ["1-D, causal"] = { { 1, 300, 32 }, { 5, 32, 32 }, { padding = "causal" } },
    ["3-D"] = { { 1, 12, 9, 7, 8 }, { 3, 2, 3, 8, 16 }, { padding = "same" } },
  } do
    it("on convolutions of one image in bands: " .. label, function()
      check_parity(function(x, k)
        return ops.conv(x, k, case[3])
      end, { numbers(case[1], 1), numbers(case[2], 2) }, 1e-4)
    end)
  end

  it("on gradients of several large images, each in bands", function()
    local at <const> = { { { 4, 128, 128, 128 }, 1, 1 }, { { 5, 257, 129, 96 }, 2, 1 },
      { { 4, 128, 130, 128 }, 1, 2 } }
    finally(function()
      core.engines(all)
    end)
    for _, c in ipairs(at) do
      local n = c[1][4]
      local x, k = tide.random.normal(c[1]), tide.random.normal { 3, 3, n, n }
      x.requires_grad, k.requires_grad = true, true
      local got = {}
      for i, engines in ipairs { all, "plain" } do
        core.engines(engines)
        local y = core.ops.conv(x, k, { padding = "same", strides = c[2], dilation_rate = c[3] })
        local g = core.gradients(tide.ops.sum(y * y), { x, k })
        got[i] = { y:detach(), g[1], g[2] }
      end
      for j = 1, 3 do
        local most = tide.ops.max(tide.ops.abs(got[2][j])):item()
        local off = tide.ops.max(tide.ops.abs(got[1][j] - got[2][j])):item()
        assert(off < 1e-5 * most, ("%d: %g of %g"):format(j, off, most))
      end
    end
  end)

  it("on a transposed convolution with bias and activation", function()
    check_parity(function(x, k, b)
      return ops.conv_transpose(
        x, k, { strides = 2, padding = "same", bias = b, activation = "sigmoid" })
    end, { numbers({ 2, 7, 7, 16 }, 1), numbers({ 3, 3, 8, 16 }, 2), numbers({ 8 }, 3) }, 1e-4)
  end)

  it("on transposed convolutions to few channels, which are some of the channels of a wider one",
    function()
    for label, case in pairs {
      ["stride 2"] = { { 3, 9, 8, 16 }, { 3, 3, 8, 16 }, { strides = 2, padding = "same" } },
      ["stride 1"] = { { 2, 30, 7, 8 }, { 3, 2, 8, 8 }, { strides = 1 } },
      ["uneven strides"] = { { 2, 5, 7, 24 }, { 5, 4, 8, 24 }, { strides = { 3, 1 } } },
      ["dilation"] = { { 2, 6, 9, 8 }, { 3, 3, 8, 8 }, { dilation_rate = 2, padding = "same" } },
      ["a long row"] = { { 1, 2, 130, 8 }, { 3, 3, 8, 8 }, { strides = 2, padding = "same" } },
      ["1-D"] = { { 2, 40, 8 }, { 3, 8, 8 }, { strides = 2 } },
      ["3-D"] = { { 2, 4, 5, 3, 8 }, { 2, 3, 2, 8, 8 }, { strides = 2 } },
    } do
      for dtype, tolerance in pairs { float32 = 1e-5, float64 = 1e-13 } do
        local x, kernel = numbers(case[1], 1, dtype), numbers(case[2], 2, dtype)
        local rank = #case[2]
        local wide = ops.conv_transpose(x, kernel, case[3])
        for _, name in ipairs { all, "plain", "blas" } do
          core.engines(name)
          for _, few in ipairs { 1, 3 } do
            local some = {}
            for c = 1, few do
              some[c] = c
            end
            some = tide.tensor(some, { dtype = "int32" })
            local got = ops.conv_transpose(x, ops.take(kernel, some, { axis = rank - 1 }), case[3])
            local off = largest(got - ops.take(wide, some, { axis = -1 }))
            assert.is_true(off <= tolerance * largest(wide),
              ("%s, %s, %s: off by %g"):format(label, dtype, name, off))
          end
          core.engines(all)
        end
      end
    end
  end)

  it("when the plain kernels run at every activation", function()
    for _, act in ipairs { "relu6", "sigmoid", "tanh", "elu", "gelu", "silu" } do
      check_parity(function(x, k)
        return ops.conv(x, k, { activation = act, padding = "same" })
      end, { numbers({ 1, 6, 6, 8 }, 1), numbers({ 3, 3, 8, 8 }, 2) }, 1e-4)
    end
  end)
end)

-- oneDNN's 1x1 code wrote beyond its buffers here: now and then, and worse with two threads.
describe("1x1 convolutions with strides and few channels", function()
  -- Small whole numbers, so that every engine's sums are exact.
  local function whole(shape, seed)
    return ops.round(numbers(shape, seed) * 4)
  end
  local function gradients(x, k, strides, dtype, groups)
    x, k = ops.cast(x, dtype), ops.cast(k, dtype)
    x:requires_grad_(true)
    k:requires_grad_(true)
    local y = ops.conv(x, k, { strides = strides, groups = groups })
    local g = core.gradients((y * ops.cast(whole(y.shape, 3), dtype)):sum(), { x, k })
    return { y, g[1], g[2] }
  end

  for label, case in pairs {
    ["2 channels"] = { { 7, 5, 8, 6 }, { 1, 1, 6, 2 }, { 1, 2 } },
    ["3 channels"] = { { 8, 32, 32, 3 }, { 1, 1, 3, 16 }, 2 },
    ["15 channels"] = { { 7, 14, 22, 15 }, { 1, 1, 15, 40 }, { 2, 2 } },
    ["16 channels"] = { { 25, 22, 16, 16 }, { 1, 1, 16, 8 }, { 2, 2 } },
    ["20 channels"] = { { 7, 14, 22, 20 }, { 1, 1, 20, 8 }, { 3, 1 } },
    ["1-D"] = { { 5, 168, 14 }, { 1, 14, 75 }, { 2 } },
    ["3-D"] = { { 3, 6, 9, 7, 5 }, { 1, 1, 1, 5, 9 }, { 1, 2, 3 } },
    ["groups"] = { { 3, 16, 17, 12 }, { 1, 1, 4, 9 }, { 2, 3 }, 3 },
  } do
    it("have exact gradients at every call: " .. label, function()
      local threads = core.get_threads()
      local x, k = whole(case[1], 1), whole(case[2], 2)
      core.engines "plain"
      local want = gradients(x, k, case[3], "float64", case[4])
      core.engines(all)
      for n = 1, 2 do
        core.set_threads(n)
        for call = 1, 10 do
          for part, got in ipairs(gradients(x, k, case[3], "float32", case[4])) do
            local off = largest(ops.cast(got, "float64") - want[part])
            if off ~= 0 then
              core.set_threads(threads)
            end
            assert.are.equal(0, off, ("part %d, call %d, %d threads"):format(part, call, n))
          end
        end
      end
      core.set_threads(threads)
    end)
  end

  for _, isa in ipairs { "SSE41", "AVX", "AVX2", "ALL" } do
    it("train at oneDNN's level " .. isa, function()
      local command = "DNNL_MAX_CPU_ISA=%s OMP_NUM_THREADS=2 timeout 60 %s -e %s 2>&1"
      local pipe = io.popen(command:format(isa, expect.command, expect.quoted [[
          tide.seed(1)
          local x = tide.random.uniform({ 8, 32, 32, 3 })
          local m = tide.Sequential {
            tide.layers.Conv2D { 16, 1, strides = 2, input_shape = { 32, 32, 3 } },
            tide.layers.GlobalAveragePooling2D {},
          }
          m:compile { optimizer = "sgd", loss = "mse" }
          m:fit(x, tide.zeros { 8, 16 }, { epochs = 20, batch_size = 8, verbose = 0 })
          print(("%.5f"):format(m:evaluate(x, tide.zeros { 8, 16 }, { verbose = 0 })))]]))
      assert.are.equal("0.08464\n", pipe:read "a") -- as without oneDNN
      pipe:close()
    end)
  end
end)

describe("strides whose product is beyond 64 bits", function()
  it("reach the first position alone", function()
    local most = (1 << 31) - 1
    local x, k = numbers({ 1, 2, 3, 2, 1 }, 1), numbers({ 1, 1, 1, 1, 2 }, 2)
    for _, names in ipairs { "plain", all } do
      core.engines(names)
      local got = everything(function(p, q)
        return ops.conv(p, q, { strides = { most, most, most } })
      end, { x, k })
      core.engines(all)
      expect.close(got[1], { { { { { x[{ 1, 1, 1, 1, 1 }] * k[{ 1, 1, 1, 1, 1 }],
        x[{ 1, 1, 1, 1, 1 }] * k[{ 1, 1, 1, 1, 2 }] } } } } })
      assert.are.equal(1, ops.count_nonzero(got[2]))
    end
  end)
end)

describe("short rows", function()
  for _, n in ipairs { 1, 3, 31, 33 } do
    it(("get bias and activation, and give sums: %d elements"):format(n), function()
      for _, act in ipairs { "linear", "relu", "sigmoid" } do
        local x, w, b = numbers({ 521, 4 }, 1, "float64"), numbers({ 4, n }, 2, "float64"),
          numbers({ n }, 3, "float64")
        local fused = everything(function(p, q, r)
          return ops.linear(p, q, { bias = r, activation = act })
        end, { x, w, b })
        local apart = everything(function(p, q, r)
          local z = ops.matmul(p, q) + r
          return act == "linear" and z or ops[act](z)
        end, { x, w, b })
        for i, want in ipairs(apart) do
          assert.is_true(largest(fused[i] - want) <= 1e-12 * largest(want), act .. ", part " .. i)
        end
      end
    end)
  end

  it("of one element are their own reductions", function()
    local x = numbers({ 40, 30, 1 }, 1)
    for _, name in ipairs { "sum", "mean", "max", "min", "prod" } do
      assert.are.equal(0, largest(ops[name](x, -1) - ops.reshape(x, { 40, 30 })), name)
    end
  end)
end)

-- 3x3 windows of stride 1 on many channels: float32 may go by Winograd's algorithm, float64 never
-- does. F(4x4) has about twice the errors of the plain sum, whose largest are 0.5 to 1.5e-6 of the
-- largest element here.
describe("wide 3x3 convolutions in float32", function()
  local function explicit(top, bottom, left, right)
    return { padding = "explicit", pads = { { top, bottom }, { left, right } } }
  end
  local function check(case, options, tolerance)
    local leaves = { numbers(case[1], 1), numbers(case[2], 2), numbers({ case[2][4] }, 3) }
    local function f(x, k, b)
      options.bias = b
      return ops.conv(x, k, options)
    end
    local wide = {}
    for i, x in ipairs(leaves) do
      wide[i] = ops.cast(x, "float64"):detach()
    end
    local want, got = everything(f, wide), everything(f, leaves)
    for i = 1, 3 do -- the bias' gradient is a plain sum
      local w = want[i]
      local off, scale = largest(ops.cast(got[i], "float64") - w), largest(w)
      assert.is_true(off <= tolerance * scale,
        ("part %d is off by %g (largest element %g)"):format(i, off, scale))
    end
    return got
  end

  for label, case in pairs {
    ["same, even extents"] = { { 1, 32, 32, 16 }, { 3, 3, 16, 16 }, { padding = "same" } },
    ["valid, odd extents"] = { { 2, 29, 31, 24 }, { 3, 3, 24, 40 }, {} },
    ["same, odd extents"] = { { 3, 17, 23, 16 }, { 3, 3, 16, 24 }, { padding = "same" } },
    ["many small images"] = { { 64, 5, 3, 32 }, { 3, 3, 32, 16 }, { padding = "same" } },
    ["few tiles"] = { { 1, 7, 8, 32 }, { 3, 3, 32, 64 }, { padding = "same" } },
    ["uneven zeros"] = { { 2, 24, 25, 16 }, { 3, 3, 16, 16 }, explicit(0, 2, 3, 1) },
    ["no zeros above, four to the right"] = {
      { 2, 24, 25, 16 }, { 3, 3, 16, 16 }, explicit(2, 0, 0, 4) },
  } do
    it("agree with float64: " .. label, function()
      for _, act in ipairs { "linear", "relu", "tanh" } do
        case[3].activation = act
        check(case, case[3], act == "tanh" and 2e-5 or 3e-6)
      end
    end)
  end

  it("are off by no more than three times what the plain sum is", function()
    for _, c in ipairs {
      { { 4, 21, 22, 32 }, 48 }, { { 4, 32, 32, 16 }, 16 }, { { 8, 8, 8, 64 }, 64 },
    } do
      local x, k = numbers(c[1], 1), numbers({ 3, 3, c[1][4], c[2] }, 2)
      local want = ops.conv(ops.cast(x, "float64"), ops.cast(k, "float64"), { padding = "same" })
      local edge = { 1, 1 }
      local plain = ops.pad(k, { edge, edge, { 0, 0 }, { 0, 0 } }) -- 5x5, which no Winograd serves
      local function off(y)
        local d = ops.cast(y, "float64") - want
        return ops.sqrt(ops.mean(d * d)):item()
      end
      local sum = off(ops.conv(x, plain, { padding = "same" }))
      assert.is_true(off(ops.conv(x, k, { padding = "same" })) < 3 * sum)
    end
  end)

  it("follow their weights when these change in place", function()
    local input, k = numbers({ 1, 11, 11, 16 }, 1), numbers({ 3, 3, 16, 16 }, 2)
    local other = numbers({ 3, 3, 16, 16 }, 3)
    local before = ops.conv(input, k):tobytes()
    assert.is_true(before == ops.conv(input, k):tobytes())
    k:assign(other)
    local after = ops.conv(input, k):tobytes()
    assert.is_false(before == after)
    assert.is_true(after == ops.conv(input, other):tobytes())
  end)

  it("have equal bits for one thread and two", function()
    local case, threads = { { 5, 21, 22, 32 }, { 3, 3, 32, 48 } }, core.get_threads()
    core.set_threads(1)
    local one = check(case, { padding = "same" }, 3e-6)
    core.set_threads(2)
    local two = check(case, { padding = "same" }, 3e-6)
    core.set_threads(threads)
    for i, x in ipairs(one) do
      assert.is_true(x:tobytes() == two[i]:tobytes(), "part " .. i)
    end
  end)
end)

describe("an engine's work", function()
  local function step(x, k1, k2, w)
    for _, p in ipairs { k1, k2, w } do
      p:requires_grad_(true)
    end
    local h = ops.max_pool(ops.conv(x, k1, { activation = "relu" }), 2)
    h = ops.max_pool(ops.conv(h, k2, { activation = "relu" }), 2)
    local y = ops.linear(ops.reshape(h, { h.shape[1], -1 }), w)
    return core.gradients((y * y):sum(), { k1, k2, w })
  end

  local onednn = core.engines()[1] == "onednn"
  local x, w = numbers({ 8, 28, 28, 1 }, 1), numbers({ 1600, 10 }, 4)
  local k1, k2 = numbers({ 3, 3, 1, 32 }, 2), numbers({ 3, 3, 32, 64 }, 3)
  step(x, k1, k2, w)

  it("is reported", function()
    assert.truthy(core.onednn_info():find "^oneDNN" or core.onednn_info():find "^no"
      or core.onednn_info():find "^built")
    assert.truthy(core.blas_info() ~= "")
  end)

  if not (onednn and core.onednn_info():find "^oneDNN") then
    pending "by oneDNN, which is not there"
  else
    it("makes no primitive after the first step", function()
      local before = core.engine_stats().primitives
      assert.is_true(before > 0)
      step(x, k1, k2, w)
      assert.are.equal(before, core.engine_stats().primitives)
    end)

    it("uses compiled convolutions, neither reference code nor im2col", function()
      local stats = core.engine_stats()
      step(x, k1, k2, w)
      local after = core.engine_stats()
      assert.are.equal(stats.refused_ref, after.refused_ref)
      assert.are.equal(0, after.gemm_convolutions)
    end)

    it("computes the gradient of one image with several threads", function()
      local image, kernel = numbers({ 1, 32, 32, 16 }, 1), numbers({ 3, 3, 16, 16 }, 2)
      image:requires_grad_(true)
      local y = ops.conv(image, kernel, { padding = "same" }):sum()
      local threads = core.get_threads()
      core.set_threads(2)
      local before = core.engine_stats().parallel_regions
      core.gradients(y, { image })
      local regions = core.engine_stats().parallel_regions - before
      core.set_threads(threads)
      assert.is_true(regions > 0)
    end)

    it("re-lays weights once per change of the weights", function()
      local function forward()
        return ops.conv(x, k1), ops.conv(numbers({ 2, 8, 8, 32 }, 1), k2)
      end
      forward()
      local before = core.engine_stats().weight_reorders
      forward()
      assert.are.equal(before, core.engine_stats().weight_reorders)
      local k = numbers({ 3, 3, 32, 64 }, 5)
      local input = numbers({ 2, 8, 8, 32 }, 1)
      local first = ops.conv(input, k)
      local reorders = core.engine_stats().weight_reorders
      k[{ 1, 1, 1 }] = numbers({ 64 }, 6)
      local second = ops.conv(input, k)
      assert.is_true(core.engine_stats().weight_reorders <= reorders + 1)
      assert.are_not.equal(first:tobytes(), second:tobytes())
      core.engines "plain"
      local want = ops.conv(input, k)
      core.engines(all)
      local a, b = runner.flat_of(second), runner.flat_of(want)
      for i = 1, #b do
        assert.is_true(math.abs(a[i] - b[i]) < 1e-3)
      end
    end)
  end
end)
