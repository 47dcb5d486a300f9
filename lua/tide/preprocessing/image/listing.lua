--- Which files of a folder are pictures, in Keras' order: folder by folder by their paths, names
--- sorted by bytes.
local core = require "tide.core"
local errors = require "tide.errors"

local listing = {}

--- Endings that ImageDataGenerator takes; Keras asks for no dot before them.
listing.generator = { "png", "jpg", "jpeg", "bmp", "ppm" }
--- Endings that image_dataset_from_directory takes.
listing.dataset = { ".bmp", ".gif", ".jpeg", ".jpg", ".png" }

-- Endings of pictures that Tide does not read.
local unread = { ".tif", ".tiff", ".webp" }

--- Whether a name ends in one of `endings`, in upper or lower case.
function listing.ends(name, endings)
  name = name:lower()
  for _, e in ipairs(endings) do
    if name:sub(-#e) == e then
      return true
    end
  end
  return false
end

--- Whether `path` is a file that can be opened.
function listing.is_file(path)
  return (pcall(core.read_file, path, math.maxinteger, 0))
end

local function hidden(name)
  return name:sub(1, 1) == "."
end

--- Names of the folders in a folder, sorted; links to folders are folders, hidden ones are not.
function listing.folders(root, where)
  local names = {}
  local entries, kinds = core.listdir(root, where)
  for i, name in ipairs(entries) do
    if not hidden(name) and (kinds[i] == "directory" or kinds[i] == "link") then
      names[#names + 1] = name
    end
  end
  return names
end

--- Pictures below `root` as paths relative to it, with a slash in front. Links to folders are
--- entered if asked, hidden folders are not. Says on stderr what is left out because it cannot be
--- read.
function listing.pictures(root, endings, follow_links, where)
  local folders, out, left, first = {}, {}, 0, nil
  local function walk(sub, depth)
    local names, kinds = core.listdir(root .. sub, where)
    folders[#folders + 1] = { sub, names, kinds }
    for i, name in ipairs(names) do
      if (kinds[i] == "directory" or (kinds[i] == "link" and follow_links)) and depth < 64
        and not hidden(name) then
        walk(sub .. "/" .. name, depth + 1)
      end
    end
  end
  walk("", 0)
  table.sort(folders, function(a, b)
    return a[1] < b[1]
  end)
  for _, f in ipairs(folders) do
    for i, name in ipairs(f[2]) do
      if f[3][i] == "file" and listing.ends(name, endings) then
        out[#out + 1] = f[1] .. "/" .. name
      elseif f[3][i] == "file" and listing.ends(name, unread) then
        left, first = left + 1, first or f[1] .. "/" .. name
      end
    end
  end
  if left > 0 then
    errors.warn("%s: %d TIFF or WebP pictures of %s are left out (%s is the first): \z
      these formats are not read; convert them to PNG or JPEG", where, left, root, first:sub(2))
  end
  return out
end

return listing
