-- Layers whose work shows only over several calls or with several inputs, against the real Keras
-- (spec/ref/spectral.py) and PyTorch (spec/ref/embedding_bag.py), and what only Tide's own words
-- can say of the layers that Keras lacks: chance, masks, files, errors.
local expect = require "spec.support.expect"
local formula = require "spec.support.formula"
local ops = require "tide.ops"
local tide = require "tide"

local L = tide.layers
local bags = dofile "spec/ref/embedding_bag.lua"
local spectral = dofile "spec/ref/spectral.lua"

local function flat(x)
  return ops.ravel(x):tolist()
end

local function near(what, got, want, atol)
  expect.close(flat(got), flat(tide.tensor(want, { dtype = "float64" })), atol or 2e-6, 1e-5, what)
end

local function refused(words, f, ...)
  local e = expect.message(f, ...)
  assert.truthy(e:find(words, 1, true), e)
end

local function ids_of(t)
  return tide.tensor(t, { dtype = "int32" })
end

describe("layers.EmbeddingBag", function()
  for i, row in ipairs(bags) do
    it(("gives PyTorch's bags and gradients (%d: %s%s%s%s)"):format(i, row.mode,
      row.offsets and ", offsets" or "", row.padding and ", padding" or "",
      row.factors and ", weights" or ""), function()
      local layer = L.EmbeddingBag { 7, 3, row.mode, mask_zero = row.padding }
      local ids = ids_of(row.ids)
      local factors = row.factors and tide.tensor(row.factors, { requires_grad = true })
      layer:build(ids.shape)
      layer:set_weights { formula.weight(layer.embeddings, false, 0) }
      local y, wrt = nil, { layer.embeddings, factors }
      local grads = tide.grad(function()
        y = layer(ids, { offsets = row.offsets and ids_of(row.offsets),
          per_sample_weights = factors })
        return ops.sum(y * formula.input("real", y.shape:totable(), 5))
      end, wrt)
      near("y", y, row.y)
      for k, g in ipairs(row.g) do
        near("gradient " .. k, grads[k], g)
      end
    end)
  end

  it("leaves out what a mask leaves out", function()
    local layer = L.EmbeddingBag { 5, 2 }
    local ids = ids_of { { 1, 2, 3 }, { 4, 5, 1 } }
    local got = layer(ids, { mask = tide.tensor { { true, false, true }, { false, true, false } } })
    local table_ = layer.embeddings
    near("first", got[1], flat((table_[1] + table_[3]) / 2))
    near("second", got[2], flat(table_[5]))
  end)

  it("gives 0 for bags of nothing", function()
    for _, mode in ipairs { "sum", "mean", "max" } do
      local got = L.EmbeddingBag { 5, 2, mode }(ops.zeros({ 3, 0 }, { dtype = "int32" }))
      assert.same({ { 0, 0 }, { 0, 0 }, { 0, 0 } }, got:tolist())
    end
  end)

  it("knows its shape in a model, and refuses what does not fit", function()
    local layer = L.EmbeddingBag { 5, 2 }
    assert.equal("[none, 2]", tostring(layer(tide.Input { 3, dtype = "int32" }).shape))
    local row = ids_of { 1, 2, 3 }
    refused("the ids must have 2 axes, or offsets must say where bags begin (expected [batch, n], \z
      got [3])", layer, row)
    refused("with offsets the ids must be one row (expected [n], got [1, 2])", layer,
      ids_of { { 1, 2 } }, { offsets = ids_of { 1 } })
    refused("offsets must begin with 1, rise and stay within the ids (expected 1, got 0 at 1)",
      layer, row, { offsets = ids_of { 0, 2 } })
    refused("(expected 3 to 4, got 2 at 3)", layer, row, { offsets = ids_of { 1, 3, 2 } })
    refused("(expected 2 to 4, got 5 at 3)", layer, row, { offsets = ids_of { 1, 2, 5 } })
    refused("offsets must be one row of whole numbers (got float32 of shape [1])", layer, row,
      { offsets = tide.tensor { 1.0 } })
    refused("per_sample_weights go with mode 'sum' alone (got 'mean')", layer, ids_of { { 1, 2 } },
      { per_sample_weights = tide.ones { 1, 2 } })
    refused("per_sample_weights must have the ids' shape (expected [1, 2], got [2])",
      L.EmbeddingBag { 5, 2, "sum" }, ids_of { { 1, 2 } }, { per_sample_weights = tide.ones { 2 } })
  end)
end)

describe("layers.SpectralNormalization", function()
  for i, row in ipairs(spectral) do
    it(("gives Keras' results, weights and gradients after three steps (%d: %s)"):format(i,
      row.class), function()
      local layer = L.SpectralNormalization { L[row.class](row.args),
        power_iterations = row.more.power_iterations }
      local x = formula.input("real", row.shape, 0)
      x.requires_grad = true
      layer(x)
      local start = {}
      for k, w in ipairs(layer.weights) do
        start[k] = formula.weight(w, false, k - 1)
      end
      start[1] = row.zero and start[1] * 0 or start[1]
      layer:set_weights(start)
      for _ = 1, 2 do
        layer(x, { training = true })
      end
      local y
      local wrt = { x, table.unpack(layer.trainable_weights:totable()) }
      local grads = tide.grad(function()
        y = layer(x, { training = true })
        return ops.sum(y * formula.input("real", y.shape:totable(), 5))
      end, wrt)
      near("y", y, row.y)
      assert.equal(#row.weights, #layer.weights)
      for k, w in ipairs(layer.weights) do
        near("weight " .. k, w, row.weights[k])
      end
      for k, g in ipairs(row.g) do
        near("gradient " .. k, grads[k], g, 1e-5)
      end
    end)
  end

  it("opens Keras' files, and its own again", function()
    local x = formula.input("real", { 2, 6, 6, 2 }, 0)
    local folder = expect.folder()
    for _, ending in ipairs { "keras", "h5" } do
      local model = tide.load_model("spec/fixtures/keras/spectral." .. ending)
      near(ending, model(x), spectral.model)
      assert.equal(2, model.layers[3].power_iterations)
      for _, own in ipairs { "keras", "h5", "safetensors" } do
        local path = folder .. "/own." .. own
        model:save(path)
        local again = tide.load_model(path)
        near(own, again(x), spectral.model)
        near("vector_u", again.layers[1].vector_u, flat(model.layers[1].vector_u))
      end
    end
    os.execute("rm -rf " .. folder)
  end)

  it("takes the kernel once: its penalty counts once, frozen it stays", function()
    local layer = L.SpectralNormalization { L.Dense { 3, kernel_regularizer = "l2" } }
    layer(tide.ones { 1, 2 })
    assert.equal(1, #layer.losses)
    assert.equal(3, #layer.weights)
    assert.equal(12, layer:count_params())
    refused("needs a layer with a kernel or embeddings (got", L.SpectralNormalization { L.ReLU() },
      tide.ones { 1, 2 })
    refused("a layer is a name, an object", L.SpectralNormalization, { 3 })
  end)
end)

describe("layers.WeightNormalization", function()
  it("begins with what the layer computes, and trains directions and lengths", function()
    tide.seed(1) -- of some kernels a length stays for so few steps
    local dense = L.Dense { 3 }
    local x = formula.input("real", { 4, 5 }, 0)
    local before = flat(dense(x))
    local model = tide.Sequential { tide.Input { 5 }, L.WeightNormalization { dense } }
    near("y", model(x), before)
    local lengths = flat(model.layers[1].g)
    model:compile { optimizer = "sgd", loss = "mse" }
    model:fit(x, tide.ones { 4, 3 }, { epochs = 3, verbose = 0 })
    for i, g in ipairs(flat(model.layers[1].g)) do
      assert.is_true(math.abs(g - lengths[i]) > 1e-4)
    end
    refused("needs a layer with a kernel or embeddings (got", L.WeightNormalization { L.Flatten() },
      tide.ones { 1, 2 })
  end)

  it("computes in bfloat16 under a mixed policy, with weights in float32", function()
    local layer = L.WeightNormalization { L.Dense { 3, dtype = "mixed_bfloat16" },
      dtype = "mixed_bfloat16" }
    local y = layer(tide.ones { 2, 4 })
    assert.equal("bfloat16", y.dtype)
    assert.equal("float32", layer.g.dtype)
    local v = layer.layer.kernel
    local plain = ops.matmul(tide.ones { 2, 4 },
      v * layer.g / ops.sqrt(ops.sum(ops.square(v), { axis = 1 })))
    expect.close(flat(y:cast "float32"), flat(plain), 0.02, 0.02, "y")
  end)
end)

describe("layers that draw", function()
  it("StochasticDepth drops whole samples, or whole batches", function()
    tide.seed(3)
    local x = tide.ones { 2000, 3, 2 }
    local sums = ops.sum(L.StochasticDepth { 0.25 }(x, { training = true }), { axis = { 2, 3 } })
    local kept = 0
    for _, s in ipairs(sums:tolist()) do
      assert.is_true(s == 0 or math.abs(s - 8) < 1e-5)
      kept = kept + (s > 0 and 1 or 0)
    end
    assert.is_true(math.abs(kept - 1500) < 100, kept)
    local seen = {}
    for _ = 1, 40 do
      local y = L.StochasticDepth { 0.5, "batch" }(tide.ones { 3, 2 }, { training = true })
      seen[table.concat(flat(y), " ")] = true
    end
    local patterns = {}
    for k in pairs(seen) do
      patterns[#patterns + 1] = k
    end
    table.sort(patterns)
    assert.same({ "0.0 0.0 0.0 0.0 0.0 0.0", "2.0 2.0 2.0 2.0 2.0 2.0" }, patterns)
  end)

  it("RReLU draws slopes within its limits, one per element, again by the same seed", function()
    local x = ops.full({ 4000 }, -1)
    local function draw()
      return flat(L.RReLU { 0.1, 0.5, seed = 7 }(x, { training = true }))
    end
    local y, sum = draw(), 0
    for _, v in ipairs(y) do
      assert.is_true(v <= -0.1 and v >= -0.5)
      sum = sum + v
    end
    assert.is_true(math.abs(sum / #y + 0.3) < 0.01)
    assert.same(y, draw())
    refused("lower must be at most upper (got 0.5 and 0.1)", L.RReLU, { 0.5, 0.1 })
  end)
end)

describe("layers.GradientReversal", function()
  it("passes every value unchanged, and turns gradients of any order", function()
    local x = tide.tensor({ 1e30, -math.huge, 0.1 }, { requires_grad = true })
    local layer = L.GradientReversal { 2 }
    local grads = tide.grad(function() return ops.sum(layer(x)) end, { x })
    assert.same({ -2, -2, -2 }, grads[1]:tolist())
    assert.same(x:tolist(), layer(x):tolist())
    local z = tide.tensor({ 3.0 }, { requires_grad = true })
    local g = tide.grad(function() return ops.sum(layer(z) ^ 2) end, { z }, { create_graph = true })
    near("first", g[1], { -12 })
    g[1]:sum():backward()
    near("second", z.grad, { 8 })
  end)
end)

describe("each layer that Keras lacks", function()
  it("comes back from Tide's files as it was", function()
    local folder = expect.folder()
    local seen = {}
    for i, case in ipairs(dofile "spec/support/torch_layer_cases.lua") do
      local id, shape = case[1], case[4]
      local several = type(shape[1]) == "table"
      local inputs, data = {}, {}
      for k, s in ipairs(several and shape or { shape }) do
        local dtype = case[5].ids and "int32" or "float32"
        inputs[k] = tide.Input { shape = { table.unpack(s, 2) }, dtype = dtype }
        data[k] = case[5].ids and ops.full(s, 2, { dtype = dtype }) or formula.input("real", s, k)
      end
      local model = tide.Model { inputs, case[3](L)(several and inputs or inputs[1]) }
      local x = several and data or data[1]
      local want = flat(model(x))
      local ending = ({ "keras", "h5", "safetensors" })[i % 3 + 1]
      local path = folder .. "/m." .. ending
      model:save(path)
      expect.close(flat(tide.load_model(path)(x)), want, 0, 0, id .. " " .. ending)
      seen[case[2]] = true
    end
    os.execute("rm -rf " .. folder)
    assert.is_true(seen.Maxout and seen.Fold)
  end)

  it("refuses inputs that do not fit", function()
    local x = tide.ones { 2, 3 }
    refused("axis 5 does not exist in the input's shape [2, 3]", L.CReLU { 5 }, x)
    refused("GatedLinearUnit", L.GatedLinearUnit(), x)
    refused("axis -1 must be even to be halved (got the shape [none, 3])", L.GatedLinearUnit(),
      tide.Input { 3 })
    refused("the channels must be a multiple of upscale_factor squared (expected a multiple of 4, \z
      got the shape [1, 2, 2, 3])", L.PixelShuffle { 2 }, tide.ones { 1, 2, 2, 3 })
    refused("height and width must be multiples of downscale_factor (expected multiples of 2, got \z
      the shape [1, 3, 2, 1])", L.PixelUnshuffle { 2 }, tide.ones { 1, 3, 2, 1 })
    refused("the input must have 4 axes", L.Unfold { 2 }, x)
    refused("kernel_size must be 1 or more (got 0)", L.Unfold, { 0 })
    refused("kernel_size must be one integer or two (got [1, 2, 3])", L.Unfold, { { 1, 2, 3 } })
    refused("the input has the wrong shape (expected [batch, 6, a multiple of 4], got [1, 5, 8])",
      L.Fold { { 3, 4 }, 2 }, tide.ones { 1, 5, 8 })
    refused("padding must be less than the size of its axis (expected less than 3, got 3)",
      L.ReflectionPadding1D { 3 }, tide.Input { 3, 1 })
    refused("takes exactly 2 tensors (got 3)", L.CosineSimilarity(), { x, x, x })
    refused("axis must lie after the batch (got 4", L.CosineSimilarity { axis = 4 }, { x, x })
    refused("the last axis of the input must be known", L.Maxout { 2 }, tide.Input { tide.none })
    refused("axis -1 of the input must be known", L.LocalResponseNormalization { 2 },
      tide.Input { 2, tide.none })
    refused("threshold must be", L.TernaryDense, { 2, threshold = -1 })
  end)
end)

describe("layers of other runtimes", function()
  it("say what they wrap, and what to do", function()
    for name, words in pairs { TFSMLayer = "SavedModel", JaxLayer = "JAX", FlaxLayer = "Flax",
      TorchModuleWrapper = "PyTorch" } do
      refused(words, function() return L[name] end)
    end
  end)
end)
