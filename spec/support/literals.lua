--- The texts of string literals in Lua and C source: adjacent literals (`"a" "b"` in C,
--- `"a" .. "b"` and `\z` in Lua) are one text.
local literals = {}

-- Skips what is no code; returns the next position.
local function skip(source, at, lua)
  if lua then
    local level = source:match("^%-%-%[(=*)%[", at)
    if level then
      return select(2, source:find("]" .. level .. "]", at, true)) + 1
    elseif source:find("^%-%-", at) then
      return (source:find("\n", at, true) or #source) + 1
    end
  elseif source:find("^/%*", at) then
    return select(2, source:find("*/", at + 2, true)) + 1
  elseif source:find("^//", at) then
    return (source:find("\n", at, true) or #source) + 1
  end
end

-- A literal that opens at `at`: its text and the position behind it.
local function literal(source, at, lua)
  local quote = source:sub(at, at)
  if lua and quote == "[" then
    local level = source:match("^%[(=*)%[", at)
    if not level then
      return nil
    end
    local from = at + #level + 2
    local to, last = source:find("]" .. level .. "]", from, true)
    return source:sub(from, to - 1), last + 1
  elseif quote ~= '"' and quote ~= "'" then
    return nil
  end
  local out, i = {}, at + 1
  while source:sub(i, i) ~= quote do
    local c = source:sub(i, i)
    if c == "\\" then
      if source:sub(i + 1, i + 1) == "z" then
        i = source:find("%S", i + 2)
      else
        out[#out + 1] = source:sub(i + 1, i + 1)
        i = i + 2
      end
    else
      out[#out + 1] = c
      i = i + 1
    end
  end
  return (quote == '"' or lua) and table.concat(out) or nil, i + 1
end

--- All texts of a source file.
--- @param source string
--- @param lua boolean whether it is Lua, else C
--- @return table list of { text, line }
function literals.of(source, lua)
  local out, at, line, joins = {}, 1, 1, false
  local function move(to)
    for _ in source:sub(at, to - 1):gmatch "\n" do
      line = line + 1
    end
    at = to
  end
  while at <= #source do
    local past = skip(source, at, lua)
    local text, behind
    if not past then
      text, behind = literal(source, at, lua)
    end
    if past then
      move(past)
    elseif behind then
      if text and joins then
        out[#out][1] = out[#out][1] .. text
      elseif text then
        out[#out + 1] = { text, line }
      end
      joins = text ~= nil
      move(behind)
    else
      local space = source:match("^%s+()", at) or source:match(lua and "^%.%.()" or "^PRI%w+()", at)
      if not space then
        joins = false
      end
      move(space or at + 1)
    end
  end
  return out
end

return literals
