--- Errors as the prompt shows them: the message, the line that was typed with a caret where the
--- message points, a hint, and a traceback without the prompt's own frames.
local names = require "tide.names"
local printable = require "tide.printable"
local complete = require "tide.repl.complete"
local frames = require "tide.repl.frames"

local explain = {}

--- What a value raised by `error` says.
---@param e any
---@return string
function explain.message(e)
  local kind = type(e)
  if kind == "string" then
    return printable.text(e)
  end
  local meta = getmetatable(e)
  if type(meta) == "table" and meta.__tostring then
    local ok, text = pcall(tostring, e)
    return ok and printable.text(text) or "(error object whose __tostring fails)"
  end
  return kind == "nil" and "nil" or ("(error object is a %s value)"):format(kind)
end

--- The frames of the person's own code; the prompt's, Tide's and those of C between them are left
--- out. "" if none is left.
---@param traceback string
---@return string
function explain.trimmed(traceback)
  local lines = {}
  for line in traceback:gmatch "[^\n]+" do
    if line:find("tide/repl/init.lua", 1, true)
      or line:find("tide.repl.terminal.guarded", 1, true) then
      break
    end
    if not frames.inner(line) and not (#lines == 1 and line:find "^%s*%[C%]:") then
      lines[#lines + 1] = line
    end
  end
  while #lines > 0 and (lines[#lines]:find "^%s*%[C%]: in function 'xpcall'"
    or lines[#lines]:find "in main chunk$"
    or lines[#lines]:find "^%s*%(%.%.%.tail calls%.%.%.%)$") do
    lines[#lines] = nil
  end
  return #lines > 1 and table.concat(lines, "\n") or ""
end

-- The word of a line that a message is about.
local function culprit(message)
  return message:match "near '(.-)'$"
    or message:match "%((%a+) '([^']+)'%)" and select(2, message:match "%((%a+) '([^']+)'%)")
    or message:match "unknown name '([^']+)'"
    or message:match "unknown option '([^']+)'"
end

-- Where the word stands; nil for a sign that stands there more than once, since the message does
-- not say which is meant.
local function column(line, word)
  if not word then
    return nil
  end
  local first, last = line:find(word, 1, true)
  if first and not word:find "[%w_]" and line:find(word, last + 1, true) then
    return nil
  end
  local at = 1
  while true do
    first, last = line:find(word, at, true)
    if not first then
      return nil
    end
    local inside = word:find "^[%w_]" and line:sub(first - 1, first - 1):find "[%w_]"
      or word:find "[%w_]$" and line:sub(last + 1, last + 1):find "[%w_]"
    if not inside then
      return first
    end
    at = first + 1
  end
end

-- Where the compiler stops: of the places where a word stands in a line, the first up to which the
-- text is refused at this word.
local function stop(before, line, word)
  local at = 1
  while word and word ~= "" do
    local first, last = line:find(word, at, true)
    if not first then
      return nil
    end
    local _, message = load(before .. line:sub(1, last), "=", "t", {})
    if message and message:sub(-#word - 7) == "near '" .. word .. "'" then
      return first
    end
    at = last + 1
  end
end

--- The line of `source` that a message of chunk `name` points to, and a caret under the word it
--- names; nil if neither.
---@param message string
---@param source string what was typed
---@param name string the chunk's name as messages show it, "[3]"
---@return string|nil
function explain.place(message, source, name)
  local number = message:match("^" .. name:gsub("%p", "%%%0") .. ":(%d+):")
  if not number then
    return nil
  end
  local lines = {}
  for line in (source .. "\n"):gmatch "(.-)\n" do
    lines[#lines + 1] = line
  end
  local line = lines[tonumber(number)]
  local near = line and message:match "near '(.-)'$"
  local at = near and stop(table.concat(lines, "\n", 1, tonumber(number) - 1) .. "\n", line, near)
    or line and column(line, culprit(message))
  if not line or (not at and #lines == 1) then
    return nil
  end
  local shown = "  " .. line
  if at then
    shown = shown .. "\n  " .. line:sub(1, at - 1):gsub("[^\t]", " ") .. "^"
  end
  return shown
end

--- "did you mean 'x'?" for a global, field or method that is nil; nil without a near name.
---@param message string
---@param env table the session's environment
---@param source? string what was typed; it tells whose field or method it was
---@return string|nil
function explain.hint(message, env, source)
  local colon = frames.without_self(message)
  if colon then
    return colon
  end
  local kind, word = message:match "nil value %((%a+) '([^']+)'%)"
  if not kind or message:find("did you mean", 1, true) then
    return nil
  end
  if kind ~= "global" then
    local owner = (kind == "method" or kind == "field") and source
      and source:match("([%a_][%w_.]*)%s*[.:]%s*" .. word .. "%f[^%w_]")
    local value = owner and complete.value(owner, env)
    local near = value ~= nil and owner and names.suggest(word, complete.names(value))
    return near and ("did you mean '%s'?"):format(near) or nil
  end
  local near = names.suggest(word, complete.names(env))
  if near then
    return ("did you mean '%s'?"):format(near)
  end
  local tide = package.loaded.tide
  if tide then
    for _, space_name in ipairs { "layers", "ops", "optimizers", "losses", "metrics",
      "callbacks" } do
      local ok, space = pcall(function()
        return tide[space_name]
      end)
      local meta = ok and debug.getmetatable(space)
      local list = type(meta) == "table" and type(rawget(meta, "__names")) == "function"
        and rawget(meta, "__names")(space) or {}
      for _, name in ipairs(list) do
        if name == word then
          return ("did you mean 'tide.%s.%s'?"):format(space_name, word)
        end
      end
    end
  end
  return nil
end

-- What Python's words are in Lua.
local python = { True = "in Lua it is written true", False = "in Lua it is written false",
  None = "in Lua it is written nil, and tide.none or false where nil is not enough" }

--- What to say of a global that is nil and was read where a string is meant: `activation = relu`
--- gives no activation at all. nil where nothing is to be said.
---@param before string the source up to the name
---@param word string the name
---@return string|nil
function explain.unquoted(before, word)
  if python[word] then
    return ("%s is nil here; %s"):format(word, python[word])
  end
  local choices, key, within = complete.choices(before)
  if choices and choices[word] then
    return ("%s is nil here; such names are strings: %s = %s"):format(word, key,
      (within and '{ "%s" }' or '"%s"'):format(word))
  end
end

--- The message and traceback of a script that failed, as the program prints them, with what was
--- meant; whole where TIDE_TRACEBACK is set.
---@param text string
---@return string
function explain.of_script(text)
  local hint = explain.hint(text:match "^[^\n]*", _G)
  text = hint and text:gsub("\n", function()
    return "; " .. hint .. "\n"
  end, 1) or text
  return os.getenv "TIDE_TRACEBACK" and text
    or frames.folded(text, "TIDE_TRACEBACK=1 shows them")
end

return explain
