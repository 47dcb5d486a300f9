-- Random numbers: the words are Philox4x32-10's, whatever the threads; the distributions have their
-- moments and shapes. Tests random_uniform, random_normal, random_truncated_normal, random_randint,
-- random_categorical, random_shuffle, random_gamma_, random_beta_, random_binomial_,
-- random_permutation_, dropout and alpha_dropout.
local expect = require "spec.support.expect"
local core = require "tide.core"
local flat_of = require("spec.support.op_runner").flat_of
local ops = core.ops

-- Philox4x32-10 (Salmon et al. 2011), written from the paper.
local function philox(c, k)
  local c0, c1, c2, c3 = table.unpack(c)
  local k0, k1 = table.unpack(k)
  for _ = 1, 10 do
    local p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
    c0, c1, c2, c3 = (p1 >> 32) ~ c1 ~ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ~ c3 ~ k1, p0 & 0xFFFFFFFF
    k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
  end
  return { c0, c1, c2, c3 }
end

local function moments(t)
  local x = flat_of(t)
  local mean, square = 0, 0
  for _, v in ipairs(x) do
    mean = mean + v / #x
  end
  for _, v in ipairs(x) do
    square = square + (v - mean) ^ 2 / #x
  end
  return mean, square, x
end

-- Largest distance between the sorted values' steps and a distribution function (Kolmogorov and
-- Smirnov).
local function distance(x, cdf)
  table.sort(x)
  local worst = 0
  for i, v in ipairs(x) do
    local f = cdf(v)
    worst = math.max(worst, math.abs(f - i / #x), math.abs(f - (i - 1) / #x))
  end
  return worst
end
local N = 20000
local KS = 1.95 / math.sqrt(N) -- one in a thousand; the numbers are the same at every run

local function erf(x)
  return (core.tensor(x, { dtype = "float64" }):erf()):item()
end
local function normal_cdf(x)
  return 0.5 * (1 + erf(x / math.sqrt(2)))
end

describe("random words", function()
  it("the reference gives the paper's known answers", function()
    assert.are.same({ 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
      philox({ 0, 0, 0, 0 }, { 0, 0 }))
    local ones = 0xFFFFFFFF
    assert.are.same({ 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
      philox({ ones, ones, ones, ones }, { ones, ones }))
  end)

  it("uniform float32 numbers are Philox's words", function()
    local seed = 0x123456789ABC
    local got = flat_of(ops.random_uniform({ 130 }, { seed = seed }))
    for i = 0, 129 do
      local block = i // 64 * 16 + i % 16
      local words = philox({ block, 0, 1, 0 }, { seed & 0xFFFFFFFF, seed >> 32 })
      assert.are.equal((words[i // 16 % 4 + 1] >> 8) * 2.0 ^ -24, got[i + 1])
    end
  end)

  it("do not depend on threads or on how many are drawn", function()
    local was = core.get_threads()
    for _, op in ipairs { "random_uniform", "random_normal", "random_truncated_normal" } do
      for _, dtype in ipairs { "float32", "float64" } do
        core.set_threads(1)
        local one = ops[op]({ 70000 }, { seed = 5, dtype = dtype })
        core.set_threads(2)
        local two = ops[op]({ 70001 }, { seed = 5, dtype = dtype })
        assert.are.equal(one:tobytes(), two[{ { 1, 70000 } }]:tobytes())
      end
    end
    core.set_threads(was)
  end)

  it("a seed repeats itself, the generator does not", function()
    assert.are.equal(ops.random_normal({ 9 }, { seed = 3 }):tobytes(),
      ops.random_normal({ 9 }, { seed = 3 }):tobytes())
    assert.are_not.equal(ops.random_normal({ 9 }, { seed = 3 }):tobytes(),
      ops.random_normal({ 9 }, { seed = 4 }):tobytes())
    assert.are_not.equal(ops.random_normal { 9 }:tobytes(), ops.random_normal { 9 }:tobytes())
    core.seed(7)
    local a, b = ops.random_normal { 9 }:tobytes(), ops.random_uniform { 1 }:item()
    core.seed(7)
    assert.are.equal(a, ops.random_normal { 9 }:tobytes())
    assert.are.equal(b, ops.random_uniform { 1 }:item())
  end)

  it("single draws of the generator are independent", function()
    core.seed(11)
    local x, sum, lag = {}, 0, 0
    for i = 1, 4000 do
      x[i] = ops.random_uniform({}):item() - 0.5
      sum = sum + x[i] / 4000
    end
    for i = 2, 4000 do
      lag = lag + x[i] * x[i - 1] * 12 / 4000
    end
    expect.close(sum, 0, 0.02, 0)
    expect.close(lag, 0, 0.06, 0)
  end)
end)

describe("a distribution", function()
  for _, dtype in ipairs { "float32", "float64" } do
    it("uniform in " .. dtype, function()
      local mean, _, x = moments(ops.random_uniform({ N }, -1, 3, { seed = 1, dtype = dtype }))
      expect.close(mean, 1, 0.03, 0)
      assert(distance(x, function(v)
        return (v + 1) / 4
      end) < KS)
      assert(x[1] >= -1 and x[#x] < 3)
    end)

    it("normal in " .. dtype, function()
      local mean, var, x = moments(ops.random_normal({ N }, 2, 3, { seed = 1, dtype = dtype }))
      expect.close(mean, 2, 0.07, 0)
      expect.close(var, 9, 0.3, 0)
      assert(distance(x, function(v)
        return normal_cdf((v - 2) / 3)
      end) < KS)
    end)

    it("truncated normal in " .. dtype, function()
      local mean, _, x = moments(ops.random_truncated_normal({ N }, 1, 2,
        { seed = 1, dtype = dtype }))
      expect.close(mean, 1, 0.05, 0)
      local low, high = normal_cdf(-2), normal_cdf(2)
      assert(distance(x, function(v)
        return (normal_cdf((v - 1) / 2) - low) / (high - low)
      end) < KS)
      assert(x[1] >= -3 and x[#x] <= 5)
    end)

    it("gamma in " .. dtype, function()
      for _, alpha in ipairs { 0.5, 1.0, 4.5 } do
        local mean, var = moments(ops.random_gamma_(core.tensor(alpha, { dtype = dtype }), { N },
          { seed = 1 }))
        expect.close(mean, alpha, 4 * math.sqrt(alpha / N), 0)
        expect.close(var / alpha, 1, 0.1, 0)
      end
      local _, _, x = moments(ops.random_gamma_(core.tensor(1.0, { dtype = dtype }), { N },
        { seed = 1 }))
      assert(distance(x, function(v)
        return 1 - math.exp(-v)
      end) < KS)
    end)
  end

  it("beta", function()
    local mean, var = moments(ops.random_beta_(core.tensor(2.0), core.tensor(3.0), { N },
      { seed = 1 }))
    expect.close(mean, 0.4, 0.006, 0)
    expect.close(var, 0.04, 0.002, 0)
  end)

  it("binomial, few and many expected", function()
    for _, case in ipairs { { 10, 0.3 }, { 1000, 0.25 }, { 40, 0.9 }, { 7, 0.0 }, { 7, 1.0 } } do
      local n, p = table.unpack(case)
      local mean, var, x = moments(ops.random_binomial_(core.tensor(n * 1.0), core.tensor(p), { N },
        { seed = 1 }))
      expect.close(mean, n * p, 4 * math.sqrt(n * p * (1 - p) / N) + 1e-9, 0)
      expect.close(var, n * p * (1 - p), 0.05 * n * p * (1 - p) + 1e-9, 0)
      for _, v in ipairs(x) do
        assert(v >= 0 and v <= n and v == math.floor(v))
      end
    end
  end)

  it("parameters broadcast to the shape", function()
    local x = ops.random_binomial_(
      core.tensor { { 5.0 }, { 0.0 } }, core.tensor { 1.0, 0.0, 1.0 }, { 2, 3 }, { seed = 1 })
    assert.are.same({ { 5, 0, 5 }, { 0, 0, 0 } }, x:tolist())
  end)

  it("randint covers its range evenly", function()
    local x = ops.random_randint({ 6000 }, -1, 5, { seed = 1 })
    assert.are.equal("int32", x.dtype)
    local count = {}
    for _, v in ipairs(flat_of(x)) do
      count[v] = (count[v] or 0) + 1
    end
    for v = -1, 4 do
      expect.close(count[v], 1000, 120, 0)
      count[v] = nil
    end
    assert.is_nil(next(count))
  end)

  it("categorical draws classes by their probabilities, from 1", function()
    local p = { 0.1, 0.2, 0.7 }
    local logits = core.tensor {
      { math.log(p[1]), math.log(p[2]), math.log(p[3]) }, { -math.huge, 0.0, -math.huge } }
    local x = ops.random_categorical(logits, 5000, { seed = 1 })
    assert.are.same({ 2, 5000 }, { x.shape[1], x.shape[2] })
    local count, flat = { 0, 0, 0 }, flat_of(x)
    for i = 1, 5000 do
      count[flat[i]] = count[flat[i]] + 1
      assert.are.equal(2, flat[5000 + i])
    end
    for k = 1, 3 do
      expect.close(count[k] / 5000, p[k], 0.03, 0)
    end
  end)

  it("a permutation holds every position once", function()
    local x = ops.random_permutation_(500, { seed = 2 })
    local seen, fixed = {}, 0
    for i, v in ipairs(flat_of(x)) do
      seen[v] = true
      fixed = fixed + (i == v and 1 or 0)
    end
    for i = 1, 500 do
      assert(seen[i])
    end
    assert(fixed < 8)
  end)

  it("shuffle keeps slices together, along any axis", function()
    local x = core.tensor { { 1, 2, 3 }, { 10, 20, 30 } }
    local y = ops.random_shuffle(x, { axis = 2, seed = 3 }):tolist()
    local sum = 0
    for k = 1, 3 do
      assert.are.equal(10 * y[1][k], y[2][k])
      sum = sum + y[1][k]
    end
    assert.are.equal(6, sum)
  end)

  it("parameters that are no numbers of their kind give NaN, infinite ones end", function()
    local g = flat_of(ops.random_gamma_(core.tensor { -1, 0, math.huge, 0 / 0 }, { 4 }))
    assert(g[1] ~= g[1] and g[2] == 0 and g[3] == math.huge and g[4] ~= g[4])
    local b = flat_of(ops.random_binomial_(core.tensor { -1, math.huge, 5, 0 / 0 },
      core.tensor { 0.5, 0.5, 1.5, 0.5 }, { 4 }))
    for i = 1, 4 do
      assert(b[i] ~= b[i])
    end
  end)

  it("refuses empty ranges and dtypes that are no floats", function()
    local ok, err = pcall(ops.random_randint, { 2 }, 3, 3)
    assert.is_false(ok)
    assert.truthy(tostring(err):find("no whole number in [3, 3)", 1, true))
    ok, err = pcall(ops.random_normal, { 2 }, { dtype = "int32" })
    assert.is_false(ok)
    assert.truthy(tostring(err):find("draws floats (got int32)", 1, true))
  end)
end)

describe("dropout", function()
  local function kept(t)
    local n = 0
    for _, v in ipairs(flat_of(t)) do
      n = n + (v ~= 0 and 1 or 0)
    end
    return n
  end

  it("drops the given share and scales the others", function()
    local x = core.ones { 100, 200 }
    local y = ops.dropout(x, 0.25, { seed = 1 })
    expect.close(kept(y) / 20000, 0.75, 0.015, 0)
    expect.close(y:max():item(), 1 / 0.75, 1e-6, 0)
  end)

  it("has the same mask backward, made again and not stored", function()
    local x = core.ones({ 1000 }, { requires_grad = true })
    core.seed(3)
    local y = ops.dropout(x, 0.5)
    y:sum():backward()
    assert.are.equal(y:tobytes(), x.grad:tobytes())
    core.seed(3)
    assert.are.equal(y:tobytes(), ops.dropout(core.ones { 1000 }, 0.5):tobytes())
    assert.are_not.equal(y:tobytes(), ops.dropout(core.ones { 1000 }, 0.5):tobytes())
  end)

  it("repeats the mask along axes where noise_shape is 1", function()
    local y = ops.dropout(core.ones { 8, 5, 6 }, 0.5,
      { noise_shape = { -1, 1, 6 }, seed = 1 }):tolist()
    for n = 1, 8 do
      for c = 1, 6 do
        for t = 2, 5 do
          assert.are.equal(y[n][1][c], y[n][t][c])
        end
      end
    end
    y = ops.dropout(core.ones { 40, 50 }, 0.5, { noise_shape = { 40, 1 }, seed = 1 })
    local rows = kept(y) / 50
    assert.equal(rows, math.floor(rows)) -- whole rows
    expect.close(rows, 20, 4 * math.sqrt(40 * 0.25), 0) -- four deviations of forty even draws
  end)

  it("keeps everything at rate 0 and nothing at rate 1", function()
    local x = core.ones { 70 }
    assert.are.equal(x:tobytes(), ops.dropout(x, 0, { seed = 1 }):tobytes())
    assert.are.equal(0, kept(ops.dropout(x, 1, { seed = 1 })))
  end)

  it("alpha_dropout keeps mean and variance of standardized numbers", function()
    local mean, var = moments(ops.alpha_dropout(ops.random_normal({ N }, { seed = 1 }), 0.3,
      { seed = 2 }))
    expect.close(mean, 0, 0.04, 0)
    expect.close(var, 1, 0.06, 0)
  end)

  it("alpha_dropout's gradient is that of its mask", function()
    local x = core.tensor({ 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }, { requires_grad = true })
    local y = ops.alpha_dropout(x, 0.4, { seed = 5 })
    y:sum():backward()
    local z = ops.alpha_dropout(x:detach() + 1, 0.4, { seed = 5 })
    local g, slope = flat_of(x.grad), flat_of(z - y:detach())
    for i = 1, 10 do
      expect.close(g[i], slope[i], 1e-5, 0)
    end
  end)

  it("refuses a rate that is no probability and a mask that does not fit", function()
    local ok, err = pcall(ops.dropout, core.ones { 3 }, 1.5)
    assert.is_false(ok)
    assert.truthy(tostring(err):find("dropout: rate is a probability (expected 0..1, got 1.5)", 1,
      true))
    ok, err = pcall(ops.dropout, core.ones { 3 }, 0.5, { noise_shape = { 2 } })
    assert.is_false(ok)
    assert.truthy(tostring(err):find("noise_shape does not broadcast to the input", 1, true))
  end)
end)
