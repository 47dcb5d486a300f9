--- Tables of files: CSV and its like through the reader of records (src/io/columns.c), JSON lines;
--- whole, in pieces, or as a data set that streams.
local check = require "tide.check"
local columns = require "tide.data.tables.columns"
local core = require "tide.core"
local errors = require "tide.errors"
local json = require "tide.utils.json"
local none = require "tide.none"
local options = require "tide.data.tables.options"
local Table = require "tide.data.tables.table"

local read = {}

local PATH, join = options.PATH, options.join
local shared, csv_rows, WHOLE, LOOK = options.shared, options.csv, options.whole, options.look
local PIECE = 16 << 20 -- bytes of the values that one piece of a file may take at most
local PACKED = { [""] = 0, gzip = 1, zlib = 2 }

-- What counts as missing beside an empty field: pandas' list.
local MISSING = { "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND",
  "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null" }

local csv_args = check.args("read_csv", { PATH }, { named = join(shared, csv_rows, WHOLE) })
local json_args = check.args("read_json_lines", { PATH }, { named = join(shared, WHOLE) })

local function packed(o, where)
  local v = o.compression_type and o.compression_type:lower()
    or o.path:find "%.gz$" and "gzip" or ""
  if not PACKED[v] then
    errors.raise(where, "compression_type must be \"\", \"GZIP\" or \"ZLIB\" (got %q)",
      o.compression_type)
  end
  return PACKED[v]
end

local function one_character(v, name, where)
  if v and #v ~= 1 then
    errors.raise(where, "%s must be one character (got %q)", name, v)
  end
  return v
end

-- Names of a header as pandas makes them: empty ones and those that come again get a number, which
-- makes them none of the names that are there.
local function distinct(fields)
  local out, seen, number, given = {}, {}, {}, {}
  for _, name in ipairs(fields) do
    given[name] = true
  end
  for _, empty in ipairs { false, true } do -- names that were given keep to themselves
    for i, name in ipairs(fields) do
      if (name == "") == empty then
        local base = empty and "unnamed_" .. i or name
        name = base
        while seen[name] or name ~= base and given[name] do
          number[base] = (number[base] or 0) + 1
          name = base .. "." .. number[base]
        end
        seen[name], out[i] = true, name
      end
    end
  end
  return out
end

-- ---- CSV ----

local Csv = {}
Csv.__index = Csv

-- Opens the reader and goes behind the header; the names that stand there.
local function open(self)
  local o = self.o
  self.reader = core.records_open(self.where, o.path, { format = 3, packed = self.packed,
    encoding = self.charset, most = o.max_record_bytes, delimiter = o.delimiter, quote = o.quote,
    comment = o.comment })
  for _ = 1, o.skip_rows do
    if not core.records_fields(self.reader, self.where) then
      break
    end
  end
  return o.header and core.records_fields(self.reader, self.where) or nil
end

-- The kinds of the columns: "x" for those that are not wanted, "?" for those whose values tell.
local function kinds_of(self)
  local o, wanted, out = self.o, nil, {}
  if o.select then
    wanted = {}
    for _, name in ipairs(o.select) do
      wanted[name] = true
    end
  end
  for i, name in ipairs(self.names) do
    local dtype = self.dtypes[name]
    out[i] = wanted and not wanted[name] and "x" or dtype and columns.KINDS[dtype] or "?"
  end
  return table.concat(out)
end

--- A file of rows that is open: `names`, `kinds`, and `next(rows)`.
function read.csv_file(o, where)
  local self = setmetatable({ o = o, where = where, skipped = 0, packed = packed(o, where),
    charset = options.charset(o.encoding, where),
    dtypes = Table._check_dtypes(o.dtypes, where) }, Csv)
  o.delimiter = one_character(o.delimiter, "delimiter", where)
    or o.path:find "%.tsv$" and "\t" or o.path:find "%.tsv%.gz$" and "\t" or ","
  one_character(o.quote ~= "" and o.quote, "quote", where)
  one_character(o.comment, "comment", where)
  self.missing = table.move(o.keep_default_na and MISSING or {}, 1, #MISSING, 1, {})
  for _, v in ipairs(o.na_values or {}) do
    self.missing[#self.missing + 1] = tostring(v)
  end
  local header = open(self)
  self.bytes, self.records, self.lines = core.records_place(self.reader)
  if not header then -- the first row tells how many columns there are
    local first = not o.header and core.records_fields(self.reader, where)
    if not first and not o.columns then
      errors.raise(where, "%s holds no rows (expected %s)", o.path,
        o.header and "a header" or "at least one")
    end
    header = {}
    for i = 1, first and #first or #o.columns do
      header[i] = "column_" .. i
    end
    self:rewind()
  end
  if o.columns then
    Table._check_names(o.columns, where)
    if #o.columns < #header then
      errors.raise(where, "columns must name all columns of %s (expected %d, got %d)", o.path,
        #header, #o.columns)
    end
  end
  self.names = o.columns or distinct(header)
  for name in pairs(self.dtypes) do
    self:need(name)
  end
  for _, name in ipairs(o.select or {}) do
    self:need(name)
  end
  self.kinds = kinds_of(self)
  return self
end

function Csv:need(name)
  for _, other in ipairs(self.names) do
    if other == name then
      return
    end
  end
  errors.raise(self.where, "%s has no column %s%s (it has %s)", self.o.path, check.show(name),
    type(name) == "string" and check.did_you_mean(name, self.names) or "",
    table.concat(self.names, ", ", 1, math.min(#self.names, 20)))
end

--- Goes back to the first row, or to a place.
function Csv:rewind(place)
  place = place or self
  return core.records_seek(self.reader, place.bytes, place.records, place.lines)
end

function Csv:place()
  local bytes, records, lines = core.records_place(self.reader)
  return { bytes = bytes, records = records, lines = lines }
end

-- The next rows as a list of columns; how many, their kinds, whether it is the end.
function Csv:read(kinds, rows, bytes, blank)
  local values, n, found, skipped, why, ended = core.columns_read(self.reader, self.where, {
    kinds = kinds, names = self.names, missing = self.missing, rows = rows, bytes = bytes,
    skip = self.o.on_error == "skip", blank = blank })
  self.skipped = self.skipped + skipped
  self.why = skipped > 0 and why or self.why
  return values, n, found, ended
end

--- All rows, or the first ones. Columns that turn out to be texts behind numbers are read again.
function Csv:all(rows)
  local values, n, found = self:read(self.kinds, rows)
  if found:find "S" then
    self:rewind()
    local skipped = self.skipped
    local again = self:read(found:gsub("[^S]", "x"):gsub("S", "s"), rows)
    self.skipped = skipped
    for i, v in ipairs(again) do
      values[i] = v or values[i]
    end
  end
  return values, n
end

--- Fixes the kinds that are not given by the first rows, and goes back.
function Csv:settle(rows)
  local _, _, found = self:read(self.kinds, rows)
  self.kinds = found:gsub("S", "s"):gsub("%?", "f")
  self.skipped = 0
  self:rewind()
end

--- Columns as a table, in the order of `select`, with the dtypes that were given.
function Csv:table(values, n)
  local by_name, names = {}, {}
  for i, name in ipairs(self.names) do
    if values[i] then
      local dtype = self.dtypes[name]
      by_name[name] = dtype and columns.cast(values[i], dtype, name, self.where, self.o.path)
        or values[i]
      names[#names + 1] = name
    end
  end
  local out = Table._make(self.o.select or names, by_name, n)
  out.skipped = self.skipped > 0 and self.skipped or nil
  return out
end

--- Reads a CSV file (RFC 4180: quotes, doubled quotes, line ends within quotes; .tsv with tabs) as
--- a table. Columns of whole numbers become int64, of others float64, of true and false bool, else
--- lists of texts; missing values (empty, NA, NaN, null, ...) are NaN, which makes whole numbers
--- and bools float64, and `false` among texts, as in pandas. A row with too many fields is an error
--- that names file and line, or is left out with `on_error = "skip"`; short rows end in missing
--- values.
---
---     local path = os.tmpname()
---     local f = io.open(path, "w") f:write "name,size\na,1\n\"b, c\",2\n" f:close()
---     tide.data.table.read_csv(path):column "name"   --> { "a", "b, c" }
--- @param path string
--- @return Table
function Table.read_csv(...)
  local o = csv_args:construct(...)
  local file = read.csv_file(o, "read_csv")
  return file:table(file:all(o.rows))
end

-- ---- JSON lines ----

local Lines = {}
Lines.__index = Lines

function read.json_file(o, where)
  local self = setmetatable({ o = o, where = where, skipped = 0, line = 0,
    dtypes = Table._check_dtypes(o.dtypes, where) }, Lines)
  self.reader = core.records_open(where, o.path, { format = 1, packed = packed(o, where),
    encoding = options.charset(o.encoding, where), most = o.max_record_bytes })
  return self
end

-- A line as a table by name, or what is wrong with it.
local function object(text, where)
  local ok, row = pcall(json.decode, text, where)
  if not ok then
    return nil, tostring(errors.is(row) and row.message or row)
  elseif type(row) ~= "table" or #row > 0 or next(row) == nil and not text:find "^%s*{" then
    return nil, "the line is no object ({ ... })"
  end
  for k, v in pairs(row) do
    if type(v) == "table" and v ~= none then
      return nil, ("the value of '%s' is no number, text, bool or null"):format(k)
    end
  end
  return row
end

--- The next rows as a table; nil at the end.
function Lines:table(rows)
  local out, block, at, count = {}, nil, 0, 0
  while #out < rows do
    if at >= count then
      block, count = core.records_read(self.reader, self.where, math.min(512, rows - #out), false)
      at = 0
      if count == 0 then
        break
      end
    end
    at, self.line = at + 1, self.line + 1
    if block[at]:find "%S" then
      local row, why = object(block[at], self.where)
      if row then
        out[#out + 1] = row
      elseif self.o.on_error == "raise" then
        errors.raise(self.where, "%s: line %d: %s; on_error = \"skip\" leaves such rows out",
          self.o.path, self.line, why)
      else
        self.skipped = self.skipped + 1
      end
    end
  end
  if #out == 0 and self.begun then
    return nil
  end
  self.begun = true
  local data = Table(out, { dtypes = self.o.dtypes, columns = self.o.columns })
  data.skipped = self.skipped > 0 and self.skipped or nil
  return self.o.select and data:select(self.o.select) or data
end

--- Reads JSON lines (an object of numbers, texts, bools and nulls per line) as a table; the columns
--- are in the order of their names unless `columns` gives another.
---
---     local path = os.tmpname()
---     local f = io.open(path, "w") f:write '{"a": 1}\n{"a": null}\n' f:close()
---     #tide.data.table.read_json_lines(path)   --> 2
--- @param path string
--- @return Table
function Table.read_json_lines(...)
  local o = json_args:construct(...)
  return read.json_file(o, "read_json_lines"):table(o.rows or math.maxinteger)
end

-- ---- by the file's ending ----

local function is_json(path)
  path = path:gsub("%.gz$", "")
  return path:find "%.jsonl$" or path:find "%.ndjson$" or path:find "%.jsonlines$"
end

--- What `table(path, options)` reads.
function read.file(o)
  local given = {}
  for k, v in pairs(o) do
    given[k ~= "data" and k or "path"] = v
  end
  if not is_json(o.data) then
    return Table.read_csv(given)
  end
  for _, row in ipairs(csv_rows) do
    given[row[1]] = nil
  end
  return Table.read_json_lines(given)
end

-- ---- in pieces ----

local chunk_args = check.args("chunks", { PATH, { "rows", "int", 65536, "of a piece", min = 1 } },
  { named = join(shared, csv_rows, LOOK) })

--- A file as tables of up to `rows` rows, one after the other, in constant memory: `for t in
--- tide.data.table.chunks(path) do`. dtypes that are not given are told by the first `infer_rows`
--- rows; a later value that does not fit them is an error that names its line.
---
---     local path = os.tmpname()
---     local f = io.open(path, "w") f:write "x\n1\n2\n3\n" f:close()
---     local n = 0
---     for t in tide.data.table.chunks(path, 2) do n = n + #t end
---     n   --> 3
--- @param path string
--- @return function
function Table.chunks(...)
  local o = chunk_args:construct(...)
  if is_json(o.path) then
    local file = read.json_file(o, "chunks")
    return function()
      local t = file:table(o.rows)
      return t and #t > 0 and t or nil
    end
  end
  local file = read.csv_file(o, "chunks")
  file:settle(o.infer_rows)
  return function()
    local values, n = file:read(file.kinds, o.rows, PIECE)
    return n > 0 and file:table(values, n) or nil
  end
end

return read
