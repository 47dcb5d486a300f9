--- Data sets of files: TFRecordDataset, TextLineDataset, FixedLengthRecordDataset, CsvDataset, and
--- TFRecordWriter.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local Dataset = require "tide.data.whole"
local errors = require "tide.errors"
local events = require "tide.utils.events"
local none = require "tide.none"

require "tide.data.stages.readers"

local readers = {}

local FILES = { "filenames", "any", check.required,
  "a path, a list of paths, or a data set of them" }
local COMPRESSION = { "compression_type", "string", nil, "\"GZIP\" or \"ZLIB\"" }
local BUFFER = { "buffer_size", "int", nil, "not used", min = 0 }
local READS = { "num_parallel_reads", "int", nil, "files that are read in turn, one record from \z
  each", min = -1 }
local NAME = { "name", "string", nil, "of the stage; not used" }
local named = {
  { "on_error", "enum", "raise", "what a damaged record does; the field `skipped` counts them",
    of = "raise|skip" },
  { "max_record_bytes", "int", 1 << 30, "length of the longest record", min = 1, max = 1 << 40 },
}

local function files_of(v, where)
  if class.is(v, Dataset) then
    v = v:as_list()
  end
  v = type(v) == "string" and { v } or v
  if not check.is_list(v) or #v == 0 then
    errors.raise(where, "filenames must be a path, a list of paths or a data set of them (got %s)",
      check.show(v))
  end
  for i, path in ipairs(v) do
    if type(path) ~= "string" then
      errors.raise(where, "filenames must be paths (got %s as number %d)", check.show(path), i)
    end
  end
  return v
end

-- Arguments as of a constructor; a lone list of texts is the list of files.
local function given(args, ...)
  local first = ...
  if select("#", ...) == 1 and check.is_plain(first) and #first > 0 then
    for k, v in pairs(first) do
      if type(k) ~= "number" or type(v) ~= "string" then
        return args:construct(first)
      end
    end
    return args:construct(first, {})
  end
  return args:construct(...)
end

-- A data set of the files' records; with num_parallel_reads one that takes from several in turn.
local function records(o, where, format)
  o.where, o.format = where, format
  o.filenames = files_of(o.filenames, where)
  o.compression_type = (o.compression_type or ""):lower()
  if o.compression_type ~= "" and o.compression_type ~= "gzip" and o.compression_type ~= "zlib" then
    errors.raise(where, "compression_type must be \"\", \"GZIP\" or \"ZLIB\" (got %s)",
      check.show(o.compression_type))
  end
  local function of(paths)
    local own = {}
    for k, v in pairs(o) do
      own[k] = v
    end
    own.filenames = paths
    return Dataset("records", {}, own, { skipped = 0, bad_files = {} })
  end
  local reads = o.num_parallel_reads
  if reads and reads ~= 0 and reads ~= 1 and #o.filenames > 1 then
    return Dataset.from_tensor_slices(o.filenames):interleave(function(path)
      return of { path }
    end, { cycle_length = reads > 0 and reads or 16 })
  end
  return of(o.filenames)
end

local tf_args = check.args("TFRecordDataset", { FILES, COMPRESSION, BUFFER, READS, NAME },
  { named = named })

--- The records of TFRecord files as strings, their checksums compared. A damaged record is an error
--- that names file and record, or is left out with `on_error = "skip"`.
---
---     local path = os.tmpname()
---     local writer = tide.data.TFRecordWriter(path)
---     writer:write "one" writer:write "two" writer:close()
---     tide.data.TFRecordDataset(path):as_list()   --> { "one", "two" }
--- @return Dataset
function readers.TFRecordDataset(...)
  return records(given(tf_args, ...), "TFRecordDataset", "tfrecord")
end

local line_args = check.args("TextLineDataset", { FILES, COMPRESSION, BUFFER, READS, NAME },
  { named = named })

--- The lines of text files, without their ends and, as TensorFlow's, without carriage returns.
---
---     local path = os.tmpname()
---     local f = io.open(path, "w") f:write "a\nb\n" f:close()
---     tide.data.TextLineDataset(path):as_list()   --> { "a", "b" }
--- @return Dataset
function readers.TextLineDataset(...)
  return records(given(line_args, ...), "TextLineDataset", "lines")
end

local fixed_args = check.args("FixedLengthRecordDataset", { FILES,
  { "record_bytes", "int", check.required, "length of a record", min = 1, max = 1 << 30 },
  { "header_bytes", "int", nil, "before the first record of a file", min = 0 },
  { "footer_bytes", "int", nil, "behind the last record of a file", min = 0, max = 1 << 30 },
  BUFFER, COMPRESSION, READS, NAME }, { named = { named[1] } })

--- Pieces of one length of files, as strings.
---
---     local path = os.tmpname()
---     local f = io.open(path, "w") f:write "abcdef" f:close()
---     tide.data.FixedLengthRecordDataset(path, 3):as_list()   --> { "abc", "def" }
--- @return Dataset
function readers.FixedLengthRecordDataset(...)
  return records(given(fixed_args, ...), "FixedLengthRecordDataset", "fixed")
end

local csv_args = check.args("CsvDataset", { FILES,
  { "record_defaults", "list", check.required, "one per column: a dtype (\"float32\", \"int64\", \z
    \"string\", ...), of which an empty field is an error, or what an empty field is: a value, or \z
    a tensor of one" },
  COMPRESSION, BUFFER, { "header", "bool", false, "the first row of each file is left out" },
  { "field_delim", "string", ",", "between fields" },
  { "use_quote_delim", "bool", true, "quotes may stand around fields" },
  { "na_value", "string", "", "a field that counts as empty" },
  { "select_cols", "ints", nil, "numbers of the columns that are taken, from 1, rising" },
  { "exclude_cols", "ints", nil, "numbers of the columns that are not" } },
  { named = { named[1], named[2] } })

local kind_of = { string = "s", float32 = "f", float64 = "f", int32 = "w", int64 = "i",
  uint8 = "u", int8 = "c", bool = "b" }

-- Kind, default (false: none) and dtype of a column; a tensor of one element says both.
local function column(v, i)
  if core.is_tensor(v) and v.size == 1 and kind_of[v.dtype] then
    return kind_of[v.dtype], v:item(), v.dtype
  end
  if type(v) == "table" and v ~= none and #v <= 1 then
    v = v[1]
  end
  if type(v) == "string" and kind_of[v] then
    return kind_of[v], false, v
  elseif type(v) == "string" then
    return "s", v, "string"
  elseif math.type(v) == "integer" then
    return "i", v, "int64"
  elseif type(v) == "number" then
    return "f", v, "float32"
  end
  errors.raise("CsvDataset", "record_defaults must be dtypes or values (got %s as number %d)",
    check.show(v), i)
end

-- CsvDataset's, for `where`, which names the reader in errors, with a charset's number and another
-- remedy for damaged rows.
function readers.csv(where, charset, remedy, ...)
  local o = given(csv_args, ...)
  local kinds, defaults, dtypes = {}, {}, {}
  for i, v in ipairs(o.record_defaults) do
    kinds[i], defaults[i], dtypes[i] = column(v, i)
  end
  if #o.field_delim ~= 1 then
    errors.raise("CsvDataset", "field_delim must be one character (got %s)",
      check.show(o.field_delim))
  elseif o.select_cols and o.exclude_cols then
    errors.raise("CsvDataset", "select_cols and exclude_cols exclude each other")
  end
  local columns = o.select_cols
  if o.exclude_cols then
    local out = {}
    for _, c in ipairs(o.exclude_cols) do
      out[c] = true
    end
    columns = {}
    local c = 0
    while #columns < #kinds do
      c = c + 1
      columns[#columns + 1] = not out[c] and c or nil
    end
  elseif columns and #columns ~= #kinds then
    errors.raise("CsvDataset",
      "record_defaults must be one per column of select_cols (expected %d, got %d)", #columns,
      #kinds)
  end
  local plain_columns = columns and table.move(columns, 1, #columns, 1, {})
  return records({ filenames = o.filenames, compression_type = o.compression_type,
    max_record_bytes = o.max_record_bytes, on_error = o.on_error, header = o.header,
    delimiter = o.field_delim, quote = o.use_quote_delim and "\"" or "", strict = true,
    kinds = table.concat(kinds), defaults = defaults, dtypes = dtypes, columns = plain_columns,
    na = o.na_value, width = not columns and #kinds or 0,
    encoding = charset, remedy = remedy }, where, "csv")
end

--- The rows of CSV files, a part per column: numbers, or texts (RFC 4180: quotes, doubled quotes,
--- line ends within quotes). A row with a field too many or a field that is no number is an error
--- that names file and line, or is left out with `on_error = "skip"`.
---
---     local path = os.tmpname()
---     local f = io.open(path, "w") f:write "1,x\n2,\"y,z\"\n" f:close()
---     local ds = tide.data.CsvDataset(path, { "int64", "string" })
---     select(2, ds:skip(1):get_single_element())   --> "y,z"
--- @return Dataset
function readers.CsvDataset(...)
  return readers.csv("CsvDataset", nil, nil, ...)
end

-- ---- writing ----

--- Writes TFRecord files: `write(text)` adds a record with its checksums, `close()` ends the file,
--- as does the collector where nobody holds the writer any more.
---
---     local writer = tide.data.TFRecordWriter(os.tmpname())
---     writer:write "a record" writer:close()
local Writer = class.new "TFRecordWriter"
readers.TFRecordWriter = Writer

local writer_args = check.args("TFRecordWriter", {
  { "path", "string", check.required, "of the file, which is made anew" } })

local BLOCK = 1 << 20 -- bytes that are written at a time

function Writer:_init(...)
  self.path = writer_args:construct(...).path
  self._waiting, self._bytes = {}, 0
  core.append_file(self.path, "", 0)
end

local function flush(self)
  if self._bytes > 0 then
    core.append_file(self.path, table.concat(self._waiting))
    self._waiting, self._bytes = {}, 0
  end
end

--- Adds a record.
--- @param text string
function Writer:write(text)
  if type(text) ~= "string" then
    errors.raise("TFRecordWriter", "a record must be a string (got %s)", check.show(text))
  elseif not self._waiting then
    errors.raise("TFRecordWriter", "%s was closed", self.path)
  end
  self._waiting[#self._waiting + 1] = events.record(text)
  self._bytes = self._bytes + #text + 16
  if self._bytes > BLOCK then
    flush(self)
  end
end

--- Writes what is not in the file yet.
function Writer:flush()
  flush(self)
end

--- Ends the file.
function Writer:close()
  if self._waiting then
    flush(self)
    self._waiting = nil
  end
end
Writer.__close, Writer.__gc = Writer.close, Writer.close

return readers
