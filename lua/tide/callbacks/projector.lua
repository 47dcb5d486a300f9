--- What TensorBoard's projector shows: the tables of embedding layers as files of tab-separated
--- numbers, and the configuration that names them.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"

local projector = {}

local POINTS = 100000 -- the projector shows no more

-- The layers whose tables are shown.
local function layers_of(model)
  local out, Embedding = {}, require("tide.layers").Embedding
  for _, layer in ipairs(model:_flat()) do
    if class.is(layer, Embedding) then
      out[#out + 1] = layer
    end
  end
  return out
end

--- Raises where `metadata` (a path, or paths by name of layer) names a layer that is no embedding.
function projector.check(model, metadata)
  if type(metadata) ~= "table" then
    return
  end
  local names = {}
  for i, layer in ipairs(layers_of(model)) do
    names[i], names[layer.name] = layer.name, true
  end
  for _, name in ipairs(check.sorted_keys(metadata)) do
    if not names[name] then
      errors.raise("TensorBoard", "embeddings_metadata names '%s', which is no embedding of %s%s",
        tostring(name), model:_label(), check.did_you_mean(tostring(name), names))
    elseif type(metadata[name]) ~= "string" then
      errors.raise("TensorBoard", "embeddings_metadata must hold paths (got %s for '%s')",
        check.show(metadata[name]), name)
    end
  end
end

-- A string as protobuf's text has it.
local function quoted(s)
  return '"' .. s:gsub('[%c"\\]', function(c)
    return ("\\%03o"):format(c:byte())
  end) .. '"'
end

local function rows_of(t, path)
  local rows = math.min(t.shape[1], POINTS)
  core.write_file(path, "")
  for from = 1, rows, 1000 do
    local out = t[{ { from, math.min(from + 999, rows) } }]:tolist()
    for i, row in ipairs(out) do
      for k, v in ipairs(row) do
        row[k] = ("%.7g"):format(v)
      end
      out[i] = table.concat(row, "\t")
    end
    core.append_file(path, table.concat(out, "\n") .. "\n")
  end
end

--- Writes the tables as they are, and the configuration beside them.
--- @param folder string of the run
--- @param metadata string|table|nil
function projector.write(model, folder, metadata)
  local _ <close> = core.decimal_point()
  local text = {}
  core.mkdirs(folder .. "/embeddings")
  for _, layer in ipairs(layers_of(model)) do
    local t = layer.embeddings and layer.embeddings:detach()
    if t then
      local path = "embeddings/" .. layer.name:gsub("/", ".") .. ".tsv"
      rows_of(t:cast "float32", folder .. "/" .. path)
      local labels = type(metadata) == "table" and metadata[layer.name]
        or type(metadata) == "string" and metadata
      text[#text + 1] = ("embeddings {\n  tensor_name: %s\n  tensor_shape: %d\n  \z
        tensor_shape: %d\n  tensor_path: %s\n%s}\n"):format(quoted(layer.name),
        math.min(t.shape[1], POINTS), t.shape[2], quoted(path),
        labels and ("  metadata_path: %s\n"):format(quoted(labels)) or "")
    end
  end
  if #text == 0 then
    errors.warn("TensorBoard: %s has no embedding to show", model:_label())
  end
  core.write_file(folder .. "/projector_config.pbtxt", table.concat(text))
end

return projector
