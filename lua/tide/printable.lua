--- Text from elsewhere as a terminal may have it: names in files, folders and tables can hold
--- escape sequences that move the cursor, set the window's title or turn the direction of writing.
--- What a person prints himself is not touched.
local printable = {}

local function byte(c)
  return ("\\x%02x"):format(c:byte())
end

local function code(c)
  return ("\\u{%x}"):format(utf8.codepoint(c))
end

-- Characters that are no text: the second row of control characters, marks that turn the direction
-- of writing, separators of lines, what has no width, and tags.
local hidden = { "\xC2[\x80-\x9F]", "\xD8\x9C", "\xE2\x80[\x8B-\x8F\xA8-\xAE]",
  "\xE2\x81[\xA0-\xAF]", "\xEF\xBB\xBF", "\xF3\xA0[\x80-\x81][\x80-\xBF]" }

-- Bytes of 128 and more.
local function wide(s)
  if not utf8.len(s) then -- whole characters stay; a lone byte may be a control character, too
    local out, at = {}, 1
    while at <= #s do
      local _, bad = utf8.len(s, at)
      out[#out + 1] = s:sub(at, (bad or #s + 1) - 1)
      out[#out + 1] = bad and byte(s:sub(bad, bad)) or nil
      at = bad and bad + 1 or #s + 1
    end
    s = table.concat(out)
  end
  for _, pattern in ipairs(hidden) do
    s = s:gsub(pattern, code)
  end
  return s
end

--- Text of several lines: line feeds and tabs stay, every other control character is shown as Lua
--- writes it.
---
---     require("tide.printable").text "\27[2J ok"   --> "\\x1b[2J ok"
--- @param s string
--- @return string
function printable.text(s)
  if s:find "[\0-\8\11-\31\127-\255]" then
    s = s:gsub("[\0-\8\11-\31\127]", byte)
    return s:find "[\128-\255]" and wide(s) or s
  end
  return s
end

--- The text that Tide drew last: the prompt shows it as it is, for pictures are made of what moves
--- the cursor.
printable.drawn = nil

--- Text of several lines that may have colours.
--- @param s string
--- @return string
function printable.colored(s)
  local out, at = {}, 1
  for from, to in s:gmatch "()\27%[[%d;]*m()" do
    out[#out + 1] = printable.text(s:sub(at, from - 1)) .. s:sub(from, to - 1)
    at = to
  end
  return table.concat(out) .. printable.text(s:sub(at))
end

--- A name: on one line.
---
---     require("tide.printable").name "dense\n1"   --> "dense\\x0a1"
--- @param s string
--- @return string
function printable.name(s)
  return (printable.text(s):gsub("[\9\10]", byte))
end

return printable
