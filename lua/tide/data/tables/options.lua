--- The options of what reads tables, as rows of argument tables (see check.lua).
local check = require "tide.check"
local errors = require "tide.errors"

local options = {}

local CHARSETS = { ["utf-8"] = 0, ["latin-1"] = 2, ["iso-8859-1"] = 2, ["utf-16"] = 3,
  ["utf-16-le"] = 4, ["utf-16-be"] = 5 }

--- The number of an encoding for the core; where none is named, that of UTF-8 or of UTF-16 by its
--- mark.
function options.charset(encoding, where)
  local v = encoding and CHARSETS[(encoding:lower():gsub("_", "-"):gsub("^utf(%d)", "utf-%1")
    :gsub("^latin1$", "latin-1"))]
  if encoding and not v then
    errors.raise(where, "encoding must be \"utf-8\", \"latin-1\", \"utf-16\", \"utf-16-le\" or \z
      \"utf-16-be\" (got %q)", encoding)
  end
  return v or 1
end

options.ENCODING = { "encoding", "string", nil, "\"utf-8\", \"latin-1\", \"utf-16\", \z
  \"utf-16-le\" or \"utf-16-be\"; UTF-8 when left out, or UTF-16 where the file opens with its \z
  mark" }
options.PATH = { "path", "string", check.required, "of the file" }
options.shared = {
  { "columns", "list", nil, "names of the columns; those of the header when left out" },
  { "dtypes", "any", nil, "dtype by column, or one for all; told by the values when left out",
    dict = true },
  { "select", "list", nil, "names of the columns that are read, in this order" },
  options.ENCODING,
  { "compression_type", "string", nil, "\"GZIP\", \"ZLIB\" or \"\"; told by the ending .gz" },
  { "on_error", "enum", "raise", "what a damaged row does; the field `skipped` counts them",
    of = "raise|skip" },
  { "max_record_bytes", "int", 1 << 30, "length of the longest row", min = 1, max = 1 << 40 },
}
options.csv = {
  { "delimiter", "string", nil, "between fields; a comma, for .tsv a tab" },
  { "header", "bool", true, "the first row names the columns" },
  { "quote", "string", "\"", "stands around fields; \"\": nothing does" },
  { "comment", "string", nil, "rows that open with this character are left out" },
  { "na_values", "list", nil, "further texts that count as missing" },
  { "keep_default_na", "bool", true, "NA, NaN, null, N/A and so on count as missing" },
  { "skip_rows", "int", 0, "lines before the header that are left out", min = 0 },
}
--- Several lists of rows as one.
function options.join(...)
  local out = {}
  for _, rows in ipairs { ... } do
    table.move(rows, 1, #rows, #out + 1, out)
  end
  return out
end
options.whole = { { "rows", "int", nil, "that are read at most", min = 0 } }
options.look = { { "infer_rows", "int", 10000, "from which the dtypes are told that are not given",
  min = 1 } }

return options
