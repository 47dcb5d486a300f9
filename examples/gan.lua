-- A generative adversarial network (Goodfellow 2014; Radford 2015): one network draws trousers from
-- noise, another tells drawn ones from photographs, and each trains on the other. After 8 epochs on
-- 6,000 pictures, 10 seconds on two cores, what it draws are trousers.
-- `build/tide examples/gan.lua [epochs [pictures]]`
local tide = require "tide"
local layers, ops = tide.layers, tide.ops

local epochs, pictures = tonumber(arg and arg[1]) or 8, tonumber(arg and arg[2]) or 6000
tide.seed(1)
local x, y, _, _, names = tide.datasets.fashion_mnist {}
x = x[y:equal(2)][{ { 1, pictures } }]:cast("float32"):reshape { -1, 28, 28, 1 } / 127.5 - 1
print(("%d pictures of %s"):format(#x, names[2]))

-- 1. The two networks.
local NOISE = 32
local generator = tide.Sequential {
  tide.Input { NOISE },
  layers.Dense { 7 * 7 * 32, use_bias = false },
  layers.BatchNormalization(),
  layers.LeakyReLU { 0.2 },
  layers.Reshape { 7, 7, 32 },
  layers.Conv2DTranspose { 32, 4, strides = 2, padding = "same", use_bias = false },
  layers.BatchNormalization(),
  layers.LeakyReLU { 0.2 },
  layers.Conv2DTranspose { 1, 4, strides = 2, padding = "same", activation = "tanh" },
}
local critic = tide.Sequential {
  tide.Input { 28, 28, 1 },
  layers.Conv2D { 32, 4, strides = 2, padding = "same" },
  layers.LeakyReLU { 0.2 },
  layers.Conv2D { 32, 4, strides = 2, padding = "same" },
  layers.LeakyReLU { 0.2 },
  layers.Flatten(),
  layers.Dropout { 0.3 },
  layers.Dense { 1 },
}

-- 2. A step trains the critic to tell photographs (1) from drawings (0), then the generator to be
-- taken for a photographer. fit keeps its loop, progress and callbacks.
local TRAINING = { training = true }
local GAN = tide.Model:extend("GAN", {
  init = function(self)
    self.generator, self.critic = generator, critic
    self.drawing = tide.optimizers.Adam { 1e-3, beta_1 = 0.5 }
    self.judging = tide.optimizers.Adam { 2e-4, beta_1 = 0.5 }
    self.bce = tide.losses.BinaryCrossentropy { from_logits = true }
  end,
  call = function(self, noise)
    return self.generator(noise)
  end,
  train_step = function(self, photographs)
    local n = #photographs
    local real, drawn = ops.ones { n, 1 }, ops.zeros { n, 1 }
    local noise = tide.random.normal { n, NOISE }

    local drawings = self.generator(noise, TRAINING):detach()
    local critic_loss, grads = tide.value_and_grad(function()
      return self.bce(real, self.critic(photographs, TRAINING))
        + self.bce(drawn, self.critic(drawings, TRAINING))
    end, self.critic.trainable_weights)
    self.judging:apply(grads, self.critic.trainable_weights)

    local generator_loss
    generator_loss, grads = tide.value_and_grad(function()
      return self.bce(real, self.critic(self.generator(noise, TRAINING), TRAINING))
    end, self.generator.trainable_weights)
    self.drawing:apply(grads, self.generator.trainable_weights)
    return { critic_loss = critic_loss, generator_loss = generator_loss }
  end,
})
local gan = GAN()
gan:compile {}
gan:fit(x, { epochs = epochs, batch_size = 64 })

-- 3. Five drawings in a row.
local drawn = gan:predict(tide.random.normal { 5, NOISE }, { verbose = 0 })
print(tide.plot.picture(ops.concatenate(ops.unstack(drawn), { axis = 2 }) * 127.5 + 127.5))
