-- Custom training beside real Keras (spec/ref/keras_custom.py): steps of one's own, clipping,
-- accumulation, averages, loops by hand, loss scaling.
local expect = require "spec.support.expect"
local formula = require "spec.support.formula"
local tide = require "tide"
local layers, ops, optimizers = tide.layers, tide.ops, tide.optimizers

local want = {}
for _, row in ipairs(require "spec.ref.keras_custom") do
  want[row.name] = row
end

local X, Y = formula.input("real", { 12, 4 }, 1), formula.input("real", { 12, 2 }, 2)
local LABELS = formula.input("labels", { 12, 3 }, 3):reshape { 12 }

local function fill(...)
  local k = 0
  for _, m in ipairs { ... } do
    for _, w in ipairs(m.weights) do
      w:assign(formula.weight(w, w.name:find "variance", k))
      k = k + 1
    end
  end
end

local function plain(outputs)
  local m = tide.Sequential { layers.Dense { 5, activation = "tanh", input_shape = { 4 } },
    layers.Dense { outputs or 2 } }
  fill(m)
  return m
end

local function near(got, expected, tolerance, what)
  expect.close(got, expected, tolerance * math.max(1, math.abs(expected)), 0, what)
end

local function all_near(got, expected, tolerance, what)
  assert.equal(#expected, #got, what)
  for i, v in ipairs(expected) do
    near(got[i], v, tolerance, what .. " " .. i)
  end
end

local function weights_near(list, expected, tolerance, what)
  assert.equal(#expected, #list)
  for i, w in ipairs(list) do
    all_near(w:reshape({ -1 }):tolist(), expected[i], tolerance, (what or "weight ") .. i)
  end
end

local function history_near(history, expected, tolerance)
  for name, values in pairs(expected) do
    all_near(history[name] or {}, values, tolerance, name)
  end
end

local function both(a, b)
  local out = {}
  table.move(a.weights, 1, #a.weights, 1, out)
  return table.move(b.weights, 1, #b.weights, #out + 1, out)
end

local FIT = { batch_size = 4, epochs = 3, shuffle = false, verbose = 0 }

local function options(more)
  local out = {}
  for k, v in pairs(FIT) do
    out[k] = v
  end
  for k, v in pairs(more) do
    out[k] = v
  end
  return out
end

describe("custom training as real Keras does it:", function()
  it("a GAN with two optimizers in its train_step", function()
    local row = want.gan
    local GAN = tide.Model:extend("KerasGAN", {
      init = function(self)
        self.generator = tide.Sequential { layers.Dense { 6, activation = "leaky_relu",
          input_shape = { 3 } }, layers.Dense { 4 } }
        self.critic = tide.Sequential { layers.Dense { 6, activation = "leaky_relu",
          input_shape = { 4 } }, layers.Dense { 1 } }
        self.drawing = optimizers.Adam { 0.01, beta_1 = 0.5 }
        self.judging = optimizers.RMSprop { 0.005 }
        self.bce = tide.losses.BinaryCrossentropy { from_logits = true }
        self.d_loss = tide.metrics.Mean { name = "d_loss" }
        self.g_loss = tide.metrics.Mean { name = "g_loss" }
      end,
      call = function(self, x)
        return self.generator(x)
      end,
      train_step = function(self, real, noise)
        local n = #real
        local fake = self.generator(noise):detach()
        local labels = ops.concatenate({ ops.ones { n, 1 }, ops.zeros { n, 1 } }, 1)
        local d, grads = tide.value_and_grad(function()
          return self.bce(labels, self.critic(ops.concatenate({ real, fake }, 1)))
        end, self.critic.trainable_weights)
        self.judging:apply(grads, self.critic.trainable_weights)
        local g
        g, grads = tide.value_and_grad(function()
          return self.bce(ops.ones { n, 1 }, self.critic(self.generator(noise)))
        end, self.generator.trainable_weights)
        self.drawing:apply(grads, self.generator.trainable_weights)
        self.d_loss:update_state(d)
        self.g_loss:update_state(g)
        return { d_loss = self.d_loss:result(), g_loss = self.g_loss:result() }
      end,
    })
    local gan = GAN()
    fill(gan.generator, gan.critic)
    gan:compile {}
    local h = gan:fit(X, formula.input("real", { 12, 3 }, 4), FIT)
    history_near(h, row.history, 1e-5)
    weights_near(both(gan.generator, gan.critic), row.after, 2e-5)
  end)

  it("compute_loss with sample weights and a metric of its own", function()
    local row = want.compute_loss
    local Weighted = tide.Model:extend("KerasWeighted", {
      init = function(self)
        self.net = plain()
        self.far = tide.metrics.MeanAbsoluteError { name = "far" }
      end,
      call = function(self, x)
        return self.net(x)
      end,
      compute_loss = function(self, _, y, y_pred, sample_weight)
        self.far:update_state(y, y_pred)
        return ops.mean((y - y_pred) ^ 2 * ops.expand_dims(sample_weight, 2))
          + 0.1 * ops.mean(ops.abs(y_pred))
      end,
    })
    local m = Weighted()
    m(X)
    fill(m)
    m:compile { optimizer = optimizers.SGD { 0.1, momentum = 0.8 } }
    local w = ops.abs(formula.input("real", { 12 }, 6)) + 0.2
    local h = m:fit(X, Y, options { sample_weight = w, batch_size = 5 })
    history_near(h, row.history, 1e-5)
    weights_near(m.weights, row.after, 2e-5)
  end)

  it("add_loss and metrics in a layer", function()
    local row = want.add_loss
    local Penalty = tide.Layer:extend("KerasPenalty", {
      init = function(self, o)
        self.rate = o.rate
        self.size = tide.metrics.Mean { name = "size" }
      end,
      args = { "rate" },
      call = function(self, x)
        self:add_loss(self.rate * ops.mean(x ^ 2))
        self.size:update_state(ops.mean(ops.abs(x)))
        return x
      end,
    })
    local i = tide.Input { 4 }
    local h = layers.Dense { 5, activation = "tanh",
      kernel_regularizer = tide.regularizers.L2 { 0.01 } }(i)
    local m = tide.Model { inputs = i, outputs = layers.Dense { 2 }(Penalty { 0.05 }(h)) }
    fill(m)
    m:compile { optimizer = optimizers.Adam { 0.02 }, loss = "mse", metrics = { "mae" } }
    history_near(m:fit(X, Y, options { batch_size = 5 }), row.history, 1e-5)
    weights_near(m.weights, row.after, 2e-5)
    local loss, mae = m:evaluate(X, Y, { batch_size = 5, verbose = 0 })
    near(loss, row.evaluate[1], 1e-5, "loss")
    near(mae, row.evaluate[2], 1e-5, "mae")
  end)

  it("train_step and test_step that use the compiled loss, optimizer and metrics", function()
    local row = want.train_step
    local Own = tide.Model:extend("KerasOwn", {
      init = function(self)
        self.one = layers.Dense { 5, activation = "relu", input_shape = { 4 } }
        self.norm = layers.BatchNormalization()
        self.two = layers.Dense { 3, activation = "softmax" }
      end,
      call = function(self, x, o)
        return self.two(self.norm(self.one(x), { training = o.training }))
      end,
      train_step = function(self, x, y, sample_weight)
        local y_pred
        local loss, grads = tide.value_and_grad(function()
          y_pred = self(x, { training = true })
          return self:compute_loss { x = x, y = y, y_pred = y_pred,
            sample_weight = sample_weight }
        end, self.trainable_variables)
        self.optimizer:apply(grads, self.trainable_variables)
        self.metrics[1]:update_state(loss)
        return self:compute_metrics(x, y, y_pred, sample_weight) -- as `metrics`, without weights
      end,
      test_step = function(self, x, y)
        local y_pred = self(x, { training = false })
        local loss = self:compute_loss { x = x, y = y, y_pred = y_pred }
        for _, m in ipairs(self.metrics) do
          if m.name == "loss" then
            m:update_state(loss)
          else
            m:update_state(y, y_pred)
          end
        end
        return self:get_metrics_result()
      end,
    })
    local m = Own()
    m(X)
    fill(m)
    m:compile { optimizer = optimizers.SGD { 0.1 }, loss = "sparse_categorical_crossentropy",
      metrics = { "sparse_categorical_accuracy" } }
    local w = ops.abs(formula.input("real", { 12 }, 6)) + 0.2
    local h = m:fit(X, LABELS, options { sample_weight = w,
      validation_data = { X[{ { 1, 7 } }], LABELS[{ { 1, 7 } }] } })
    for _, name in ipairs { "loss", "val_loss", "sparse_categorical_accuracy" } do
      all_near(h[name], row.history[name], name:find "loss" and 1e-5 or 0.09, name)
    end -- one class of twelve may be as likely as another
    weights_near(m.weights, row.after, 2e-5)
  end)

  local makers = {
    clipnorm = function() return optimizers.Adam { 0.05, clipnorm = 0.1 } end,
    global_clipnorm = function()
      return optimizers.SGD { 0.3, momentum = 0.9, global_clipnorm = 0.4 }
    end,
    clipvalue = function() return optimizers.RMSprop { 0.02, clipvalue = 0.05 } end,
    accumulate_sgd = function()
      return optimizers.SGD { 0.2, momentum = 0.9, gradient_accumulation_steps = 3 }
    end,
    accumulate_adam = function()
      return optimizers.Adam { 0.05, gradient_accumulation_steps = 2, clipnorm = 0.2,
        weight_decay = 0.1 }
    end,
    accumulate_adagrad = function()
      return optimizers.Adagrad { 0.1, gradient_accumulation_steps = 4 }
    end,
    ema = function() return optimizers.SGD { 0.2, use_ema = true, ema_momentum = 0.8 } end,
    ema_often = function()
      return optimizers.Adam { 0.05, use_ema = true, ema_momentum = 0.7,
        ema_overwrite_frequency = 3 }
    end,
    ema_accumulate = function()
      return optimizers.SGD { 0.2, momentum = 0.5, use_ema = true, ema_momentum = 0.6,
        ema_overwrite_frequency = 2, gradient_accumulation_steps = 2 }
    end,
    ema_decay = function()
      return optimizers.AdamW { 0.05, weight_decay = 0.2, use_ema = true, ema_momentum = 0.9,
        global_clipnorm = 0.5 }
    end,
    factor = function() return optimizers.Adam { 0.05, loss_scale_factor = 64, clipnorm = 0.1 } end,
    schedule_accumulate = function()
      return optimizers.SGD { optimizers.schedules.ExponentialDecay { 0.3, 2, 0.5 },
        gradient_accumulation_steps = 2 }
    end,
  }
  for name, make in pairs(makers) do
    it("an optimizer's options step by step and in fit: " .. name, function()
      local row = want[name]
      local m = plain()
      m:compile { optimizer = make(), loss = "mse" }
      for s = 1, 7 do
        local at = (s - 1) * 4 % 12
        local part = { { at + 1, at + 4 } }
        near(m:train_on_batch(X[part], Y[part]), row.losses[s], 1e-5, "loss " .. s)
        weights_near({ m.weights[1] }, { row.steps[s] }, 2e-5, ("step %d, weight "):format(s))
      end
      assert.equal(row.iterations, math.tointeger(tonumber(tostring(m.optimizer.iterations))))
      m.optimizer:finalize_variable_values(m.trainable_variables)
      weights_near(m.weights, row.finalized, 2e-5, "finalized weight ")
      m = plain()
      m:compile { optimizer = make(), loss = "mse" }
      history_near(m:fit(X, Y, FIT), row.history, 1e-5)
      weights_near(m.weights, row.after, 2e-5)
    end)
  end

  it("a loop by hand, with metrics", function()
    local row = want.loop
    local m = plain(3)
    local optimizer = optimizers.Adam { 0.03 }
    local loss_fn = tide.losses.SparseCategoricalCrossentropy { from_logits = true }
    local accuracy, mean = tide.metrics.SparseCategoricalAccuracy(), tide.metrics.Mean()
    local top = tide.metrics.SparseTopKCategoricalAccuracy { k = 2 }
    for epoch = 1, 3 do
      for at = 1, 12, 4 do
        local x, y, logits = X[{ { at, at + 3 } }], LABELS[{ { at, at + 3 } }], nil
        local loss, grads = tide.value_and_grad(function()
          logits = m(x, { training = true })
          return loss_fn(y, logits) + 0.01 * ops.sum(m.trainable_weights[1] ^ 2)
        end, m.trainable_weights)
        optimizer:apply(grads, m.trainable_weights)
        mean:update_state(loss, { sample_weight = 4 })
        accuracy:update_state(y, logits)
        top:update_state(y, logits)
      end
      for i, metric in ipairs { mean, accuracy, top } do
        near(metric:result(), row.seen[epoch][i], 1e-5, "epoch " .. epoch .. ", " .. i)
        metric:reset_state()
      end
    end
    weights_near(m.weights, row.after, 2e-5)
  end)

  it("a penalty on the slope, which is differentiated twice", function()
    local row = want.slope
    local m, optimizer = plain(1), optimizers.SGD { 0.1 }
    for s = 1, 4 do
      local loss, grads = tide.value_and_grad(function()
        local x = X:detach():requires_grad_(true)
        local slope = tide.grad(function()
          return ops.sum(m(x))
        end, { x })[1]
        local length = ops.sqrt(ops.sum(slope ^ 2, { axis = 2 }))
        return ops.mean(m(x)) + 2 * ops.mean((length - 1) ^ 2)
      end, m.trainable_weights)
      optimizer:apply(grads, m.trainable_weights)
      near(loss:item(), row.seen[s], 1e-5, "step " .. s)
    end
    weights_near(m.weights, row.after, 2e-5)
  end)

  for name, make in pairs {
    scale_sgd = function() return optimizers.SGD { 0.1, momentum = 0.9 } end,
    scale_adam = function() return optimizers.Adam { 0.05, clipnorm = 0.3 } end,
    scale_accumulate = function()
      return optimizers.SGD { 0.1, gradient_accumulation_steps = 2 }
    end,
  } do
    it("the scale of a loss, which overflows halve: " .. name, function()
      local v = tide.tensor({ 0.5, -1, 2 }, { requires_grad = true })
      local o = optimizers.LossScaleOptimizer { make(), initial_scale = 16,
        dynamic_growth_steps = 3 }
      o:build { v }
      for s = 0, 11 do
        local scale = o:scale_loss(tide.tensor(1.0)):item()
        local g = { 0.3 * scale, -0.2 * s * scale, 0.1 * s * s * scale }
        if s == 4 or s == 8 or s == 9 then
          g[s % 3 + 1] = s == 9 and 0 / 0 or math.huge
        end
        o:apply({ tide.tensor(g) }, { v })
        local got = { tonumber(o.dynamic_scale), tonumber(o.step_counter),
          tonumber(tostring(o.inner_optimizer.iterations)) }
        table.move(v:tolist(), 1, 3, 4, got)
        all_near(got, want[name].trace[s + 1], 1e-5, "step " .. s)
      end
    end)
  end

  for _, policy in ipairs { "mixed_float16", "mixed_bfloat16" } do
    for name, make in pairs {
      sgd = function() return optimizers.SGD { 0.1 } end,
      adam = function() return optimizers.Adam { 0.02 } end,
    } do
      it(("models under %s: %s"):format(policy, name), function()
        local row = want[policy .. "_" .. name]
        tide.config.set_dtype_policy(policy)
        local ok, e = pcall(function()
          local i = tide.Input { 4 }
          local y = layers.LayerNormalization()(layers.Dense { 8, activation = "tanh" }(i))
          local m = tide.Model { inputs = i, outputs = layers.Dense { 2, dtype = "float32" }(y) }
          fill(m)
          local o = make()
          if policy == "mixed_float16" and name == "adam" then
            o = optimizers.LossScaleOptimizer { o, initial_scale = 2.0 ^ 20,
              dynamic_growth_steps = 4 }
          end
          m:compile { optimizer = o, loss = "mse" }
          local tolerance = policy == "mixed_float16" and 2e-3 or 1.5e-2
          for s = 1, 12 do
            local at = (s - 1) * 4 % 12
            local part = { { at + 1, at + 4 } }
            near(m:train_on_batch(X[part], Y[part]), row.losses[s], tolerance, "loss " .. s)
            if row.wrapped == "LossScaleOptimizer" then
              assert.equal(row.scales[s], m.optimizer.dynamic_scale, "scale after step " .. s)
            end
          end
          weights_near(m.weights, row.after, policy == "mixed_float16" and 4e-3 or 3e-2)
        end)
        tide.config.set_dtype_policy "float32"
        assert.is_true(ok, tostring(e))
      end)
    end
  end
end)
