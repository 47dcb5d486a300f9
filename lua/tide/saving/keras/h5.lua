--- HDF5 files as loaders see them: names, shapes and attributes first, and data of what is wanted
--- alone. A small file may declare many data, so that none are read before something has room for
--- them.
local core = require "tide.core"
local none = require "tide.none"

local h5 = {}

--- The datasets of a file or of an archive's member: list of { name, dtype, shape }, to which
--- `fetch` adds `tensor`; the attributes; and how many bytes of the file hold them all.
--- @param source string|userdata a path, or an archive
--- @param member string|nil
function h5.open(source, member)
  local file, entries, attributes, stored = core.hdf5_open(source, member)
  for i, e in ipairs(entries) do
    e.file, e.at = file, i
  end
  return entries, core.json_decode(attributes, none, "attributes"), stored
end

--- Reads the data of entries that have none yet, in one go for each file.
--- @param entries table list
function h5.fetch(entries)
  local files, wanted = {}, {}
  for _, e in ipairs(entries) do
    if not e.tensor then
      local of = wanted[e.file] or {}
      if not wanted[e.file] then
        wanted[e.file], files[#files + 1] = of, e.file
      end
      if not of[e] then
        of[e], of[#of + 1] = true, e
      end
    end
  end
  for _, file in ipairs(files) do
    local places = {}
    for i, e in ipairs(wanted[file]) do
      places[i] = e.at
    end
    for i, tensor in ipairs(core.hdf5_fetch(file, places)) do
      wanted[file][i].tensor = tensor
    end
  end
end

--- How many elements an entry declares.
function h5.size(entry)
  local n = 1
  for _, d in ipairs(entry.shape) do
    n = n * d
  end
  return n
end

return h5
