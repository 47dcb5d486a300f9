--- Source files as help reads them: the comment above a definition, a function's own text, colours.
local errors = require "tide.errors"

local source = {}

-- Sandboxes may take these away after Tide was loaded.
local io, debug = io, debug

--- The lines of a file, or nil.
function source.lines(path)
  local file, why, code
  if path and io then
    file, why, code = io.open(path, "r")
  end
  if not file then
    if code == 12 then -- ENOMEM: not that there is no such file
      errors.raise("help", "not enough memory to read %s", why)
    end
    return nil
  end
  local out = {}
  for line in file:lines() do
    out[#out + 1] = line
  end
  file:close()
  return out
end

--- The comment block that ends right above line n, without its dashes; "" if there is none.
function source.above(lines, n)
  local first = n
  while first > 1 and lines[first - 1]:find "^%s*%-%-" do
    first = first - 1
  end
  local out = {}
  for i = first, n - 1 do
    out[#out + 1] = (lines[i]:gsub("^%s*%-%-+ ?", ""))
  end
  return table.concat(out, "\n")
end

--- The comment above a place "@path:line", or above the loop or function in which that line stands.
function source.at(place)
  local path, n = (place or ""):match "^@(.*):(%d+)$"
  local lines = source.lines(path)
  n = tonumber(n)
  while lines and n and n >= 1 do
    local text = source.above(lines, n)
    if text ~= "" then
      return text
    end
    local margin = #(lines[n] or ""):match "^%s*"
    repeat
      n = n - 1
    until n < 1 or lines[n]:find "%S" and #lines[n]:match "^%s*" < margin
  end
  return ""
end

--- The comment that opens the file of a place "@path:line"; "" if there is none.
function source.header(place)
  local lines = source.lines((place or ""):match "^@(.*):%d+$")
  local n = 1
  while lines and (lines[n] or ""):find "^%-%-" do
    n = n + 1
  end
  return lines and source.above(lines, n) or ""
end

--- The file, first and last line of a function written in Lua; nil for one written in C.
function source.of(f)
  local info = debug and f and debug.getinfo(f, "S")
  if info and info.source:sub(1, 1) == "@" and info.linedefined > 0 then
    return info.source:sub(2), info.linedefined, info.lastlinedefined
  end
end

--- The comment above a function written in Lua; "" if there is none.
function source.comment(f)
  local path, first = source.of(f)
  local lines = source.lines(path)
  return lines and source.above(lines, first) or ""
end

--- A function as it stands in its file, with the comment above it; nil for one written in C.
function source.text(f)
  local path, first, last = source.of(f)
  local lines = source.lines(path)
  if not lines then
    return nil
  end
  while first > 1 and lines[first - 1]:find "^%s*%-%-" do
    first = first - 1
  end
  return ("-- %s:%d\n%s"):format(path, first, table.concat(lines, "\n", first, last))
end

-- The last line of the statement that begins at line n: the one before the next line that begins
-- without a blank and closes nothing.
local function statement_end(lines, n)
  local last = n
  while lines[last + 1] and (lines[last + 1]:find "^%s+%S" or lines[last + 1]:find "^[%]})]"
    or lines[last + 1]:find "^end%f[^%w_]") do
    last = last + 1
  end
  return last
end

--- What makes a class at a place "@path:line", with the comment above it, and the functions among
--- its fields that are written in the same file, in their order.
---@param place string|nil
---@param c table
function source.of_class(place, c)
  local path, n = (place or ""):match "^@(.*):(%d+)$"
  local lines = source.lines(path)
  if not lines then
    return nil
  end
  n = tonumber(n)
  while n > 1 and lines[n]:find "^%s" do -- the place may be a later line of the statement
    n = n - 1
  end
  local first, last = n, statement_end(lines, n)
  while first > 1 and lines[first - 1]:find "^%s*%-%-" do
    first = first - 1
  end
  local parts, seen = {}, {}
  for _, f in next, c do
    local file, from, to = source.of(type(f) == "function" and f or nil)
    if file == path and (from < first or to > last) and not seen[from] then
      seen[from] = true
      parts[#parts + 1] = { from, to }
    end
  end
  table.sort(parts, function(a, b)
    return a[1] < b[1]
  end)
  local out = { ("-- %s:%d\n%s"):format(path, first, table.concat(lines, "\n", first, last)) }
  for i, part in ipairs(parts) do
    local from = part[1]
    while from > 1 and lines[from - 1]:find "^%s*%-%-" do
      from = from - 1
    end
    out[i + 1] = table.concat(lines, "\n", from, part[2])
  end
  return table.concat(out, "\n\n")
end

local words = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch "%a+" do
  words[word] = true
end
--- The words of the language, as a set.
source.words = words

--- Lua source with colours: words of the language, strings, comments.
---@param text string
---@return string
function source.painted(text)
  local function paint(code, s)
    return ("\27[%sm%s\27[0m"):format(code, s)
  end
  local out, i = {}, 1
  while i <= #text do
    local piece = text:match("^%-%-[^\n]*", i)
    if piece then
      out[#out + 1] = paint("2", piece)
    else
      piece = text:match('^"[^"\n]*"', i) or text:match("^'[^'\n]*'", i)
      if piece then
        out[#out + 1] = paint("32", piece)
      else
        piece = text:match("^[%a_][%w_]*", i) or text:match("^[^%a_\"'%-]+", i) or text:sub(i, i)
        out[#out + 1] = words[piece] and paint("1", piece) or piece
      end
    end
    i = i + #piece
  end
  return table.concat(out)
end

return source
