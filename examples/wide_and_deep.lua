-- A wide and deep network (Cheng et al. 2016) over feature columns: who clicks on what. The wide
-- part remembers pairs of person and thing by crossed columns, the deep part generalizes by learnt
-- vectors of both. Reaches an AUC of about 0.83 on what it did not see, in some seconds.
--
--     build/tide examples/wide_and_deep.lua [EPOCHS] [CLICKS]
local tide = require "tide"
local layers, fc = tide.layers, tide.feature_column

local epochs, n = tonumber(arg[1] or 6), tonumber(arg[2] or 30000)
tide.seed(3)
math.randomseed(3)

-- Clicks of made-up people: each likes a kind of thing, more in the evening; some pairs are habits.
local people, things, kinds = 60, 40, 4
local x = { person = {}, thing = {}, hour = {} }
local clicked = {}
for i = 1, n do
  local person, thing, hour = math.random(people), math.random(things), 24 * math.random()
  x.person[i], x.thing[i], x.hour[i] = "p" .. person, "t" .. thing, hour
  local likes = person % kinds == thing % kinds and 2 or -1.5
  local habit = (person * 7 + thing * 3) % 11 == 0 and 3 or 0
  local score = likes + habit + (hour > 18 and 1 or 0) - 0.5
  clicked[i] = math.random() < 1 / (1 + math.exp(-score)) and 1 or 0
end

local person = fc.categorical_column_with_hash_bucket("person", 500)
local thing = fc.categorical_column_with_hash_bucket("thing", 500)
local hour = fc.bucketized_column(fc.numeric_column "hour", { 6, 12, 18 })
local wide = layers.DenseFeatures { { hour,
  fc.indicator_column(fc.crossed_column({ "person", "thing" }, 4000)) } }
local deep = layers.DenseFeatures { { hour, fc.embedding_column(person, 8),
  fc.embedding_column(thing, 8) } }

local inputs = { hour = tide.Input { 1, name = "hour" },
  person = tide.Input { 1, dtype = "string", name = "person" },
  thing = tide.Input { 1, dtype = "string", name = "thing" } }
local h = layers.Dense { 32, activation = "relu" }(deep(inputs))
local model = tide.Model { inputs = inputs, outputs = layers.Dense { 1, activation = "sigmoid" }(
  layers.Concatenate() { wide(inputs), layers.Dense { 16, activation = "relu" }(h) }) }
model:compile { optimizer = { "adam", learning_rate = 0.005 }, loss = "binary_crossentropy",
  metrics = { "auc" } }
local history = model:fit(x, tide.tensor(clicked):reshape { n, 1 },
  { epochs = epochs, batch_size = 128, validation_split = 0.2, verbose = 2 }).history
print(("AUC of what was not seen: %.2f"):format(history.val_auc[#history.val_auc]))
