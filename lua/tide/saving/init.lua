--- Saving and loading: the file's extension says how. Every write is atomic; loading checks
--- everything before it touches a model, and runs no code.
---
--- A format is a module with `save_model(model, path, o)`, `load_model(path, o)`,
--- `save_weights(model, path, o)` and `load_weights(model, path, o)`.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local guard = require "tide.saving.guard"
local registry = require "tide.registry"

local saving = {}

local DAMAGED = "what the file describes is damaged"

--- Extension -> module. The longest extension that fits counts.
saving.formats = {
  [".safetensors"] = "tide.saving.safetensors",
  [".keras"] = "tide.saving.keras",
  [".h5"] = "tide.saving.keras",
  [".hdf5"] = "tide.saving.keras",
  [".weights.h5"] = "tide.saving.keras",
  [".weights.json"] = "tide.saving.keras",
  [".npz"] = "tide.saving.npz",
}
-- Formats that hold weights, but no architecture.
local weights_only = { [".weights.h5"] = true, [".weights.json"] = true, [".npz"] = true }

local function extension_of(path)
  local best
  for ext in pairs(saving.formats) do
    if path:sub(-#ext) == ext and #path > #ext and (not best or #ext > #best) then
      best = ext
    end
  end
  return best
end

local function known()
  local out = {}
  for ext in pairs(saving.formats) do
    out[#out + 1] = ext
  end
  table.sort(out)
  return table.concat(out, ", ")
end

-- The module for a path.
local function format_of(path, owner)
  if type(path) ~= "string" or path == "" then
    errors.raise(owner, "takes a path (got %s)", check.show(path))
  end
  local ext = extension_of(path)
  if not ext then
    errors.raise(owner, "%s: the name must end in one of %s", check.show(path), known())
  end
  local module = saving.formats[ext]
  if not package.loaded[module] and not package.preload[module]
    and not pcall(package.searchers.tide, module) then
    errors.raise(
      owner, "%s: %s files need the module %s, which is not installed; .safetensors always works",
        check.show(path), ext,
      module)
  end
  return require(module), ext
end

--- Raises where a path's name fits no format.
---
---     tide.saving.check_path "model.keras"
--- @param only_weights boolean|nil whether weights alone are to be written
function saving.check_path(path, only_weights)
  local ext = type(path) == "string" and extension_of(path)
  if not ext then
    errors.raise("save", "%s: the name must end in one of %s", check.show(path), known())
  elseif weights_only[ext] and not only_weights then
    errors.raise(
      "save",
      "%s: %s files hold weights only; name the file .safetensors or .keras for the whole model",
      path, ext)
  end
end

local function refuse_overwrite(o, path, owner)
  if o.overwrite == false and core.file_exists(path) then
    errors.raise(owner, "%s exists already and overwrite is false", path)
  end
end

local save_args = check.args("save", {
  { "filepath", "string", check.required, "where to write" },
  { "overwrite", "bool", true, "replace an existing file" },
  { "include_optimizer", "bool", true, "with the state of the optimizer" },
  { "zipped", "bool", true, "false: Keras' files in a folder, under any name" },
})

--- Writes the whole model: architecture, weights, compile state, optimizer.
---
---     model:save "model.safetensors"
function saving.save(self, ...)
  local o = save_args:call(...)
  if not o.zipped then
    local keras = require "tide.saving.keras"
    refuse_overwrite(o, o.filepath, "save")
    return keras.save_folder(self, o.filepath, o)
  end
  saving.check_path(o.filepath, false)
  refuse_overwrite(o, o.filepath, "save")
  format_of(o.filepath, "save").save_model(self, o.filepath, o)
end

--- The same as a function: `tide.saving.save_model(model, path)`.
saving.save_model = saving.save

local weights_args = check.args("save_weights", {
  { "filepath", "string", check.required, "where to write" },
  { "overwrite", "bool", true, "replace an existing file" },
  { "max_shard_size", "number", nil, "gigabytes per file, where the format knows shards",
    above = 0 },
})

--- Writes the weights alone.
---
---     model:save_weights "model.weights.h5"
function saving.save_weights(self, ...)
  local o = weights_args:call(...)
  saving.check_path(o.filepath, true)
  refuse_overwrite(o, o.filepath, "save_weights")
  format_of(o.filepath, "save_weights").save_weights(self, o.filepath, o)
end

local load_weights_args = check.args("load_weights", {
  { "filepath", "string", check.required, "what to read" },
  { "skip_mismatch", "bool", false, "leave out weights that are missing or have another shape" },
  { "by_name", "bool", false, "match by name, leave the others" },
})

--- Reads weights into a model that is built. Nothing changes unless all fits.
---
---     model:load_weights "model.weights.h5"
function saving.load_weights(self, ...)
  local o = load_weights_args:call(...)
  local path = o.filepath
  o.filepath = nil
  guard.read("load_weights", path, DAMAGED, format_of(path, "load_weights").load_weights, self,
    path, o)
end

-- Makes a person's classes and functions findable by name while `f` runs.
local function with_custom(objects, f, ...)
  local undo = {}
  for name, v in pairs(objects or {}) do
    local kinds
    if class.is_class(v) then
      kinds = { v.kind }
    elseif type(v) == "function" then
      kinds = { "activation", "initializer", "regularizer", "constraint", "loss", "metric" }
    else
      errors.raise(
        "load_model", "custom_objects holds classes and functions by name (got %s for '%s')",
        check.show(v), tostring(name))
    end
    for _, kind in ipairs(kinds) do
      local custom = registry.custom(kind)
      undo[#undo + 1] = { custom, name, custom[name] }
      custom[name] = v
    end
  end
  local results = table.pack(pcall(f, ...))
  for i = #undo, 1, -1 do
    undo[i][1][undo[i][2]] = undo[i][3]
  end
  if not results[1] then
    error(results[2], 0)
  end
  return table.unpack(results, 2, results.n)
end

local load_args = check.args("load_model", {
  { "filepath", "string", check.required, "what to read" },
  { "custom_objects", "table", nil, "classes and functions of one's own by name" },
  { "compile", "bool", true, "compile as the saved model was" },
  { "safe_mode", "bool", true, "accepted; loading never runs code" },
})

--- Reads a whole model.
---
---     local model = tide.load_model "model.safetensors"
--- @return table model
function saving.load_model(...)
  local o = load_args:call(...)
  local path = o.filepath
  o.filepath = nil
  if type(path) == "string" and core.file_exists(path .. "/config.json") then
    local keras = require "tide.saving.keras"
    return with_custom(o.custom_objects, keras.load_folder, path, o)
  end
  local format, ext = format_of(path, "load_model")
  if weights_only[ext] then
    errors.raise(
      "load_model", "%s: %s files hold weights only; make the model and use model:load_weights",
      path, ext)
  end
  return guard.read("load_model", path, DAMAGED, with_custom, o.custom_objects, format.load_model,
    path, o)
end

local torch = require "tide.saving.torch"
saving.load_torch, saving.save_torch = torch.load_torch, torch.save_torch

return require("tide.namespace").new("tide.saving", saving, {
  modules = { KerasFileEditor = "tide.saving.editor" } })
