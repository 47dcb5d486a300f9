-- Files of real Keras in spec/fixtures/keras beside Keras' outputs (keras_models.py): what Tide reads, the largest difference
-- of outputs, and why it refuses the others. The specs of spec/saving assert the same; this prints it:
--
--   LUA_PATH="lua/?.lua;lua/?/init.lua;./?.lua;;" build/tide spec/ref/keras_fixtures.lua > spec/ref/keras_fixtures.txt
local keras = require "tide.saving.keras"
local models = require "spec.support.keras_models"
local reference = require "spec.ref.keras_models"
local tide = require "tide"

local folder = "spec/fixtures/keras/"
local by_hand = { { 5.0017161, 4.5532436 } } -- of the minimal files, for [1, -1, 0.5, 2]

local function line(file, text)
  print(("%-34s %s"):format(file, text))
end

-- What Keras computed for the model in the file: wanted outputs and the function that computes ours.
local function expected(stem)
  if stem:find "^min_" then
    return by_hand, function(model)
      return model(tide.tensor { { 1, -1, 0.5, 2 } })
    end
  end
  return reference.models[stem] or reference.fixtures[stem], models.run
end

local function whole(file)
  local ok, model = pcall(keras.load_model, folder .. file)
  if not ok then
    return line(file, "refused: " .. tostring(model):gsub("\n.*", ""):gsub("^.-: ", "", 1))
  end
  local want, run = expected(file:match "^[%w_]+")
  if want then
    line(file, ("read; outputs within %.1e"):format(models.difference(run(model), want)))
  else
    line(file, ("read; %s, %d steps done"):format(model.optimizer:_class_name(), model.optimizer.iterations))
  end
end

local function weights(file)
  local ok, entries = pcall(keras.read_hdf5, folder .. file)
  line(file, ok and ("read; %d arrays"):format(#entries) or "refused: " .. tostring(entries))
end

local list <close> = assert(io.popen("ls " .. folder))
for file in list:lines() do
  if file:find "weights" and file:find "%.h5$" then
    weights(file)
  elseif file:find "%.keras$" or file:find "%.h5$" then
    whole(file)
  end
end
