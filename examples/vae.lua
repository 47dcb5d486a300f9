-- A variational autoencoder (Kingma and Welling 2014): a picture of clothes becomes a point of the
-- plane, and every point of the plane a picture. Its loss on 10,000 pictures falls from 433 to 276
-- in 8 epochs, 4 seconds on two cores; then it draws a walk through the plane.
-- `build/tide examples/vae.lua [epochs [pictures]]`
local tide = require "tide"
local layers, ops = tide.layers, tide.ops

local epochs, pictures = tonumber(arg and arg[1]) or 8, tonumber(arg and arg[2]) or 10000
tide.seed(1)
local x = tide.datasets.fashion_mnist {}
x = x[{ { 1, pictures } }]:cast("float32"):reshape { -1, 28, 28, 1 } / 255

-- 1. Where a picture lies is known with a doubt: the encoder gives the mean and the logarithm of
-- the variance of a normal distribution, in training a point is drawn from it. What keeps the
-- points together is a loss of this layer: how far the distribution is from the standard normal
-- one.
local Place = tide.Layer:extend("Place", {
  inputs = { "mean", "log_variance" },
  call = function(self, mean, log_variance, o)
    self:add_loss((-0.5 * (1 + log_variance - mean:square() - log_variance:exp()):sum(2)):mean())
    if not o.training then
      return mean
    end
    return mean + (0.5 * log_variance):exp() * tide.random.normal(mean.shape)
  end,
})

local encoder = tide.Sequential {
  tide.Input { 28, 28, 1 },
  layers.Conv2D { 16, 3, strides = 2, padding = "same", activation = "relu" },
  layers.Conv2D { 32, 3, strides = 2, padding = "same", activation = "relu" },
  layers.Flatten(),
  layers.Dense { 64, activation = "relu" },
}
local decoder = tide.Sequential {
  tide.Input { 2 },
  layers.Dense { 7 * 7 * 32, activation = "relu" },
  layers.Reshape { 7, 7, 32 },
  layers.Conv2DTranspose { 16, 3, strides = 2, padding = "same", activation = "relu" },
  layers.Conv2DTranspose { 1, 3, strides = 2, padding = "same", activation = "sigmoid" },
}

-- 2. The whole: a picture, its place, and the picture drawn again.
local picture = tide.Input { 28, 28, 1 }
local features = encoder(picture)
local place = Place()(layers.Dense { 2 }(features), layers.Dense { 2 }(features))
local vae = tide.Model { inputs = picture, outputs = decoder(place) }
vae:compile { optimizer = { "adam", learning_rate = 2e-3 }, loss = function(wanted, drawn)
  return ops.binary_crossentropy(wanted, drawn):sum { 2, 3, 4 }
end }
local history = vae:fit(x, x, { epochs = epochs, batch_size = 128 })
print(("loss %.1f -> %.1f"):format(history.loss[1], history.loss[-1]))

-- 3. A walk through the plane, from left to right.
local drawn = decoder:predict({ { -2, 0 }, { -1, 0 }, { 0, 0 }, { 1, 0 }, { 2, 0 } },
  { verbose = 0 })
print(tide.plot.picture(ops.concatenate(ops.unstack(drawn), { axis = 2 }) * 255))
