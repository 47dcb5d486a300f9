-- Patients in a table, numbers and words mixed: a FeatureSpace learns how to encode each column, a
-- small network on it learns who falls ill, and one file holds both. About 83% of the patients that
-- it did not see are told right after a second; chance rules the others.
--
--     build/tide examples/structured_data.lua [EPOCHS] [PATIENTS]
local tide = require "tide"
local layers, FeatureSpace = tide.layers, tide.utils.FeatureSpace

local epochs, patients = tonumber(arg[1] or 6), tonumber(arg[2] or 4000)
tide.seed(7)
math.randomseed(7)

-- A made-up clinic: age and pressure raise the risk, and so do two jobs, one of them for smokers.
local jobs = { "clerk", "miner", "cook", "driver", "baker" }
local table_ = { age = {}, pressure = {}, job = {}, smokes = {}, ward = {} }
local ill = {}
for i = 1, patients do
  local age, pressure = 20 + 60 * math.random(), 120 + 20 * (math.random() + math.random() - 1)
  local job, smokes = jobs[math.random(#jobs)], math.random() < 0.4 and "yes" or "no"
  table_.age[i], table_.pressure[i], table_.job[i] = age, pressure, job
  table_.smokes[i], table_.ward[i] = smokes, math.random(400, 412)
  local risk = (age - 50) / 8 + (pressure - 120) / 6 + (job == "miner" and 2.5 or 0)
    + (job == "baker" and smokes == "yes" and 4 or 0) - 1
  ill[i] = math.random() < 1 / (1 + math.exp(-risk)) and 1 or 0
end

local space = FeatureSpace {
  { age = "float_normalized", pressure = FeatureSpace.float_discretized { num_bins = 8 },
    job = "string_categorical", smokes = "string_categorical", ward = "integer_categorical" },
  crosses = { { "job", "smokes" } }, crossing_dim = 32,
}
space:adapt(table_)

local x = layers.Dense { 32, activation = "relu" }(space:get_encoded_features())
local model = tide.Model { inputs = space:get_inputs(),
  outputs = layers.Dense { 1, activation = "sigmoid" }(layers.Dropout(0.2)(x)) }
model:compile { optimizer = { "adam", learning_rate = 0.01 }, loss = "binary_crossentropy",
  metrics = { "accuracy" } }
model:fit(table_, tide.tensor(ill):reshape { patients, 1 },
  { epochs = epochs, batch_size = 64, validation_split = 0.2, verbose = 2 })

-- One person, as the rows of the table are.
local path = os.tmpname() .. ".keras"
model:save(path)
local again = tide.load_model(path)
os.remove(path)
for _, job in ipairs { "clerk", "baker" } do
  local risk = again:predict({ age = { 45 }, pressure = { 118 }, job = { job },
    smokes = { "yes" }, ward = { 403 } }, { verbose = 0 })
  print(("a smoking %s of 45: %.0f%%"):format(job, 100 * risk[{ 1, 1 }]))
end
