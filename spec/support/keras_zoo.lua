-- Models of real Keras with what they are expected to give (spec/ref/keras_zoo.py): reading both,
-- comparing, writing again.
--
--   lua5.4 -e 'require("spec.support.keras_zoo").write "FOLDER"'     for Keras to open
local differences = require "spec.support.differences"
local core = require "tide.core"
local none = require "tide.none"
local tide = require "tide"

local zoo = { folder = "spec/fixtures/zoo/" }

--- All names of a folder, the zoo's by default, sorted.
function zoo.names(folder)
  local out = {}
  local pipe = io.popen("ls " .. (folder or zoo.folder))
  for file in pipe:lines() do
    out[#out + 1] = file:match "^(.*)%.json$"
  end
  pipe:close()
  return out
end

-- { shape, dtype, data } as tensors, in whatever structure.
local function tensors(v)
  if v.data and v.shape and v.dtype then
    return tide.tensor(v.data, { dtype = v.dtype }):reshape(v.shape)
  end
  local out = {}
  for k, x in pairs(v) do
    out[k] = tensors(x)
  end
  return out
end

--- What is known of a model: { inputs, outputs }, or { x, y, evaluate, after, iterations }.
function zoo.expected(name, folder)
  local f = assert(io.open((folder or zoo.folder) .. name .. ".json"))
  local found = core.json_decode(f:read "a", none, name)
  f:close()
  for _, k in ipairs { "inputs", "outputs", "x", "y", "after" } do
    found[k] = found[k] and tensors(found[k])
  end
  return found
end

--- The largest difference of two structures of tensors.
function zoo.far(got, want)
  if type(want) == "userdata" then
    if type(got) ~= "userdata" or tostring(got.shape) ~= tostring(want.shape) then
      return math.huge
    end
    local d = tide.ops.max(tide.ops.abs(got:cast "float64" - want:cast "float64")):item()
    if differences.on then
      differences.note(d, 0, 0, 0, "an element")
    end
    return d == d and d or math.huge
  end
  local most = 0
  for k, v in pairs(want) do
    most = math.max(most, type(got) == "table" and got[k] ~= nil and zoo.far(got[k], v)
      or math.huge)
  end
  return most
end

--- Runs a model on its expected inputs.
function zoo.run(model, want)
  return model(#want.inputs > 1 and want.inputs or want.inputs[1], { training = false })
end

--- Reads all of them and writes them again.
function zoo.write(folder)
  for _, name in ipairs(zoo.names()) do
    local model = tide.load_model(zoo.folder .. name .. ".keras")
    model:save(folder .. "/" .. name .. ".keras")
    if zoo.expected(name).inputs then
      model:save(folder .. "/" .. name .. ".h5")
      model:save_weights(folder .. "/" .. name .. ".weights.h5")
    end
  end
end

return zoo
