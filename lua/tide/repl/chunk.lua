--- Turns what was typed into a function. Knows enough of Lua's words to keep top-level locals from
--- line to line: they are made fields of the session's environment, which the compiler of each
--- later line sees.
local chunk = {}

-- Reads one token of `s` at `i`: its kind ("name", "string", "comment", "space", "other") and the
-- place after it.
local function token(s, i)
  local _, e = s:find("^%s+", i)
  if e then
    return "space", e + 1
  end
  _, e = s:find("^[%a_][%w_]*", i)
  if e then
    return "name", e + 1
  end
  local comment = s:match("^%-%-()", i)
  local level, after = s:match("^%[(=*)%[()", comment or i)
  if level then
    local _, close = s:find("]" .. level .. "]", after, true)
    return comment and "comment" or "string", (close or #s) + 1
  end
  if comment then
    local _, close = s:find("^[^\n]*", comment)
    return "comment", close + 1
  end
  local quote = s:match("^[\"']", i)
  if quote then
    local j = i + 1
    while j <= #s do
      local c = s:sub(j, j)
      if c == "\\" then
        j = j + 1
      elseif c == quote then
        break
      end
      j = j + 1
    end
    return "string", j + 1
  end
  _, e = s:find("^%.?%d[%w.]*", i)
  if e then
    return "number", e + 1
  end
  return "other", i + 1
end

local opens = { ["do"] = 1, ["if"] = 1, ["function"] = 1, ["repeat"] = 1, ["end"] = -1,
  ["until"] = -1 }

-- All tokens but comments and spaces, each { text, first, after, depth }.
local function tokens(s)
  local out, i, depth = {}, 1, 0
  while i <= #s do
    local kind, after = token(s, i)
    if kind ~= "space" and kind ~= "comment" then
      local text = s:sub(i, after - 1)
      local change = kind == "name" and opens[text] or 0
      if change < 0 then
        depth = depth + change
      end
      out[#out + 1] = { text = text, kind = kind, first = i, after = after, depth = depth }
      if change > 0 then
        depth = depth + change
      end
    end
    i = after
  end
  return out
end

--- Rewrites the top-level `local` statements of a chunk that compiles into assignments, line
--- numbers unchanged. A local that is to be closed stays a local: it ends with its line.
---@param source string
---@return string rewritten
---@return string[] names those that were declared, in order
function chunk.keep_locals(source)
  local list, names, edits = tokens(source), {}, {}
  local n = 1
  while n <= #list do
    local t = list[n]
    if t.kind == "name" and t.text == "local" and t.depth == 0 and list[n + 1] then
      local following = list[n + 1]
      if following.text == "function" then
        names[#names + 1] = list[n + 2].text
        edits[#edits + 1] = { t.first, t.after, "" }
      else
        local mine, cuts, k, closes = {}, {}, n + 1, false
        while true do
          mine[#mine + 1] = list[k].text
          k = k + 1
          if list[k] and list[k].text == "<" then
            closes = closes or list[k + 1].text == "close"
            cuts[#cuts + 1] = { list[k].first, list[k + 2].after, "" }
            k = k + 3
          end
          if not list[k] or list[k].text ~= "," then
            break
          end
          k = k + 1
        end
        if not closes then
          table.move(mine, 1, #mine, #names + 1, names)
          edits[#edits + 1] = { t.first, t.after, "" }
          table.move(cuts, 1, #cuts, #edits + 1, edits)
          if not list[k] or list[k].text ~= "=" then
            local at = list[k - 1].after
            edits[#edits + 1] = { at, at, " = nil;" }
          end
        end
      end
    end
    n = n + 1
  end
  local out, at = {}, 1
  for _, e in ipairs(edits) do
    out[#out + 1] = source:sub(at, e[1] - 1)
    out[#out + 1] = e[3]
    at = e[2]
  end
  out[#out + 1] = source:sub(at)
  return table.concat(out), names
end

--- The environment of a session: its locals as raw fields, everything else read from and written to
--- `globals`.
---@param globals table
---@return table env
---@return fun(name: string) declare makes a name one of the session's
function chunk.session(globals)
  local declared = {}
  local env = setmetatable({}, {
    __index = globals,
    __newindex = function(t, k, v)
      if declared[k] then
        rawset(t, k, v)
      else
        globals[k] = v
      end
    end,
  })
  return env, function(name)
    declared[name] = true
  end
end

local statements = {}
for word in (
  "break do else elseif end for function goto if local repeat return until while"):gmatch "%a+" do
  statements[word] = true
end

local function ends_early(message)
  return message:find "near '?<eof>'?$" ~= nil
end

--- Compiles what was typed: an expression (also after `=`) gives its values, statements keep their
--- locals.
---@param source string
---@param name string chunk name, as load takes it
---@param env table
---@param declare? fun(name: string)
---@return function|nil f
---@return string|nil message
---@return boolean|nil incomplete true if more lines may complete it
function chunk.compile(source, name, env, declare)
  source = source .. "\n" -- an unfinished string ends at its line, not at the end of input
  local expression = source:match "^%s*=(.*)$" or source
  local f, as_expression = load("return " .. expression, name, "t", env)
  if f then
    return f
  end
  local message
  f, message = load(source, name, "t", env)
  if not f then
    if ends_early(message) or ends_early(as_expression) then
      return nil, message, true
    end
    -- of two complaints the one about an expression is meant where what was typed begins like one
    local word = source:match "^%s*([%a_][%w_]*)"
    local statement = word and (statements[word] or not message:find "syntax error near")
    return nil, statement and message or as_expression, false
  end
  if source:find("local", 1, true) then
    local rewritten, names = chunk.keep_locals(source)
    if #names > 0 then
      local kept = load(rewritten, name, "t", env)
      if kept then
        f = kept
        for _, n in ipairs(declare and names or {}) do
          declare(n)
        end
      end
    end
  end
  return f
end

return chunk
