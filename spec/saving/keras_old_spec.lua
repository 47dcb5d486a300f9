-- Files of Keras 1 and 2, put together here as those wrote them, and files as callbacks and killed
-- processes leave them.
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local keras = require "tide.saving.keras"
local models = require "spec.support.keras_models"

local temporary = expect.name

-- A legacy file of layers { name, { weight name, tensor }, ... }.
local function write(path, top, layers, optimizer)
  local data, attributes = {},
    { ["/"] = top, ["/model_weights"] = { layer_names = {}, keras_version = top.keras_version,
      backend = top.backend } }
  for _, layer in ipairs(layers) do
    table.insert(attributes["/model_weights"].layer_names, layer[1])
    local names = tide.models and require("tide.list").new {}
    for i = 2, #layer do
      names[#names + 1] = layer[i][1]
      data[#data + 1] = { "/model_weights/" .. layer[1] .. "/" .. layer[i][1], layer[i][2] }
    end
    attributes["/model_weights/" .. layer[1]] = { weight_names = names }
  end
  if optimizer then
    attributes["/optimizer_weights"] = { weight_names = {} }
    for i, w in ipairs(optimizer) do
      attributes["/optimizer_weights"].weight_names[i] = w[1]
      data[#data + 1] = { "/optimizer_weights/" .. w[1], w[2] }
    end
  end
  core.blob_write(path, core.hdf5_encode(data, core.json_encode(attributes)))
end

describe("a file of Keras 1", function()
  local config = [=[{"class_name": "Sequential", "config": [
    {"class_name": "Convolution2D", "config": {"name": "conv", "nb_filter": 2, "nb_row": 2,
      "nb_col": 3, "border_mode": "same",
      "subsample": [1, 1], "dim_ordering": "tf", "init": "glorot_uniform", "activation": "relu",
        "bias": true, "trainable": true,
      "W_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.5},
        "batch_input_shape": [null, 4, 4, 1],
      "input_dtype": "float32"}},
    {"class_name": "MaxPooling2D", "config": {"name": "pool", "pool_size": [2, 2], "strides": [2,
      2], "border_mode": "valid",
      "dim_ordering": "tf"}},
    {"class_name": "Flatten", "config": {"name": "flat"}},
    {"class_name": "Dropout", "config": {"name": "drop", "p": 0.25}},
    {"class_name": "Dense", "config": {"name": "out", "output_dim": 2, "init": "uniform",
      "activation": "linear",
      "bias": true}}]}]=]
  local kernel, bias = models.wave({ 2, 3, 1, 2 }, 1), models.wave({ 2 }, 2)
  local w, b = models.wave({ 8, 2 }, 3), models.wave({ 2 }, 4)

  local function file(backend)
    local path = temporary ".h5"
    write(path, { keras_version = "1.2.2", backend = backend, model_config = { ascii = config } },
      { { "conv", { "conv_W", kernel }, { "conv_b", bias } }, { "pool" }, { "flat" }, { "drop" },
        { "out", { "out_W", w }, { "out_b", b } } })
    return path
  end

  it("loads with today's names of options and its own weights", function()
    local path = file "tensorflow"
    local model = keras.load_model(path)
    os.remove(path)
    local conv = model:get_layer "conv"
    assert.equal("same", conv.padding)
    assert.equal("[2, 3]", tostring(conv.kernel_size))
    assert.equal(0.5, conv.kernel_regularizer.l2)
    assert.equal(0.25, model:get_layer("drop").rate)
    assert.same(kernel:tolist(), conv.kernel:tolist())
    local x = models.wave({ 1, 4, 4, 1 }, 5)
    local by_hand = tide.Sequential {
      tide.layers.Conv2D { 2, { 2, 3 }, padding = "same", activation = "relu",
        input_shape = { 4, 4, 1 } }, tide.layers.MaxPooling2D { 2 }, tide.layers.Flatten(),
        tide.layers.Dense { 2 } }
    by_hand:set_weights { kernel, bias, w, b }
    assert.is_true(models.difference(model(x), by_hand(x):tolist()) < 1e-6)
  end)

  it("of Theano has its kernels turned around", function()
    local path = file "theano"
    local model = keras.load_model(path)
    os.remove(path)
    local turned, given = model:get_layer("conv").kernel:tolist(), kernel:tolist()
    assert.equal(given[1][1][1][2], turned[2][3][1][2])
    assert.equal(given[2][1][1][1], turned[1][3][1][1])
  end)
end)

describe("a file of Keras 2", function()
  local config = [=[{"class_name": "Model", "config": {"name": "m", "layers": [
    {"name": "in", "class_name": "InputLayer", "config": {"batch_input_shape": [null, 3],
      "dtype": "float32", "sparse": false,
      "name": "in"}, "inbound_nodes": []},
    {"name": "seq", "class_name": "Sequential", "config": {"name": "seq",
      "layers": [{"class_name": "Dense", "config": {"name": "d",
      "trainable": true, "batch_input_shape": [null, 3], "dtype": "float32", "units": 2,
        "activation": "linear", "use_bias": true,
      "kernel_initializer": {"class_name": "VarianceScaling", "config": {"scale": 1.0,
        "mode": "fan_avg",
      "distribution": "uniform", "seed": null, "dtype": "float32"}}}}]}, "inbound_nodes": [[["in",
        0, 0, {}]]]},
    {"name": "other", "class_name": "Dense", "config": {"name": "other", "units": 2,
      "activation": "relu"},
      "inbound_nodes": [[["in", 0, 0, {}]]]},
    {"name": "cat", "class_name": "Concatenate", "config": {"name": "cat", "axis": -1},
      "inbound_nodes": [[["seq", 1, 0, {}], ["other", 0, 0, {}]]]}],
    "input_layers": [["in", 0, 0]], "output_layers": [["cat", 0, 0]]}}]=]
  local training = [=[{"loss": "mse", "metrics": ["mae"], "sample_weight_mode": null,
    "loss_weights": null, "optimizer_config":
    {"class_name": "Adam", "config": {"lr": 0.01, "beta_1": 0.9, "beta_2": 0.999, "decay": 0.1,
      "epsilon": 1e-07,
    "amsgrad": false}}}]=]
  local k, b, k2, b2 = models.wave({ 3, 2 }, 1), models.wave({ 2 }, 2), models.wave({ 3, 2 }, 3),
    models.wave({ 2 }, 4)

  it("loads graphs of its form, nested models, old optimizers and their grouped slots", function()
    local path = temporary ".h5"
    local slots = {}
    for i, shape in ipairs { { 3, 2 }, { 2 }, { 3, 2 }, { 2 } } do
      slots[i], slots[i + 4] = models.wave(shape, 10 + i), tide.ops.abs(models.wave(shape, 20 + i))
    end
    local optimizer = { { "Adam/iter:0", core.tensor(5, { dtype = "int64" }) } }
    for i, t in ipairs(slots) do
      optimizer[i + 1] = { ("Adam/w%d/%s:0"):format((i - 1) % 4, i > 4 and "v" or "m"), t }
    end
    write(path, { keras_version = "2.3.1", backend = "tensorflow",
      model_config = { ascii = config }, training_config = { ascii = training } },
      { { "in" }, { "seq", { "d/kernel:0", k }, { "d/bias:0", b } },
        { "other", { "other/kernel:0", k2 }, { "other/bias:0", b2 } }, { "cat" } }, optimizer)
    local model = keras.load_model(path)
    os.remove(path)
    local x = models.wave({ 2, 3 }, 7)
    local want = tide.ops.concatenate(
      { x:matmul(k) + b, tide.ops.relu(x:matmul(k2) + b2) }, { axis = 2 })
    assert.is_true(models.difference(model(x), want:tolist()) < 1e-6)
    assert.equal(5, model.optimizer.iterations)
    assert.is_true(math.abs(model.optimizer.learning_rate - 0.01 / (1 + 0.1 * 5)) < 1e-9)
    for i, r in ipairs(require("tide.saving.keras.weights").trainable(model)) do
      local at = model.optimizer._index[r.tensor]
      assert.equal(0, models.difference(model.optimizer._slots.momentum[at], slots[i]:tolist()))
      assert.equal(0, models.difference(model.optimizer._slots.velocity[at], slots[i + 4]:tolist()))
    end
  end)

  it("with weights that its names do not have is refused", function()
    local path = temporary ".h5"
    core.blob_write(path, core.hdf5_encode({},
      '{"/":{"layer_names":["a"]},"/a":{"weight_names":["a/kernel:0"]}}'))
    local m = tide.Sequential { tide.layers.Dense { 2, input_shape = { 3 } } }
    local ok, e = pcall(keras.load_weights, m, path)
    os.remove(path)
    assert.is_false(ok)
    assert.truthy(tostring(e):find("/a names the weight 'a/kernel:0', which is not there", 1, true))
  end)
end)

describe("model:save, model:load_weights and callbacks", function()
  local function model_and_data()
    local m = tide.Sequential {
      tide.layers.Dense { 3, activation = "tanh", input_shape = { 4 } }, tide.layers.Dense { 2 } }
    m:compile { optimizer = "adam", loss = "mse" }
    return m, models.wave({ 6, 4 }, 1), models.wave({ 6, 2 }, 2)
  end

  it("choose the format by the name", function()
    local m, x = model_and_data()
    local want = m(x):tolist()
    for _, extension in ipairs { ".keras", ".h5" } do
      local path = temporary(extension)
      m:save(path)
      assert.equal(0, models.difference(tide.load_model(path)(x), want))
      os.remove(path)
    end
    for _, extension in ipairs { ".weights.h5", ".h5" } do
      local path = temporary(extension)
      m:save_weights(path)
      m.weights[1]:assign(tide.ops.zeros_like(m.weights[1]))
      m:load_weights(path)
      assert.equal(0, models.difference(m(x), want))
      os.remove(path)
    end
  end)

  it("ModelCheckpoint writes Keras' files with the epoch in the name, and the best one is restored",
    function()
    local m, x, y = model_and_data()
    local stem = temporary()
    for _, extension in ipairs { ".keras", ".h5" } do
      m:fit(x, y, { epochs = 2, verbose = 0,
        callbacks = { tide.callbacks.ModelCheckpoint { stem .. "_{epoch:02d}" .. extension } } })
      for _, n in ipairs { "_01", "_02" } do
        assert.truthy(keras.load_model(stem .. n .. extension))
        os.remove(stem .. n .. extension)
      end
    end
    m:fit(x, y, { epochs = 1, verbose = 0,
      callbacks = { tide.callbacks.ModelCheckpoint { stem .. ".weights.h5",
        save_weights_only = true } } })
    local want = m(x):tolist()
    m.weights[1]:assign(tide.ops.zeros_like(m.weights[1]))
    m:load_weights(stem .. ".weights.h5")
    os.remove(stem .. ".weights.h5")
    assert.equal(0, models.difference(m(x), want))
  end)

  it("a process killed at any step of writing leaves the old file or the new one", function()
    local program = [[
      local tide, core = require "tide", require "tide.core"
      local m = tide.load_model(arg[1])
      m.weights[1]:assign(tide.ops.ones_like(m.weights[1]))
      core.io_fault(arg[2], 1, "kill")
      m:save(arg[1])]]
    local script = temporary ".lua"
    local f = io.open(script, "w")
    f:write(program)
    f:close()
    local ones = tide.ops.ones({ 4, 3 }):tolist()
    for _, extension in ipairs { ".keras", ".h5" } do
      local m = model_and_data()
      local path = temporary(extension)
      m:save(path)
      local old = m.weights[1]:detach():tolist()
      for _, point in ipairs { "write", "fsync", "rename", "fsync_dir" } do
        local command = ("%s %s %s %s 2>/dev/null"):format(expect.lua, script, path, point)
        local _, how, code = os.execute(command)
        assert.is_true(how == "signal" or code == 137, point)
        local got = tide.load_model(path).weights[1]:detach():tolist()
        assert.same(point == "fsync_dir" and ones or old, got)
      end
      os.execute("rm -f " .. path .. "*")
    end
    os.remove(script)
  end)
end)
