local expect = require "spec.support.expect"
local tide = require "tide"
local windows = require "tide.windows"
local reference = dofile "spec/ref/spectra.lua"

local audio, layers, ops = tide.audio, tide.layers, tide.ops
local says = expect.raises

local function flat(x)
  return ops.reshape(x, { x.size }):tolist()
end

-- The formula of spec/ref/spectra.py.
local function signal(shape, dtype)
  local n = 1
  for _, s in ipairs(shape) do
    n = n * s
  end
  local out = {}
  for t = 0, n - 1 do
    out[t + 1] = math.sin(0.3 * t) + 0.5 * math.cos(0.0071 * t * (t % 97)) + 0.1 * math.sin(1.7 * t)
  end
  return ops.reshape(tide.tensor(out, { dtype = dtype or "float32" }), shape)
end

describe("windows", function()
  it("are SciPy's", function()
    for _, case in ipairs(reference.windows) do
      expect.close(windows.values(case.name, #case.values, case.periodic), case.values, 1e-12, 0,
        case.name)
    end
  end)
end)

-- Each row of the reference: the layer's values, shape by compute_output_shape and in a model, and
-- a configuration that makes the same layer.
local function agrees(class, case, atol, rtol)
  local layer = layers[class](case.options)
  local x = signal(case.shape)
  local y = layer(x)
  assert.same(case.out, y.shape:totable())
  if case.options.mode == "angle" then -- pi is as near as -pi
    local want = tide.tensor(case.values)
    for _, f in ipairs { ops.cos, ops.sin } do
      expect.close(flat(f(y)), flat(f(want)), atol, rtol, class)
    end
  else
    expect.close(flat(y), case.values, atol, rtol, class)
  end
  assert.same(case.out, tide.layers[class](case.options):compute_output_shape(case.shape):totable())
  local again = layers[class].from_config(layer:get_config())
  assert.same(y:tolist(), again(x):tolist())
  if #case.shape > 1 then
    local input = tide.Input(table.move(case.shape, 2, #case.shape, 1, {}))
    local model = tide.Model { inputs = input, outputs = layer(input) }
    expect.close(flat(model(x)), flat(y), 1e-6, 1e-6)
    local free = tide.Input { batch_shape = { tide.none, table.unpack(case.shape, 2) } }
    assert.equal(tide.none, layers[class](case.options)(free).shape[1])
  end
end

describe("STFTSpectrogram", function()
  for i, case in ipairs(reference.stft) do
    it(("gives Keras' values: %d, %s"):format(i, case.options.mode), function()
      agrees("STFTSpectrogram", case, case.options.mode == "angle" and 2e-3 or 2e-5, 1e-4)
    end)
  end

  it("has the defaults that Keras has", function()
    local layer = layers.STFTSpectrogram()
    layer:build { 1, 1000, 1 }
    assert.same({ 256, 1, 129 }, layer.real_kernel.shape:totable())
    assert.equal(2, #layer.trainable_weights)
    assert.equal(1, #layers.STFTSpectrogram({ "real", 4 }).weights + 1)
    assert.same({ 1, 6, 129 }, layer:compute_output_shape { 1, 1000, 1 }:totable())
    assert.same({ "none", "none" }, { tostring(layer:compute_output_shape { 1, tide.none, 1 }[2]),
      tostring(tide.none) })
  end)

  it("is trained as a convolution", function()
    local layer = layers.STFTSpectrogram { "magnitude", 16, frame_step = 8 }
    local model = tide.Sequential { tide.Input { 64, 1 }, layer, layers.Flatten(),
      layers.Dense { 1 } }
    model:compile { optimizer = { "sgd", learning_rate = 0.01 }, loss = "mse" }
    local before = ops.copy(layer.real_kernel)
    model:fit(signal { 8, 64, 1 }, tide.ones { 8, 1 }, { epochs = 1, verbose = 0 })
    assert.is_true(ops.any(ops.not_equal(before, layer.real_kernel)))
  end)

  it("refuses what Keras refuses", function()
    says("frame_step must be at most frame_length", function()
      layers.STFTSpectrogram { frame_length = 8, frame_step = 9 }
    end)
    says("fft_length must be at least frame_length", function()
      layers.STFTSpectrogram { frame_length = 8, fft_length = 7 }
    end)
    says("mode must be", function() layers.STFTSpectrogram { "phase" } end)
    says("window", function() layers.STFTSpectrogram { window = "hat" } end)
    says("window must have frame_length values (expected 4, got 3)", function()
      layers.STFTSpectrogram { frame_length = 4, window = { 1, 2, 1 } }
    end)
    says("the input must hold floats (got int32)", function()
      layers.STFTSpectrogram { frame_length = 4 }(tide.ones({ 1, 8, 1 }, { dtype = "int32" }))
    end)
    says("three axes", function()
      layers.STFTSpectrogram { frame_length = 4 }(tide.ones { 1, 8 })
    end)
  end)
end)

describe("MelSpectrogram", function()
  for i, case in ipairs(reference.mel) do
    it("gives Keras' values: " .. i, function()
      agrees("MelSpectrogram", case, case.options.power_to_db == false and 2e-3 or 2e-2, 1e-4)
    end)
  end

  it("computes in float64 and float16 too, and takes whole numbers", function()
    local case = reference.mel[3]
    local o = { dtype = "float64" }
    for k, v in pairs(case.options) do
      o[k] = v
    end
    local y = layers.MelSpectrogram(o)(signal(case.shape, "float64"))
    assert.equal("float64", y.dtype)
    expect.close(flat(y), case.values, 1e-4, 1e-4)
    o.dtype = "float16"
    assert.equal("float16", layers.MelSpectrogram(o)(signal(case.shape)).dtype)
    local whole = layers.MelSpectrogram { fft_length = 64 }(tide.ones({ 200 }, { dtype = "int32" }))
    assert.same({ 128, 1 }, whole.shape:totable())
  end)

  it("works in a Dataset's map, and in a saved model", function()
    local mel = layers.MelSpectrogram { fft_length = 64, sequence_stride = 32, num_mel_bins = 8 }
    local x = signal { 4, 200 }
    local ds = tide.data.Dataset.from_tensor_slices(x):map(function(v) return mel(v) end):batch(2)
    for batch in ds:iter() do
      assert.same({ 2, 8, 7 }, batch.shape:totable())
    end
    local model = tide.Sequential { tide.Input { 200 }, mel, layers.Flatten(), layers.Dense { 2 } }
    local path = expect.name ".keras"
    model:save(path)
    expect.close(tide.load_model(path)(x), model(x):tolist(), 1e-6, 1e-6)
    os.remove(path)
  end)

  it("keeps its matrix when a scope ends that saw its first call", function()
    local layer = layers.MelSpectrogram { fft_length = 32, num_mel_bins = 4 }
    local x = signal { 1, 100 }
    do
      local _ <close> = tide.scope()
      layer(x)
    end
    assert.same(layer(x):tolist(), layer(x):tolist())
  end)

  it("lets gradients through to the samples", function()
    local x = signal { 1, 120 }
    x.requires_grad = true
    local layer = layers.MelSpectrogram { fft_length = 32, sequence_stride = 16, num_mel_bins = 4,
      power_to_db = false, sampling_rate = 8000 }
    local _, g = tide.value_and_grad(function() return ops.sum(layer(x)) end, { x })
    assert.is_true(ops.all(ops.isfinite(g[1])))
    assert.is_true(ops.any(ops.greater(ops.abs(g[1]), 0.1)))
  end)

  it("refuses frames longer than transforms and bands without width", function()
    says("fft_length must be at least sequence_length", function()
      layers.MelSpectrogram { fft_length = 64, sequence_length = 65 }
    end)
    says("max_freq must be above min_freq", function()
      layers.MelSpectrogram { min_freq = 9000 }
    end)
  end)

  it("has Keras' method for its matrix", function()
    local m = layers.MelSpectrogram():linear_to_mel_weight_matrix()
    expect.close(flat(m), reference.matrix[1].values, 1e-6, 1e-5)
  end)
end)

describe("mel matrices", function()
  it("are TensorFlow's", function()
    for _, case in ipairs(reference.matrix) do
      local m = audio.linear_to_mel_weight_matrix(case.args[1], case.args[2], case.args[3],
        case.args[4], case.args[5], "float64")
      expect.close(flat(m), case.values, 1e-9, 0)
    end
    says("upper_edge_hertz must be above", function()
      audio.linear_to_mel_weight_matrix { lower_edge_hertz = 5000 }
    end)
  end)
end)

describe("transforms of real numbers", function()
  it("are the first half of complex ones, of every kind of length, and go back", function()
    for _, n in ipairs { 1, 2, 3, 8, 9, 30, 31, 32, 33, 34, 37, 45, 64, 66, 74, 100, 1001, 2048 } do
      local x = ops.cast(signal { 2, n }, "float64")
      local kept = n // 2 + 1
      local re, im = ops.rfft(x)
      local all_re, all_im = ops.fft { x, ops.zeros_like(x) }
      expect.close(re, all_re[{ {}, { 1, kept } }]:tolist(), 1e-10, 1e-10, n)
      expect.close(im, all_im[{ {}, { 1, kept } }]:tolist(), 1e-10, 1e-10, n)
      expect.close(ops.irfft({ re, im }, n), x:tolist(), 1e-11, 1e-11, n)
    end
  end)

  it("have gradients", function()
    local x = ops.cast(signal { 1, 40 }, "float64")
    local function f(v)
      local re, im = ops.rfft(v)
      return ops.sum(ops.square(re) * 2 + ops.square(im) * 3)
    end
    x.requires_grad = true
    local _, g = tide.value_and_grad(function() return f(x) end, { x })
    local step = ops.one_hot(tide.tensor({ 7 }, { dtype = "int64" }), 40, { dtype = "float64" })
    local slope = (f(x:detach() + step * 1e-4):item() - f(x:detach() - step * 1e-4):item()) / 2e-4
    expect.close(g[1][{ 1, 7 }], slope, 1e-6, 1e-6)
  end)
end)

describe("cosine transforms", function()
  it("are TensorFlow's, of all types", function()
    local x = signal({ 2, 6 }, "float64")
    for _, case in ipairs(reference.dct) do
      local o = { type = case.type, norm = case.norm, n = case.n }
      expect.close(flat(audio.dct(x, o)), case.values, 1e-6, 1e-6, "dct" .. case.type)
      expect.close(flat(audio.idct(x, o)), case.inverse, 1e-6, 1e-6, "idct" .. case.type)
    end
  end)

  it("undo each other, and refuse what has no transform", function()
    local x = signal({ 3, 7 }, "float64")
    local o = { norm = "ortho" }
    expect.close(audio.idct(audio.dct(x, o), o), x:tolist(), 1e-12)
    expect.close(audio.idct(audio.dct(x)) / 14, x:tolist(), 1e-12)
    says("type 1 has no norm", function() audio.dct(x, { type = 1, norm = "ortho" }) end)
    says("axis must be the last one", function() audio.dct(x, { axis = 1 }) end)
    says("no element to transform", function() audio.dct(tide.zeros { 2, 0 }) end)
  end)
end)

describe("MFCC", function()
  for i, case in ipairs(reference.mfcc) do
    it("gives the values of SciPy's and TensorFlow's transforms: " .. i, function()
      agrees("MFCC", case, 3e-2, 1e-4)
    end)
  end

  it("keeps no more coefficients than there are bands", function()
    says("num_mfcc must be at most num_mel_bins (expected 8, got 9)", function()
      layers.MFCC { 9, num_mel_bins = 8 }
    end)
  end)
end)
