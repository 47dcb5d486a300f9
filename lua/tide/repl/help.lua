--- Help at the prompt: what `? name` prints. The text is the doc comment above the definition, the
--- argument table of a class, or the descriptor of an op, the same places that the reference is
--- made from.
local help = {}

-- The lines of a source file, or nil.
local function lines_of(path)
  local file = path and io.open(path, "r")
  if not file then
    return nil
  end
  local out = {}
  for line in file:lines() do
    out[#out + 1] = line
  end
  file:close()
  return out
end

-- The comment block that ends right above line n, without its dashes; "" if there is none.
local function block_above(lines, n)
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

local function source_of(f)
  local info = debug.getinfo(f, "S")
  if info.source:sub(1, 1) == "@" then
    return info.source:sub(2), info.linedefined, info.lastlinedefined
  end
end

local function parameters(f)
  local info = debug.getinfo(f, "u")
  local names = {}
  for i = 1, info.nparams do
    names[i] = debug.getlocal(f, i)
  end
  if info.isvararg then
    names[#names + 1] = "..."
  end
  return table.concat(names, ", ")
end

local function is_class(v)
  local meta = type(v) == "table" and debug.getmetatable(v)
  return type(meta) == "table" and rawget(meta, "__name") == "class"
end

-- A function of a class that was written in the file that defines the class.
local function a_function(c)
  local names = {}
  for k, v in next, c do
    if type(v) == "function" and type(k) == "string" and not k:find "^__" then
      names[#names + 1] = k
    end
  end
  table.sort(names)
  return names
end

-- The comment above a place "@path:line", or above the loop or function in which that line stands.
local function doc_at(place)
  local path, n = (place or ""):match "^@(.*):(%d+)$"
  local lines = lines_of(path)
  n = tonumber(n)
  while lines and n and n >= 1 do
    local text = block_above(lines, n)
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

local function class_doc(c)
  return doc_at(rawget(c, "_place"))
end

local function class_text(c)
  local out = { rawget(c, "__name") .. " { … }" }
  local text = class_doc(c)
  if text ~= "" then
    out[#out + 1] = text
  end
  local args = type(c.args) == "table" and c.args.help and c.args or c._args
  if type(args) == "table" and type(args.help) == "function" then
    out[#out + 1] = "options, in order:\n" .. args:help()
  end
  return table.concat(out, "\n\n")
end

local function op_text(info)
  local names, rows = {}, {}
  for i, a in ipairs(info.args) do
    names[i] = a.required and a.name or "[" .. a.name .. "]"
    local what = a.shape and a.kind .. " " .. a.shape
      or a.kind .. (a.default and a.default ~= "!" and " = " .. a.default or "")
    rows[i] = ("  %-14s %-22s %s"):format(a.name, what, a.doc)
  end
  local out = { ("ops.%s(%s)"):format(info.name, table.concat(names, ", ")), info.doc }
  if #rows > 0 then
    out[#out + 1] = table.concat(rows, "\n")
  end
  out[#out + 1] = info.differentiable and "Differentiable." or "Its results carry no gradient."
  return table.concat(out, "\n\n")
end

local function op_info(name)
  local ok, core = pcall(require, "tide.core")
  local info = ok and core.op_info and core.op_info(name)
  return info and not info.private and info or nil
end

--- What kind of thing a value is: "tensor", "class", the name of an object's class, or its Lua
--- type.
---@param value any
---@return string
function help.kind(value)
  local meta = debug.getmetatable(value)
  if type(value) == "userdata" and type(meta) == "table"
    and type(rawget(meta, "methods")) == "table" then
    return "tensor"
  elseif is_class(value) then
    return "class"
  elseif is_class(meta) then
    return rawget(meta, "__name")
  end
  return type(value)
end

--- The help of a value.
---@param value any
---@param name string what it was called
---@return string|nil text nil if nothing is known of it
function help.text(value, name)
  local last = name:match "[%w_]+$" or name
  if is_class(value) then
    return class_text(value)
  end
  if type(value) == "function" then
    local path, first = source_of(require("tide.ops").source(value))
    local lines = lines_of(path)
    local text = lines and first > 0 and block_above(lines, first) or ""
    if text == "" then
      local place, args = require("tide.training.object").place_of(value)
      text = doc_at(place)
      text = args and text .. "\n\noptions, in order:\n" .. args:help() or text
    end
    if path then
      return ("%s(%s)"):format(name, parameters(value)) .. (text ~= "" and "\n\n" .. text or "")
    end
  end
  local info = (type(value) == "function" or value == nil) and op_info(last)
  if info then
    return op_text(info)
  end
  if value == nil then
    return nil
  end
  local meta = debug.getmetatable(value)
  if type(meta) == "table" and is_class(meta) then
    return class_text(meta)
  end
  return ("%s: a %s"):format(name, help.kind(value))
    .. (type(value) == "function" and " written in C" or "")
end

--- The examples in a help text: lines indented by four spaces or more, or after `@usage`. A line
--- indented deeper than the first goes on with the one above; `-->` and a
--- value may stand on a line of their own.
---@param text string
---@return string[]
function help.examples(text)
  local out, margin = {}, nil
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local indent, example = line:match "^(   %s+)(%S.*)$"
    example = example or line:match "^@usage (.*)$"
    margin = margin or indent
    if example and #out > 0 and (example:find "^%-%->" or indent and #indent > #margin) then
      out[#out] = out[#out] .. (example:find "^%-%->" and "   " or " ") .. example
    elseif example then
      out[#out + 1] = example
    end
  end
  return out
end

local words = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch "%a+" do
  words[word] = true
end

--- Lua source with colours: words of the language, strings, comments.
---@param text string
---@return string
function help.painted(text)
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

--- The source of a function, class or object's class, as it stands in its file.
---@param value any
---@return string|nil
function help.source(value)
  if type(value) ~= "function" then
    local meta = debug.getmetatable(value)
    local c = is_class(value) and value or is_class(meta) and meta or nil
    value = c and (rawget(c, "call") or c[a_function(c)[1]])
  end
  if type(value) ~= "function" then
    return nil
  end
  local path, first, last = source_of(value)
  local lines = lines_of(path)
  if not lines or first < 1 then
    return nil
  end
  while first > 1 and lines[first - 1]:find "^%s*%-%-" do
    first = first - 1
  end
  return ("-- %s:%d\n%s"):format(path, first, table.concat(lines, "\n", first, last))
end

-- Every public name under `tide`: "tide.layers.Dense", ...
local function every_name()
  local out = {}
  local function add(space, prefix)
    local meta = debug.getmetatable(space)
    local names = type(meta) == "table" and rawget(meta, "__names")
    if type(names) ~= "function" then
      return
    end
    for _, name in ipairs(names(space)) do
      out[#out + 1] = prefix .. name
    end
  end
  local tide = require "tide"
  add(tide, "tide.")
  for _, name in ipairs(tide.names()) do
    local ok, space = pcall(function()
      return tide[name]
    end)
    if ok and type(space) == "table" then
      add(space, "tide." .. name .. ".")
    end
  end
  local ok, core = pcall(require, "tide.core")
  for _, name in ipairs(ok and core.op_names() or {}) do
    if op_info(name) then
      out[#out + 1] = "tide.ops." .. name
    end
  end
  table.sort(out)
  return out
end

--- Names that match a pattern with `*` and `?`, case aside.
---@param pattern string "*norm*"
---@return string[]
function help.search(pattern)
  local p = "^" .. pattern:lower():gsub("[%p]", function(c)
    return c == "*" and ".*" or c == "?" and "." or "%" .. c
  end) .. "$"
  local out, seen = {}, {}
  for _, name in ipairs(every_name()) do
    if not seen[name] and (name:lower():find(p) or name:lower():match("[^.]+$"):find(p)) then
      seen[name] = true
      out[#out + 1] = name
    end
  end
  return out
end

return help
