-- The third program that Tide was made for (pictures from folders), line by line, on real files.
local expect = require "spec.support.expect"
local ops = require "tide.ops"
local tide = require "tide"

local command = expect.command

-- Keras' line stands above each of ours. `model` is a small network; the original leaves it to the
-- reader.
local program = [[
local tide = require "tide"
tide.seed(3)
local model = tide.Sequential {
  tide.Input { 150, 150, 3 },
  tide.layers.AveragePooling2D { 50 },
  tide.layers.Flatten(),
  tide.layers.Dense { 16, activation = "relu" },
  tide.layers.Dense { 1, activation = "sigmoid" },
}
model:compile { optimizer = tide.optimizers.Adam { 0.03 }, loss = "binary_crossentropy",
  metrics = { "accuracy" } }

-- from tensorflow.keras.preprocessing.image import ImageDataGenerator
local ImageDataGenerator = tide.preprocessing.image.ImageDataGenerator

-- train_datagen = ImageDataGenerator(rescale=1./255, shear_range=0.2, zoom_range=0.2,
--                                    horizontal_flip=True)
-- test_datagen = ImageDataGenerator(rescale=1./255)
local train_datagen = ImageDataGenerator { rescale = 1. / 255, shear_range = 0.2, zoom_range = 0.2,
  horizontal_flip = true }
local test_datagen = ImageDataGenerator { rescale = 1. / 255 }

-- train_generator = train_datagen.flow_from_directory('data/train', target_size=(150, 150),
--                                                     batch_size=32, class_mode='binary')
-- test_generator = test_datagen.flow_from_directory('data/test', target_size=(150, 150),
--                                                   batch_size=32, class_mode='binary')
local train_generator = train_datagen:flow_from_directory('data/train', {
  target_size = { 150, 150 }, batch_size = 32, class_mode = 'binary' })
local test_generator = test_datagen:flow_from_directory('data/test', {
  target_size = { 150, 150 }, batch_size = 32, class_mode = 'binary' })

-- model.fit(train_generator, epochs=10, batch_size=32)
model:fit(train_generator, { epochs = 10, batch_size = 32 })

local _, accuracy = model:evaluate(test_generator)
print(("test accuracy %.2f"):format(accuracy))
local p = model:predict(test_generator)
print("predictions", p.shape, train_generator.class_indices.bright,
  train_generator.class_indices.dark)
]]

describe("the third program", function()
  local folder
  setup(function()
    folder = expect.name()
    for _, part in ipairs { "train", "test" } do
      for _, class in ipairs { "bright", "dark" } do
        local to = ("%s/data/%s/%s"):format(folder, part, class)
        assert(os.execute("mkdir -p " .. to))
        for i = 1, part == "train" and 32 or 10 do
          local low = class == "bright" and 110 or 0
          local x = tide.random.uniform(
            { 40 + i, 70 - i, 3 }, { minval = low, maxval = low + 140, seed = i })
          tide.image.save(("%s/%d.%s"):format(to, i, i % 2 == 0 and "png" or "jpg"),
            ops.cast(x, "uint8"), { scale = false })
        end
      end
    end
    local f = assert(io.open(folder .. "/program.lua", "w"))
    f:write(program)
    f:close()
  end)
  teardown(function()
    os.execute("rm -rf " .. folder)
  end)

  it("runs as it stands and learns", function()
    local pipe = io.popen(("cd %s && %s program.lua 2>&1 </dev/null"):format(folder, command))
    local out = pipe:read "a"
    local _, _, status = pipe:close()
    assert.equal(0, status, out)
    assert.matches(
      "Found 64 images belonging to 2 classes%.\nFound 20 images belonging to 2 classes%.\n", out)
    assert.matches("Epoch 10/10\n2/2 ", out)
    assert.matches("predictions%s+%[20, 1%]%s+1%s+2", out)
    local accuracy = tonumber(out:match "test accuracy ([%d.]+)")
    assert.is_true(accuracy >= 0.9, out)
  end)
end)
