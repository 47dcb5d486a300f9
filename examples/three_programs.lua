-- Three programs that every Keras user has written, each line of Python above the line of Lua that
-- it becomes: a first network; training with EarlyStopping and ModelCheckpoint; pictures from
-- folders. Run it with `build/tide examples/three_programs.lua [folder]`: it makes its data in the
-- folder (a new one in /tmp) and stays there.
local tide = require "tide"

-- ---- data, where the programs say x_train, y_train, 'data/train' and 'data/test' ----

local folder = arg and arg[1]
if not folder then
  folder = os.tmpname()
  os.remove(folder) -- a folder takes the place of the file
end
tide.seed(1)
local x_train = tide.random.normal { 512, 10 }
local y_train = tide.ops.argmax(x_train, 2) -- labels count from 1
local x_test, y_test = x_train, y_train

local function paint(where, count)
  local image = tide.preprocessing.image
  for class, dark in pairs { night = 0.2, noon = 0.8 } do
    local path = ("%s/data/%s/%s"):format(folder, where, class)
    os.execute(("mkdir -p '%s'"):format(path))
    for i = 1, count do
      local picture = tide.random.uniform(
        { 90 + i, 120, 3 }, { minval = dark - 0.2, maxval = dark + 0.2 }) * 255
      image.save_img(("%s/%03d.%s"):format(path, i, i % 2 == 0 and "png" or "jpg"), picture,
        { scale = false })
    end
  end
end
paint("train", 32)
paint("test", 8)

-- The programs name files as if they were run in that folder.
local function at(name)
  return folder .. "/" .. name
end

do
  print "1. a first network"
  -- import tensorflow as tf
  -- from tensorflow.keras.models import Sequential
  local Sequential = tide.Sequential
  -- from tensorflow.keras.layers import Dense
  local Dense = tide.layers.Dense

  -- model = Sequential()
  local model = Sequential()
  -- model.add(Dense(units=64, activation='relu', input_shape=(10,)))
  model:add(Dense { units = 64, activation = "relu", input_shape = { 10 } })
  -- model.add(Dense(units=10, activation='softmax'))
  model:add(Dense { units = 10, activation = "softmax" })

  -- model.compile(optimizer='adam', loss='sparse_categorical_crossentropy', metrics=['accuracy'])
  model:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy",
    metrics = { "accuracy" } }

  -- model.fit(x_train, y_train, epochs=10, batch_size=32)
  model:fit(x_train, y_train, { epochs = 10, batch_size = 32 })
  print(("accuracy %.3f"):format(select(2, model:evaluate(x_test, y_test, { verbose = 0 }))))
end

do
  print "2. callbacks"
  local model = tide.Sequential {
    tide.layers.Dense { 64, activation = "relu", input_shape = { 10 } },
      tide.layers.Dense { 10, activation = "softmax" } }
  model:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy",
    metrics = { "accuracy" } }

  -- from tensorflow.keras.callbacks import EarlyStopping, ModelCheckpoint
  local EarlyStopping, ModelCheckpoint = tide.callbacks.EarlyStopping,
    tide.callbacks.ModelCheckpoint

  -- early_stopping = EarlyStopping(monitor='val_loss', patience=3, restore_best_weights=True)
  local early_stopping = EarlyStopping {
    monitor = "val_loss", patience = 3, restore_best_weights = true }
  -- model_checkpoint = ModelCheckpoint('best_model.h5', save_best_only=True)
  local model_checkpoint = ModelCheckpoint { at "best_model.h5", save_best_only = true }

  -- model.fit(x_train, y_train, epochs=10, batch_size=32, callbacks=[early_stopping,
  -- model_checkpoint])
  -- Both callbacks watch val_loss, so some data are kept for validation; without them neither would
  -- do anything, as in Keras.
  model:fit(x_train, y_train, { epochs = 10, batch_size = 32, validation_split = 0.1,
    callbacks = { early_stopping, model_checkpoint } })

  local best = tide.load_model(at "best_model.h5")
  local far = tide.ops.max(
    tide.ops.abs(best:predict(x_test, { verbose = 0 }) - model:predict(x_test, { verbose = 0 })))
  print(("best_model.h5 predicts what the model does, within %g"):format(far:item()))
end

do
  print "3. pictures from folders"
  -- from tensorflow.keras.preprocessing.image import ImageDataGenerator
  local ImageDataGenerator = tide.preprocessing.image.ImageDataGenerator

  -- train_datagen = ImageDataGenerator(rescale=1./255, shear_range=0.2, zoom_range=0.2,
  -- horizontal_flip=True)
  local train_datagen = ImageDataGenerator {
    rescale = 1. / 255, shear_range = 0.2, zoom_range = 0.2, horizontal_flip = true }
  -- test_datagen = ImageDataGenerator(rescale=1./255)
  local test_datagen = ImageDataGenerator { rescale = 1. / 255 }

  -- train_generator = train_datagen.flow_from_directory('data/train', target_size=(150, 150),
  -- batch_size=32, class_mode='binary')
  local train_generator = train_datagen:flow_from_directory(at "data/train",
    { target_size = { 150, 150 }, batch_size = 32, class_mode = "binary" })
  -- test_generator = test_datagen.flow_from_directory('data/test', target_size=(150, 150),
  -- batch_size=32, class_mode='binary')
  local test_generator = test_datagen:flow_from_directory(at "data/test",
    { target_size = { 150, 150 }, batch_size = 32, class_mode = "binary" })

  local layers = tide.layers
  local model = tide.Sequential {
    tide.Input { 150, 150, 3 }, layers.Conv2D { 8, 3, strides = 3, activation = "relu" },
      layers.GlobalAveragePooling2D(), layers.Dense { 1, activation = "sigmoid" } }
  model:compile { optimizer = { "adam", learning_rate = 0.05 }, loss = "binary_crossentropy",
    metrics = { "accuracy" } }

  -- model.fit(train_generator, epochs=10, batch_size=32)
  model:fit(train_generator, { epochs = 10, batch_size = 32 })
  print(("test accuracy %.3f"):format(select(2, model:evaluate(test_generator, { verbose = 0 }))))
end
