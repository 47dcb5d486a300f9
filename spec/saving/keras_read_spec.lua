-- Files of real Keras: the models, weights and states in them.
local expect = require "spec.support.expect"
local tide = require "tide"
local keras = require "tide.saving.keras"
local models = require "spec.support.keras_models"
local reference = require "spec.ref.keras_models"

local folder = "spec/fixtures/keras/"

local function load(name, o)
  return keras.load_model(folder .. name, o)
end

local message = expect.message

describe("models of Keras", function()
  for name, want in pairs(reference.models) do
    for _, extension in ipairs { ".keras", ".h5" } do
      it(name .. extension .. " gives Keras' outputs", function()
        assert.is_true(models.difference(models.run(load(name .. extension)), want) < 2e-5)
      end)
    end
  end

  it("cnn, as archive and as .h5, gives Keras' outputs", function()
    for _, f in ipairs { "cnn.keras", "cnn.h5" } do
      local model = load(f)
      assert.is_true(models.difference(models.run(model), reference.fixtures.cnn) < 1e-5)
      assert.equal("Adam", model.optimizer:_class_name())
      assert.equal("cnn", model.name)
    end
  end)

  it("minimal files of all three Keras load", function()
    for _, f in ipairs { "min_sequential.keras", "min_functional.keras", "min_compiled.keras",
      "min_keras2_entries.keras", "min_legacy_model.h5" } do
      local y = load(f)(tide.tensor { { 1, -1, 0.5, 2 } })
      assert.is_true(models.difference(y, { { 5.0017161, 4.5532436 } }) < 1e-5)
    end
  end)

  it("compiles as the file says, with labels from 0", function()
    local model = load "min_compiled.keras"
    assert.equal("Adam", model.optimizer:_class_name())
    local cnn = load "cnn.keras"
    local x, y = models.wave({ 2, 8, 8, 3 }, 1), tide.tensor({ 0, 1 }, { dtype = "int32" })
    local loss, accuracy = cnn:evaluate(x, y, { verbose = 0 })
    assert.is_true(loss > 0 and accuracy >= 0 and accuracy <= 1)
    assert.is_nil(rawget(load("cnn.keras", { compile = false }), "optimizer"))
  end)
end)

describe("the optimizer's state in Keras' files", function()
  local known = { sgd = "SGD", adam = "Adam", adamw = "AdamW", rmsprop = "RMSprop", nadam = "Nadam",
    adagrad = "Adagrad", adamax = "Adamax", adadelta = "Adadelta", lion = "Lion", ftrl = "Ftrl",
    directions = "Adam" }
  for name, weights in pairs(reference.optimizers) do
    it("of " .. known[name] .. " continues as in Keras", function()
      local model = load("opt_" .. name .. ".keras")
      assert.equal(known[name], model.optimizer:_class_name())
      assert.equal(2, model.optimizer.iterations)
      model:train_on_batch(models.wave({ 6, 4 }, 1), models.wave({ 6, 2 }, 2))
      local most = 0
      for i, w in ipairs(model.weights) do
        most = math.max(most, models.difference(w:detach(), weights[i]))
      end
      assert.is_true(most < 2e-6, "weights differ by " .. most)
    end)
  end

  it("is in Keras' order for RMSprop with averages", function()
    local model = tide.Sequential { tide.layers.Dense { 2, input_shape = { 4 } } }
    model:compile { optimizer = { "rmsprop", momentum = 0.9, centered = true, use_ema = true },
      loss = "mse" }
    keras.load_weights(model, folder .. "ema.weights.h5")
    local entries = keras.read_hdf5(folder .. "ema.weights.h5")
    local by_name = {}
    for _, e in ipairs(entries) do
      by_name[e.name] = e.tensor
    end
    for i, group in ipairs { model.optimizer._average, model.optimizer._slots.velocity,
      model.optimizer._slots.momentum, model.optimizer._slots.average_gradient } do
      for k = 1, 2 do
        local want = by_name["/optimizer/vars/" .. 2 * i + k - 1]
        if want then
          assert.is_true(models.difference(group[k], want:tolist()) == 0)
        end
      end
    end
    assert.equal(by_name["/optimizer/vars/0"]:tolist(), model.optimizer.iterations)
  end)
end)

describe("weights of Keras", function()
  local function two_dense()
    return tide.Sequential {
      tide.layers.Dense { 3, activation = "relu", input_shape = { 4 }, name = "a" },
        tide.layers.Dense { 2, name = "b" } }
  end

  it("in a .weights.h5 file fill a model of the same layers", function()
    local model = load "cnn.keras"
    local want = models.run(model):tolist()
    for _, w in ipairs(model.weights) do
      w:assign(tide.ops.zeros_like(w))
    end
    assert.is_true(models.difference(models.run(model), want) > 1e-5)
    keras.load_weights(model, folder .. "cnn.weights.h5")
    assert.equal(0, models.difference(models.run(model), want))
  end)

  it("in a legacy file load in order, by name, and with fixed-length names", function()
    local model = two_dense()
    keras.load_weights(model, folder .. "min_legacy_weights_fixedstr.h5")
    local x = tide.tensor { { 1, -1, 0.5, 2 } }
    assert.is_true(models.difference(model(x), { { 5.0017161, 4.5532436 } }) < 1e-5)
    local renamed = tide.Sequential {
      tide.layers.Dense { 3, activation = "relu", input_shape = { 4 }, name = "a" },
        tide.layers.Dense { 2, name = "other" } }
    local before = renamed.weights[3]:tolist()
    keras.load_weights(renamed, folder .. "min_legacy_weights_fixedstr.h5", { by_name = true })
    assert.same(model.weights[1]:tolist(), renamed.weights[1]:tolist())
    assert.same(before, renamed.weights[3]:tolist())
  end)

  it("of a graph stand in the order of depth", function()
    local i = tide.Input { 4 }
    local short = tide.layers.Dense { 2, name = "short" }(i)
    local long = tide.layers.Dense { 2, name = "long2" }(tide.layers.Dense { 2, name = "long1" }(i))
    local model = tide.Model {
      inputs = i, outputs = tide.layers.Add { name = "add" } { short, long } }
    keras.load_weights(model, folder .. "ord.weights.h5")
    local by_name = {}
    for _, e in ipairs(keras.read_hdf5(folder .. "ord.weights.h5")) do
      by_name[e.name] = e.tensor:tolist()
    end
    assert.same(by_name["/layers/dense/vars/0"], model:get_layer("long1").kernel:tolist())
    assert.same(by_name["/layers/dense_1/vars/0"], model:get_layer("short").kernel:tolist())
    assert.same(by_name["/layers/dense_2/vars/0"], model:get_layer("long2").kernel:tolist())
  end)

  it("that do not fit are named with both shapes, and nothing is changed", function()
    local model = tide.Sequential { tide.layers.Dense { 3, input_shape = { 5 }, name = "a" },
      tide.layers.Dense { 2, name = "b" } }
    local before = model.weights[3]:tolist()
    local e = message(keras.load_weights, model, folder .. "min_legacy_weights_fixedstr.h5")
    assert.truthy(e:find("a kernel: the file has shape [4, 3], the model [5, 3]", 1, true))
    assert.same(before, model.weights[3]:tolist())
    keras.load_weights(model, folder .. "min_legacy_weights_fixedstr.h5", { skip_mismatch = true })
    assert.is_false(pcall(assert.same, before, model.weights[3]:tolist()))
  end)

  it("that are missing or too many are named", function()
    local one = tide.Sequential { tide.layers.Dense { 3, input_shape = { 4 }, name = "a" } }
    local three = two_dense()
    three:add(tide.layers.Dense { 2, name = "c" })
    assert.truthy(message(keras.load_weights, one,
      folder .. "min_legacy_weights_fixedstr.h5"):find("the layer 'b'", 1, true))
    assert.truthy(message(keras.load_weights, three,
      folder .. "min_legacy_weights_fixedstr.h5"):find("c is missing", 1, true))
    assert.truthy(message(keras.load_weights, one,
      folder .. "min_sequential.keras"):find("/layers/dense_1", 1, true))
    assert.truthy(message(keras.load_weights, three, folder .. "min_sequential.keras")
      :find("c (/layers/dense_2) is missing", 1, true))
  end)
end)

describe("functional models of normalized inputs, recurrent layers and attention", function()
  for _, file in ipairs { "norm.keras", "fn.keras", "fn.h5" } do
    it("give Keras' outputs: " .. file, function()
      local want = reference.fixtures[file:match "^%a+"]
      assert.is_true(models.difference(models.run(load(file)), want) < 1e-4)
    end)
  end
end)

describe("what Tide does not have or does not do", function()
  for file, words in pairs {
    ["evil_lambda.keras"] = "Lambda 'l' holds Python code",
    ["q_int8.keras"] = "Dense 'q' is quantized (QuantizedDTypePolicy)",
    ["q_int4.keras"] = "Dense 'q' is quantized (Int4DTypePolicy)",
    ["sub.keras"] = "unknown layer class 'MyM'",
  } do
    it("is refused by name: " .. file, function()
      assert.truthy(message(load, file):find(words, 1, true))
    end)
  end

  it(
    "a model of one's own class is read once the class is there, with fields, lists and tables of \z
    layers", function()
    local layers = tide.layers
    local Block = tide.Layer:extend("BlockOfFiles", {
      init = function(self)
        self.fc = layers.Dense { 3 }
        self.lst = { layers.Dense { 3 }, layers.LayerNormalization(), layers.Dense { 3 } }
        self.d = { x = layers.Dense { 3 } }
      end,
      build = function(self, shape)
        self.w = self:add_weight { { 3 }, name = "w" }
        for _, layer in ipairs { self.fc, self.d.x, table.unpack(self.lst) } do
          layer:build(shape)
        end
      end,
      call = function(self, x) return self.fc(x) * self.w end,
    })
    local Mine = tide.Model:extend("MyM", {
      init = function(self)
        self.blk = Block { name = "b1" }
        self.head = layers.Dense { 2, name = "hd" }
      end,
      build = function(self, shape)
        self.v = self:add_weight { { 2 }, name = "v" }
        self.blk:build(shape)
        self.head:build(shape)
      end,
      call = function(self, x) return self.head(self.blk(x)) + self.v end,
    })
    local registered = require("tide.registry").custom "layer"
    registered.MyM = nil
    local model = load("sub.keras", { custom_objects = { MyM = Mine } })
    local stored = {}
    for _, e in ipairs(keras.read_hdf5((require("tide.core").zip_open(folder .. "sub.keras")),
      "model.weights.h5")) do
      stored[e.name] = e.tensor:tolist()
    end
    assert.same(stored["/vars/0"], model.v:tolist())
    assert.same(stored["/blk/vars/0"], model.blk.w:tolist())
    assert.same(stored["/blk/fc/vars/0"], model.blk.fc.kernel:tolist())
    assert.same(stored["/blk/d/dense/vars/0"], model.blk.d.x.kernel:tolist())
    assert.same(stored["/blk/lst/dense_1/vars/0"], model.blk.lst[3].kernel:tolist())
    assert.same(stored["/blk/lst/layer_normalization/vars/1"], model.blk.lst[2].beta:tolist())
    assert.same(stored["/head/vars/0"], model.head.kernel:tolist())
  end)

  it("fields of a model of one's own that sort after 'layers' stand among the layers", function()
    local layers = tide.layers
    local Mine = tide.Model:extend("SortedFields", {
      init = function(self)
        self.b = layers.Dense { 2 }
        self.z = layers.Dense { 2 }
        self.a = layers.Dense { 2 }
        self.m = layers.LayerNormalization()
      end,
      build = function(self, shape)
        for _, layer in ipairs { self.a, self.b, self.m, self.z } do
          layer:build(shape)
        end
      end,
      call = function(self, x) return self.z(self.m(self.b(self.a(x)))) end,
    })
    local model = Mine()
    model:build(require("tide.list").new { tide.none, 2 })
    local got = {}
    for _, place in ipairs(require("tide.saving.keras.weights").places(model)) do
      got[place.path] = place.layer
    end
    assert.equal(model.a, got["/a"])
    assert.equal(model.b, got["/b"])
    assert.equal(model.z, got["/layers/dense_1"])
    assert.equal(model.m, got["/layers/layer_normalization"])
    require("tide.registry").custom("layer").SortedFields = nil
  end)

  it("classes of one's own are found through extend and custom_objects", function()
    local Mine = tide.Layer:extend("MineForFiles", { args = { "by" }, call = function(self, x)
      return x * self.by
    end })
    local model = tide.Sequential { tide.Input { 2 }, Mine { by = 3 } }
    local path = expect.name ".keras"
    keras.save_model(model, path)
    assert.is_true(models.difference(keras.load_model(path)(tide.ones { 1, 2 }), { { 3, 3 } }) == 0)
    os.remove(path)
  end)
  it(
    "options of one's own classes that are objects are made again: models, layers, losses, \z
    metrics, lists of them", function()
    local layers = tide.layers
    local Pair = tide.Model:extend("PairForFiles", {
      args = { "encoder", "decoders", "heads", "loss_fn", "metric_fn" },
      call = function(self, x)
        x = self.encoder(x)
        return self.decoders[1](x) + self.decoders[2](x) * self.heads.gate(x)
      end,
    })
    local dense = function(n) return tide.Sequential { tide.Input { 2 }, layers.Dense { n } } end
    local model = Pair { dense(2), { dense(3), layers.Dense { 3 } }, { gate = dense(3) },
      tide.losses.MeanSquaredError { reduction = "sum" },
      tide.metrics.MeanSquaredError { name = "mine" } }
    local x = tide.random.normal { 4, 2 }
    local y = model(x)
    for _, ext in ipairs { ".keras", ".safetensors" } do
      local path = os.tmpname() .. ext
      model:save(path)
      local again = tide.load_model(path)
      assert.is_true(models.difference(again(x), y:tolist()) == 0)
      assert.equal("MeanSquaredError", getmetatable(again.loss_fn).__name)
      assert.equal("sum", again.loss_fn.reduction)
      assert.equal("mine", again.metric_fn.name)
      assert.is_true(require("tide.class").is(again.metric_fn, tide.metrics.Metric))
      os.remove(path)
    end
    require("tide.registry").custom("layer").PairForFiles = nil
  end)
end)
