-- Words of one sound each, as WAV files in a folder per word: audio_dataset_from_directory makes
-- batches of them, a mel spectrogram inside of the model turns them into pictures, and a small
-- convolution learns which word it hears.
-- `build/tide examples/audio_commands.lua [epochs [words]]`; under a minute to 0.9 of unseen words.
-- The words are tones that Tide makes; a folder of recordings is read the same way.
local tide = require "tide"
local audio, layers = tide.audio, tide.layers

local epochs, count = tonumber(arg and arg[1]) or 8, tonumber(arg and arg[2]) or 600
tide.seed(1)

-- ---- a folder of words ----

local waves, labels, names, rate = tide.datasets.tones { count, seed = 1 }
local root = os.tmpname()
os.remove(root)
for _, name in ipairs(names) do
  os.execute(("mkdir -p %s/%s"):format(root, name))
end
for i = 1, count do
  audio.save(("%s/%s/%04d.wav"):format(root, names[labels[i]], i), waves[i] * 0.5, rate)
end

-- ---- batches ----

local length = waves.shape[2]
local train, test = tide.utils.audio_dataset_from_directory(root, { batch_size = 32, seed = 1,
  output_sequence_length = length, validation_split = 0.2, subset = "both" })
-- louder or softer, and some hiss
local louder = train:map(function(x, y)
  local loud = tide.random.uniform({ x.shape[1], 1, 1 }, 0.5, 1.5)
  return x * loud + tide.random.normal(x.shape, 0, 0.01), y
end)

-- ---- learning ----

local model = tide.Sequential {
  tide.Input { length, 1 },
  layers.Reshape { length },
  layers.MelSpectrogram { fft_length = 512, sequence_stride = 128, num_mel_bins = 32,
    sampling_rate = rate },
  layers.Reshape { 32, length // 128 + 1, 1 },
  layers.Rescaling { 1 / 40, offset = 0.5 },
  layers.Conv2D { 16, 3, activation = "relu" },
  layers.MaxPooling2D { 2 },
  layers.Conv2D { 32, 3, activation = "relu" },
  layers.MaxPooling2D { 2 },
  layers.Flatten(),
  layers.Dense { #names, activation = "softmax" },
}
model:compile { optimizer = { "adam", learning_rate = 0.003 },
  loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
model:fit(louder, { epochs = epochs, validation_data = test })

-- ---- one word ----

local path = test.file_paths[1]
local x = audio.load(path, { sample_rate = rate, mono = true })
print(tide.plot.spectrogram(x, { sample_rate = rate, title = "this was heard", color = false }))
local heard = model:predict(x:expand_dims(1), { verbose = 0 }):argmax(-1)[1]
print(("it is the word '%s' (written on it: '%s')"):format(train.class_names[heard],
  path:match "([^/]+)/[^/]+$"))
os.execute("rm -rf " .. root)
