-- The seed document's first program, translated line by line by the rules of the interface, run as
-- it stands.
local tide = require "tide"

describe("the first program", function()
  it("runs as it stands", function()
    local x_train = tide.random.normal { 64, 10 }
    local y_train = tide.ops.argmax(x_train, 2)
    local x_test, y_test, x_new = x_train, y_train, x_train

    local layers = tide.layers

    -- the structure of the network
    local model = tide.Sequential()
    model:add(layers.Dense { units = 64, activation = "relu", input_shape = { 10 } })
    model:add(layers.Dense { units = 10, activation = "softmax" })

    -- compile
    model:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy",
      metrics = { "accuracy" } }

    -- train
    local history = model:fit(x_train, y_train, { epochs = 10, batch_size = 32, verbose = 0 })

    assert.equal(10, #history.loss)
    assert(history.loss[10] < history.loss[1])
    assert(history.accuracy[10] > history.accuracy[1])
    local loss, accuracy = model:evaluate(x_test, y_test, { verbose = 0 })
    assert(loss < history.loss[1] and accuracy > 0 and accuracy <= 1)
    local probabilities = model:predict(x_new)
    assert.same({ 64, 10 }, probabilities.shape:totable())
    assert(math.abs(probabilities[1]:sum():item() - 1) < 1e-5)
  end)

  it("runs with its callbacks", function()
    local x_train, y_train = tide.random.normal { 64, 10 }, tide.random.randint({ 64 }, 1, 11)
    local dir = require("spec.support.expect").name()
    local model = tide.Sequential {
      tide.layers.Dense { 10, activation = "softmax", input_shape = { 10 } } }
    model:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy",
      metrics = { "accuracy" } }
    local early_stopping = tide.callbacks.EarlyStopping {
      monitor = "val_loss", patience = 3, restore_best_weights = true }
    local model_checkpoint = tide.callbacks.ModelCheckpoint {
      dir .. "/best_model.h5", save_best_only = true }
    model:fit(x_train, y_train, { epochs = 3, batch_size = 32, verbose = 0, validation_split = 0.25,
      callbacks = { early_stopping, model_checkpoint } })
    assert.equal("Sequential", getmetatable(tide.load_model(dir .. "/best_model.h5")).__name)
    os.execute("rm -r " .. dir)
  end)
end)
