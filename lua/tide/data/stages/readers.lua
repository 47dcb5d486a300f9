--- Readers of files, record by record: TFRecord, lines of text, records of one length, CSV. The C
--- side reads blocks of records, from the second on ahead, in a worker thread; a place is that of
--- the block in the (unpacked) file and a number.
local ahead = require "tide.ahead"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local stage = require "tide.data.stage"

local BLOCK = 512 -- records that are read at a time
local FORMATS = { tfrecord = 0, lines = 1, fixed = 2, csv = 3 }
local PACKED = { [""] = 0, gzip = 1, zlib = 2 }

local Records = stage.iterator("records", stage.Blocks)

function Records:start()
  self.file, self.at, self.count, self.values, self.skipped = 1, 0, 0, nil, 0
  if self.o.kinds then -- of several parts
    self.collect = stage.Iterator.collect
  end
end

-- Opens file number `self.file`; nil behind the last.
local function open(self)
  local o = self.o
  local path = o.filenames[self.file]
  if not path then
    return nil
  end
  self.reader = core.records_open(o.where, path, { format = FORMATS[o.format],
    packed = PACKED[o.compression_type], most = o.max_record_bytes, header_bytes = o.header_bytes,
    footer_bytes = o.footer_bytes, record_bytes = o.record_bytes, delimiter = o.delimiter,
    quote = o.quote, encoding = o.encoding, comment = o.comment, strict = o.strict and 1 or 0,
    blank_rows = o.blank_rows and 1 or 0 })
  self.fresh = true
  return self.reader
end

-- The next block of the file that is open; false at its end.
local function read(self)
  local o = self.o
  local bytes, records, lines, given = core.records_place(self.reader)
  local skip = o.on_error == "skip"
  local header = ""
  if self.fresh and o.header then -- the first row names columns
    header = select(4, core.records_read(self.reader, o.where, 1, false, "", {}))
  end
  self.fresh, self.told, self.values = false, nil, nil
  local values, count, skipped, why = {}, 0, 0, header
  if header == "" or skip then
    values, count, skipped, why = core.records_read(self.reader, o.where, BLOCK, skip, o.kinds,
      o.defaults, o.columns, o.width, o.na, self.share and self.share:workers())
    self.share = self.share or ahead.take()
    why, skipped = why ~= "" and why or header, skipped + (header ~= "" and 1 or 0)
  end
  if skipped > 0 then
    local node, path = self.node, o.filenames[self.file]
    node.skipped = node.skipped + skipped
    node.bad_files[path] = why
  elseif why ~= "" then
    self.failed = why
  end
  self.before = { bytes = bytes, records = records, lines = lines, given = given }
  self.values, self.count, self.at = values, count, 0
  return count > 0
end

local function next_file(self)
  self.reader, self.before, self.file, self.told = nil, nil, self.file + 1, nil
end

-- The file that is due, open; false behind the last. Whoever goes on where it fails goes on with
-- the next one.
local function opened(self)
  local ok, found = pcall(open, self)
  if not ok then
    next_file(self)
    error(found, 0)
  end
  return found ~= nil
end

function Records:refill()
  while self.at >= self.count do
    if self.failed then
      local why = self.failed
      self.failed, self.told = nil, true
      errors.raise(self.o.where, "%s: %s%s", self.o.filenames[self.file], why,
        self.o.remedy or "; on_error = \"skip\" leaves such records out")
    end
    if not self.reader and not opened(self) then
      return false
    end
    if not read(self) and not self.failed then
      next_file(self)
    end
  end
  return true
end

function Records:next()
  if self.at >= self.count and not self:refill() then
    return nil
  end
  local at = self.at + 1
  self.at = at
  self.n = self.n + 1
  local width = self.o.kinds and #self.o.kinds
  if width then
    return table.unpack(self.values, (at - 1) * width + 1, at * width)
  end
  return self.values[at]
end

function Records:dtype(k)
  local dtypes = self.o.dtypes
  return dtypes and dtypes[k]
end

function Records:save()
  return { file = self.file, at = self.at, before = self.before, told = self.told }
end

function Records:load(s)
  self.file = s.file
  if not s.before then
    return
  end
  if not open(self) or not core.records_seek(self.reader, s.before.bytes, s.before.records,
    s.before.lines) then
    errors.raise(self.o.where, "%s ends before the place that was left (expected %d bytes)",
      tostring(self.o.filenames[s.file]), s.before.bytes)
  end
  self.fresh = s.before.records == 0
  local skipped, bad = self.node.skipped, self.node.bad_files
  self.node.bad_files = {}
  repeat -- to where it was in a block
    read(self)
  until self.before.given >= (s.before.given or 0)
  self.node.skipped, self.node.bad_files = skipped, bad
  self.at = s.at
  if s.told then -- what is wrong behind the block was said already
    self.failed, self.told = nil, true
  end
end

function Records:_label()
  return self.o.where
end

function Records:close()
  if self.reader then
    core.records_close(self.reader)
  end
  self.reader, self.values, self.at, self.count, self.file = nil, nil, 0, 0, math.huge
  if self.share then
    self.share:close()
    self.share = nil
  end
end

local text = { shape = list.new {}, dtype = "string" }

stage.define("records", { open = Records,
  cardinality = function()
    return stage.UNKNOWN
  end,
  spec = function(node)
    local dtypes = node._o.dtypes
    if not dtypes then
      return { text }
    end
    local out = {}
    for k, dtype in ipairs(dtypes) do
      out[k] = { shape = list.new {}, dtype = dtype }
    end
    return out
  end })

return true
