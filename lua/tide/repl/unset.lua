--- Globals that are nil where a string was meant: `activation = relu`. To Lua that is no option at
--- all, so the program says it, once for each place: reading any other global that is nil stays as
--- silent as in Lua, and what the script gets is nil as ever.
local unset = {}

local debug, io, package = debug, io, package
local told = {} -- places, as "source:line:word"
local texts = {} -- source -> its lines, or false

-- The lines of a chunk: its file's, or what `unset.typed` was told.
local function lines_of(source)
  local lines = texts[source]
  if lines == nil then
    lines = false
    local file = source:sub(1, 1) == "@" and io.open(source:sub(2))
    if file then
      lines = {}
      for line in file:lines() do
        lines[#lines + 1] = line
      end
      file:close()
    end
    texts[source] = lines
  end
  return lines
end

--- The text of a chunk that is no file, by the name that it is loaded under.
---@param source string "=[3]"
---@param text string
function unset.typed(source, text)
  local lines = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do
    lines[#lines + 1] = line
  end
  texts[source] = lines
end

--- Standard input as a chunk; a first line that begins with "#" is none of Lua's.
--- @return function|nil
--- @return string|nil message why it is no chunk
function unset.input()
  local text, message = io.read "a"
  if not text then
    return nil, "cannot read standard input: " .. message
  end
  text = text:gsub("^\xEF\xBB\xBF", ""):gsub("^#[^\n]*", "")
  unset.typed("=stdin", text)
  return load(text, "=stdin")
end

-- What is to be said of `word` on a line, at the first of its places that says something.
local function said(lines, number, word)
  local line = lines and lines[number]
  local before = line and table.concat(lines, "\n", math.max(1, number - 40), number - 1) .. "\n"
  local at = 1
  while line do
    local first, last = line:find("%f[%w_.:]" .. word .. "%f[^%w_]", at)
    if not first then
      return nil
    end
    local text = require("tide.repl.explain").unquoted(before .. line:sub(1, first - 1), word)
    if text then
      return text
    end
    at = last + 1
  end
end

local function look(word)
  local info = debug.getinfo(3, "Sl")
  if not info or not package.loaded.tide or type(word) ~= "string" then
    return
  end
  local place = ("%s:%d:%s"):format(info.source, info.currentline, word)
  if told[place] then
    return
  end
  told[place] = true
  local text = said(lines_of(info.source), info.currentline, word)
  if text then
    require("tide.errors").warn("%s:%d: %s", info.short_src, info.currentline, text)
  end
end

--- Has globals that are nil looked at when they are read. A script that gives them a metatable of
--- its own is let alone.
---@param globals table
function unset.watch(globals)
  if getmetatable(globals) == nil then
    setmetatable(globals, { __index = function(_, word)
      look(word)
    end })
  end
end

return unset
