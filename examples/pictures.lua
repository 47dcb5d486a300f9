-- Pictures from folders: writes real JPEG and PNG files of bags and boots, of all sizes and
-- colours, then trains on them with an ImageDataGenerator that decodes, resizes and transforms
-- while the step before is computed. Run it with `build/tide examples/pictures.lua [epochs
-- [pictures [folder]]]`.
local tide = require "tide"
local layers, ops = tide.layers, tide.ops
local image = tide.preprocessing.image
local ImageDataGenerator = image.ImageDataGenerator

local epochs, pictures = tonumber(arg and arg[1]) or 10, tonumber(arg and arg[2]) or 2400
local folder = arg and arg[3] or "data"
tide.seed(tonumber(os.getenv "SEED") or 1)
math.randomseed(7)

-- 1. The files. A Fashion-MNIST picture (28, 28) is enlarged, coloured and laid on a background of
-- two colours and noise.
local function colour(low, high)
  return tide.tensor { math.random(low, high), math.random(low, high), math.random(low, high) }
end

local function compose(clothes)
  local h, w = math.random(90, 240), math.random(90, 240)
  local across = ops.reshape(ops.linspace(0, 1, w), { 1, w, 1 })
  local down = ops.reshape(ops.linspace(0, 1, h), { h, 1, 1 })
  local slant = math.random()
  local shade = across * slant + down * (1 - slant)
  local ground = shade * colour(0, 150) + (1 - shade) * colour(0, 150) + tide.random.normal(
    { h, w, 1 }, { stddev = 10 })
  local size = math.floor(math.min(h, w) * (0.6 + 0.35 * math.random()))
  local top, left = math.random(0, h - size), math.random(0, w - size)
  local shape = tide.image.resize(
    ops.reshape(clothes, { 28, 28, 1 }), { size, size }, { interpolation = "bicubic" })
  shape = ops.clip(shape / 255, 0, 1)
  local place = { { top + 1, top + size }, { left + 1, left + size }, {} }
  local cover = ops.minimum(shape * 4, 1) -- how much of the background is hidden
  ground[place] = ground[place] * (1 - cover) + cover * (shape * 0.7 + 0.3) * colour(120, 255)
  return image.array_to_img(ground, { scale = false })
end

local function write(kind, x, y, count)
  local kinds = { { label = 9, name = "bags" }, { label = 10, name = "boots" } }
  for _, k in ipairs(kinds) do
    local to = ("%s/%s/%s"):format(folder, kind, k.name)
    os.execute(("mkdir -p '%s'"):format(to))
    local i, made = 0, 0
    while made < count // 2 do
      i = i + 1
      if y[i] == k.label then
        made = made + 1
        image.save_img(("%s/%04d.%s"):format(to, made, made % 3 == 0 and "png" or "jpg"),
          compose(x[i]), { scale = false })
      end
    end
  end
end

local x_train, y_train, x_test, y_test = tide.datasets.fashion_mnist {}
write("train", x_train, y_train, pictures * 5 // 6)
write("test", x_test, y_test, pictures // 6)
print(("wrote %d pictures below %s"):format(pictures * 5 // 6 + pictures // 6, folder))

-- 2. The generators, as Keras' programs write them.
local train_datagen = ImageDataGenerator {
  rescale = 1. / 255, shear_range = 0.2, zoom_range = 0.2, horizontal_flip = true }
local test_datagen = ImageDataGenerator { rescale = 1. / 255 }

local train_generator = train_datagen:flow_from_directory(folder .. "/train",
  { target_size = { 150, 150 }, batch_size = 32, class_mode = "binary" })
local test_generator = test_datagen:flow_from_directory(folder .. "/test",
  { target_size = { 150, 150 }, batch_size = 32, class_mode = "binary" })

-- 3. A small convolutional network with one output: the probability of the second class, boots.
local model = tide.Sequential {
  tide.Input { 150, 150, 3 },
  layers.Conv2D { 16, 3, activation = "relu" },
  layers.MaxPooling2D { 3 },
  layers.Conv2D { 32, 3, activation = "relu" },
  layers.MaxPooling2D { 3 },
  layers.Conv2D { 64, 3, activation = "relu" },
  layers.MaxPooling2D { 2 },
  layers.Flatten(),
  layers.Dense { 64, activation = "relu" },
  layers.Dense { 1, activation = "sigmoid" },
}
model:compile { optimizer = "adam", loss = "binary_crossentropy", metrics = { "accuracy" } }

-- 4. Training. `waited` is how long fit stood still for want of pictures.
local start = os.time()
model:fit(train_generator, { epochs = epochs, batch_size = 32 })
print(("fit took %d s and waited %.1f s for pictures"):format(os.time() - start,
  train_generator.waited))

local _, accuracy = model:evaluate(test_generator)
print(("test accuracy %.3f"):format(accuracy))
