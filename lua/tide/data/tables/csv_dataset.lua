--- make_csv_dataset: batches of CSV files by column, with the arguments and the order of
--- tf.data.experimental's.
local check = require "tide.check"
local core = require "tide.core"
local Dataset = require "tide.data.whole"
local errors = require "tide.errors"
local options = require "tide.data.tables.options"
local readers = require "tide.data.readers"

local WHERE = "make_csv_dataset"

local args = check.args(WHERE, {
  { "file_pattern", "any", check.required, "a path, a pattern with * and ?, or a list of such" },
  { "batch_size", "int", check.required, "rows of an element", min = 1 },
  { "column_names", "list", nil, "names of the columns; those of the header when left out" },
  { "column_defaults", "list", nil, "one per column that is taken: a dtype, of which an empty \z
    field is an error, or what an empty field is; inferred when left out" },
  { "label_name", "string", nil, "the column that is the second part" },
  { "select_columns", "list", nil, "names or numbers, from 1, of the columns that are taken" },
  { "field_delim", "string", ",", "between fields" },
  { "use_quote_delim", "bool", true, "quotes may stand around fields" },
  { "na_value", "string", "", "a field that counts as empty" },
  { "header", "bool", true, "the first row of each file is left out" },
  { "num_epochs", "int", nil, "passes over the files; without end when left out", min = 1 },
  { "shuffle", "bool", true, "files and rows come in another order" },
  { "shuffle_buffer_size", "int", 10000, "rows from which the next is drawn", min = 1 },
  { "shuffle_seed", "int", nil, "of the order" },
  { "prefetch_buffer_size", "int", nil, "batches that are made ahead", min = -1 },
  { "num_parallel_reads", "int", nil, "files that are read in turn, one row from each", min = -1 },
  { "sloppy", "bool", false, "not used: the order is always the same" },
  { "num_rows_for_inference", "int", 100, "rows that tell the dtypes; false: all", min = 1,
    none = true },
  { "compression_type", "string", nil, "\"GZIP\" or \"ZLIB\"" },
  { "ignore_errors", "bool", false, "damaged rows are left out" },
  options.ENCODING,
})

-- ---- what the files hold ----

local PACKED = { [""] = 0, gzip = 1, zlib = 2 }

local function open(path, o)
  return core.records_open(WHERE, path, { format = 3, delimiter = o.field_delim,
    quote = o.use_quote_delim and "\"" or "", encoding = o.charset,
    packed = PACKED[(o.compression_type or ""):lower()] or 0 })
end

local WIDER = { int32 = 1, int64 = 2, float32 = 3, float64 = 4, string = 5 }
local DTYPES = { "int32", "int64", "float32", "float64", "string" }
local LARGEST_SINGLE = 3.4028235677973366e38 -- what rounds to infinity

-- The narrowest dtype that holds a field.
local function dtype_of(text)
  local number = text:find "^[%s%d+-.eE]+$" and tonumber(text)
  if not number then
    return "string"
  elseif text:find "^%s*[+-]?%d+%s*$" and math.type(number) == "integer" then
    return number >= -0x80000000 and number < 0x80000000 and "int32" or "int64"
  end
  local size = math.abs(number)
  return size < LARGEST_SINGLE and "float32" or size < math.huge and "float64" or "string"
end

-- dtypes of the columns that are taken, by the first rows of the files.
local function infer(paths, o, width, taken)
  local level, left = {}, o.num_rows_for_inference or math.maxinteger
  for _, path in ipairs(paths) do
    local reader = left > 0 and open(path, o)
    if reader and o.header then
      core.records_fields(reader, WHERE)
    end
    while left > 0 do
      local row = core.records_fields(reader, WHERE)
      if not row then
        break
      end
      left = left - 1
      if #row ~= width then
        local _, _, line = core.records_place(reader)
        errors.raise(WHERE, "%s: line %d: the row has %d fields (expected %d)", path, line, #row,
          width)
      end
      for i, k in ipairs(taken) do
        local text = row[k]
        if text ~= "" and text ~= o.na_value then
          level[i] = math.max(level[i] or 0, WIDER[dtype_of(text)])
        end
      end
    end
  end
  local out = {}
  for i = 1, #taken do
    local dtype = DTYPES[level[i] or WIDER.string]
    out[i] = dtype == "string" and "" or core.tensor(0, { dtype = dtype })
  end
  return out
end

-- Numbers of the columns that are taken, rising, and their names.
local function choose(o, names)
  local number = {}
  for i, name in ipairs(names) do
    if number[name] then
      errors.raise(WHERE, "the column '%s' is there twice", name)
    end
    number[name] = i
  end
  local taken, seen = {}, {}
  for i = 1, o.select_columns and #o.select_columns or #names do
    local v = o.select_columns and o.select_columns[i] or i
    local k = number[v] or math.type(v) == "integer" and v or nil
    if not k or k < 1 or k > #names or seen[k] then
      errors.raise(WHERE, "select_columns must be different columns (got %s)%s", check.show(v),
        type(v) == "string" and check.did_you_mean(v, names) or "")
    end
    taken[i], seen[k] = k, true
  end
  table.sort(taken)
  local chosen = {}
  for i, k in ipairs(taken) do
    chosen[i] = names[k]
  end
  return taken, chosen
end

local function files_of(o)
  local patterns = type(o.file_pattern) == "string" and { o.file_pattern } or o.file_pattern
  if not check.is_list(patterns) or #patterns == 0 then
    errors.raise(WHERE, "file_pattern must be a path, a pattern or a list of such (got %s)",
      check.show(o.file_pattern))
  end
  return Dataset.list_files(patterns, { shuffle = false }):as_list()
end

--- Batches of CSV files: a table of columns by name (tensors, lists of texts), and the column
--- `label_name` as a second part. The files are read row by row in constant memory; arguments,
--- inferred dtypes (int32, int64, float32, float64, string; missing numbers are 0) and the order
--- without shuffling are tf.data.experimental.make_csv_dataset's, labels stay as they stand in the
--- file.
---
---     local path = os.tmpname()
---     local f = io.open(path, "w") f:write "x,y\n1,a\n2,b\n" f:close()
---     local ds = tide.data.make_csv_dataset(path, 2, { label_name = "y", num_epochs = 1 })
---     for inputs, labels in ds:iter() do end
--- @return Dataset
local function make_csv_dataset(...)
  local o = args:construct(...)
  if #o.field_delim ~= 1 then
    errors.raise(WHERE, "field_delim must be one character (got %s)", check.show(o.field_delim))
  end
  o.charset = options.charset(o.encoding, WHERE)
  local paths = files_of(o)
  local names = o.column_names
  if not names then
    if not o.header then
      errors.raise(WHERE, "needs column_names, or files with a header")
    end
    for i, path in ipairs(paths) do
      local header = core.records_fields(open(path, o), WHERE)
        or errors.raise(WHERE, "%s holds no rows (expected a header)", path)
      if i > 1 and table.concat(header, "\n") ~= table.concat(names, "\n") then
        errors.raise(WHERE, "%s names other columns than %s (expected %s, got %s)", path, paths[1],
          table.concat(names, ", "), table.concat(header, ", "))
      end
      names = header
    end
  end
  local taken, chosen = choose(o, names)
  local defaults = o.column_defaults or infer(paths, o, #names, taken)
  if #defaults ~= #taken then
    errors.raise(WHERE, "column_defaults must be one per column that is taken (expected %d, got \z
      %d)", #taken, #defaults)
  end
  local label
  for i, name in ipairs(chosen) do
    label = name == o.label_name and i or label
  end
  if o.label_name and not label then
    errors.raise(WHERE, "label_name must be one of the columns %s (got '%s')%s",
      table.concat(chosen, ", "), o.label_name, check.did_you_mean(o.label_name, chosen))
  end

  local function read(list)
    return readers.csv(WHERE, o.charset, "; ignore_errors = true leaves such rows out", list,
      defaults, { compression_type = o.compression_type,
      header = o.header, field_delim = o.field_delim, use_quote_delim = o.use_quote_delim,
      na_value = o.na_value, select_cols = #taken < #names and taken or nil,
      on_error = o.ignore_errors and "skip" or "raise" })
  end
  local ds
  local reads = o.num_parallel_reads or 1
  if #paths == 1 or reads == 1 and not o.shuffle then
    ds = read(paths)
  else
    ds = Dataset.from_tensor_slices(paths)
    if o.shuffle then
      ds = ds:shuffle(#paths, { seed = o.shuffle_seed })
    end
    ds = ds:interleave(function(path)
      return read { path }
    end, { cycle_length = reads > 0 and reads or 16 })
  end
  if o.shuffle then
    ds = ds:shuffle(o.shuffle_buffer_size, { seed = o.shuffle_seed })
  end
  if o.num_epochs ~= 1 then
    ds = ds:rep(o.num_epochs)
  end
  ds = ds:batch(o.batch_size, { drop_remainder = o.num_epochs == nil }):map(function(...)
    local inputs, y = {}, nil
    for i, name in ipairs(chosen) do
      local v = select(i, ...)
      if i == label then
        y = v
      else
        inputs[name] = v
      end
    end
    if label then
      return inputs, y
    end
    return inputs
  end)
  return o.prefetch_buffer_size and o.prefetch_buffer_size ~= 0
    and ds:prefetch(o.prefetch_buffer_size) or ds
end

return { make_csv_dataset = make_csv_dataset }
