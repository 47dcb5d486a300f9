--- `tide inspect FILE`: what a model file holds, without making a model of it: format, layers,
--- weights, optimizer, and attributes; and what KerasFileEditor does to its weights. Nothing of the
--- file is trusted or run.
local printable = require "tide.printable"

local usage = [[
usage: tide inspect FILE...
Prints what model files hold: .keras, .h5, .weights.h5, .weights.json, .safetensors.
       tide inspect summary FILE               objects and weights as a tree
       tide inspect compare A B                what is otherwise in A and B; fails where anything is
       tide inspect rename FILE NAME NEW OUT   gives an object another name
       tide inspect delete FILE NAME OUT       takes an object or a weight out
       tide inspect dump FILE [NAME]           prints the values of weights
These take .keras, .weights.h5 and .safetensors. NAME is a path (layers/dense_1) or a name that is
there once; weights of Keras' files are 0, 1, … in their object. OUT is a file of weights
(.weights.h5, or .safetensors from .safetensors). A file of such a name is meant by ./compare.]]

local inspect = {}

local function size_text(n)
  if n < 1024 then
    return ("%d B"):format(n)
  elseif n < 1024 * 1024 then
    return ("%.1f KiB"):format(n / 1024)
  end
  return ("%.1f MiB"):format(n / 1048576)
end

local width = { float64 = 8, int64 = 8, float32 = 4, int32 = 4, float16 = 2, bfloat16 = 2, int8 = 1,
  uint8 = 1, bool = 1 }

-- Text from a file, fit for a terminal.
local function clean(v)
  local s = printable.name(tostring(v))
  return #s > 200 and s:sub(1, 197) .. "..." or s
end

local function shape_text(shape)
  local out = {}
  for i, n in ipairs(shape) do
    out[i] = tostring(n)
  end
  return "[" .. table.concat(out, ", ") .. "]"
end

-- Sorts names with numbers in them as a person does.
local function natural(name)
  return (name:gsub("%d+", function(d)
    return ("%09d"):format(math.tointeger(tonumber(d)) or 0)
  end))
end

local function print_tensors(entries, say)
  table.sort(entries, function(a, b) return natural(a.name) < natural(b.name) end)
  local longest, elements, bytes = 6, 0, 0
  for _, e in ipairs(entries) do
    longest = math.min(70, math.max(longest, #e.name))
    local n = 1
    for _, d in ipairs(e.shape) do
      n = n * d
    end
    elements, bytes = elements + n, bytes + n * (width[e.dtype] or 4)
  end
  for _, e in ipairs(entries) do
    say(("  %-" .. longest .. "s  %-8s %s"):format(clean(e.name), clean(e.dtype),
      shape_text(e.shape)))
  end
  say(("%d tensors, %d elements, %s"):format(#entries, elements, size_text(bytes)))
end

-- The layers of a Keras configuration, nested models indented.
local function print_layers(entry, say, depth)
  local none = require "tide.none"
  depth = depth or 0
  if depth > 20 or type(entry) ~= "table" or entry == none then
    return
  end
  local config = type(entry.config) == "table" and entry.config ~= none and entry.config or {}
  local name = config.name or entry.name
  local facts = {}
  for _, k in ipairs { "units", "filters", "kernel_size", "strides", "padding", "activation",
    "rate", "input_dim", "output_dim", "batch_shape", "batch_input_shape", "pool_size", "axis" } do
    local v = config[k]
    if type(v) == "string" or type(v) == "number" then
      facts[#facts + 1] = k .. " " .. clean(v)
    elseif type(v) == "table" and v ~= none and v[1] ~= nil
      and (type(v[1]) ~= "table" or v[1] == none) then
      facts[#facts + 1] = k .. " " .. clean(shape_text(v))
    end
  end
  say(("  %s%s%s%s"):format(("  "):rep(depth), clean(entry.class_name),
    name and " '" .. clean(name) .. "'" or "",
      #facts > 0 and "  " .. table.concat(facts, ", ") or ""))
  local layers = config.layers or (config[1] ~= nil and config) or {}
  for _, layer in ipairs(type(layers) == "table" and layers or {}) do
    print_layers(layer, say, depth + 1)
  end
end

local function describe(v)
  if type(v) == "table" then
    if v.class_name then
      local config = type(v.config) == "table" and v.config or {}
      local rate = config.learning_rate or config.lr
      return clean(v.class_name)
        .. (type(rate) == "number" and (" (learning rate %g)"):format(rate) or "")
    end
    local out = {}
    for k, x in pairs(v) do
      out[#out + 1] = (type(k) == "string" and clean(k) .. " = " or "") .. describe(x)
    end
    table.sort(out)
    return table.concat(out, ", ")
  end
  return clean(v)
end

local function print_compile(config, say)
  if type(config) ~= "table" or (config.optimizer or config.optimizer_config) == nil then
    say "not compiled"
    return
  end
  say("optimizer  " .. describe(config.optimizer or config.optimizer_config))
  for _, k in ipairs { "loss", "metrics" } do
    if config[k] ~= nil and config[k] ~= require "tide.none" then
      say(("%-10s %s"):format(k, describe(config[k])))
    end
  end
end

local function archive(path, say)
  local core, keras = require "tide.core", require "tide.saving.keras"
  local z, members = core.zip_open(path)
  local has = {}
  say(clean(path) .. ": Keras archive")
  for _, m in ipairs(members) do
    has[m.name] = true
    say(("  %-24s %s"):format(clean(m.name), size_text(m.size)))
  end
  if has["metadata.json"] then
    local meta = keras.member(z, "metadata.json")
    say(("written by Keras' format %s%s, %s"):format(clean(meta.keras_version),
      meta.tide_version and " (Tide " .. clean(meta.tide_version) .. ")" or "",
        clean(meta.date_saved)))
  end
  if has["config.json"] then
    local entry = keras.member(z, "config.json")
    say "model"
    print_layers(entry, say)
    print_compile(entry.compile_config, say)
  end
  if has["model.weights.h5"] then
    say "weights"
    print_tensors(require("tide.saving.keras.h5").open(z, "model.weights.h5"), say)
  end
end

local function hdf5(path, say)
  local keras = require "tide.saving.keras"
  local legacy = require "tide.saving.keras.legacy"
  local entries, attributes = require("tide.saving.keras.h5").open(path)
  local top = attributes["/"] or {}
  if type(top.model_config) == "string" then
    say(clean(path) .. ": whole model in HDF5 (legacy)")
    say(("written by Keras %s on %s"):format(clean(top.keras_version), clean(top.backend)))
    say "model"
    print_layers(keras.decode(top.model_config, "model_config"), say)
    print_compile(type(top.training_config) == "string"
      and keras.decode(top.training_config, "training_config"), say)
  else
    say(clean(path) .. ": weights in HDF5" .. (legacy.root(attributes) and " (legacy)" or ""))
  end
  say "weights"
  print_tensors(entries, say)
end

local function shards(path, say)
  local core, keras = require "tide.core", require "tide.saving.keras"
  local index = keras.decode(core.read_file(path, 100000000), path)
  local count = {}
  for group, files in pairs(type(index.weight_map) == "table" and index.weight_map or {}) do
    for _, f in ipairs(type(files) == "table" and files or { files }) do
      f = type(f) == "string" and f or "something that is no name"
      count[f] = count[f] or {}
      table.insert(count[f], group)
    end
  end
  local names = {}
  for f in pairs(count) do
    names[#names + 1] = f
  end
  table.sort(names)
  say(clean(path) .. ": weights over " .. #names .. " files")
  for _, f in ipairs(names) do
    table.sort(count[f])
    say("  " .. clean(f) .. "  " .. clean(table.concat(count[f], " ")))
  end
end

local function safetensors(path, say)
  local core = require "tide.core"
  local _, entries, metadata = core.safetensors_open(path)
  say(clean(path) .. ": safetensors")
  local keys = {}
  for k in pairs(metadata) do
    if not k:find "^crc32" then
      keys[#keys + 1] = k
    end
  end
  table.sort(keys)
  for _, k in ipairs(keys) do
    say(("  %s = %s"):format(clean(k), clean(metadata[k])))
  end
  say "weights"
  print_tensors(entries, say)
end

--- Prints what a file holds, line by line through `say`.
--- @param path string
--- @param say function|nil print
function inspect.file(path, say)
  say = say or print
  local kind = require("tide.saving.keras").sniff(path)
  if kind == "zip" then
    archive(path, say)
  elseif kind == "hdf5" then
    hdf5(path, say)
  elseif kind == "json" then
    shards(path, say)
  else
    safetensors(path, say)
  end
end

-- Words before a file: how many words at least and at most follow, and what to do; false says that
-- the files differ.
local commands = {
  summary = { 1, 1, function(editor)
    editor:summary()
  end },
  compare = { 2, 2, function(editor, other)
    local found = editor:compare(other)
    return found.status == "success" and found.equal_count == found.match_count
  end },
  rename = { 4, 4, function(editor, name, new_name, out)
    editor:rename_object(name, new_name)
    editor:save(out)
  end },
  delete = { 3, 3, function(editor, name, out)
    editor:delete_object(name)
    editor:save(out)
  end },
  dump = { 1, 2, function(editor, name)
    editor:dump(name)
  end },
}

local function complain(e)
  io.stderr:write("tide inspect: ", printable.text(tostring(e)):gsub("^[^:]*:%d+: ", ""), "\n")
end

-- Runs one of the commands; whether it succeeded.
local function command(name, words)
  local least, most, f = table.unpack(commands[name])
  if #words < least or #words > most then
    io.stderr:write(("tide inspect %s: wrong number of words (expected %s, got %d)\n%s\n"):format(
      name, least == most and least or least .. " or " .. most, #words, usage))
    return false
  end
  local done, result = pcall(function()
    local editor = require("tide.saving.editor").KerasFileEditor(words[1])
    return f(editor, table.unpack(words, 2))
  end)
  if not done then
    complain(result)
  end
  return done and result ~= false
end

return setmetatable(inspect, {
  __call = function(_, ...)
    local files = { ... }
    if files[1] == "--help" or files[1] == "-h" then
      print(usage)
      return true
    elseif #files == 0 then
      io.stderr:write("tide inspect: no file given\n", usage, "\n")
      return false
    elseif commands[files[1]] then
      return command(files[1], table.move(files, 2, #files, 1, {}))
    end
    local ok = true
    for i, path in ipairs(files) do
      if i > 1 then
        print()
      end
      local done, e = pcall(inspect.file, path)
      if not done then
        complain(e)
        ok = false
      end
    end
    return ok
  end,
})
