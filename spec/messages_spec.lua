-- What a newcomer from Keras or PyTorch gets wrong in the first half hour, and what the message
-- must say about it: where, what was expected, what came, and how to mend it.
local expect = require "spec.support.expect"
local literals = require "spec.support.literals"
local tide = require "tide"
local layers, ops = tide.layers, tide.ops

local x = tide.ones { 6, 4 }
local y = tide.tensor({ 1, 2, 3, 1, 2, 3 }, { dtype = "int32" })

local function says(f, ...)
  local text = expect.message(f)
  for _, part in ipairs { ... } do
    expect.has(text, part)
  end
end

local function fit(units, activation, loss, targets, inputs)
  local model = tide.Sequential {
    layers.Dense { units, activation = activation, input_shape = { 4 }, name = "out" } }
  model:compile { optimizer = "sgd", loss = loss }
  return model:fit(inputs or x, targets, { verbose = 0, epochs = 1 })
end

describe("names of other libraries", function()
  it("lead to Tide's", function()
    says(function() return layers.Linear end, "did you mean 'Dense'")
    says(function() return tide.nn end, "did you mean 'layers'")
    says(function()
      return tide.optimizers.Adam { lr = 0.1 }
    end, "Adam: unknown option 'lr'; did you mean 'learning_rate'")
    says(function() return x:view(2, -1) end, "did you mean 'reshape'")
    says(function() return x:unsqueeze(1) end, "did you mean 'expand_dims'")
    local known = { sub_ = "subtract_", clamp = "clip", eq = "equal", numel = "size", dim = "ndim",
      t = "transpose", expand = "broadcast_to", gather = "take_along_axis" }
    for theirs, ours in pairs(known) do
      says(function() return x[theirs] end, ("did you mean '%s'"):format(ours))
    end
    says(function()
      return tide.datasets.cifar1000
    end, "unknown name 'cifar1000'; did you mean 'cifar100'")
    says(function() return tide.models.Sequental end, "did you mean 'Sequential'")
    says(function() return tide.utils.to_categorial end, "did you mean 'to_categorical'")
  end)
  it("fields that are called say so", function()
    says(function() return x.shape() end, "this is a field", "write x.shape without ()", "[6, 4]")
    local model = tide.Sequential { layers.Dense { 2, input_shape = { 4 } } }
    says(function() local n = model:layers() return n end, "layers is a field",
      "write x.layers without ()")
    says(function() return tide.zeros(2, 3) end, "one list, { 2, 3 }")
    says(function() return tide.tensor { 1, nil, 3 } end, "got nil; lists have no holes")
  end)
end)

describe("slips", function()
  it("of signs that Lua turns round name both methods", function()
    says(function() return x > 15 end, "x:greater(y) for x > y", "x:less(y)")
    says(function() return x >= 15 end, "x:greater_equal(y) for x >= y", "x:less_equal(y)")
  end)

  it("of ranges name both ends", function()
    says(function() layers.Dropout(2) end, "Dropout: rate must be a number from 0 to 1 (got 2)")
    says(function() layers.Dropout(-1) end, "Dropout: rate must be a number from 0 to 1 (got -1)")
  end)

  it("of predictions that are one number name the loss and both shapes", function()
    local one = tide.tensor(1.0)
    for _, name in ipairs { "hinge", "squared_hinge", "categorical_hinge", "mean_squared_error",
      "cosine_similarity", "huber", "poisson" } do
      says(function() tide.losses[name](tide.ones { 3, 2 }, one) end,
        name .. ": targets and predictions differ in rank (expected y_true [], got [3, 2])")
    end
    says(function() tide.losses.cosine_similarity(one, one) end,
      "cosine_similarity: targets and predictions must be vectors (got two numbers)")
    assert.equal(0, tide.losses.hinge(1, tide.ones { 2 }):item()) -- one target for all
  end)

  it("of a variable that the optimizer does not know say what helps", function()
    local a = tide.ones({ 1 }, { requires_grad = true })
    local b = tide.ones({ 1 }, { requires_grad = true })
    local sgd = tide.optimizers.SGD()
    sgd:apply({ tide.ones { 1 } }, { a })
    says(function() sgd:apply({ tide.ones { 1 } }, { b }) end,
      "compile the model again, or make a new optimizer for it")
  end)

  it("of tiles that no memory holds name tile alone", function()
    local text = expect.message(ops.tile, tide.ones { 2 }, { math.maxinteger, 1 })
    expect.has(text, "tile: the result has too many elements (input [2], repeats 922")
    assert.falsy(text:find("broadcast_to", 1, true))
    assert.same({ 0, 0 }, { table.unpack(ops.tile(tide.ones { 0 }, { 0, 5 }).shape) })
  end)

  it("of a colon where a dot belongs, and the reverse, stay short", function()
    says(function() tide.layers:Dense { 1 } end, "is called with a dot")
    local model = tide.Sequential { layers.Dense { 2 } }
    for _, method in ipairs { "summary", "to_json", "graph", "get_layer", "fit" } do
      says(function() model[method]() end, method .. ": is a method: write model:" .. method)
    end
  end)

  it("of axes where there are none say so", function()
    local labels = tide.tensor({ 1, 2 }, { dtype = "int32" })
    says(function() tide.losses.sparse_categorical_crossentropy(labels, false) end,
      "sparse_categorical_crossentropy: y_pred has no axis of classes")
    says(function() ops.softmax(tide.tensor(1.5)) end, "no axis -1 in a tensor without axes")
  end)

  it("of a layer that comes twice say that it is the same", function()
    local layer = layers.Dense(2)
    says(function() tide.Sequential { layer, layer } end, "is in it already")
  end)

  it("of sizes say them in units that fit", function()
    local core = require "tide.core"
    core.memory_limit(core.memory().live_bytes + 2 ^ 20)
    local many = expect.message(tide.ones, { 1000000, 1000000 })
    local some = expect.message(tide.ones, { 100000, 100000 })
    core.memory_limit(0)
    expect.has(many, "needs 4.0 TB (live ")
    expect.has(some, "needs 40.0 GB (live ")
  end)
end)

describe("methods of torch and of older Keras", function()
  local model = tide.Sequential { layers.Dense { 2, input_shape = { 4 } } }
  it("on models and layers say what stands for them", function()
    for name, part in pairs { parameters = "trainable_weights", named_parameters = "weights",
      train = "training = true", eval = "model:evaluate", state_dict = "save_weights",
      load_state_dict = "load_weights", zero_grad = "value_and_grad", forward = "model(x)",
      modules = "layers" } do
      for _, layer in ipairs { model, model.layers[1] } do
        says(function() layer[name](layer) end, "there is no method '" .. name .. "'", part)
      end
    end
    says(function() return model:fit_generator() end, model.name, "fit takes generators")
    says(function() return model:predict_classes(x) end, "model:predict(x):argmax(-1)")
    says(function() return model.parameters() end, "model: there is no method 'parameters'")
  end)
  it("on optimizers too", function()
    local adam = tide.optimizers.Adam()
    says(function() adam:step() end, "optimizer:apply(grads, variables)")
    says(function() adam:zero_grad() end, "there is no method 'zero_grad'")
  end)
  it("give way to a class' own methods, fields and options of these names", function()
    local Own = tide.Layer:extend("OwnNames", { args = { "train" },
      parameters = function() return 3 end,
      call = function(self, v) return self.train and v * 2 or v end })
    local layer = Own()
    assert.equal(3, layer:parameters())
    assert.is_nil(layer.train)
    assert.equal(2, Own { train = true }(tide.ones { 1 })[1])
    layer.eval = 5
    assert.equal(5, layer.eval)
    says(function() layer:state_dict() end, "there is no method 'state_dict'")
  end)
end)

describe("an unknown name in a namespace", function()
  it("raises and suggests, in each of them", function()
    for ns in ([[activations audio callbacks class constraints datasets image initializers layers
      losses metrics models ops optimizers plot preprocessing random regularizers saving
      utils]]):gmatch "%S+" do
      says(function() return tide[ns].Foo end, ns, "unknown name 'Foo'")
    end
    says(function() return tide.plot.histry end, "tide.plot", "did you mean 'history'")
    says(function() return tide.image.laod end, "tide.image", "did you mean 'load'")
  end)
end)

describe("options of tide.plot and tide.utils", function()
  local plot, utils = tide.plot, tide.utils
  it("are refused where they are unknown, in every function", function()
    local history = { loss = { 2, 1 } }
    for name, call in pairs { histogram = { { 1, 2 } }, lines = { { { "a", { 1 } } } },
      history = { history },
      confusion_matrix = { { { 1 } } }, images = { tide.ones { 1, 4, 4 } }, roc = { { 0, 1 }, { 0.2,
        0.7 } },
      precision_recall = { { 0, 1 }, { 0.2, 0.7 } }, picture = { tide.ones { 4, 4 } } } do
      call[#call + 1] = { titel = "x" }
      says(function() plot[name](table.unpack(call)) end, name .. ": unknown option 'titel'",
        "'title'")
      call[#call] = 3
      says(function() plot[name](table.unpack(call)) end,
        name .. ": options must be a table (got 3)")
    end
    says(function() plot.histogram({ 1 }, { bin = 3 }) end, "did you mean 'bins'")
    says(function() utils.to_categorical({ 1 }, { num_clases = 2 }) end,
      "did you mean 'num_classes'")
    says(function() utils.normalize({ 1 }, { axes = 1 }) end, "normalize: unknown option 'axes'")
    says(function() utils.confusion_matrix({ 1 }) end, "y_pred is missing")
  end)
  it("come by position or by name", function()
    local labels = { 1, 3 }
    for _, shape in ipairs { utils.to_categorical(labels, 4).shape, utils.to_categorical(labels,
      { num_classes = 4 }).shape,
      utils.to_categorical({ x = labels, num_classes = 4 }).shape } do
      assert.equal("[2, 4]", tostring(shape))
    end
    assert.equal("[3, 3]", tostring(utils.confusion_matrix({ 1 }, { 2 }, 3).shape))
    assert.equal("[3, 3]", tostring(utils.confusion_matrix({ 1 }, { 2 },
      { num_classes = 3 }).shape))
    assert.equal(0.5, utils.normalize({ { 1, 3 }, { 1, 1 } }, { axis = 1, order = 1 })[{ 1, 1 }])
    assert.equal(0.75, utils.normalize({ { 3, 4 } }, { order = math.huge })[{ 1, 1 }])
  end)
end)

describe("model:fit refuses", function()
  it("targets that do not fit an elementwise loss", function()
    says(function()
      fit(3, "linear", "mse", tide.ones { 6, 2 })
    end, "output 'out'", "mse", "expected [6, 3], got [6, 2]")
  end)
  it("labels for a binary loss", function()
    says(function()
      fit(1, "sigmoid", "binary_crossentropy", y)
    end, "go from 1 to 3", "sparse_categorical_crossentropy")
    says(function()
      fit(1, "sigmoid", "binary_crossentropy", ops.minimum(y, 2))
    end, "1 and 2 become 0 and 1 by y - 1")
  end)
  it("one-hot targets for a sparse loss", function()
    says(function()
      fit(3, "softmax", "sparse_categorical_crossentropy", ops.one_hot(y, 3))
    end, "expected [6], got [6, 3]",
      "one-hot targets need categorical_crossentropy")
  end)
  it("labels that are not whole", function()
    says(function()
      fit(3, "softmax", "sparse_categorical_crossentropy", y + 0.5)
    end, "whole numbers", "between 1.5 and 3.5")
  end)
  it("inputs of another rank, and says what a single sample lacks", function()
    says(function()
      fit(1, "linear", "mse", x, tide.ones { 6, 2, 4 })
    end, "expected [none, 4], got [6, 2, 4]")
    local model = tide.Sequential { layers.Dense { 1, input_shape = { 4 } } }
    says(function()
      model:predict(tide.ones { 4 }, { verbose = 0 })
    end, "got [4]", "x:expand_dims(1)")
    local a, b = tide.Input { 4, name = "a" }, tide.Input { 4, name = "b" }
    local two = tide.Model { inputs = { a, b }, outputs = layers.Add() { a, b } }
    says(function() two { x, tide.ones { 4 } } end, "input 'b' has the wrong shape")
  end)
  it("tables where one input is due, and names of other inputs", function()
    local model = tide.Sequential { layers.Dense { 1, input_shape = { 4 } } }
    model:compile { optimizer = "sgd", loss = "mse" }
    says(function() model:fit(function() return { x, x } end, { steps_per_epoch = 1,
      verbose = 0 }) end,
      "takes one input (got a table of 2)", "return x, y")
    local input = tide.Input { 4, name = "a" }
    model = tide.Model { input, layers.Dense { 1 }(input) }
    says(function() model:predict({ b = x }, { verbose = 0 }) end,
      "the input 'a' is missing (got b)")
    says(function() model { x, x } end, "takes one input (got a table of 2)")
    assert.equal("[6, 1]", tostring(model:predict({ a = x }, { verbose = 0 }).shape))
    assert.equal("[6, 1]", tostring(model:predict({ x }, { verbose = 0 }).shape))
  end)
  it("metrics that return nothing, orders that are none, patterns that are none", function()
    local model = tide.Sequential { layers.Dense { 1, input_shape = { 4 } } }
    model:compile { optimizer = "sgd", loss = "mse", metrics = { function() end } }
    says(function() model:fit(x, tide.ones { 6, 1 }, { verbose = 0 }) end,
      "a metric must return a tensor", "got nil")
    says(function() model:fit(x, y, { shuffle = "foo" }) end,
      'shuffle must be true, false or "batch" (got \'foo\'')
    says(function() tide.optimizers.AdamW():exclude_from_weight_decay { var_names = { "[" } } end,
      "'[' is no regular expression")
    says(function() tide.optimizers.SGD():apply({ tide.ones { 3 } }, { tide.ones { 2 } }) end,
      "SGD: grads[1]")
  end)
  it("initializers that make no weight, values to watch that are not logged", function()
    for _, made in ipairs { tide.ones { 1 }, "w" } do
      says(function() layers.Dense { 2, kernel_initializer = function() return made end }(x) end,
        "the initializer of 'kernel' must return a tensor of shape [4, 2]")
    end
    says(function() layers.Dense { 2, kernel_initializer = function() end }(x) end, "got nil")
    local model = tide.Sequential { layers.Dense { 1, input_shape = { 4 } } }
    model:compile { optimizer = "sgd", loss = "mse", metrics = { "mae" } }
    says(function()
      model:fit(x, tide.ones { 6, 1 }, { verbose = 0, validation_split = 0.5,
        callbacks = { tide.callbacks.EarlyStopping { monitor = "val_mea" } } })
    end, "more or less of 'val_mea' is better", "did you mean 'val_mae'")
  end)
  it("bools as targets of no binary loss", function()
    assert.truthy(fit(1, "sigmoid", "binary_crossentropy", ops.greater(y, 1)).loss[1] > 0)
  end)
  it("losses that return nothing, layers and models without call, empty models", function()
    says(function()
      fit(1, "linear", function() end, x)
    end, "a loss must return a tensor", "got nil")
    says(function() tide.Layer:extend("Empty", {}) {}(x) end, "Empty", "defines no call")
    says(function() tide.Model:extend("Hollow", {}) {}(x) end, "hollow", "defines no call")
    local Mute = tide.Layer:extend("Mute", { call = function() end })
    says(function()
      tide.Sequential { Mute { input_shape = { 4 } } }
    end, "Mute", "returned nothing")
    says(function() tide.Sequential {}:predict(x, { verbose = 0 }) end, "has no layers")
  end)
end)

describe("a model's input", function()
  it("gains or loses a last axis of 1, as in Keras", function()
    local model = tide.Sequential { layers.Dense { 1, input_shape = { 1 } } }
    model:compile { optimizer = "sgd", loss = "mse" }
    local line = tide.arange(8) / 8
    model:fit(line, line * 2, { verbose = 0 })
    assert.are.same({ 8, 1 }, model:predict(line, { verbose = 0 }).shape:totable())
    local input = tide.Input { 3 }
    local sum = tide.Model { inputs = input, outputs = ops.sum(input, 2) }
    assert.are.same({ 2 }, sum(tide.ones { 2, 3, 1 }).shape:totable())
  end)
end)

describe("Keras' spellings", function()
  it("of data sets, files and configurations work", function()
    says(function()
      tide.datasets.mnist.load_data { "/nowhere" }
    end, "mnist: the files are not there")
    assert.is_function(tide.models.save_model)
    local saved = tide.losses.serialize(tide.losses.Huber { delta = 0.5 })
    assert.are.equal(0.5, tide.losses.deserialize(saved).delta)
    assert.are.equal("relu", tide.activations.serialize(tide.activations.relu))
  end)
end)

describe("names that nearly exist", function()
  local model = tide.Sequential { layers.Dense { 2, input_shape = { 4 } } }
  model:compile { optimizer = "adam", loss = "mse" }

  it("raise with the method that was meant, on models, layers and objects", function()
    for name, ours in pairs { complie = "compile", evalute = "evaluate", predct = "predict" } do
      says(function() model[name](model) end, ("no method or field '%s'"):format(name),
        ("did you mean '%s'?"):format(ours))
    end
    says(function() model.layers[1]:buid() end, "Dense: no method or field 'buid'", "'build'")
    says(function() tide.metrics.Mean():reset_states() end, "did you mean 'reset_state'?")
    says(function() model.optimizer:aply({}, {}) end, "did you mean 'apply'?")
    says(function() tide.callbacks.EarlyStopping():set_modle() end, "did you mean 'set_model'?")
  end)

  it("raise where a letter was written too often or one too much", function()
    for name, ours in pairs { fitt = "fit", compilee = "compile", summaryy = "summary",
      predictt = "predict", fitx = "fit" } do
      says(function() model[name](model) end, ("no method or field '%s'"):format(name),
        ("did you mean '%s'?"):format(ours))
    end
  end)

  it("of torch say what is done here about devices and dtypes", function()
    for _, object in ipairs { model, model.layers[1] } do
      says(function() object:to "cuda" end, "there is no method 'to'", "tide.device")
      says(function() object:cuda() end, "there is no method 'cuda'", "the CPU")
      says(function() object:half() end, "there is no method 'half'", "dtype")
      says(function() object:register_buffer("n", x) end, "add_state")
      says(function() object:named_modules() end, "there is no method 'named_modules'", "layers")
    end
  end)

  it("raise when a field is set that would change nothing", function()
    says(function() model.optimizer.lr = 0.5 end, "Adam: has no option 'lr'; did you mean 'learn")
    says(function() model.layers[1].trainible = false end, "did you mean 'trainable'?")
    says(function() tide.losses.Huber().dleta = 2 end, "did you mean 'delta'?")
    local layer = model.layers[1]
    says(function() layer.unit = 3 end, "rawset(object, 'unit', value)")
    rawset(layer, "unit", 3)
    assert.equal(3, layer.unit)
    assert.is_nil(rawget(model.optimizer, "step")) -- how one probes for names of other libraries
    model.note, model.layers[1].owner = "mine", "me" -- names near none
    assert.equal("mine", model.note)
  end)

  it("leave alone what is a name and more", function()
    local layer, stopping = model.layers[1], tide.callbacks.EarlyStopping()
    for _, own in ipairs { { model, "train_steps" }, { model, "saved" }, { model, "names" },
      { layer, "calls" }, { layer, "dtypes" }, { tide.metrics.Mean(), "results" },
      { stopping, "models" }, { stopping, "monitored" }, { model.optimizer, "epsilons" } } do
      local object, name = own[1], own[2]
      object[name] = (object[name] or 0) + 1
      assert.equal(1, object[name], name)
    end
  end)

  it("are free in classes of one's own", function()
    local Own = tide.Layer:extend("OwnNames", { call = function(self, v)
      self.calls = (self.calls or 0) + 1
      self.trainible = true
      return v
    end })
    local own = Own()
    own(x)
    own(x)
    assert.equal(2, own.calls)
    assert.is_nil(own.buid)
  end)

  it("are no hooks of callbacks", function()
    local Own = tide.callbacks.Callback:extend("OwnHooks", { on_epoch_ends = function() end })
    says(function()
      model:fit(x, tide.ones { 6, 2 }, { verbose = 0, callbacks = { Own() } })
    end, "OwnHooks: no hook is named 'on_epoch_ends'; did you mean 'on_epoch_end'?")
  end)
end)

describe("a class of one's own", function()
  it("is refused where a method has a parameter that it would not get", function()
    says(function()
      tide.Layer:extend("Trained", { call = function(_, v, training) return v, training end })
    end, "call has a parameter named 'training'", "o.training")
    says(function()
      tide.Model:extend("Stepped", { train_step = function(_, data) return data end })
    end, "train_step has a parameter named 'data'", "function(self, x, y, sample_weight)")
    says(function()
      tide.Model:extend("Measured", { metrics = function(self) return { self.m } end })
    end, "'metrics' is a field that every model has", "finds by itself what stands in fields")
    tide.Layer:extend("Masked", { inputs = { "x", "mask" }, call = function(_, v, mask)
      return v, mask
    end })
  end)

  it("says how it declares options when it gets one that it does not name", function()
    local Own = tide.Layer:extend("Unnamed", { call = function(_, v) return v end })
    says(function() return Own(4) end, "Unnamed: takes no positional arguments (got 1)",
      'args = { "units", … }')
  end)
end)

describe("the form of messages", function()
  -- What a text says outside of its brackets.
  local function bare(text)
    local open = text:find("%([^()]*$") -- the rest of the brackets is put together elsewhere
    return (open and text:sub(1, open - 1) or text):gsub("%b()", "()")
  end

  local function wrong(text)
    local outside = bare(text)
    return outside:find "%f[%a]got %f[%%%a'{%d]" or outside:find "%f[%a]expected %f[%%%a'{%d]"
      or text:find "%) %(got " or text:find "%) %(expected "
  end

  it("is `what (expected x, got y); remedy` in every text of the Lua and the C", function()
    local found = {}
    local pipe <close> = assert(io.popen "find lua src kernels -name '*.lua' -o -name '*.[ch]'")
    local texts = 0
    for path in pipe:lines() do
      local file <close> = assert(io.open(path))
      for _, one in ipairs(literals.of(file:read "a", path:find "%.lua$" ~= nil)) do
        texts = texts + 1
        if wrong(one[1]) then
          found[#found + 1] = ("%s:%d: %s"):format(path, one[2], one[1])
        end
      end
    end
    assert.is_true(texts > 5000, texts)
    assert.same({}, found)
  end)

  it("is told from the others", function()
    for _, text in ipairs { "units must be an integer, got %s", "got %d gradients for %d variables",
      "expected a path", "takes (batch, features), got %s", "one of (a) (got %s)" } do
      assert.truthy(wrong(text), text)
    end
    for _, text in ipairs { "x has the wrong shape (expected %s, got %s); reshape it",
      "units must be an integer (got %s)", "what was expected", "begotten",
      "open (expected a, got " } do
      assert.falsy(wrong(text), text)
    end
  end)

  it("joins what stands in pieces", function()
    assert.same({ { "ab", 1 }, { "c", 1 }, { "d", 2 } },
      literals.of('f("a" .. "b", "c") -- "no"\nx = [[d]]', true))
    assert.same({ { "ab", 1 } }, literals.of('f("a" /* "no" */\n "b", \'c\');', false))
  end)
end)

describe("tables that nobody should give", function()
  local itself = {}
  itself[1] = itself
  local function model()
    local m = tide.Sequential { layers.Dense { 1, input_shape = { 4 } } }
    m:compile { loss = "mse" }
    return m
  end

  it("are refused in one clear error where they hold themselves", function()
    says(function() return layers.Dense(2)(itself) end, "takes a tensor (got a list of 1)")
    for _, name in ipairs { "fit", "evaluate" } do
      says(function() return model()[name](model(), itself, itself) end, "nested deeper than 8")
    end
    says(function() return model():predict(itself) end, "nested deeper than 8")
    says(function() return model():train_on_batch(itself, itself) end, "nested no deeper than 8")
    says(function() return model():fit(x, itself, { verbose = 0 }) end, "nested deeper than 8")
    for _, option in ipairs { "loss", "metrics", "weighted_metrics" } do
      says(function() return model():compile { loss = "mse", [option] = itself } end,
        option .. ": is nested deeper than 16 tables, or holds itself")
    end
    says(function() return tide.activations.serialize(itself) end, "holds itself")
    says(function() return ops.einsum(itself, x) end, "equation")
  end)

  it("are refused where they have holes, whatever length Lua gives them", function()
    local entries = {}
    for k = 0, 62 do
      entries[#entries + 1] = ("[%d] = 1"):format(1 << k)
    end
    local function sparse(option, value)
      local t = load("return { " .. table.concat(entries, ", ") .. ", o = 1 }")()
      t.o = nil
      assert(#t == 1 << 62)
      if option then
        t[option] = value
      end
      return t
    end
    says(function() return ops.sum(x, sparse("keepdims", true)) end,
      "sum: axis has no entry 3 (lists have no holes)")
    says(function() return ops.one_hot(sparse("dtype", "int64")) end,
      "one_hot: x has no entry 3 (lists have no holes)")
    says(function() return x[sparse()] end, "index: the index has no entry 3")
    says(function() x[sparse()] = 1 end, "index: the index has no entry 3")
    says(function() return tide.Sequential(sparse()) end, "entry 3 is nil")
    says(function() return tide.image.resize(x, sparse()) end,
      "[1, 1, nil, 1, nil, nil, nil, 1, ...]")
  end)

  it("are told what they should be where numbers stand", function()
    local sgd = tide.optimizers.SGD {}
    says(function() sgd:apply_gradients(3) end, "takes a list of { gradient, variable } (got 3)")
    says(function() sgd:apply_gradients { 1, 2 } end,
      "entry 1 must be { gradient, variable } (got 1)")
  end)

  it("of no elements and 2^39 lists have no end that one could wait for", function()
    says(function() return tide.zeros { 1 << 39, 0 }:tolist() end,
      "a tensor without elements has 549755813888 lists (expected at most 1048576)")
    local q, r = ops.qr(tide.zeros { 1 << 39, 0, 1 })
    assert.same({ 1 << 39, 0, 0 }, { table.unpack(q.shape) })
    assert.same({ 1 << 39, 0, 1 }, { table.unpack(r.shape) })
  end)

  it("hold released tensors, which are called so", function()
    local gone = tide.ones { 2, 4 }
    gone:release()
    says(function() return model()(gone) end, "got a tensor that was released")
    says(function() return model():predict(gone) end, "got a tensor that was released")
    says(function() return layers.Dense(2)(gone) end, "got a tensor that was released")
  end)

  it("are patterns of ModelCheckpoint, checked when it is made", function()
    local made = tide.callbacks.ModelCheckpoint
    says(function() return made { "a{epoch:999d}.keras" } end, "cannot read the format '999d'")
    says(function() return made { "a{loss:.1234f}.keras" } end, "cannot read the format '.1234f'")
    assert.truthy(made { "a{epoch:02d}-{val_loss:.2f}.keras" })
    local folder = expect.folder()
    local m = model()
    m:compile { loss = "mse", optimizer = tide.optimizers.SGD { learning_rate = 0 } }
    m:fit(x * (0 / 0), tide.ones { 6, 1 }, { verbose = 0, callbacks = {
      made { folder .. "/a{loss:02d}.safetensors", save_weights_only = true } } })
    os.execute("rm -r " .. folder)
  end)
end)

describe("a colon after a namespace", function()
  it("is refused wherever it is written, and never taken for an argument", function()
    for _, name in ipairs { "zeros", "ones", "tensor", "seed", "load_model", "Sequential" } do
      says(function() tide[name](tide, { 2 }) end, "with a dot")
    end
    says(function() tide.zeros(tide, { 2 }) end, "zeros: is a function and no method",
      "write tide.zeros(...) with a dot")
    says(function() ops.matmul(ops, x, x) end, "write tide.ops.matmul(...) with a dot")
    says(function() layers.Dense(layers, 4) end, "with a dot and not with a colon",
      "tide.layers.name(...)")
    says(function() tide.random.normal(tide.random, { 2 }) end, "with a dot")
    says(function() tide.optimizers.Adam(tide.optimizers, 0.1) end, "with a dot")
    says(function() tide.utils.to_categorical(tide.utils, y) end, "with a dot")
  end)
end)

describe("labels", function()
  local loss = "sparse_categorical_crossentropy"
  it("as one-hot rows lead to categorical_crossentropy, in every fit and in the loss", function()
    local rows = ops.one_hot(y, 3)
    local model = tide.Sequential { tide.Input { 4 }, layers.Dense { 3, activation = "softmax" } }
    model:compile { optimizer = "sgd", loss = loss }
    for _ = 1, 2 do -- what the first fit refused, the second one refuses too
      says(function() model:fit(x, rows, { verbose = 0 }) end, "fit: the targets of output",
        "one label per prediction (expected [6], got [6, 3])", "need categorical_crossentropy")
      model:fit(x, y, { verbose = 0 })
    end
    says(function() model:fit(x, tide.tensor { 1, 2, 1.5, 1, 2, 3 }, { verbose = 0 }) end,
      "must be whole numbers, labels from 1")
    says(function() model:evaluate(x, rows, { verbose = 0 }) end, "evaluate: the targets of output",
      "need categorical_crossentropy")
    says(function() tide.losses[loss](rows, ops.softmax(tide.ones { 6, 3 })) end,
      "takes one label per sample", "y:argmax(-1)")
    assert.same({ 1, 2, 3, 1, 2, 3 }, rows:argmax(-1):tolist())
  end)
  it("and predictions in the other order are told apart", function()
    says(function() tide.losses[loss](tide.ones { 6, 3 }, y) end,
      "true labels come first, then the predictions")
  end)
  it("from 1 for a loss that counts from 0 say so", function()
    says(function()
      fit(3, "softmax", tide.losses.SparseCategoricalCrossentropy { zero_based = true }, y)
    end, "label 3 at position 3", "expected 0 to 2", "counts classes from 0", "use y - 1")
  end)
end)

describe("a class of one's own", function()
  it("says where its options are named, to an option that it does not know", function()
    local Pair = tide.Model:extend("NewcomersPair", { init = function() end })
    says(function() Pair { generator = 1 } end, "NewcomersPair: unknown option 'generator'",
      "the class names its options in extend: args = {")
  end)
end)

describe("calls that lack something", function()
  it("say what it is without a raw message of Lua", function()
    says(function() tide.no_grad() end, "no_grad: takes a function (got nothing)",
      "tide.no_grad(function() ... end)")
    says(function() tide.enable_grad(3) end, "enable_grad: takes a function (got a number)")
    says(function() return x * nil end, "multiply: x2 is missing (expected a tensor)")
    says(function()
      tide.optimizers.SGD():apply_gradients({ tide.ones { 1 } }, { tide.ones { 1 } })
    end, "entry 1 must be { gradient, variable }", "optimizer:apply(grads, variables)")
    says(function() x:to "float64" end, "no device 'float64'", "x:cast \"float64\"")
    says(function() x:to "cuda" end, "no device 'cuda' here (expected cpu)")
    local model = tide.Sequential { layers.Dense { 2, input_shape = { 4 } } }
    says(function() model.add(layers.Dense(3)) end, "add: is a method", "with a colon")
    says(function() model(tide.ones { 4 }) end, "x:expand_dims(1)")
    assert.is_nil(expect.message(function() model(tide.ones { 3 }) end):find("expand_dims", 1,
      true))
  end)
end)
