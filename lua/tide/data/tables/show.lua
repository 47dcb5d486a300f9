--- Tables as text: printed with their columns in line, and written as CSV or JSON lines.
local check = require "tide.check"
local columns = require "tide.data.tables.columns"
local core = require "tide.core"
local ends = require "tide.ends"
local errors = require "tide.errors"
local json = require "tide.utils.json"
local list = require "tide.list"
local none = require "tide.none"
local printable = require "tide.printable"
local Table = require "tide.data.tables.table"

local required = check.required
local WIDEST, LINE, SHOWN = 32, 100, 10 -- characters of a field, of a line; rows

-- ---- printing ----

local function cell(v)
  if v == false then
    return "-"
  elseif type(v) == "string" then
    local text = printable.text((v:gsub("%c", { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" })))
    if (utf8.len(text) or #text) > WIDEST then
      text = text:sub(1, (utf8.offset(text, WIDEST) or WIDEST) - 1) .. "…"
    end
    return text
  elseif math.type(v) == "float" then
    return v ~= v and "-" or list.number("%.6g", v)
  end
  return tostring(v)
end

local function pad(text, width, right)
  local blank = (" "):rep(width - (utf8.len(text) or #text))
  return right and blank .. text or text .. blank
end

--- The first and last rows as text, as `print(t)` has it.
---
---     print(tide.data.table { x = { 1, 2 } })
function Table:__tostring()
  local n, rows = self._n, {}
  for i = 1, n > 2 * SHOWN and SHOWN // 2 or n do
    rows[#rows + 1] = i
  end
  local gap = #rows < n and #rows or nil
  for i = gap and n - SHOWN // 2 + 1 or n + 1, n do
    rows[#rows + 1] = i
  end
  local part = self:_ordered(rows)
  local lines, used, left_out = {}, 0, 0
  for i = 0, #rows do
    lines[i] = {}
  end
  for _, name in ipairs(self._names) do
    local v = part._values[name]
    local values, texts = columns.values(v), { [0] = cell(name) }
    local width = utf8.len(texts[0]) or #texts[0]
    local is_bool = core.is_tensor(v) and v.dtype == "bool"
    for i = 1, #rows do
      texts[i] = is_bool and tostring(values[i]) or cell(values[i])
      width = math.max(width, utf8.len(texts[i]) or #texts[i])
    end
    if left_out > 0 or used > 0 and used + width + 2 > LINE then
      left_out = left_out + 1
    else
      used = used + width + 2
      for i = 0, #rows do
        table.insert(lines[i], pad(texts[i], width, core.is_tensor(v)))
      end
    end
  end
  local out = {}
  for i = 0, #rows do
    out[#out + 1] = ends.without(table.concat(lines[i], "  ")
      .. (left_out > 0 and "  …" or ""), " ")
    if i == gap then
      out[#out + 1] = "…"
    end
  end
  out[#out + 1] = ("[%d row%s, %d column%s%s]"):format(n, n == 1 and "" or "s", #self._names,
    #self._names == 1 and "" or "s",
    left_out > 0 and (", %d not shown: %s"):format(left_out,
      table.concat(self._names, ", ", #self._names - left_out + 1,
        math.min(#self._names, #self._names - left_out + 8))
        .. (left_out > 8 and ", …" or "")) or "")
  return table.concat(out, "\n")
end

-- ---- writing ----

-- The shortest text of a number that reads back as the same, with a point in every locale.
local function number(v)
  if v ~= v then
    return nil
  elseif math.type(v) == "integer" then
    return tostring(v)
  elseif v == math.huge or v == -math.huge then
    return v > 0 and "inf" or "-inf"
  end
  for _, digits in ipairs { 15, 16, 17 } do
    local text = list.number("%." .. digits .. "g", v)
    if digits == 17 or tonumber(text) == v then
      return text:find "[%.eE]" and text or text .. ".0"
    end
  end
end

-- A float32 needs fewer digits.
local function single(v)
  if v ~= v or v == math.huge or v == -math.huge then
    return number(v)
  end
  for digits = 6, 9 do
    local text = list.number("%." .. digits .. "g", v)
    if digits == 9 or string.unpack("<f", string.pack("<f", tonumber(text))) == v then
      return text:find "[%.eE]" and text or text .. ".0"
    end
  end
end

-- A function that writes the values of a column.
local function writer_of(v)
  if not core.is_tensor(v) then
    return nil
  end
  return v.dtype == "float64" and number or columns.KINDS[v.dtype] == "f" and single or tostring
end

local BLOCK = 4096 -- rows that are made to text at a time

-- Writes rows to a file that is there when it is whole.
local function write(self, path, head, line)
  local out = core.stream_open(path, path:find "%.gz$" and 1 or 0)
  if head then
    core.stream_write(out, head)
  end
  for first = 1, self._n, BLOCK do
    local part = self:rows(first, first + BLOCK - 1)
    local lists, texts = {}, {}
    for k, name in ipairs(self._names) do
      lists[k] = columns.values(part._values[name])
    end
    for i = 1, part._n do
      texts[i] = line(lists, i)
    end
    core.stream_write(out, table.concat(texts))
  end
  core.stream_commit(out)
end

local csv_args = check.args("table:write_csv", {
  { "path", "string", required, "of the file; an ending .gz packs it" },
}, { named = {
  { "delimiter", "string", nil, "between fields; a comma, for .tsv a tab" },
  { "header", "bool", true, "the first row names the columns" },
  { "na_rep", "string", "", "what stands for a missing value" },
} })

--- Writes a CSV file (.tsv: with tabs), atomically: fields that need it are quoted, floats have the
--- fewest digits that read back as the same.
---
---     local path = os.tmpname()
---     tide.data.table({ x = { 1, 2 } }):write_csv(path)
--- @param path string
function Table:write_csv(...)
  local o = csv_args:call(...)
  local delimiter = o.delimiter
    or (o.path:find "%.tsv$" or o.path:find "%.tsv%.gz$") and "\t" or ","
  if #delimiter ~= 1 then
    errors.raise("table:write_csv", "delimiter must be one character (got %q)", delimiter)
  end
  local special = ("[\"\r\n%s]"):format(delimiter:gsub("%W", "%%%0"))
  local function field(v)
    if v == "" or v:find(special) or v == o.na_rep then
      return "\"" .. v:gsub("\"", "\"\"") .. "\""
    end
    return v
  end
  local writers, names = {}, {}
  for k, name in ipairs(self._names) do
    writers[k], names[k] = writer_of(self._values[name]), field(name)
  end
  local fields, width = {}, #self._names
  write(self, o.path, o.header and table.concat(names, delimiter) .. "\n", function(lists, i)
    for k = 1, width do
      local v, f = lists[k][i], writers[k]
      if f then
        fields[k] = f(v) or o.na_rep
      else
        fields[k] = v and field(v) or o.na_rep
      end
    end
    -- a row of one empty field would be an empty line, which is no row
    if width == 1 and fields[1] == "" then
      return "\"\"\n"
    end
    return table.concat(fields, delimiter, 1, width) .. "\n"
  end)
end

local json_args = check.args("table:write_json_lines", {
  { "path", "string", required, "of the file; an ending .gz packs it" } })

--- Writes JSON lines, an object per row, atomically; missing values are null.
---
---     local path = os.tmpname()
---     tide.data.table({ x = { 1, 2 } }):write_json_lines(path)
--- @param path string
function Table:write_json_lines(...)
  local names, values = self._names, self._values
  local row = {}
  write(self, json_args:call(...).path, nil, function(lists, i)
    for k, name in ipairs(names) do
      local v = lists[k][i]
      if v == false and not core.is_tensor(values[name]) or v ~= v then
        v = none
      elseif v == math.huge or v == -math.huge then
        errors.raise("table:write_json_lines", "column '%s' holds %s, which JSON has not", name,
          tostring(v))
      end
      row[name] = v
    end
    return json.encode(row) .. "\n"
  end)
end

return Table
