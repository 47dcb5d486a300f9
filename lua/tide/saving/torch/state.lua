--- State dicts of PyTorch: tensors by name, from whichever file holds them.
---
--- A state has `entries`, a list of { name, dtype, shape }, `index` (name -> place), `ordered`
--- (whether the list is in the order in which the modules were made), and `read(name)`.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local json = require "tide.utils.json"
local pickle = require "tide.saving.torch.pickle"

local state = {}

-- Names with numbers in them as a person sorts them.
local function natural(name)
  return (name:gsub("%d+", function(d)
    return ("%012d"):format(math.tointeger(tonumber(d)) or 0)
  end))
end

local function make(entries, ordered, read)
  local index = {}
  if not ordered then
    local keys = {}
    for _, e in ipairs(entries) do
      keys[e] = natural(e.name)
    end
    table.sort(entries, function(a, b)
      return keys[a] < keys[b]
    end)
  end
  for i, e in ipairs(entries) do
    index[e.name] = i
  end
  return { entries = entries, index = index, ordered = ordered, read = function(name)
    return read(entries[index[name]])
  end }
end

local function from_table(tensors)
  local entries = {}
  for name, t in pairs(tensors) do
    if type(name) ~= "string" or not core.is_tensor(t) then
      errors.raise("load_torch", "a state dict must hold tensors by name (got %s for the key %s)",
        check.show(t), check.show(name))
    end
    entries[#entries + 1] = { name = name, dtype = t.dtype, shape = t.shape:totable(), tensor = t }
  end
  return make(entries, false, function(e)
    return e.tensor:detach()
  end)
end

local function from_safetensors(paths)
  local entries = {}
  for _, path in ipairs(paths) do
    local file, found = core.safetensors_open(path)
    for i, e in ipairs(found) do
      entries[#entries + 1] = { name = e.name, dtype = e.dtype, shape = e.shape, file = file,
        at = i }
    end
  end
  return make(entries, false, function(e)
    return core.safetensors_read(e.file, e.at)
  end)
end

local function from_pickle(path)
  local entries, read = pickle.open(path)
  for i, e in ipairs(entries) do
    e.at = i
  end
  return make(entries, true, function(e)
    return read(e.at)
  end)
end

-- The parts that a `model.safetensors.index.json` names.
local function parts_of(path)
  local index = json.decode(core.read_file(path, 100000000), path)
  local map = type(index) == "table" and index.weight_map
  if type(map) ~= "table" then
    errors.raise("load_torch", "%s: no weight_map in it", path)
  end
  local folder, seen, out = path:match "^(.*/)" or "", {}, {}
  for _, file in pairs(map) do
    if type(file) ~= "string" or file:find "[/%c]" or file:find "^%.*$" then
      errors.raise("load_torch", "%s: '%s' is no file name beside it", path, tostring(file))
    end
    if not seen[file] then
      seen[file] = true
      out[#out + 1] = folder .. file
    end
  end
  table.sort(out)
  return out
end

--- A state under other names: `rename(name)` gives the new one, nil leaves the tensor out.
function state.renamed(whole, rename)
  local entries, index, from = {}, {}, {}
  for _, e in ipairs(whole.entries) do
    local name = rename(e.name)
    if name and not index[name] then
      entries[#entries + 1] = { name = name, dtype = e.dtype, shape = e.shape }
      index[name], from[name] = #entries, e.name
    end
  end
  return { entries = entries, index = index, ordered = whole.ordered, where = whole.where,
    read = function(name)
      return whole.read(from[name])
    end }
end

--- The part of a state whose names begin with `prefix`, without it.
function state.below(whole, prefix)
  return state.renamed(whole, function(name)
    return name:sub(1, #prefix) == prefix and #name > #prefix and name:sub(#prefix + 1) or nil
  end)
end

--- Opens a state dict: a path (.safetensors, an index of several, or torch.save's archive), or a
--- table of tensors by name.
function state.open(source)
  if type(source) == "table" then
    return from_table(source)
  end
  local head = core.read_file(source, math.maxinteger, 8)
  if head:sub(1, 4) == "PK\3\4" then
    return from_pickle(source)
  elseif head:find "^%s*{" and not head:find "\0" then -- no header's length
    return from_safetensors(parts_of(source))
  elseif head:find "^\x80[\2-\5]" then
    errors.raise("load_torch", "%s is a bare pickle, as PyTorch wrote before 1.6; load it in \z
      PyTorch and save its state_dict() again", source)
  end
  return from_safetensors { source }
end

return state
