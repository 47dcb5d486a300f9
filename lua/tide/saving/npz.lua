--- Weights as NumPy's archives: each by its path, as numpy.load gives them by name; or, in files of
--- others, without names (`numpy.savez(path, *model.get_weights())` in Keras), by their order.
local ends = require "tide.ends"
local errors = require "tide.errors"
local list = require "tide.list"
local safetensors = require "tide.saving.safetensors"
local tensors = require "tide.saving.tensors"

local npz = {}

local function need_built(model, owner)
  if not model.built then
    errors.raise(owner, "%s has no weights yet: build it, or call it on a batch first",
      model:_label())
  end
end

--- Writes the weights, those that are not trained and states among them.
function npz.save_weights(model, path)
  need_built(model, "save_weights")
  local entries = {}
  for i, r in ipairs(model:_saved()) do
    entries[i] = { r.tensor.path or r.path, r.tensor:detach() }
  end
  tensors.write_npz(path, entries)
end

-- Whether the entries stand for the weights in their order: where none has a name, or all have the
-- weights' own last names and shapes, which lie in other paths (Keras': "lstm/lstm_cell/kernel").
local function in_order(entries, records)
  local unnamed, alike = true, #entries == #records
  for i, e in ipairs(entries) do
    local r = records[i]
    unnamed = unnamed and e.name == ("arr_%d"):format(i - 1)
    alike = alike and ends.behind(e.name, "/") == ends.behind(r.path, "/")
      and list.equal(e.shape, r.tensor.shape)
  end
  return unnamed or alike
end

-- Weights' paths begin with the name of a Sequential, which no file needs, for the model that reads
-- may have another: taken off where all names have it and the model's paths do.
local function strip(entries, records)
  local first = entries[1] and entries[1].name:match "^[^/]*/"
  for _, r in ipairs(records) do
    first = r.tensor.path ~= r.path and first
  end
  for _, e in ipairs(entries) do
    first = first and e.name:sub(1, #first) == first and first
  end
  for _, e in ipairs(first and entries or {}) do
    e.name = e.name:sub(#first + 1)
  end
end

--- Reads weights into a built model.
--- @param o table skip_mismatch, by_name
function npz.load_weights(model, path, o)
  need_built(model, "load_weights")
  local entries, read = tensors.open_npz(path)
  local records, order = model:_saved(), {}
  strip(entries, records)
  for i, e in ipairs(entries) do
    order[i] = e.name
  end
  if in_order(entries, records) then
    order = nil
    for i, e in ipairs(entries) do
      e.name = records[i] and records[i].path or e.name
    end
  end
  safetensors.load_entries(model, path, entries, order, read, o)
end

return npz
