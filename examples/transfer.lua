-- Transfer learning: a network has learned clothes from 20,000 clean pictures. Another camera makes
-- them dark and grainy, and only 100 of its pictures have labels. What helps: a new network, the
-- old one frozen with a new head, or low-rank factors beside its frozen kernels (LoRA, Hu et al.
-- 2021)? Of new pictures 39% are right as it was, 65% anew, 60% with a new head, 68% with LoRA; 3
-- seconds on two cores.
-- `build/tide examples/transfer.lua [epochs [pictures]]`
local tide = require "tide"
local layers = tide.layers

local epochs, pictures = tonumber(arg and arg[1]) or 3, tonumber(arg and arg[2]) or 20000
tide.seed(1)
local x_train, y_train, x_test, y_test = tide.datasets.fashion_mnist {}

-- 1. The clean pictures, and those of the other camera: a hundred to learn from, others to judge
-- by.
local function other_camera(x)
  return x:cast "float32" * 0.4 + tide.random.uniform(x.shape, { maxval = 150 })
end
local clean, kinds = x_train[{ { 1, pictures } }], y_train[{ { 1, pictures } }]
local few, few_kinds = other_camera(x_train[{ { -100, -1 } }]), y_train[{ { -100, -1 } }]
local test, test_kinds = other_camera(x_test[{ { 1, 2000 } }]), y_test[{ { 1, 2000 } }]

-- 2. What sees, and a head that decides.
local function eyes()
  return tide.Sequential {
    tide.Input { 28, 28 },
    layers.Rescaling { 1 / 255 },
    layers.Reshape { 28, 28, 1 },
    layers.Conv2D { 16, 3, activation = "relu" },
    layers.MaxPooling2D(),
    layers.Conv2D { 32, 3, activation = "relu" },
    layers.MaxPooling2D(),
    layers.Flatten(),
    layers.Dense { 128, activation = "relu" },
  }
end

local function train(model, x, y, rounds, batch)
  model:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy",
    metrics = { "accuracy" } }
  model:fit(x, y, { epochs = rounds, batch_size = batch, verbose = 0 })
end

local function judge(what, model)
  local weights = 0
  for _, w in ipairs(model.trainable_weights) do
    weights = weights + w.size
  end
  local _, accuracy = model:evaluate(test, test_kinds, { batch_size = 500, verbose = 0 })
  print(("%-18s %5.1f%% right, %6d weights trained"):format(what, 100 * accuracy, weights))
end

-- 3. The clean pictures.
local seeing = eyes()
local model = tide.Sequential { seeing, layers.Dense { 10, activation = "softmax" } }
train(model, clean, kinds, epochs, 64)
judge("as it was", model)

-- 4. A new network, from the hundred pictures alone.
local anew = tide.Sequential { eyes(), layers.Dense { 10, activation = "softmax" } }
train(anew, few, few_kinds, 40, 20)
judge("a new network", anew)

-- 5. The eyes as they are, frozen, and a new head.
seeing.trainable = false
local transferred = tide.Sequential { seeing, layers.Dense { 10, activation = "softmax" } }
train(transferred, few, few_kinds, 40, 20)
judge("frozen, new head", transferred)

-- 6. Beside each kernel, which stays as it is, two factors of rank 4 learn.
seeing.trainable = true
for _, layer in ipairs(seeing.layers) do
  if #layer.weights > 0 then
    layer:enable_lora(4)
  end
end
train(transferred, few, few_kinds, 40, 20)
judge("and LoRA", transferred)
