local expect = require "spec.support.expect"
local tide = require "tide"
local ops = tide.ops
local reference = dofile "spec/ref/values.lua"

local function flat(y)
  return ops.reshape(y, { -1 }):tolist()
end

local message = expect.message

local function grid()
  local t = {}
  for i = 0, 23 do
    t[i + 1] = -3.4 + i * 6.7 / 23
  end
  return ops.reshape(tide.tensor(t), { 4, 6 })
end

local function matrix()
  local t = {}
  for i = 0, 11 do
    t[i + 1] = math.sin(i * 1.3) * 2
  end
  return ops.reshape(tide.tensor(t), { 4, 3 })
end

describe("tide.activations", function()
  for name, values in pairs(reference.activations) do
    it("gives Keras' " .. name, function()
      local x = grid()
      local y
      if name == "threshold" then
        y = tide.activations.threshold(x, 0.5, -0.25)
      else
        y = tide.activations.get(name)(x)
      end
      expect.close(flat(y), values, 1e-5, 1e-5, name)
    end)
  end

  -- Keras' own sparsemax does not sum to one (it adds cumulative sums over the support), so the
  -- paper decides.
  it("projects onto the simplex by sparsemax", function()
    local y = tide.activations.sparsemax(
      tide.tensor { { 0.1, 1.1, 0.2, -3 }, { 3, 0, 0, 0 } }):tolist()
    expect.close(y[1], { 0, 0.95, 0.05, 0 }, 1e-5, 1e-5, "sparsemax")
    expect.close(y[2], { 1, 0, 0, 0 }, 1e-5, 1e-5, "sparsemax")
  end)

  it("has Keras' 30 names and two aliases", function()
    assert.equal(30, #tide.activations.names)
    assert.equal(tide.activations.silu, tide.activations.get "swish")
    assert.equal(tide.activations.hard_silu, tide.activations.get "hard_swish")
  end)

  it("takes functions, and suggests for unknown names", function()
    local f = function(x) return x end
    assert.equal(f, tide.activations.get(f))
    assert.truthy(message(tide.activations.get, "relo"):find("did you mean 'relu'", 1, true))
  end)
end)

describe("tide.constraints", function()
  local c = tide.constraints
  local made = { MaxNorm = function()
    return c.MaxNorm { 1.5 }
  end, NonNeg = function() return c.NonNeg() end,
    UnitNorm = function() return c.UnitNorm { axis = 2 } end,
    MinMaxNorm = function() return c.MinMaxNorm { 0.5, 1, rate = 0.7 } end }
  for name, values in pairs(reference.constraints) do
    it("gives Keras' " .. name, function()
      expect.close(flat(made[name]()(matrix())), values, 1e-5, 1e-5, name)
    end)
  end
  it("are found by name and go through their configuration", function()
    local object = c.get { "max_norm", max_value = 3 }
    assert.equal(3, object:get_config().max_value)
    assert.equal(object, c.get { class_name = "MaxNorm", config = object:get_config() })
    assert.equal("NonNeg", tostring(c.get "non_neg"))
  end)
end)

describe("tide.regularizers", function()
  local r = tide.regularizers
  local made = { L1 = function() return r.L1() end, L2 = function() return r.L2 { 0.1 } end,
    L1L2 = function() return r.L1L2 { 0.1, 0.2 } end,
    OrthogonalRegularizer = function()
      return r.OrthogonalRegularizer { 0.05, mode = "columns" }
    end }
  for name, values in pairs(reference.regularizers) do
    it("gives Keras' " .. name, function()
      expect.close({ made[name]()(matrix()):item() }, values, 1e-5, 1e-5, name)
    end)
  end
  it("are found by Keras' strings", function()
    assert.equal("L1L2", tostring(r.get "l1l2"))
    assert.equal("L2", tostring(r.get "l2"))
  end)
end)

describe("tide.initializers", function()
  local init = tide.initializers

  local function statistics(t)
    local mean = ops.mean(t):item()
    return mean, math.sqrt(ops.mean(ops.square(t - mean)):item()), ops.min(t):item(),
      ops.max(t):item()
  end

  it("fill with constants", function()
    assert.same({ { 0, 0 } }, init.Zeros()({ 1, 2 }):tolist())
    assert.same({ { 1, 1 } }, init.get "ones"({ 1, 2 }):tolist())
    assert.same({ 2.5 }, init.Constant { 2.5 }({ 1 }):tolist())
    assert.equal("float64", init.Zeros()({ 2 }, "float64").dtype)
  end)

  it("draw with the stated mean and deviation", function()
    tide.seed(1)
    local shape = { 200, 100 }
    local cases = {
      { init.RandomNormal { mean = 1, stddev = 0.5 }, 1, 0.5 },
      { init.RandomUniform { -2, 4 }, 1, 6 / math.sqrt(12) },
      { init.TruncatedNormal { stddev = 2 }, 0, 2 * 0.87962566 },
      { init.GlorotUniform(), 0, math.sqrt(2 / 300) },
      { init.GlorotNormal(), 0, math.sqrt(2 / 300) },
      { init.HeNormal(), 0, math.sqrt(2 / 200) },
      { init.HeUniform(), 0, math.sqrt(2 / 200) },
      { init.LecunNormal(), 0, math.sqrt(1 / 200) },
      { init.LecunUniform(), 0, math.sqrt(1 / 200) },
      { init.VarianceScaling { 3, mode = "fan_out", distribution = "untruncated_normal" }, 0,
        math.sqrt(3 / 100) },
    }
    for _, case in ipairs(cases) do
      local mean, deviation = statistics(case[1](shape))
      assert.is_true(math.abs(mean - case[2]) < 0.03 * case[3], tostring(case[1]))
      assert.is_true(math.abs(deviation - case[3]) < 0.03 * case[3], tostring(case[1]))
    end
  end)

  it("keep within their limits", function()
    local _, _, low, high = statistics(init.GlorotUniform()({ 100, 100 }))
    local limit = math.sqrt(6 / 200)
    assert.is_true(low >= -limit and high <= limit)
    _, _, low, high = statistics(init.TruncatedNormal()({ 100, 100 }))
    assert.is_true(low >= -0.1 and high <= 0.1)
  end)

  it("count the receptive field into fans", function()
    local fan_in, fan_out = init.compute_fans { 3, 3, 16, 32 }
    assert.same({ 144, 288 }, { fan_in, fan_out })
    assert.same({ 5, 5 }, { init.compute_fans { 5 } })
  end)

  it("give equal values for equal seeds", function()
    local a = init.GlorotUniform { seed = 7 }({ 4, 4 })
    local b = init.GlorotUniform { seed = 7 }({ 4, 4 })
    assert.same(a:tolist(), b:tolist())
    assert.not_same(a:tolist(), init.GlorotUniform { seed = 8 }({ 4, 4 }):tolist())
  end)

  it("make orthogonal matrices of any proportions", function()
    for _, shape in ipairs { { 6, 6 }, { 8, 3 }, { 3, 8 }, { 2, 2, 3 } } do
      local q = init.Orthogonal { gain = 2 }(shape)
      local rows = 1
      for i = 1, #shape - 1 do
        rows = rows * shape[i]
      end
      local m = ops.reshape(q, { rows, shape[#shape] }) / 2
      local product = rows < shape[#shape] and ops.matmul(m, ops.transpose(m))
        or ops.matmul(ops.transpose(m), m)
      local n = math.min(rows, shape[#shape])
      assert.is_true(ops.max(ops.abs(product - ops.eye(n, n))):item() < 1e-5)
    end
  end)

  it("make identities", function()
    assert.same({ { 3, 0, 0 }, { 0, 3, 0 } }, init.Identity { gain = 3 }({ 2, 3 }):tolist())
    assert.truthy(message(init.Identity(), { 2, 2, 2 }):find("only makes matrices", 1, true))
  end)

  it("give Keras' STFT kernels", function()
    expect.close(flat(init.STFT()({ 6, 1, 4 })), reference.stft.real, 1e-5, 1e-5, "real")
    local imag = init.STFT {
      side = "imag", window = "hamming", scaling = "spectrum", periodic = true }
    expect.close(flat(imag({ 5, 1, 3 })), reference.stft.imag, 1e-5, 1e-5, "imag")
  end)

  it("are found by Keras' strings and take functions and tensors", function()
    for name in (
      "zeros glorot_uniform he_normal orthogonal normal uniform one \z
      IdentityInitializer"):gmatch "%S+" do
      assert.is_table(init.get(name), name)
    end
    assert.truthy(message(init.get, "glorot_unifrom"):find("did you mean 'glorot_uniform'", 1,
      true))
    local layer = tide.layers.Dense { 2, kernel_initializer = function(shape)
      return tide.ones(shape) * 5
    end }
    layer:build { tide.none, 3 }
    assert.equal(5, layer.kernel:tolist()[1][1])
    local given = tide.tensor { { 1, 2 }, { 3, 4 } }
    local other = tide.layers.Dense { 2, kernel_initializer = given }
    other:build { tide.none, 2 }
    assert.same(given:tolist(), other.kernel:tolist())
  end)
end)

describe("initializers of one's own", function()
  it("are called with shape and dtype and keep their options", function()
    local Steps = tide.initializers.Initializer:extend("SpecSteps", {
      args = { "step" },
      call = function(self, shape, dtype)
        return ops.full(shape, self.step, { dtype = dtype })
      end,
    })
    local layer = tide.layers.Dense { 2, kernel_initializer = Steps { 3 }, input_shape = { 1 } }
    layer:build { tide.none, 1 }
    assert.same({ { 3, 3 } }, layer.kernel:tolist())
    assert.equal(3, tide.initializers.get { class_name = "SpecSteps", config = { step = 3 } }.step)
  end)
end)

describe("tide.random", function()
  it("gives new numbers from a SeedGenerator, the same from the same state", function()
    local g, h = tide.random.SeedGenerator(3), tide.random.SeedGenerator(3)
    local a, b = tide.random.normal({ 5 }, { seed = g }), tide.random.normal({ 5 }, { seed = g })
    assert.not_same(a:tolist(), b:tolist())
    assert.same(a:tolist(), tide.random.normal({ 5 }, { seed = h }):tolist())
  end)

  it("seeds generators that were given no seed", function()
    tide.seed(7)
    local a = tide.random.SeedGenerator { name = "drops" }
    local b = tide.random.SeedGenerator()
    tide.seed(7)
    assert.equal(a.seed, tide.random.SeedGenerator().seed)
    assert.not_equal(a.seed, b.seed)
    assert.same({ seed = a.seed, name = "drops" }, a:get_config())
  end)

  it("restarts with tide.seed", function()
    tide.seed(11)
    local a = tide.random.uniform { 4 }
    tide.seed(11)
    assert.same(a:tolist(), tide.random.uniform({ 4 }):tolist())
  end)

  it("makes leaves, as every creation does", function()
    for _, draw in ipairs { "normal", "uniform", "truncated_normal" } do
      local w = tide.random[draw]({ 3 }, { requires_grad = true, seed = 4 })
      assert.is_true(w.requires_grad and w.is_leaf)
      assert.same(tide.random[draw]({ 3 }, { seed = 4, device = "cpu" }):tolist(), w:tolist())
      w:sum():backward()
      assert.same({ 1, 1, 1 }, w.grad:tolist())
    end
    assert.is_true(tide.random.gamma({ 2 }, 3, { requires_grad = true }).requires_grad)
    assert.has_error(function() tide.random.normal({ 2 }, { device = "gpu" }) end)
  end)

  it("draws gamma, beta and binomial numbers with their means", function()
    tide.seed(5)
    assert.is_true(math.abs(ops.mean(tide.random.gamma({ 5000 }, 3)):item() - 3) < 0.15)
    assert.is_true(math.abs(ops.mean(tide.random.beta({ 5000 }, 2, 6)):item() - 0.25) < 0.02)
    assert.is_true(math.abs(ops.mean(tide.random.binomial({ 5000 }, 10, 0.3)):item() - 3) < 0.1)
  end)
end)
