-- Changing models that are there, beside the real Keras: spec/ref/surgery.py made the numbers.
local expect = require "spec.support.expect"
local tide = require "tide"

local L = tide.layers
local ref = {}
for _, row in ipairs(require "spec.ref.surgery") do
  ref[row.name] = row
end

local function sequential()
  return tide.Sequential { tide.Input { 3, name = "in" },
    L.Dense { 4, activation = "relu", name = "a" }, L.Dense { 2, name = "b" }, name = "row" }
end

local function block()
  return tide.Sequential { tide.Input { 4 }, L.Dense { 5, name = "wide" },
    L.Dense { 4, name = "back" }, name = "block" }
end

local function functional()
  local x = tide.Input { 3, name = "in" }
  local h = L.Dense { 4, activation = "tanh", name = "a" }(x)
  h = L.Add { name = "sum" } { h, block()(h) }
  return tide.Model { inputs = x, outputs = L.Dense { 2, name = "b" }(h), name = "graph" }
end

local function names(layers)
  local out = {}
  for i, layer in ipairs(layers) do
    out[i] = layer.name
  end
  return out
end

local function visits(model, o)
  local seen = {}
  o = o or {}
  function o.clone_function(layer)
    seen[#seen + 1] = layer.name
    return getmetatable(layer).from_config(layer:get_config())
  end
  return seen, tide.models.clone_model(model, o)
end

local function sorted(t)
  table.sort(t)
  return t
end

describe("clone_model", function()
  it("asks clone_function for every layer but the inputs", function()
    local row = ref["visits sequential"]
    local seen, clone = visits(sequential())
    assert.same(row.seen, seen)
    assert.same(row.names, names(clone.layers))
    assert.equal(row.model, clone.name)
    row = ref["visits functional"]
    seen, clone = visits(functional())
    assert.same(row.seen, sorted(seen))
    assert.same(row.names, names(clone.layers))
    assert.equal(row.model, clone.name)
    row = ref["visits recursive"]
    seen, clone = visits(functional(), { recursive = true })
    assert.same(row.seen, sorted(seen))
    assert.same(row.names, names(clone:get_layer("block").layers))
  end)

  it("takes the layers that clone_function gives", function()
    local row = ref.clone_function
    local clone = tide.models.clone_model(functional(), { recursive = true,
      clone_function = function(layer)
        return layer:clone { name = layer.name,
          activation = getmetatable(layer) == L.Dense and "relu" or nil }
      end })
    clone:set_weights(row.weights)
    expect.close(clone(row.x), row.out, 1e-6, 1e-5)
  end)

  it("calls layers by call_function", function()
    local row = ref.call_function
    local model = functional()
    model:set_weights(row.weights)
    local clone = tide.models.clone_model(model, {
      clone_function = function(layer) return layer end,
      call_function = function(layer, ...)
        local y = layer(...)
        return getmetatable(layer) == L.Dense and L.Rescaling(0.5)(y) or y
      end })
    expect.close(clone(row.x), row.out, 1e-6, 1e-5)
    assert.equal(#row.names, #clone.layers)
    assert.equal(row.shared, rawequal(clone:get_layer "a", model:get_layer "a"))
  end)

  it("stands on other inputs", function()
    local row = ref.input_tensors
    local clone = tide.models.clone_model(functional(), {
      input_tensors = tide.Input { 3, name = "other" } })
    clone:set_weights(row.weights)
    expect.close(clone(row.x), row.out, 1e-6, 1e-5)
    assert.same(row.names, names(clone.layers))
    local inside = tide.models.clone_model(sequential(), { input_tensors = tide.Input { 3 } })
    assert.same({ none = nil, 2 }, { inside.output_shape[2] })
  end)

  it("is compiled as the model is, with an optimizer of its own", function()
    local row = ref.compiled
    local model = sequential()
    model:compile { optimizer = tide.optimizers.SGD { 0.1, momentum = 0.5 }, loss = "mse",
      metrics = { "mae" } }
    local clone = tide.models.clone_model(model)
    assert.equal(row.compiled, clone.compiled)
    expect.close(clone.optimizer.learning_rate, row.rate)
    assert.equal(row.momentum, clone.optimizer.momentum)
    assert.equal(row.same, clone.optimizer == model.optimizer)
  end)

  it("refuses what it cannot do, by name", function()
    local clone_model = tide.models.clone_model
    local function same(layer) return layer end
    expect.has(expect.message(clone_model, 3), "clone_model: takes a model (got 3)")
    expect.has(expect.message(clone_model, sequential(), { call_function = same }),
      "call_function serves functional models")
    expect.has(expect.message(clone_model, functional(), { clone_function = function() end }),
      "clone_function must return a layer (got nil for a (Dense 4))")
    expect.has(expect.message(clone_model, functional(), { input_tensors = tide.ones { 2 } }),
      "input_tensors must have the structure of the inputs")
    local Own = tide.Model:extend("SurgeryOwn", { call = function(_, x) return x end })
    expect.has(expect.message(clone_model, Own(), { clone_function = same }),
      "serve Sequential and functional models (got a model of the class SurgeryOwn)")
  end)
end)

describe("Sequential", function()
  it("pops and adds with and without building, as Keras", function()
    local model = sequential()
    model:pop()
    assert.equal(ref.pop.built, model.built)
    assert.equal(ref.pop.shape[2], model.output_shape[2])
    assert.equal(ref.pop.n, #model.layers)
    model = sequential()
    model:add(L.Dense(3), { rebuild = false })
    local row = ref["add without rebuild"]
    assert.equal(row.built, model.built)
    assert.equal(row.n, #model.layers)
    assert.same({ 1, 3 }, model(tide.ones { 1, 3 }).shape:totable())
    model:pop { rebuild = false }
    assert.is_false(model.built)
    assert.same({ 5, 2 }, model(tide.ones { 5, 3 }).shape:totable())
  end)
end)

describe("model:rename", function()
  it("names layers, which may exchange names, and their weights in files", function()
    local model = functional()
    local before = model(tide.ones { 1, 3 }):tolist()
    assert.equal(model, model:rename { a = "b", b = "a", ["block/wide"] = "broad" })
    assert.equal("broad", model:get_layer("block").layers[1].name)
    assert.equal(4, model:get_layer("b").units)
    local path = os.tmpname() .. ".safetensors"
    model:save_weights(path)
    local other = functional()
    assert.is_false(pcall(other.load_weights, other, path))
    other:rename { a = "b", b = "a", ["block/wide"] = "broad" }
    other:load_weights(path)
    os.remove(path)
    expect.close(other(tide.ones { 1, 3 }), before)
    model:rename "other"
    assert.equal("other", model.name)
  end)

  it("renames inputs, by which data are given", function()
    local model = functional()
    model:rename("in", "picture")
    assert.same({ "picture" }, model.input_names:totable())
    assert.equal(2, model { picture = tide.ones { 1, 3 } }.shape[2])
  end)

  it("refuses names that are taken or no names", function()
    local model = functional()
    expect.has(expect.message(model.rename, model, "a", "b"),
      "two layers of model \"graph\" would be named 'b'")
    expect.has(expect.message(model.rename, model, "a", "x/y"), "without '/'")
    expect.has(expect.message(model.rename, model, "aa", "c"),
      "no layer of model \"graph\" is named 'aa'; did you mean 'a'?")
    assert.equal("a", model:get_layer("a").name)
  end)
end)

describe("model:replace", function()
  it("puts a layer in a layer's place, and the others keep their weights", function()
    local model = functional()
    local kept = model:get_layer("a").kernel
    local old = model:replace("b", L.Dense(7))
    assert.equal(2, old.units)
    assert.same({ 5, 7 }, model(tide.ones { 5, 3 }).shape:totable())
    assert.equal(7, model.output_shape[2])
    assert.equal("b", model.layers[-1].name)
    assert.is_true(rawequal(kept, model:get_layer("a").kernel))
    model:compile { optimizer = "adam", loss = "mse" }
    assert.equal(1, #model:fit(tide.ones { 4, 3 }, tide.ones { 4, 7 }, { verbose = 0 }).loss)
    local row = sequential()
    row:replace(2, tide.Sequential { L.Dense(8), L.Dense(3) })
    assert.same({ 5, 3 }, row(tide.ones { 5, 3 }).shape:totable())
    assert.equal("b", row.layers[2].name)
    assert.same({ 5, 3 }, tide.models.model_from_json(row:to_json())(tide.ones { 5, 3 }).shape
      :totable())
  end)

  it("changes nothing where a layer behind it does not fit", function()
    local model = functional()
    local before = model(tide.ones { 1, 3 }):tolist()
    expect.has(expect.message(model.replace, model, "a", L.Dense(6)), "4")
    expect.close(model(tide.ones { 1, 3 }), before, 0, 0)
    assert.equal(4, model:get_layer("a").units)
    assert.same({ tide.none, 4 }, model:get_layer("a").output.shape:totable())
    local m = tide.Sequential { tide.Input { 8, 8, 3 }, L.Conv2D(4, 3), L.Conv2D(2, 3) }
    expect.has(expect.message(m.replace, m, 1, L.Conv2D(5, 3)), "5")
    expect.has(expect.message(model.replace, model, "a", L.Dense { 4, name = "b" }),
      "two layers of model \"graph\" would be named 'b'")
    expect.has(expect.message(model.replace, model, "a", 3), "takes a layer to put there (got 3)")
    expect.has(expect.message(model.replace, model, "in", L.Dense(3)),
      "an input cannot be replaced")
  end)

  it("works inside models, and in the fields of a class of one's own", function()
    local model = functional()
    model:replace("block/wide", L.Dense { 5, activation = "relu" })
    assert.equal("wide", model:get_layer("block").layers[1].name)
    expect.has(expect.message(model.replace, model, "block/back", L.Dense(6)),
      "stands in another model")
    local Own = tide.Model:extend("SurgeryFields", {
      init = function(self)
        self.parts = { L.Dense { 2, name = "p" }, L.Dense { 3, name = "q" } }
      end,
      call = function(self, x) return self.parts[2](self.parts[1](x)) end })
    local own = Own()
    own(tide.ones { 1, 4 })
    own:replace("q", L.Dense(9))
    assert.same({ 1, 9 }, own(tide.ones { 1, 4 }).shape:totable())
    assert.equal(4, #own.weights)
  end)
end)

describe("model:sub_model", function()
  it("is a part with the same layers", function()
    local model = functional()
    local head = model:sub_model { from = "sum" }
    local body = model:sub_model { to = { "a", "block" } }
    local x = tide.ones { 2, 3 }
    local a, b = table.unpack(body(x))
    expect.close(head { a, b }, model(x), 1e-6, 1e-6)
    assert.is_true(rawequal(body:get_layer "a", model:get_layer "a"))
    assert.same({ tide.none, 4 }, model:sub_model({ to = "a" }).output_shape:totable())
    local row = sequential()
    expect.close(row:sub_model { from = 2 }(row:sub_model { to = 1 }(x)), row(x), 1e-6, 1e-6)
  end)

  it("gives the outputs that its inputs lead to", function()
    local a, b = tide.Input { 3 }, tide.Input { 2 }
    local h = L.Dense { 4, name = "h" }(a)
    local model = tide.Model { inputs = { a, b }, outputs = { first = L.Dense { 1, name = "p" }(h),
      second = L.Concatenate { name = "q" } { h, b } } }
    assert.same({ tide.none, 1 }, model:sub_model({ from = "p" }).output_shape:totable())
    assert.same({ 2, 1 }, model:sub_model({ from = { "h", "q" }, to = "p" })
      { tide.ones { 2, 3 }, tide.ones { 2, 4 }, tide.ones { 2, 2 } }.shape:totable())
    local late = tide.Model { inputs = { a, b }, outputs = L.Add() { L.Dense(2)(h), b } }
    expect.has(expect.message(late.sub_model, late, { from = "h" }), "no output of model")
  end)

  it("says what it cannot give", function()
    local model = functional()
    expect.has(expect.message(model.sub_model, model, { to = "wide" }), "no layer of")
    expect.has(expect.message(model.sub_model, model, { to = "block/wide" }),
      "stands inside a layer of")
    local m = tide.Sequential { L.Dense(2) }
    expect.has(expect.message(m.sub_model, m, { to = 1 }), "it is not built")
  end)
end)

describe("model:freeze", function()
  it("freezes what patterns, layers and functions choose, at any depth", function()
    local model = functional()
    assert.same({ "wide", "back" }, names(model:freeze { "wi*", "bac?" }))
    assert.equal(4, #model.trainable_weights)
    model:unfreeze()
    assert.equal(8, #model.trainable_weights)
    assert.same({ "wide", "back" }, names(model:freeze "block/*"))
    assert.same({ "back" }, names(model:unfreeze(model:get_layer("block").layers[2])))
    assert.same({ "a" }, names(model:freeze(function(_, path) return path == "a" end)))
    assert.equal(4, #model.trainable_weights)
    assert.is_true(#model:freeze() >= 6)
    assert.equal(0, #model.trainable_weights)
    expect.has(expect.message(model.freeze, model, "conv*"),
      "freeze: 'conv*' fits no layer of model \"graph\"")
  end)

  it("holds for a model that is compiled: frozen weights stay, bit for bit", function()
    local model = sequential()
    model:compile { optimizer = tide.optimizers.Adam(0.1), loss = "mse" }
    model:fit(tide.ones { 4, 3 }, tide.ones { 4, 2 }, { verbose = 0 })
    model:freeze "a"
    local a, b = model:get_layer("a"):get_weights(), model:get_layer("b"):get_weights()
    model:fit(tide.ones { 4, 3 }, tide.ones { 4, 2 }, { verbose = 0 })
    assert.is_true(tide.ops.all(tide.ops.equal(a[1], model:get_layer("a").kernel)))
    assert.is_false(tide.ops.all(tide.ops.equal(b[2], model:get_layer("b").bias)))
  end)

  it("freezes LoRA's factors too, as Keras", function()
    local model = sequential()
    local a = model.layers[1]
    local function trained()
      local out = {}
      for _, r in ipairs(model:_records()) do
        out[#out + 1] = r.trainable and r.name or nil
      end
      return out
    end
    a:enable_lora(2)
    assert.same(sorted(ref.lora.on), sorted(trained()))
    a.trainable = false
    assert.same(sorted(ref.lora.frozen), sorted(trained()))
    expect.has(expect.message(function() L.Flatten():enable_lora(2) end),
      "enable_lora: flatten")
  end)
end)

describe("utils.clear_session", function()
  it("numbers names anew and takes the policy back, as Keras", function()
    tide.utils.clear_session()
    assert.same(ref.clear_session.first, { L.Dense(1).name, L.Dense(1).name })
    tide.config.set_dtype_policy "mixed_bfloat16"
    tide.utils.clear_session { free_memory = true }
    assert.equal(ref.clear_session.again, L.Dense(1).name)
    assert.equal(ref.clear_session.policy, tide.config.dtype_policy())
  end)
end)

describe("a function as a metric", function()
  local function nearness(y_true, y_pred)
    return (y_true - y_pred):abs():mean(-1)
  end

  it("is shown by its name, as in Keras", function()
    local tools = { closeness = function(a, b) return nearness(a, b) end }
    local model = sequential()
    model:compile { optimizer = "sgd", loss = "mse", metrics = { nearness } }
    local h = model:fit(tide.ones { 4, 3 }, tide.ones { 4, 2 }, { verbose = 0 })
    local found = {}
    for name in pairs(h.history) do
      found[#found + 1] = name
    end
    assert.same(ref.metric.names, sorted(found))
    model:compile { optimizer = "sgd", loss = "mse", metrics = { tools.closeness, function(a, b)
      return nearness(a, b)
    end } }
    h = model:fit(tide.ones { 4, 3 }, tide.ones { 4, 2 }, { verbose = 0 })
    assert.truthy(h.history.closeness and h.history.metric)
  end)
end)

describe("the graph as text", function()
  it("is what Graphviz reads, with models inside opened where that is asked", function()
    local text = tide.utils.model_to_dot(functional(), { show_shapes = true, rankdir = "LR" })
    expect.has(text, 'digraph "graph" {\n  graph [rankdir=LR, dpi=200, splines=ortho];')
    expect.has(text, '[label="a (Dense)\\n[none, 4]"];')
    local function edges(t)
      return select(2, t:gsub("%->", ""))
    end
    assert.equal(5, edges(text))
    local open = tide.utils.model_to_dot(functional(), { expand_nested = true, subgraph = true,
      show_trainable = true, show_layer_activations = true, show_dtype = true })
    assert.equal(6, edges(open))
    expect.has(open, 'subgraph "cluster_graph" {')
    expect.has(open, "wide (Dense)")
    expect.has(open, "a (Dense)\\nactivation: tanh\\nfloat32\\ntrainable")
    assert.is_nil(open:find("block", 1, true))
    expect.has(expect.message(tide.utils.model_to_dot, 3), "model_to_dot: takes a model (got 3)")
    expect.has(expect.message(tide.utils.plot_model, functional(), { rankdir = "LR" }),
      "draws from the inputs down alone")
    local path = os.tmpname() .. ".png"
    assert.equal(path, tide.utils.plot_model(functional(), { to_file = path, expand_nested = true,
      dpi = 100 }))
    os.remove(path)
  end)
end)

-- Methods that take nothing and may be called by anybody, which refuse what they are given.
describe("methods that take nothing", function()
  it("are all declared so", function()
    local class, object, origin = require "tide.class", require "tide.object", require "tide.origin"
    -- called by Tide with values that these classes do not need, or asked of the class
    local free = {}
    for name in ([[call build compute_mask compute_output_dtype fuse_as enable_lora is_calling
      is_layer is_training mask_of reset_names shape_of optimizers]]):gmatch "%S+" do
      free[name] = true
    end
    local open, seen = {}, {}
    for _, space in ipairs { "layers", "losses", "metrics", "optimizers", "callbacks",
      "initializers", "regularizers", "constraints", "models" } do
      local t = tide[space]
      for _, key in ipairs(getmetatable(t).__names(t)) do
        local ok, c = pcall(function() return t[key] end)
        c = ok and class.is_class(c) and c or nil
        while c and not seen[c] and not c._custom do
          seen[c] = true
          for name, f in next, c do
            if type(f) == "function" and name:sub(1, 1) ~= "_" and not free[name]
              and name:sub(1, 3) ~= "on_" and not object.arguments(f) then
              local inner = origin.of(f)
              local takes = origin.parameters(inner)
              if #takes <= 1 and takes[1] ~= "..." and debug.getinfo(inner, "S").what == "Lua" then
                open[#open + 1] = c.__name .. ":" .. name
              end
            end
          end
          c = rawget(c, "super")
        end
      end
    end
    assert.equal("", table.concat(sorted(open), " "))
  end)
end)

describe("what was ignored", function()
  it("is refused: options of methods that take none, and of calls", function()
    local model = sequential()
    expect.has(expect.message(model.count_params, model, { trainable = true }),
      "count_params: takes no arguments (got a table)")
    for _, name in ipairs { "get_config", "get_weights", "to_json", "reset_metrics" } do
      expect.has(expect.message(model[name], model, { foo = 1 }), "takes no arguments")
    end
    local mean = tide.metrics.Mean()
    expect.has(expect.message(mean.result, mean, { foo = 1 }), "result: takes no arguments")
    expect.has(expect.message(L.Dense(3), tide.ones { 1, 2 }, { trainning = true }),
      "a call has no option 'trainning'; did you mean 'training'?")
    expect.has(expect.message(L.Embedding(3, 2), tide.ones({ 1, 2 }, { dtype = "int32" }),
      { foo = 1 }), "a call has no option 'foo'")
    expect.has(expect.message(model, tide.ones { 1, 3 }, { foo = 1 }), "no option 'foo'")
    local Own = tide.Layer:extend("SurgeryOption", {
      call = function(_, x, o) return x * o.factor end })
    expect.close(Own()(tide.ones { 2 }, { factor = 3 }), { 3, 3 })
  end)

  it("is refused: sizes that weights were made by", function()
    local dense = L.Dense(3)
    dense.units = 4
    dense:build { tide.none, 2 }
    assert.equal(4, dense.units)
    assert.equal(4, dense:get_config().units)
    expect.has(expect.message(function() dense.units = 9 end), "'units' cannot change any more: "
      .. dense.name .. " (Dense 4) has weights for 4 (got 9)")
    assert.equal(9, dense:clone({ units = 9 }).units)
    local conv = L.Conv2D(4, 3)
    conv(tide.ones { 1, 5, 5, 1 })
    expect.has(expect.message(function() conv.kernel_size = { 2, 2 } end), "kernel_size")
    local lstm = L.LSTM(2)
    lstm(tide.ones { 1, 3, 2 })
    expect.has(expect.message(function() lstm.units = 3 end), "units")
    local dropout = L.Dropout(0.5)
    dropout(tide.ones { 2 })
    dropout.rate = 0.25
    assert.equal(0.25, dropout.rate)
  end)
end)
