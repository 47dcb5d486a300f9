--- Data sets in folders: Dataset.save and Dataset.load. A folder holds one file of elements (see
--- encode.lua) or several, and data.json, which is written last and names them.
local check = require "tide.check"
local core = require "tide.core"
local Dataset = require "tide.data.dataset"
local elements = require "tide.data.elements"
local encode = require "tide.data.encode"
local errors = require "tide.errors"
local json = require "tide.utils.json"
local methods = require "tide.data.methods"

local required, need_dataset = check.required, methods.need_dataset

local PACKED = { none = 0, gzip = 1, zlib = 2 }
local COMPRESSION = { "compression", "enum", nil, "of the file; none when left out",
  of = "none|gzip|zlib" }

local MOST_SHARDS = 1024 -- files that are open at a time

local save_args = check.args("Dataset.save", {
  { "path", "string", required, "folder that is made" }, COMPRESSION,
  { "shard_func", "callable", nil, "takes the parts of an element and gives the number of its \z
    file, from 0; all are in one when left out" },
  { "checkpoint_args", "any", nil, "not used", dict = true } })

-- The number that a function gave for a file.
local function shard_of(v)
  v = core.is_tensor(v) and v.size == 1 and v:item() or v
  local number = math.tointeger(v)
  if not number or number < 0 then
    errors.raise("Dataset.save", "shard_func must give a whole number from 0 (got %s)",
      check.show(v))
  end
  return number
end

--- Writes the elements of one pass into a folder, from which Dataset.load reads them; with
--- `shard_func` into several files, each in order.
---
---     local folder = os.tmpname() .. ".saved"
---     tide.data.Dataset.range(3):save(folder)
---     tide.data.Dataset.load(folder):as_list()   --> { 0, 1, 2 }
function Dataset:save(...)
  local o = save_args:call(...)
  core.mkdirs(o.path)
  local shards, by_number, dtypes = {}, {}, nil
  local pass <close> = self:iter()
  local function shard(number)
    local out = by_number[number]
    if not out then
      if #shards == MOST_SHARDS then
        errors.raise("Dataset.save", "shard_func gives too many numbers (expected %d at most)",
          MOST_SHARDS)
      end
      local name = o.shard_func and ("shard%05d.elements"):format(number) or "data.elements"
      out = { number = number, elements = 0, name = name,
        writer = encode.writer(o.path .. "/" .. name, PACKED[o.compression or "none"]) }
      shards[#shards + 1], by_number[number] = out, out
    end
    return out
  end
  local function add(first, ...)
    if first == nil then
      return false
    end
    if not dtypes then
      dtypes = {}
      for k = 1, select("#", ...) + 1 do
        dtypes[k] = pass.iterator:dtype(k) or false
      end
    end
    local to = shard(o.shard_func and shard_of(o.shard_func(first, ...)) or 0)
    to.elements = to.elements + 1
    to.writer:add(dtypes, first, ...)
    return true
  end
  while add(pass()) do -- luacheck: ignore 542
  end
  shard(next(by_number) or 0)
  table.sort(shards, function(x, y)
    return x.number < y.number
  end)
  local header, total = { format = 1, compression = o.compression or "none" }, 0
  header.shards = o.shard_func and {} or nil
  for i, s in ipairs(shards) do
    s.writer:finish()
    total = total + s.elements
    if header.shards then
      header.shards[i] = { number = s.number, elements = s.elements }
    end
  end
  header.elements = total
  core.write_file(o.path .. "/data.json", json.encode(header))
end

local load_args = check.args("Dataset.load", {
  { "path", "string", required, "folder that save has written" },
  { "element_spec", "any", nil, "not used: the file tells it", dict = true },
  { "compression", "string", nil, "not used: the folder tells it" },
  { "reader_func", "callable", nil, "takes a data set of the files, each a data set, and gives \z
    that of the elements" },
  { "wait", "bool", false, "not used" } })

local function whole(v)
  return math.type(v) == "integer" and v >= 0
end

-- The files that a folder's description names: { name, elements } of each.
local function shards_of(header)
  if type(header) ~= "table" or header.format ~= 1 or not whole(header.elements)
    or header.shards ~= nil and not check.is_list(header.shards) then
    return nil
  elseif not header.shards then
    return { { "data.elements", header.elements } }
  end
  local out, total = {}, 0
  for i, s in ipairs(header.shards) do
    if type(s) ~= "table" or not whole(s.number) or not whole(s.elements) then
      return nil
    end
    out[i], total = { ("shard%05d.elements"):format(s.number), s.elements }, total + s.elements
  end
  return #out > 0 and total == header.elements and out or nil
end

local function itself(ds)
  return ds
end

--- The elements that `save` wrote. Those of several files come in turn, one of each, or as
--- `reader_func` reads them.
---
---     local folder = os.tmpname() .. ".saved"
---     tide.data.Dataset.range(3):save(folder)
---     #tide.data.Dataset.load(folder)   --> 3
--- @return Dataset
function Dataset.load(...)
  methods.refuse_self((...), "Dataset.load")
  local o = load_args:call(...)
  local name = o.path .. "/data.json"
  local header = json.decode(core.read_file(name, 1 << 20), name)
  local shards = shards_of(header)
  if not shards then
    errors.raise("Dataset.load", "%s does not describe the elements of a data set", name)
  end
  local packed = header.compression == "gzip" and 1 or header.compression == "zlib" and 2 or 0
  local files = {}
  for i, s in ipairs(shards) do
    files[i] = elements.stored(o.path .. "/" .. s[1], packed, s[2])
  end
  if o.reader_func then
    return need_dataset(o.reader_func(elements.collected(files)), "the reader_func of load")
  elseif #files == 1 then
    return files[1]
  end
  local ds = elements.collected(files):interleave(itself, #files)
  ds._cardinality = header.elements
  return ds
end

return Dataset
