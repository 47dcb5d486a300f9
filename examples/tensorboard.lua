-- What TensorBoard shows of a training: curves, histograms, the graph, a trace of three batches and
-- a table of words in space. Runs about a second; then `tensorboard --logdir logs`.
--
-- A network learns which of two words is nearer to the beginning of the alphabet.
local tide = require "tide"
local layers = tide.layers

local words = { "apple", "bread", "cloud", "dream", "eagle", "flame", "grape", "honey", "igloo",
  "jewel", "koala", "lemon", "mango", "night", "ocean", "pearl", "queen", "river", "stone",
  "tiger" }
local logs = arg and arg[1] or "logs"

tide.seed(1)
local x = tide.random.randint({ 2000, 2 }, 1, #words + 1)
local y = x[{ {}, { 1, 1 } }]:less(x[{ {}, { 2, 2 } }]):cast "float32"

local model = tide.Sequential {
  tide.Input { 2, dtype = "int32" },
  layers.Embedding { #words, 2, name = "words" },
  layers.Flatten(),
  layers.Dense { 16, activation = "relu" },
  layers.Dense { 1, activation = "sigmoid" },
}
model:compile { optimizer = { "adam", learning_rate = 0.01 }, loss = "binary_crossentropy",
  metrics = { "accuracy" } }

local board = tide.callbacks.TensorBoard { logs, histogram_freq = 1, update_freq = 10,
  profile_batch = { 10, 12 }, embeddings_freq = 5, embeddings_metadata = "labels.tsv" }
local history = model:fit(x, y, { epochs = 5, validation_split = 0.2, verbose = 0,
  callbacks = { board } })

local labels <close> = assert(io.open(logs .. "/labels.tsv", "w"))
labels:write(table.concat(words, "\n"), "\n")

print(("accuracy: %.3f"):format(history.val_accuracy[-1]))
print("Scalars, histograms and the graph: tensorboard --logdir " .. logs)
print("The trace, without TensorBoard: drop the .trace.json below " .. logs
  .. "/train/plugins/profile on https://ui.perfetto.dev")
