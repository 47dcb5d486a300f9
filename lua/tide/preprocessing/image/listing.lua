--- Which files of a folder are pictures, in Keras' order (tide.utils.listing).
local core = require "tide.core"
local errors = require "tide.errors"
local files = require "tide.utils.listing"

local listing = { ends = files.ends, folders = files.folders }

--- Endings that ImageDataGenerator takes; Keras asks for no dot before them.
listing.generator = { "png", "jpg", "jpeg", "bmp", "ppm" }
--- Endings that image_dataset_from_directory takes.
listing.dataset = { ".bmp", ".gif", ".jpeg", ".jpg", ".png" }

-- Endings of pictures that Tide does not read.
local unread = { ".tif", ".tiff", ".webp" }

--- Whether `path` is a file that can be opened.
function listing.is_file(path)
  return (pcall(core.read_file, path, math.maxinteger, 0))
end

--- Pictures below `root` as paths relative to it, with a slash in front. Links to folders are
--- entered if asked, hidden folders are not. Says on stderr what is left out because it cannot be
--- read.
function listing.pictures(root, endings, follow_links, where)
  local out, left, first = files.below(root, endings, follow_links, where, unread)
  if left > 0 then
    errors.warn("%s: %d TIFF or WebP pictures of %s are left out (%s is the first): \z
      these formats are not read; convert them to PNG or JPEG", where, left, root, first:sub(2))
  end
  return out
end

return listing
