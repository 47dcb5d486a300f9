--- Values as the prompt prints them: an object's own __tostring, tables with sorted keys, bounded
--- in depth and length, cycles marked.
local list = require "tide.list"
local printable = require "tide.printable"

local show = {}

local rank = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local ra, rb = rank[type(a)] or 4, rank[type(b)] or 4
  if ra ~= rb then
    return ra < rb
  end
  if ra <= 2 then
    return a < b
  end
  return tostring(a) < tostring(b)
end

local function quoted(s)
  if #s > 200 then
    s = s:sub(1, 200) .. "…"
  end
  return '"' .. s:gsub('[%c\\"]', function(c)
    local short = ({ ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ["\\"] = "\\\\",
      ['"'] = '\\"' })[c]
    return short or ("\\%03d"):format(c:byte())
  end) .. '"'
end

local reserved = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch "%a+" do
  reserved[word] = true
end

local function key(k)
  if type(k) == "string" and k:find "^[%a_][%w_]*$" and not reserved[k] then
    return k
  end
  return "[" .. (type(k) == "string" and quoted(k) or tostring(k)) .. "]"
end

local value

local function content(t, o, depth, open)
  if open[t] then
    return "{ ...cycle }"
  end
  if next(t) == nil then
    return "{}"
  end
  if depth >= o.depth then
    return "{ ... }"
  end
  open[t] = true
  local parts, shown, n = {}, 0, rawlen(t)
  local long = false
  local function add(text)
    parts[#parts + 1] = text
    long = long or text:find("\n", 1, true) ~= nil
    shown = shown + 1
  end
  for i = 1, n do
    if shown == o.items then
      break
    end
    add(value(rawget(t, i), o, depth + 1, open))
  end
  local keys = {}
  for k in next, t do
    if not (math.type(k) == "integer" and k >= 1 and k <= n) then
      keys[#keys + 1] = k
    end
  end
  table.sort(keys, before)
  for _, k in ipairs(keys) do
    if shown == o.items then
      break
    end
    add(key(k) .. " = " .. value(rawget(t, k), o, depth + 1, open))
  end
  open[t] = nil
  local left = n + #keys - shown
  if left > 0 then
    parts[#parts + 1] = ("... %d more"):format(left)
  end
  local line = "{ " .. table.concat(parts, ", ") .. " }"
  if not long and #line + 2 * depth <= o.width then
    return line
  end
  local indent = ("  "):rep(depth + 1)
  if #keys == 0 and not long then -- a list fills its lines
    local rows, row = {}, ""
    for i, part in ipairs(parts) do
      local piece = part .. (i < #parts and "," or "")
      if row ~= "" and #indent + #row + 1 + #piece > o.width then
        rows[#rows + 1] = row
        row = ""
      end
      row = row == "" and piece or row .. " " .. piece
    end
    rows[#rows + 1] = row
    parts = rows
    return "{\n" .. indent .. table.concat(parts, "\n" .. indent) .. "\n" .. ("  "):rep(depth)
      .. "}"
  end
  return "{\n" .. indent .. table.concat(parts, ",\n" .. indent) .. "\n" .. ("  "):rep(depth) .. "}"
end

function value(v, o, depth, open)
  if math.type(v) == "float" then
    return list.number("%s", v)
  end
  local kind = type(v)
  if kind == "string" then
    return quoted(v)
  end
  local meta = getmetatable(v)
  if kind ~= "table" or (type(meta) == "table" and rawget(meta, "__tostring")) then
    local text = tostring(v)
    return depth > 0 and text:gsub("\n", "\n" .. ("  "):rep(depth)) or text
  end
  return content(v, o, depth, open)
end

--- The text of one value.
---@param v any
---@param options? { depth?: integer, items?: integer, width?: integer } 3, 20 and 80
---@return string
function show.value(v, options)
  options = options or {}
  local o = { depth = options.depth or 3, items = options.items or 20, width = options.width or 80 }
  local text = type(v) == "string" and v or (value(v, o, 0, {}))
  return text == printable.drawn and text or printable.colored(text)
end

--- A time as the prompt says it: "0.25 s", "2 min 5 s", "1 h 0 min".
---@param seconds number
---@return string
function show.duration(seconds)
  local whole = math.floor(seconds)
  if seconds < 60 then
    return list.number("%.2f", seconds) .. " s"
  elseif seconds < 3600 then
    return ("%d min %d s"):format(whole // 60, whole % 60)
  end
  return ("%d h %d min"):format(whole // 3600, whole % 3600 // 60)
end

--- The text of several results, by lines where one of them needs several.
---@param values table as table.pack makes it
---@param options? table
---@return string
function show.values(values, options)
  local parts, several = {}, false
  for i = 1, values.n do
    parts[i] = show.value(values[i], options)
    several = several or parts[i]:find("\n", 1, true) ~= nil
  end
  return table.concat(parts, several and "\n" or "\t")
end

return show
