--- Dtype policies: layers whose weights are float32 and which compute in a half.
local expect = require "spec.support.expect"
local tide = require "tide"
local layers, ops = tide.layers, tide.ops

local function with_policy(name, f)
  local was = tide.config.set_dtype_policy(name)
  local ok, e = pcall(f)
  tide.config.set_dtype_policy(was)
  assert(ok, e)
end

describe("a policy", function()
  it("gives the dtypes of weights and of the computation", function()
    for name, dtypes in pairs { float32 = { "float32", "float32" },
      bfloat16 = { "bfloat16", "bfloat16" }, float16 = { "float16", "float16" },
      mixed_bfloat16 = { "float32", "bfloat16" }, mixed_float16 = { "float32", "float16" } } do
      local d = layers.Dense { 2, dtype = name }
      local y = d(tide.ones { 1, 3 })
      assert.same({ dtypes[1], dtypes[1], dtypes[2], name, dtypes[1], dtypes[2] },
        { d.dtype, d.variable_dtype, d.compute_dtype, d.dtype_policy, d.kernel.dtype, y.dtype })
      assert.equal(name, d:get_config().dtype)
      assert.equal(name, layers.Dense.from_config(d:get_config()).dtype_policy)
      assert.equal(name, d:clone().dtype_policy)
    end
    local ok, why = pcall(layers.Dense, { 2, dtype = "mixed_float32" })
    assert.is_false(ok)
    expect.has(tostring(why), "mixed_bfloat16, mixed_float16")
  end)

  it("is the default's where a layer is given none", function()
    assert.equal("float32", tide.config.dtype_policy())
    with_policy("mixed_bfloat16", function()
      assert.equal("mixed_bfloat16", tide.config.dtype_policy())
      assert.equal("mixed_bfloat16", layers.Dense({ 1 }).dtype_policy)
      assert.equal("float32", layers.Dense({ 1, dtype = "float32" }).dtype_policy)
      assert.equal("float32", tide.Input({ 2 }).dtype)
    end)
    assert.equal("float32", layers.Dense({ 1 }).dtype_policy)
    local ok, why = pcall(tide.config.set_dtype_policy, "int32")
    assert.is_false(ok)
    expect.has(tostring(why), "set_dtype_policy: takes a policy")
    assert.equal(tide.version, tide.config().version)
  end)
end)

describe("a layer of a mixed policy", function()
  it("computes as one of the half's dtype with its weights rounded, and trains its own", function()
    local x = tide.random.normal { 4, 6, 6, 3 }
    local function same(make, input)
      local a = make { dtype = "mixed_bfloat16" }
      local b = make { dtype = "bfloat16" }
      input = input or x
      a(input)
      b(input)
      for i, w in ipairs(a.weights) do
        b.weights[i]:assign(ops.cast(w, b.weights[i].dtype))
      end
      for _, training in ipairs { false, true } do
        local p, q = a(input, { training = training }), b(input, { training = training })
        assert.equal("bfloat16", p.dtype)
        assert.same(q:tolist(), p:tolist())
      end
      local variables = a.trainable_weights
      if #variables > 0 then
        local _, grads = tide.value_and_grad(function()
          return ops.cast(a(input), "float32"):sum()
        end, variables)
        for i, g in ipairs(grads) do
          assert.equal("float32", g.dtype)
          assert.equal("float32", variables[i].dtype)
        end
      end
    end
    local function of(class, o)
      return function(extra)
        local all = { table.unpack(o) }
        for k, v in pairs(o) do all[k] = v end
        for k, v in pairs(extra) do all[k] = v end
        return class(all)
      end
    end
    same(of(layers.Dense, { 5, activation = "relu" }))
    same(of(layers.Conv2D, { 4, 3 }))
    same(of(layers.DepthwiseConv2D, { 3 }))
    same(of(layers.Conv2DTranspose, { 4, 3 }))
    same(of(layers.BatchNormalization, {}))
    same(of(layers.LayerNormalization, {}))
    same(of(layers.GroupNormalization, { 3 }))
    same(of(layers.PReLU, {}))
    same(of(layers.GlobalAveragePooling2D, {}))
    same(of(layers.Activation, { "tanh" }))
    same(of(layers.Rescaling, { 0.5, offset = 1 }))
    same(of(layers.LSTM, { 4, return_sequences = true }), tide.random.normal { 2, 3, 5 })
    same(of(layers.GRU, { 4 }), tide.random.normal { 2, 3, 5 })
    same(of(layers.SimpleRNN, { 4 }), tide.random.normal { 2, 3, 5 })
    same(of(layers.ConvLSTM2D, { 2, 3 }), tide.random.normal { 2, 2, 5, 5, 1 })
    same(function(o)
      return layers.Bidirectional { layers.LSTM { 3, dtype = o.dtype }, dtype = o.dtype }
    end, tide.random.normal { 2, 3, 5 })
    same(function(o)
      return layers.TimeDistributed { layers.Dense { 3, dtype = o.dtype }, dtype = o.dtype }
    end, tide.random.normal { 2, 3, 5 })
    same(of(layers.EinsumDense, { "abc,cde->abde", { 3, 2, 2 }, bias_axes = "de" }),
      tide.random.normal { 2, 3, 5 })
    local pair = { tide.random.normal { 2, 3, 4 }, tide.random.normal { 2, 5, 4 } }
    same(of(layers.Attention, { true, "concat" }), pair)
    same(of(layers.AdditiveAttention, {}), pair)
    for _, class in ipairs { layers.MultiHeadAttention, layers.GroupQueryAttention } do
      same(function(o)
        local inside = class == layers.GroupQueryAttention and class { 4, 4, 2, dtype = o.dtype }
          or class { 2, 4, dtype = o.dtype, use_gate = true }
        inside:build(pair[1].shape, pair[2].shape)
        return setmetatable({}, { __index = inside,
          __call = function(_, both, options) return inside(both[1], both[2], options) end })
      end, pair)
    end
    same(of(layers.Embedding, { 4, 3 }), tide.tensor({ { 1, 4, 2 } }, { dtype = "int32" }))
  end)

  it("of one's own gets its weights cast, those of add_weight and those in fields", function()
    local seen
    local Own = tide.Layer:extend("PolicyOwn", {
      build = function(self, shape)
        self.w = self:add_weight { { shape[#shape] }, name = "w", initializer = "ones" }
        self.stays = self:add_weight { {}, name = "stays", initializer = "ones", autocast = false }
        self.total = self:add_weight { {}, name = "total", initializer = "zeros",
          trainable = false }
        self.plain = tide.tensor({ 2 }, { requires_grad = true })
        self.dense = layers.Dense { 1, dtype = "float32" }
      end,
      call = function(self, x)
        seen = { x.dtype, self.w.dtype, self.stays.dtype, self.total.dtype, self.plain.dtype,
          self.dense.kernel and self.dense.kernel.dtype, tide.Layer.is_layer(self), self.name }
        self.total:assign(self.total + 1)
        self.count = (self.count or 0) + 1
        assert(rawequal(self.w, self.w)) -- cast once a call
        return self.dense(x * self.w * self.plain)
      end,
    })
    local own = Own { dtype = "mixed_float16", name = "own" }
    local y = own(tide.ones { 2, 3 })
    own(tide.ones { 2, 3 })
    assert.equal("float32", y.dtype)
    assert.same({ "float16", "float16", "float32", "float32", "float16", "float32", true, "own" },
      seen)
    assert.same({ 2, 2 }, { own.count, own.total:item() })
    own.w:assign { 2, 2, 2 }
    local twice = own(tide.ones { 2, 3 })
    expect.close(twice, (y * 2):tolist(), 1e-3)
  end)

  it("computes on after scopes, one in the other, in which it was called", function()
    local dense = layers.Dense { 2, dtype = "mixed_float16" }
    local x = tide.ones { 1, 3 }
    local want = dense(x):tolist()
    tide.no_grad(function()
      do
        local _ <close> = tide.scope()
        do
          local _ <close> = tide.scope()
          dense(x)
        end
        assert.same(want, dense(x):tolist())
      end
      assert.same(want, dense(x):tolist())
    end)
  end)

  it("is not joined with the next as if it were float32", function()
    with_policy("mixed_bfloat16", function()
      local x = tide.Input { 8, 8, 3 }
      local y = layers.Conv2D { 4, 3, use_bias = false }(x)
      y = layers.ReLU()(layers.BatchNormalization()(y))
      local model = tide.Model { inputs = x, outputs = y }
      local out = model(tide.random.normal { 2, 8, 8, 3 })
      assert.equal("bfloat16", out.dtype)
      assert.equal("bfloat16", y.dtype)
    end)
  end)

  it("learns in a model, whose weights stay float32", function()
    for _, name in ipairs { "mixed_bfloat16", "mixed_float16" } do
      with_policy(name, function()
        tide.seed(1)
        local x = tide.random.normal { 256, 8 }
        local y = tide.tensor(ops.add(ops.cast(ops.greater(x[{ {}, 1 }], 0), "int32"), 1))
        local model = tide.Sequential { tide.Input { 8 }, layers.Dense { 16, activation = "relu" },
          layers.BatchNormalization(), layers.Dropout { 0.1 }, layers.Dense { 2 } }
        model:compile { optimizer = tide.optimizers.Adam { 0.01 }, metrics = { "accuracy" },
          loss = tide.losses.SparseCategoricalCrossentropy { from_logits = true } }
        local h = model:fit(x, y, { epochs = 8, verbose = 0 })
        assert.is_true(h.accuracy[-1] > 0.9, h.accuracy[-1])
        -- the loss is that of float32 of what the model gives (Keras)
        local logits = ops.cast(model(x), "float32")
        local loss = tide.losses.SparseCategoricalCrossentropy { from_logits = true }
        assert.equal(loss(y, logits):item(), (model:evaluate(x, y, { verbose = 0,
          batch_size = 256 })))
        for _, w in ipairs(model.weights) do
          assert.equal("float32", w.dtype)
        end
        local again = tide.models.model_from_json(model:to_json())
        assert.equal(name, again.layers[1].dtype_policy)
        local folder = expect.folder()
        for _, file in ipairs { "m.keras", "m.safetensors" } do
          model:save(folder .. "/" .. file)
          again = tide.load_model(folder .. "/" .. file)
          assert.equal(name, again.layers[1].dtype_policy)
          assert.equal("float32", again.layers[1].kernel.dtype)
          assert.same(model(x):tolist(), again(x):tolist())
        end
        os.execute("rm -r " .. folder)
      end)
    end
  end)
end)
