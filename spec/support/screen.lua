--- What a terminal of a fixed size shows of the bytes that were written to it, and that as text or
--- as an SVG picture. Knows the part of xterm's control sequences that line editors, progress bars
--- and plots use.
local screen = {}
screen.__index = screen

--- @param columns integer
--- @param rows integer
function screen.new(columns, rows)
  local self = setmetatable(
    { columns = columns, rows = rows, row = 1, column = 1, lines = {}, style = {}, rest = "" },
    screen)
  for i = 1, rows do
    self.lines[i] = {}
  end
  return self
end

function screen:_feed_line()
  if self.row < self.rows then
    self.row = self.row + 1
  else
    table.remove(self.lines, 1)
    self.lines[self.rows] = {}
  end
end

function screen:_put(character)
  if self.column > self.columns then
    self.column = 1
    self:_feed_line()
  end
  self.lines[self.row][self.column] = { character, self.style }
  self.column = self.column + 1
end

local palette = { [0] = "#2e3436", "#cc0000", "#4e9a06", "#c4a000", "#3465a4", "#75507b", "#06989a",
  "#d3d7cf" }

function screen:_sgr(numbers)
  local style = {}
  for k, v in pairs(self.style) do
    style[k] = v
  end
  local i = 1
  while i <= math.max(1, #numbers) do
    local n = numbers[i] or 0
    if n == 0 then
      style = {}
    elseif n == 1 then
      style.bold = true
    elseif n == 2 then
      style.faint = true
    elseif n == 22 then
      style.bold, style.faint = nil, nil
    elseif n >= 30 and n <= 37 then
      style.color = palette[n - 30]
    elseif n == 39 then
      style.color = nil
    elseif n == 49 then
      style.back = nil
    elseif (n == 38 or n == 48) and numbers[i + 1] == 2 then
      local rgb = ("#%02x%02x%02x"):format(
        numbers[i + 2] or 0, numbers[i + 3] or 0, numbers[i + 4] or 0)
      style[n == 38 and "color" or "back"] = rgb
      i = i + 4
    end
    i = i + 1
  end
  self.style = style
end

local function erase(line, first, last)
  for i = first, last do
    line[i] = nil
  end
end

local control = {
  A = function(s, n) s.row = math.max(1, s.row - math.max(1, n)) end,
  B = function(s, n) s.row = math.min(s.rows, s.row + math.max(1, n)) end,
  C = function(s, n) s.column = math.min(s.columns, s.column + math.max(1, n)) end,
  D = function(s, n) s.column = math.max(1, math.min(s.column, s.columns) - math.max(1, n)) end,
  G = function(s, n) s.column = math.max(1, n) end,
  H = function(s, n, m) s.row, s.column = math.min(s.rows, math.max(1, n)), math.max(1, m) end,
  J = function(s, n)
    if n == 2 then
      for i = 1, s.rows do
        s.lines[i] = {}
      end
    else
      erase(s.lines[s.row], s.column, s.columns)
      for i = s.row + 1, s.rows do
        s.lines[i] = {}
      end
    end
  end,
  K = function(s, n)
    erase(s.lines[s.row], n == 0 and s.column or 1, n == 1 and s.column or s.columns)
  end, P = function(s, n)
    local line = s.lines[s.row]
    for i = s.column, s.columns do
      line[i] = line[i + math.max(1, n)]
    end
  end,
  ["@"] = function(s, n)
    local line = s.lines[s.row]
    for i = s.columns, s.column + math.max(1, n), -1 do
      line[i] = line[i - math.max(1, n)]
    end
    erase(line, s.column, s.column + math.max(1, n) - 1)
  end,
}

--- Takes in bytes; a sequence or character that is not whole yet waits for the rest.
--- @param bytes string
function screen:write(bytes)
  local s, i = self.rest .. bytes, 1
  while i <= #s do
    local c = s:byte(i)
    local after
    if c == 27 then
      local marks, numbers, final, at = s:match("^\27%[([?>]?)([%d;]*)([%a@])()", i)
      local other = s:match("^\27[%]P][^\7\27]*[\7\27]\\?()", i) or s:match("^\27[^%[%]P]()", i)
      if final then
        local list = {}
        for n in numbers:gmatch "%d+" do
          list[#list + 1] = tonumber(n)
        end
        if final == "m" then
          self:_sgr(list)
        elseif marks == "" and control[final] then
          control[final](self, list[1] or 0, list[2] or 0)
        end
        after = at
      elseif other then
        after = other
      else
        break
      end
    elseif c == 13 then
      self.column, after = 1, i + 1
    elseif c == 10 then
      self:_feed_line()
      after = i + 1
    elseif c == 8 then
      self.column, after = math.max(1, self.column - 1), i + 1
    elseif c == 9 then
      self.column, after = math.min(self.columns, (self.column - 1) // 8 * 8 + 9), i + 1
    elseif c < 32 or c == 127 then
      after = i + 1
    else
      local length = c < 0x80 and 1 or c < 0xe0 and 2 or c < 0xf0 and 3 or 4
      if i + length - 1 > #s then
        break
      end
      self:_put(s:sub(i, i + length - 1))
      after = i + length
    end
    i = after
  end
  self.rest = s:sub(i)
end

--- The lines as text, blanks at their ends and empty lines below left out.
--- @return string
function screen:text()
  local out, last = {}, 0
  for i, line in ipairs(self.lines) do
    local cells, n = {}, 0
    for k in pairs(line) do
      n = math.max(n, k)
    end
    for k = 1, n do
      cells[k] = line[k] and line[k][1] or " "
    end
    out[i] = table.concat(cells):gsub("%s+$", "")
    last = out[i] ~= "" and i or last
  end
  return table.concat(out, "\n", 1, last)
end

local function escape(s)
  return (s:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }))
end

-- Dots of a braille cell as rectangles: the fonts of many viewers have none, or not of a cell's
-- width.
local function braille(code, x, y, w, h)
  local out = {}
  for bit, at in ipairs { { 0, 0 }, { 0, 1 }, { 0, 2 }, { 1, 0 }, { 1, 1 }, { 1, 2 }, { 0, 3 },
    { 1, 3 } } do
    if code >> (bit - 1) & 1 == 1 then
      out[#out + 1] = ("M%.1f %.1fh2v2h-2z"):format(
        x + w * (0.25 + 0.5 * at[1]) - 1, y + h * (0.125 + 0.25 * at[2]) - 1)
    end
  end
  return table.concat(out)
end

--- The screen as a picture.
--- @return string svg
function screen:svg()
  local w, h, left, top = 8, 17, 12, 34
  local count = select(2, self:text():gsub("\n", "")) + 1
  local width, height = self.columns * w + 2 * left, count * h + top + 12
  local out = {
    (
      '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" \z
      font-family="monospace" font-size="13">')
      :format(width, height, width, height),
    '<rect width="100%" height="100%" rx="8" fill="#1d1f21"/>',
    '<g fill="#777"><circle cx="18" cy="16" r="5"/><circle cx="36" cy="16" r="5"/><circle cx="54" \z
      cy="16" r="5"/></g>',
  }
  for i = 1, count do
    local line, y, k = self.lines[i], top + (i - 1) * h, 1
    while k <= self.columns do
      local cell = line[k]
      if not cell or cell[1] == " " then
        k = k + 1
      else
        local style, run, dots, first = cell[2], {}, {}, k
        local lines = {}
        while line[k] and line[k][2] == style do
          local code = utf8.codepoint(line[k][1])
          local x = left + (k - 1) * w
          if code >= 0x2800 and code <= 0x28ff then
            dots[#dots + 1] = braille(code - 0x2800, x, y, w, h)
            run[#run + 1] = " "
          elseif code == 0x2501 or code == 0x2500 then
            lines[#lines + 1] = ("M%.1f %.1fh%dv%dh-%dz"):format(
              x, y + h / 2 - 1, w, code == 0x2501 and 3 or 1, w)
            run[#run + 1] = " "
          elseif code == 0x2502 or code == 0x2514 then
            lines[#lines + 1] = ("M%.1f %.1fh1v%dh-1z"):format(
              x + w / 2, y, code == 0x2502 and h or h // 2)
            if code == 0x2514 then
              lines[#lines + 1] = ("M%.1f %.1fh%dv1h-%dz"):format(
                x + w / 2, y + h / 2 - 1, w // 2, w // 2)
            end
            run[#run + 1] = " "
          else
            run[#run + 1] = line[k][1]
          end
          k = k + 1
        end
        local fill = style.color or (style.faint and "#888888") or "#d8d8d8"
        local text = table.concat(run)
        if style.back then
          out[#out + 1] = ('<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>'):format(
            left + (first - 1) * w, y, (k - first) * w, h, style.back)
        end
        if text:find "%S" then
          out[#out + 1] = (
            '<text x="%d" y="%d" fill="%s"%s textLength="%d" xml:space="preserve">\z
              %s</text>'):format(
            left + (first - 1) * w, y + 13, fill, style.bold and ' font-weight="bold"' or "",
              (k - first) * w, escape(text))
        end
        if #dots + #lines > 0 then
          out[#out + 1] = ('<path fill="%s" d="%s"/>'):format(
            fill, table.concat(dots) .. table.concat(lines))
        end
      end
    end
  end
  out[#out + 1] = "</svg>\n"
  return table.concat(out, "\n")
end

return screen
