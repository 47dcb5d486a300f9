local expect = require "spec.support.expect"
local tide = require "tide"
local layers, ops = tide.layers, tide.ops

local message, has = expect.message, expect.has

local function variable(n)
  return tide.zeros({ n or 1 }, { requires_grad = true })
end

local function sizes(list)
  local out = {}
  for i, w in ipairs(list) do
    out[i] = w.size
  end
  return out
end

describe("what a layer finds in its fields", function()
  it("does not depend on the field's name", function()
    local Net = tide.Model:extend("TrackPrivate", {
      init = function(self)
        self._dense = layers.Dense { 1 }
        self.__deep = { _in = { layers.Dense { 2 } } }
        self[1] = layers.Dense { 3 }
        self._scale = variable()
      end,
      call = function(self, x)
        return self._dense(self.__deep._in[1](self[1](x))) * self._scale
      end,
    })
    local net = Net()
    net(tide.ones { 2, 4 })
    assert.equal(7, #net.weights)
    assert.equal(7, #net.trainable_weights)
    local x, y = tide.random.normal { 16, 4 }, tide.random.normal { 16, 1 }
    net:compile { optimizer = tide.optimizers.SGD { 0.1 }, loss = "mse" }
    net:fit(x, y, { epochs = 1, verbose = 0 })
    assert.is_true(ops.max(ops.abs(net._scale)):item() > 0)
  end)

  it("leaves results of a call that are kept there alone", function()
    local Keeps = tide.Layer:extend("TrackKeeps", {
      build = function(self, shape)
        self.w = self:add_weight { shape = { shape[2], 2 } }
      end,
      call = function(self, x)
        self.last = x:matmul(self.w)
        self.both = { self.last, self.last * 2 }
        return self.last
      end,
    })
    local layer = Keeps()
    for n = 1, 3 do
      layer(tide.ones { n, 3 })
      assert.equal(1, #layer.trainable_weights)
      assert.equal(6, layer:count_params())
    end
  end)

  it("goes by name in tables, by position in lists", function()
    local Net = tide.Layer:extend("TrackOrder", {
      init = function(self)
        self.by_name = { delta = variable(4), alpha = variable(1), gamma = variable(3),
          beta = variable(2) }
        self.list = { variable(5), { variable(6), b = variable(8), a = variable(7) } }
      end,
      call = function(_, x) return x end,
    })
    local net = Net()
    assert.same({ 1, 2, 4, 3, 5, 6, 7, 8 }, sizes(net.weights))
    assert.equal("list.2.b", net:_records()[8].path)
  end)

  it("refuses a list with a hole, and says where it is", function()
    local Net = tide.Layer:extend("TrackHole", {
      init = function(self)
        self.blocks = { layers.Dense { 1 }, nil, layers.Dense { 1 } }
      end,
      call = function(_, x) return x end,
    })
    local net = Net { name = "holed" }
    has(message(function() return net.weights end),
      "holed (TrackHole): the list in the field 'blocks' has a hole at 2; leave out what is not")
    net.blocks = { { 1, nil, 3 }, layers.Dense { 1 } }
    assert.equal(0, #net.weights)
  end)

  it("follows what is assigned, added and taken away later", function()
    local Net = tide.Model:extend("TrackChanges", {
      init = function(self)
        self.head = false
        self.list = {}
        self.named = {}
      end,
      call = function(_, x) return x end,
    })
    local function built(n)
      local layer = layers.Dense { n, use_bias = false }
      layer:build { tide.none, 1 }
      return layer
    end
    local net = Net()
    assert.equal(0, #net.weights)
    net.head = built(1)
    assert.same({ 1 }, sizes(net.weights))
    net.list[1] = built(2)
    net.named.a = built(3)
    net.new = built(4)
    assert.same({ 1, 2, 3, 4 }, sizes(net.trainable_weights))
    net.list[2] = net.list[1]
    net.list[1] = built(5)
    net.named.a = nil
    net.head = built(6)
    assert.same({ 2, 4, 5, 6 }, sizes(net.weights))
    net.cache = nil
    net.cache = tide.ones { 2 }
    assert.equal(4, #net.weights)
    net.cache:requires_grad_(true)
    assert.same({ 2, 2, 4, 5, 6 }, sizes(net.weights))
    net.new.extra = variable(7)
    assert.same({ 2, 2, 4, 7, 5, 6 }, sizes(net.weights))
    local deep = net.list[1]
    deep.inner = { built(8) }
    assert.same({ 2, 2, 4, 7, 5, 8, 6 }, sizes(net.weights))
    assert.equal(4, #net.layers)
  end)

  it("keeps a frozen variable as a weight", function()
    local Net = tide.Layer:extend("TrackFrozen", {
      init = function(self)
        self.a, self.b = variable(1), variable(2)
      end,
      call = function(_, x) return x end,
    })
    local net = Net()
    assert.equal(2, #net.trainable_weights)
    net.trainable = false
    assert.same({ 1, 2 }, sizes(net.weights))
    assert.equal(0, #net.trainable_weights)
    net.trainable = true
    assert.equal(2, #net.trainable_weights)
    net.a.requires_grad = false
    assert.same({ 2 }, sizes(net.trainable_weights))
    assert.same({ 1 }, sizes(net.non_trainable_weights))
  end)

  it("gives lists that are the person's own", function()
    local dense = layers.Dense { 2 }
    dense:build { tide.none, 3 }
    table.remove(dense.weights)
    table.remove(dense.trainable_weights)
    assert.equal(2, #dense.weights)
    assert.equal(2, #dense.trainable_weights)
  end)

  it("is walked once and then verified, also for many layers", function()
    local list = { tide.Input { 4 } }
    for i = 1, 100 do
      list[i + 1] = layers.Dense { 4 }
    end
    local model = tide.Sequential(list)
    local first = model:_records()
    assert.equal(200, #model.trainable_weights)
    assert.equal(first, model:_records())
    model:add(layers.Dense { 1 })
    assert.equal(202, #model.trainable_weights)
    model:pop()
    assert.equal(200, #model.trainable_weights)
  end)
end)

describe("losses of layers", function()
  it("do not grow when a layer takes another's place", function()
    local Adds = tide.Layer:extend("TrackAdds", {
      call = function(self, x)
        self:add_loss(x:sum())
        return x
      end,
    })
    local Net = tide.Model:extend("TrackHead", {
      init = function(self) self.head = Adds() end,
      call = function(self, x) return self.head(x) end,
    })
    local net = Net()
    local other = Adds()
    net(tide.ones { 1, 2 })
    net.head = other
    for _ = 1, 3 do
      net(tide.ones { 1, 2 })
      assert.equal(1, #net.losses)
    end
  end)
end)

describe("names that belong to every layer", function()
  it("are refused for methods and options when the class is made", function()
    local function extend(def)
      return message(function() return tide.Layer:extend("TrackNames", def) end)
    end
    local function keep(_, x) return x end
    for _, name in ipairs { "_records", "_flat", "_init", "_label" } do
      has(extend { [name] = keep, call = keep },
        "TrackNames: '" .. name .. "' is a name of Tide's own")
    end
    for _, name in ipairs { "weights", "losses", "input", "trainable_weights" } do
      has(extend { [name] = keep, call = keep }, "'" .. name .. "' is a field that every layer has")
      has(extend { args = { name }, call = keep },
        "TrackNames: the option '" .. name .. "' would hide what every layer has by that name")
    end
    has(extend { args = { "add_weight" }, call = keep }, "the option 'add_weight' would hide")
    has(message(function()
      return tide.Model:extend("TrackNames", { args = { "layers" }, call = keep })
    end), "the option 'layers' would hide what every model has by that name")
  end)

  it("are refused for fields, and all others are a person's own", function()
    local Net = tide.Model:extend("TrackOwn", {
      args = { "_units" },
      init = function(self)
        self._inputs, self._chain, self._call, self._id, self._weights = 1, 2, 3, 4, 5
        self._nodes, self._training, self._losses, self._trainable = 6, 7, 8, 9
      end,
      _helper = function(self) return self._units end,
      call = function(self, x) return self.dense(x) * self:_helper() end,
      build = function(self) self.dense = layers.Dense { 1 } end,
    })
    local net = Net { 2 }
    assert.equal("[3, 1]", tostring(net(tide.ones { 3, 2 }).shape))
    assert.equal(2, #net.trainable_weights)
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9 }, { net._inputs, net._chain, net._call, net._id,
      net._weights, net._nodes, net._training, net._losses, net._trainable })
    net:compile { loss = "mse" }
    net:fit(tide.ones { 4, 2 }, tide.ones { 4, 1 }, { verbose = 0 })
    has(message(function() net._records = 1 end), "'_records' belongs to every layer")
    local Sub = Net:extend("TrackSub", { _helper = function() return 0 end })
    assert.equal(0, ops.max(Sub { 2 }(tide.ones { 3, 2 })):item())
  end)
end)

describe("layers", function()
  it("keep autocast = false in their configuration", function()
    assert.is_false(layers.Dense { 4, autocast = false }:get_config().autocast)
    assert.is_nil(layers.Dense { 4 }:get_config().autocast)
  end)

  it("are refused where a list has a hole", function()
    has(message(function()
      return tide.Sequential { tide.Input { 4 }, nil, layers.Dense { 2 } }
    end), "; entry 2 is nil, leave it out")
  end)

  it("do not keep the table that an Embedding was given", function()
    local given = tide.ones { 5, 2 }
    local kept = setmetatable({ given }, { __mode = "v" })
    local layer = layers.Embedding { 5, 2, weights = given }
    layer:build { tide.none, 3 }
    given = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.is_nil(kept[1])
    assert.equal(10, layer.embeddings:sum():item())
  end)
end)

describe("layer:clone", function()
  it("has the options and not the weights, and a name of its own", function()
    local Own = tide.Layer:extend("TrackClone", {
      args = { "units", "inner" },
      call = function(self, x) return x * self.units end,
    })
    local own = Own { 3, { "relu", 1 }, name = "first" }
    local again = own:clone()
    assert.equal(3, again.units)
    assert.same({ "relu", 1 }, again.inner)
    assert.not_equal(own.name, again.name)
    assert.equal(5, own:clone { units = 5, name = "other" }.units)
    local dense = layers.Dense { 2, activation = "relu", kernel_initializer = { "constant", 1 },
      kernel_regularizer = "l2" }
    dense:build { tide.none, 3 }
    local copy = dense:clone()
    assert.is_false(copy.built)
    assert.equal(6, copy(tide.ones { 1, 3 }):sum():item())
    assert.equal(1, #copy.losses)
    local model = tide.Sequential { tide.Input { 3 }, dense, dense:clone() }
    local twice = model:clone()
    assert.equal(model:count_params(), twice:count_params())
    has(message(function() return dense:clone { unitz = 3 } end), "did you mean 'units'?")
  end)
end)

describe("layer:replace_weight", function()
  it("changes the tensor, its field and its facts", function()
    local dense = layers.Dense { 2 }
    dense:build { tide.none, 3 }
    local kernel = tide.ones { 3, 2 }
    assert.equal(kernel, dense:replace_weight("kernel", kernel))
    assert.equal(3, ops.max(dense(tide.ones { 1, 3 })):item())
    assert.equal(kernel, dense.kernel)
    assert.equal(kernel, dense.trainable_weights[1])
    assert.is_true(kernel.requires_grad)
    dense:replace_weight("kernel", tide.zeros { 3, 2 }, { trainable = false })
    assert.equal(1, #dense.trainable_weights)
    assert.equal(0, ops.max(dense(tide.ones { 1, 3 })):item())
    has(message(function() dense:replace_weight("kernal", kernel) end),
      "has no weight 'kernal'; did you mean 'kernel'?")
    has(message(function() dense:replace_weight("bias", 1) end), "must be a tensor (got")
    dense:replace_weight("kernel", tide.ones { 3, 2 }, { regularizer = "l2", trainable = true })
    assert.is_true(math.abs(dense.losses[1]:item() - 0.06) < 1e-7) -- 0.01 * 6
    local int = tide.ones({ 2 }, { dtype = "int32" })
    has(message(function() dense:replace_weight("bias", int, { regularizer = "l2" }) end),
      "only float tensors have gradients")
    assert.equal(1, #dense.losses)
  end)
end)

describe("a build that fails", function()
  it("leaves no weights and states, so that the next one makes each once", function()
    local fails = true
    local Failing = tide.Layer:extend("TrackFailingBuild", {
      init = function(self) self.first = self:add_weight { shape = {}, name = "first" } end,
      build = function(self)
        self.w = self:add_weight { shape = { 2 }, name = "w" }
        self.count = self:add_state { {}, name = "count" }
        if fails then error "not yet" end
        self.v = self:add_weight { shape = { 2 }, name = "v" }
      end,
      call = function(self, x) return x * self.w * self.v end,
    })
    local layer = Failing()
    has(message(layer, tide.ones { 1, 2 }), "not yet")
    fails = false
    layer(tide.ones { 1, 2 })
    assert.equal(3, #layer.weights)
    assert.equal(1, #layer.states)
    assert.is_true(rawequal(layer.w, layer.weights[2]))
  end)
end)

describe("a field that was given another tensor in place of its weight", function()
  local function built()
    local dense = layers.Dense { 2 }
    dense:build { tide.none, 3 }
    return dense
  end

  it("is refused when weights are asked for, whether they were before or not", function()
    for _, before in ipairs { false, true } do
      for _, field in ipairs { "kernel", "bias" } do
        local dense = built()
        if before then
          assert.equal(2, #dense.weights)
        end
        dense[field] = dense[field] * 2
        has(message(function() return dense.weights end), "in place of the weight '" .. field)
      end
    end
    local norm = layers.BatchNormalization()
    norm:build { tide.none, 3 }
    assert.equal(4, #norm.weights)
    norm.moving_mean = tide.zeros { 3 }
    has(message(function() return norm.weights end), "in place of the weight 'moving_mean'")
  end)

  it("is refused in lists, and when training starts", function()
    local Listed = tide.Layer:extend("TrackReplaced", {
      build = function(self)
        self.ws = { self:add_weight { shape = { 2 } }, self:add_weight { shape = { 2 } } }
      end,
      call = function(self, x) return x * self.ws[1] + self.ws[2] end,
    })
    local own = Listed()
    own(tide.ones { 1, 2 })
    assert.equal(2, #own.weights)
    own.ws[1], own.ws[2] = own.ws[2], own.ws[1]
    assert.equal(2, #own.weights)
    local other = own:replace_weight("weight", tide.ones { 2 })
    assert.is_true(rawequal(other, own.ws[2]))
    own.ws[1] = tide.zeros { 2 }
    has(message(function() return own.weights end), "in place of the weight 'weight'")

    local dense = layers.Dense { 2 }
    local model = tide.Sequential { tide.Input { 3 }, dense }
    model:compile { loss = "mse", optimizer = "sgd" }
    local x, y = tide.ones { 4, 3 }, tide.ones { 4, 2 }
    model:train_on_batch(x, y)
    dense.kernel = tide.zeros { 3, 2 }
    for _, method in ipairs { "train_on_batch", "fit", "evaluate" } do
      has(message(function() model[method](model, x, y) end), "layer:replace_weight(\"kernel\"")
    end
  end)

  it("is refused in place of a state", function()
    local Counting = tide.Layer:extend("TrackReplacedState", {
      init = function(self) self.count = self:add_state { {}, name = "count" } end,
      call = function(self, x)
        self.count = self.count + 1
        return x
      end,
    })
    local layer = Counting()
    assert.equal(0, layer.states[1]:item())
    layer(tide.ones { 2 })
    has(message(function() return layer.states end), "in place of the state 'count'; field:assign")
  end)

  it("may hold one for the time of a call", function()
    local dense = built()
    local kernel = dense.kernel
    assert.equal(2, #dense.weights)
    dense.kernel = tide.ones { 3, 2 }
    assert.equal(3, ops.max(dense(tide.ones { 1, 3 })):item())
    dense.kernel = kernel
    assert.is_true(rawequal(kernel, dense.weights[1]))
    dense:replace_weight("kernel", tide.ones { 3, 2 })
    assert.equal(2, #dense.weights)
  end)
end)

describe("layer:add_state", function()
  it("makes a tensor that is no weight and that files keep", function()
    local Counts = tide.Layer:extend("TrackState", {
      init = function(self)
        self.count = self:add_state { {}, name = "count", dtype = "int64" }
        self.last = self:add_state { { 2 }, name = "last", initializer = "ones" }
      end,
      call = function(self, x)
        self.count:assign(self.count + 1)
        self.last:assign(x:mean(1))
        return x
      end,
    })
    local model = tide.Sequential { tide.Input { 2 }, layers.Dense { 2 }, Counts { name = "c" } }
    assert.equal(2, #model.weights)
    assert.equal(2, #model.states)
    local layer = model.layers[2]
    layer.count:assign(ops.zeros_like(layer.count))
    local y = model(tide.ones { 3, 2 })
    assert.equal(1, layer.count:item())
    assert.is_false(layer.last.requires_grad)
    expect.close(layer.last, y[1])
    local path = expect.name ".safetensors"
    model:save_weights(path)
    model(tide.zeros { 3, 2 })
    assert.equal(2, layer.count:item())
    model:load_weights(path)
    assert.equal(1, layer.count:item())
    expect.close(layer.last, y[1])
    model:save(path)
    local again = tide.load_model(path)
    os.remove(path)
    assert.equal(1, again.layers[2].count:item())
    has(message(function() layer:add_state { name = "last" } end),
      "c (TrackState) has a tensor named 'last' already")
  end)
end)

describe("a model that was never compiled", function()
  it("has metrics_names in a process that compiled none", function()
    local pipe = io.popen(expect.command .. " -e " .. expect.quoted [[
      local tide = require "tide"
      local model = tide.Sequential { tide.Input { 2 }, tide.layers.Dense { 1 } }
      print(#model.metrics_names, #model.metrics)]])
    assert.equal("0\t0", pipe:read "l")
    pipe:close()
  end)
end)

describe("a weight", function()
  it("has a name, and a path from its layer, as Keras' variables", function()
    local dense = layers.Dense { 2, name = "head" }
    dense:build { tide.none, 3 }
    assert.equal("kernel", dense.kernel.name)
    assert.equal("head/kernel", dense.kernel.path)
    assert.equal("head/bias", dense.bias.path)
    local norm = layers.BatchNormalization { name = "norm" }
    norm:build { tide.none, 3 }
    local paths = {}
    for i, w in ipairs(norm.weights) do
      paths[i] = w.path
    end
    assert.same({ "norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance" }, paths)
    assert.equal("kernel", dense:replace_weight("kernel", tide.ones { 3, 2 }).name)
    assert.equal("head/kernel", dense.kernel.path)
  end)

  it("of a field has the field's name; a state has its own; other tensors have none", function()
    local Own = tide.Layer:extend("TrackNamed", {
      init = function(self)
        self.scale = variable()
        self.count = self:add_state { name = "count" }
        self.w = self:add_weight { shape = { 2 } }
      end,
      call = function(self, x) return x * self.scale end,
    })
    local own = Own { name = "own" }
    assert.equal(2, #own.weights)
    assert.equal("own/scale", own.scale.path)
    assert.equal("count", own.count.name)
    assert.equal("weight", own.w.name)
    assert.is_nil(tide.ones({ 2 }).name)
    assert.is_nil((own.scale * 2).path)
    expect.raises("'name' cannot be set", function() own.w.name = "other" end)
  end)

  it("keeps no layer alive", function()
    local layer = layers.Dense { 2 }
    layer:build { tide.none, 3 }
    local kept = setmetatable({ layer }, { __mode = "v" })
    local kernel = layer.kernel
    layer = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.is_nil(kept[1])
    assert.equal("kernel", kernel.name)
  end)
end)
