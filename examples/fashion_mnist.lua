-- A convolutional network on Fashion-MNIST: 60,000 pictures of clothes in ten classes, trained,
-- saved, loaded and looked at. Run it with `make demo`, or `build/tide examples/fashion_mnist.lua
-- [epochs [pictures]]`.
local tide = require "tide"
local layers = tide.layers

local epochs, pictures = tonumber(arg and arg[1]) or 4, tonumber(arg and arg[2]) or 60000
tide.seed(tonumber(os.getenv "SEED") or 1)

-- 1. The data: bytes (60000, 28, 28) and labels 1..10. Class names come along.
local x_train, y_train, x_test, y_test, names = tide.datasets.fashion_mnist {}
x_train, y_train = x_train[{ { 1, pictures } }], y_train[{ { 1, pictures } }]
print(("%d training and %d test pictures of %d classes"):format(#x_train, #x_test, #names))

-- 2. The model: convolutions see edges, parts and shapes, dense layers decide.
local model = tide.Sequential {
  tide.Input { 28, 28 },
  layers.Reshape { 28, 28, 1 },
  layers.Rescaling { 1 / 255 },
  layers.Conv2D { 32, 3, padding = "same", activation = "relu" },
  layers.MaxPooling2D(),
  layers.Conv2D { 64, 3, use_bias = false },
  layers.BatchNormalization(),
  layers.ReLU(),
  layers.MaxPooling2D(),
  layers.Conv2D { 128, 3, activation = "relu" },
  layers.Flatten(),
  layers.Dropout { 0.4 },
  layers.Dense { 128, activation = "relu" },
  layers.Dense { 10, activation = "softmax" },
}
model:summary()

-- 3. Training, with a twentieth kept aside to watch it; the learning rate falls along a cosine.
local steps = epochs * math.ceil(0.95 * pictures / 96)
local rate = tide.optimizers.schedules.CosineDecay { 2e-3, steps }
model:compile { optimizer = { "adam", learning_rate = rate },
  loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
local history = model:fit(
  x_train, y_train, { epochs = epochs, batch_size = 96, validation_split = 0.05 })
local _, accuracy = model:evaluate(x_test, y_test, { batch_size = 500, verbose = 0 })
print(("test accuracy %.4f"):format(accuracy))

-- 4. Saved and loaded, it gives the same answers, bit for bit.
local file = "fashion_mnist.safetensors"
model:save(file)
local probabilities = model:predict(x_test, { batch_size = 500, verbose = 0 })
local again = tide.load_model(file):predict(x_test, { batch_size = 500, verbose = 0 })
assert(tide.ops.all(probabilities:equal(again)), "the loaded model differs from the saved one")
os.remove(file)
print "saved, loaded: equal predictions"

-- 5. What it learned: accuracy per class, and what it takes for what.
local predicted = probabilities:argmax { axis = 2 }
local confusion = tide.utils.confusion_matrix(y_test, predicted, { num_classes = #names })
print(tide.plot.confusion_table(confusion, names))

-- 6. A few pictures with their true and predicted names.
for i = 1, 3 do
  print(tide.plot.picture(x_test[i]))
  local p = predicted[i]
  print(("  %s, taken for %s (%.0f%%)\n"):format(names[y_test[i]], names[p],
    100 * probabilities[{ i, p }]))
end

-- 7. The learning curves as a picture.
tide.plot.history(history, { file = "fashion_mnist.png" })
print "learning curves: fashion_mnist.png"
