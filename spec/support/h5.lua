-- An HDF5 file at once: its datasets with their tensors, and its attributes as JSON.
local core = require "tide.core"

return function(source, member, max)
  local file <close>, entries, attributes = core.hdf5_open(source, member, max)
  local places = {}
  for i in ipairs(entries) do
    places[i] = i
  end
  for i, tensor in ipairs(core.hdf5_fetch(file, places)) do
    entries[i].tensor = tensor
  end
  return entries, attributes
end
