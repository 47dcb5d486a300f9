-- Fourier transforms of every kind of length beside NumPy's, along the last axis and the one before
-- it, of single lines and of many, in both precisions, with their gradients.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"
local reference = dofile "spec/ref/fourier.lua"

local ops = tide.ops

-- The formula of spec/ref/fourier.py.
local function numbers(n, p, dtype)
  local i = tide.arange(0, n, 1, { dtype = "int64" })
  return ((i * 7919 + p * 104729) % 1009):cast "float64" / 1009 - 0.5, dtype
end

local function given(case, dtype)
  local rows = case.rows or 1
  local n = (case.op == "irfft" and case.n // 2 + 1 or case.n) * rows
  local re, im = numbers(n, 0):cast(dtype), numbers(n, 1):cast(dtype)
  if case.rows then
    re, im = re:reshape { rows, case.n }, im:reshape { rows, case.n }
  end
  return re, im
end

local function made(case, re, im)
  local f = ops[case.op]
  if case.op == "rfft" then
    return f(re)
  elseif case.op == "irfft" then
    return f({ re, im }, case.n)
  elseif case.op == "stft" then
    return f(re, case.length, case.step, case.length)
  end
  return f { re, im }
end

local function flat(x)
  return x:reshape { x.size }
end

local function near(a, b, most, what)
  local off = ops.max(ops.abs(a - b)):item()
  assert(off <= most, ("%s: off by %g"):format(what, off))
end

describe("Fourier transforms", function()
  for dtype, digits in pairs { float64 = 1e-14, float32 = 4e-6 } do
    it("give each of many lines what it has alone: " .. dtype, function()
      for _, n in ipairs { 1, 2, 7, 8, 18, 37, 64, 101, 250 } do
        local x = numbers(33 * n, n):cast(dtype):reshape { 33, n }
        local re, im = ops.rfft(x)
        local fr, fi = ops.fft { x, ops.zeros_like(x) }
        local back, most = ops.irfft({ re, im }, n), digits * math.sqrt(n)
        for i = 1, 33 do
          local ar, ai = ops.rfft(x[i])
          near(ar, re[i], most, "rfft")
          near(ai, im[i], most, "rfft")
          near(ops.irfft({ ar, ai }, n), back[i], most, "irfft")
          local br, bi = ops.fft { x[i], ops.zeros_like(x[i]) }
          near(br, fr[i], most, "fft")
          near(bi, fi[i], most, "fft")
        end
        near(back, x, most, "irfft of rfft")
      end
    end)
  end

  for dtype, digits in pairs { float64 = 2e-15, float32 = 1.5e-6 } do
    it("are NumPy's: " .. dtype, function()
      for _, case in ipairs(reference) do
        local re, im = made(case, given(case, dtype))
        assert.equal(dtype, re.dtype)
        local at = tide.tensor(case.at, { dtype = "int64" })
        local size = math.sqrt(case.n * (case.rows or 1)) -- of the numbers that come out
        local tolerance = digits * (case.op:find "i" and 2 or size) * 4
        local what = ("%s %d"):format(case.op, case.n)
        expect.close(ops.take(flat(re), at), case.re, tolerance, 0, what)
        if case.im then
          expect.close(ops.take(flat(im), at), case.im, tolerance, 0, what)
        end
      end
    end)
  end

  it("of many lines are those of each", function()
    for _, n in ipairs { 1, 2, 6, 7, 16, 64, 90, 100, 331, 1024, 2310, 4096, 4099, 20000 } do
      for _, rows in ipairs { 2, 7, 16, 33 } do
        if n * rows < 2e5 then
          local re = numbers(n * rows, 0):reshape { rows, n }
          local im = numbers(n * rows, 1):reshape { rows, n }
          local a, b = ops.fft { re, im }
          local c, d = core.ops.fft_(re:transpose():copy(), im:transpose():copy(), { axis = 1 })
          local e, f = ops.rfft(re)
          local g = ops.irfft({ e, f }, n)
          for k = 1, rows, math.max(1, rows // 3) do
            local x, y = ops.fft { re[k], im[k] }
            local close = 1e-12 * math.sqrt(n)
            near(a[k], x, close, n)
            near(b[k], y, close, n)
            near(c[{ {}, k }], x, close, n)
            near(d[{ {}, k }], y, close, n)
            near(e[k], ops.rfft(re[k]), close, n)
            near(g[k], re[k], close, n)
          end
        end
      end
    end
  end)

  it("have equal bits for any number of threads", function()
    local before = tide.get_threads()
    for _, shape in ipairs { { 40, 1000 }, { 3, 4099 }, { 1, 65536 }, { 5, 8192 } } do
      local x, y = tide.random.normal(shape, { seed = 1 }), tide.random.normal(shape, { seed = 2 })
      local want
      for _, n in ipairs { 1, 4 } do
        tide.set_threads(n)
        local a, b = ops.fft { x, y }
        local c, d = ops.rfft(x)
        local got = a:tobytes() .. b:tobytes() .. c:tobytes() .. d:tobytes()
          .. ops.irfft({ c, d }, shape[2]):tobytes()
        assert(got == (want or got))
        want = got
      end
    end
    tide.set_threads(before)
  end)

  it("have gradients of the first and the second order", function()
    local function check(make, ...)
      local inputs = { ... }
      for _, x in ipairs(inputs) do
        x.requires_grad = true
      end
      local function f()
        local sum = 0
        for k, y in ipairs { make(table.unpack(inputs)) } do
          sum = sum + ops.sum(ops.square(y) * (numbers(y.size, k):reshape(y.shape) + k))
        end
        return sum
      end
      local _, g = tide.value_and_grad(f, inputs)
      for k, x in ipairs(inputs) do
        local values = x:detach():tolist()
        for i = 1, math.min(#values, 7) do
          local function at(v)
            local moved = { table.unpack(values) }
            moved[i] = moved[i] + v
            local others = { table.unpack(inputs) }
            for q, other in ipairs(others) do
              others[q] = other:detach()
            end
            others[k] = tide.tensor(moved, { dtype = "float64" })
            local sum = 0
            for q, y in ipairs { make(table.unpack(others)) } do
              sum = sum + ops.sum(ops.square(y) * (numbers(y.size, q):reshape(y.shape) + q)):item()
            end
            return sum
          end
          expect.close(g[k][i], (at(1e-5) - at(-1e-5)) / 2e-5, 1e-5, 1e-6)
        end
      end
    end
    for _, n in ipairs { 1, 2, 5, 8, 12, 37 } do
      check(function(a, b) return ops.fft { a, b } end, numbers(n, 0), numbers(n, 1))
      check(function(a) return ops.rfft(a) end, numbers(n, 0))
      check(function(a, b) return ops.irfft({ a, b }, n) end, numbers(n // 2 + 1, 0),
        numbers(n // 2 + 1, 1))
    end
    check(function(a) return ops.stft(a, 8, 4, 10) end, numbers(30, 0))
    check(function(a)
      return ops.istft({ ops.stft(a, 8, 4, 8) }, 8, 4, 8)
    end, numbers(32, 0))
    -- the transform is linear: the gradient of a gradient's square is a transform again
    local x = numbers(6, 0)
    x.requires_grad = true
    local first = tide.grad(ops.sum(ops.square((ops.rfft(x)))), { x }, { create_graph = true })[1]
    local second = tide.grad(ops.sum(ops.square(first)), { x })[1]
    assert.is_true(ops.any(ops.greater(ops.abs(second), 1)))
  end)

  it("of frames go back, whatever the step", function()
    for _, o in ipairs { { 64, 16 }, { 64, 48 }, { 30, 7 }, { 40, 1 }, { 512, 128 } } do
      local n, step = o[1], o[2]
      local x = tide.random.normal({ 2, 3, n * 6 }, { seed = 3 })
      local y = ops.istft({ ops.stft(x, n, step, n, "hamming") }, n, step, n, { window = "hamming",
        length = n * 5 })
      expect.close(y, x[{ {}, {}, { 1, n * 5 } }]:tolist(), 2e-5, 1e-4)
    end
  end)
end)

describe("spectra in bands", function()
  it("in one pass are those of frames, transforms and products", function()
    local cases = { { 512, 128, 40, 2 }, { 64, 24, 8, 1 }, { 90, 30, 12, 2 }, { 2, 1, 3, 1.5 } }
    for _, o in ipairs(cases) do
      local n, step, bands, exponent = table.unpack(o)
      for _, dtype in ipairs { "float32", "float64" } do
        local x = tide.random.normal({ 2, n * 5 + 3 }, { seed = 4 }):cast(dtype)
        local w = tide.random.uniform({ n }, { seed = 5 }):cast(dtype)
        local m = tide.random.uniform({ n // 2 + 1, bands }, { seed = 6 }):cast(dtype)
        m = ops.where(ops.greater(m, 0.6), m, ops.zeros_like(m))
        local y = core.ops.mel_(x, w, m, step, { exponent = exponent })
        local padded = ops.pad(x, { { 0, 0 }, { n // 2, n // 2 } }, "reflect")
        local re, im = ops.rfft(ops.extract_sequences(padded, n, step) * w)
        local power = ops.power(ops.sqrt(re * re + im * im), exponent)
        local want = ops.swapaxes(ops.matmul(power, m), -1, -2)
        assert.same(want.shape:totable(), y.shape:totable())
        expect.close(y, want:tolist(), dtype == "float32" and 1e-3 or 1e-10,
          dtype == "float32" and 1e-5 or 1e-12)
      end
    end
  end)

  it("have the gradients of these, and refuse what they are not made for", function()
    local x, w = numbers(40, 0), numbers(8, 1)
    local m = ops.abs(numbers(15, 2):reshape { 5, 3 })
    x.requires_grad, w.requires_grad, m.requires_grad = true, true, true
    local function f()
      return ops.sum(ops.square(core.ops.mel_(x, w, m, 3)))
    end
    local function composed()
      local padded = ops.pad(x, { { 4, 4 } }, "reflect")
      local re, im = ops.rfft(ops.extract_sequences(padded, 8, 3) * w)
      return ops.sum(ops.square(ops.matmul(re * re + im * im, m)))
    end
    local _, g = tide.value_and_grad(f, { x, w, m })
    local _, h = tide.value_and_grad(composed, { x, w, m })
    for k = 1, 3 do
      expect.close(g[k], h[k]:tolist(), 1e-12, 1e-10)
    end
    expect.raises("even length of small factors", function()
      core.ops.mel_(x, numbers(74, 0), m, 3)
    end)
    expect.raises("too few samples to mirror (expected more than 4, got [4])", function()
      core.ops.mel_(numbers(4, 0), w, m, 3)
    end)
    expect.raises("a row per frequency (expected [5, bands], got [3, 5])", function()
      core.ops.mel_(x, w, m:transpose(), 3)
    end)
    expect.raises("step must be 1 or more", function() core.ops.mel_(x, w, m, 0) end)
  end)
end)
