--- Where the files of data sets are, whether they are the original ones, and what is in them.
local check = require "tide.check"
local core = require "tide.core"
local ends = require "tide.ends"
local errors = require "tide.errors"

local files = {}

--- The arguments that every data set of files has.
files.FOLDER = { "folder", "string", nil, "where the files are, or the file itself" }
files.VERIFY = { "verify", "bool", false, "a file that is not the original is an error" }

--- Folders that are looked through: the one given, or `$TIDE_DATA/<name>`, `$TIDE_DATA`, those of
--- packages and Keras' cache.
function files.folders(given, name, package_folder)
  if given then
    return { given }
  end
  local out, data, home = {}, os.getenv "TIDE_DATA", os.getenv "HOME"
  if data and data ~= "" then
    out = { data .. "/" .. name, data }
  end
  out[#out + 1] = package_folder
  out[#out + 1] = home and home .. "/.keras/datasets" or nil
  return out
end

--- Raises that the files are not there: where they were looked for, what to put there and where it
--- comes from.
--- @param o table `name`, `needs` (what to put into the folder), `url`
function files.missing(o, folders)
  errors.raise(o.name, "the files are not there (looked in %s); put %s into a folder (from %s) \z
    and give it: %s { \"DIR\" }, or set TIDE_DATA", table.concat(folders, ", "), o.needs, o.url,
    o.name)
end

-- Complains where a file is not the original: one of its length is damaged, another one may be
-- meant so.
local function compare(path, original, name, verify)
  local size = core.file_size(path)
  if size == original.bytes then
    local kind = original.sha256 and "sha256" or "md5"
    local got = core.file_digest(path, kind)
    if got ~= original[kind] then
      errors.raise(name, "%s is damaged (expected the %s %s, got %s); it comes from %s", path, kind,
        original[kind], got, original.url)
    end
  elseif verify then
    errors.raise(name, "%s is not the original (expected %d bytes, got %d); it comes from %s", path,
      original.bytes, size, original.url)
  end
end

--- The path of the first of these files that is there, and its row.
--- @param o table `name`, `folder`, `verify`, `package`, and `files`: rows of { path in the folder,
---   bytes, sha256 or md5, url }
function files.find(o)
  local folders = files.folders(o.folder, o.name, o.package)
  for _, folder in ipairs(folders) do
    for _, row in ipairs(o.files) do
      local base = ends.behind(row[1], "/")
      for _, path in ipairs { folder .. "/" .. row[1], folder .. "/" .. base,
        folder:sub(-#base) == base and folder or nil } do
        if core.file_size(path) then
          if row.bytes then
            compare(path, row, o.name, o.verify)
          end
          return path, row
        end
      end
    end
  end
  files.missing(o, folders)
end

-- ---- tar ----

local MEMBER = 256 << 20 -- bytes of a member that is wanted

-- What a header of 512 bytes says: name, size, type; nil for the empty one at the end.
local function header_of(block, path)
  if not block:find "[^\0]" then
    return nil
  end
  local sum = 0
  for i = 1, 512 do
    sum = sum + (i > 148 and i <= 156 and 32 or block:byte(i))
  end
  local told = tonumber(block:sub(149, 156):match "[0-7]+" or "", 8)
  local size = tonumber(block:sub(125, 136):match "[0-7]+" or "", 8)
  if told ~= sum or not size then
    errors.raise("tar", "%s is damaged: a header's checksum differs (expected %s, got %d)", path,
      tostring(told), sum)
  end
  return block:sub(1, 100):match "^[^\0]*", size, block:sub(157, 157)
end

--- The members of a .tar or .tar.gz file that are wanted, as texts by their name without folders.
--- @param wanted table set of names
function files.tar(path, wanted)
  local reader = core.records_open("tar", path, { format = 2, packed = path:find "gz$" and 1 or 0,
    record_bytes = 512 })
  local out, left, keep, name, size = {}, 0, nil, nil, 0
  while true do
    local blocks, n, _, why = core.records_read(reader, "tar", 4096, false)
    if why ~= "" then
      errors.raise("tar", "%s: %s", path, why)
    elseif n == 0 then
      break
    end
    for i = 1, n do
      if left == 0 then
        local kind
        name, size, kind = header_of(blocks[i], path)
        if name then
          left = (size + 511) // 512
          name = ends.behind(name, "/")
          keep = wanted[name] and (kind == "0" or kind == "\0") and {} or nil
          if keep and size > MEMBER then
            errors.raise("tar", "%s: the member %s has %d bytes (expected at most %d)", path, name,
              size, MEMBER)
          end
        end
      else
        left = left - 1
        if keep then
          keep[#keep + 1] = blocks[i]
        end
      end
      if left == 0 and keep then
        out[name], keep = table.concat(keep):sub(1, size), nil
      end
    end
  end
  if left > 0 then
    errors.raise("tar", "%s ends in the member %s", path, tostring(name))
  end
  return out
end

--- The text of a file of at most 256 MB.
function files.read(path)
  return core.read_file(path, MEMBER)
end

--- Rows 1..n * (1 - share) and the others, of a tensor or a list.
function files.cut(v, first, last)
  if core.is_tensor(v) then
    return last < first and v[{ { 1, 0 } }] or v[{ { first, last } }]
  end
  return table.move(v, first, last, 1, {})
end

--- A callable with Keras' names: `mnist()` and `mnist.load_data()`.
--- @param extra table|nil further functions
function files.callable(name, load_data, extra)
  local out = { load_data = load_data }
  for k, f in pairs(extra or {}) do
    out[k] = f
  end
  return setmetatable(out, {
    __name = "data set",
    __call = function(_, ...)
      return load_data(...)
    end,
    __tostring = function()
      return "tide.datasets." .. name
    end,
    __index = function(_, key)
      errors.raise("tide.datasets." .. name, "unknown name '%s'%s", tostring(key),
        check.did_you_mean(tostring(key), check.sorted_keys(out)))
    end,
  })
end

return files
