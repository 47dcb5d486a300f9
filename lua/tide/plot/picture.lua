--- Pictures on a terminal: kitty's protocol (base64 PNG), sixel, half blocks, or plain characters;
--- and grids of pictures.
local core = require "tide.core"
local errors = require "tide.errors"
local ops = require "tide.ops"
local screen = require "tide.screen"

local picture = {}
local image = core.image

picture.modes = "auto|kitty|sixel|blocks|plain"

--- One picture as uint8 (height, width, 3): (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); floats of at
--- most 1 count as 0..1, others as 0..255. With `scale` the least value is black, the largest
--- white.
function picture.rgb(where, x, scale)
  if not core.is_tensor(x) then
    x = core.tensor(x)
  end
  if x.ndim == 2 then
    x = ops.reshape(x, { x.shape[1], x.shape[2], 1 })
  end
  local c = x.ndim == 3 and x.shape[3]
  if (c ~= 1 and c ~= 3 and c ~= 4) or x.size == 0 then
    errors.raise(where, "the shape is no picture's (expected [H, W], [H, W, 1], [H, W, 3] or \z
      [H, W, 4], got %s)",
      tostring(x.shape))
  end
  if x.dtype ~= "uint8" or scale then
    local float = x.dtype:find "float" ~= nil
    x = ops.cast(x:detach(), "float32")
    x = ops.where(ops.isfinite(x), x, 0.0)
    if float and not scale and ops.max(x):item() <= 1 then
      x = x * 255
    end
    x = image.to_picture(ops.copy(x), scale or false)
  end
  return image.convert(ops.copy(x), 3)
end

--- Pictures (N, H, W), (N, H, W, C), or a list of pictures of any sizes, as one uint8 picture on
--- white.
--- @param columns integer|nil per row; about a square by default
--- @return userdata picture, table places { x, y } of each from 0, integer columns
function picture.grid(where, x, columns, scale, gap)
  local list = {}
  if core.is_tensor(x) then
    for i = 1, #x do
      list[i] = picture.rgb(where, x[i], scale)
    end
  else
    for i, one in ipairs(x) do
      list[i] = picture.rgb(where, one, scale)
    end
  end
  if #list == 0 then
    errors.raise(where, "there is no picture to show")
  end
  gap = gap or 2
  local h, w = 0, 0
  for _, p in ipairs(list) do
    h, w = math.max(h, p.shape[1]), math.max(w, p.shape[2])
  end
  columns = math.min(columns or math.ceil(math.sqrt(#list)), #list)
  local rows = (#list + columns - 1) // columns
  local all = ops.full({ rows * (h + gap) - gap, columns * (w + gap) - gap, 3 }, 255,
    { dtype = "uint8" })
  local places = {}
  for i, p in ipairs(list) do
    local top, left = (i - 1) // columns * (h + gap), (i - 1) % columns * (w + gap)
    all[{ { top + 1, top + p.shape[1] }, { left + 1, left + p.shape[2] }, {} }] = p
    places[i] = { left, top }
  end
  return all, places, columns
end

--- Brings a picture to at most `width` x `height` pixels; enlarges small ones by whole factors if
--- `enlarge`.
function picture.within(p, width, height, enlarge)
  local h, w = p.shape[1], p.shape[2]
  local by = math.min(width / w, height / h)
  if by >= 1 then
    by = enlarge and math.max(1, math.floor(by)) or 1
  end
  if by == 1 then
    return p
  end
  local th, tw = math.max(1, math.floor(h * by + 0.5)), math.max(1, math.floor(w * by + 0.5))
  return image.fit(p, th, tw, by > 1 and "nearest" or "box", false)
end

-- ---- what the terminal offers ----

--- What a terminal's answer to kitty's query and to a device attributes query says: "kitty",
--- "sixel" or nil.
function picture.parse_reply(reply)
  if reply:find "\27_Gi=31;OK" then
    return "kitty"
  end
  for attributes in reply:gmatch "\27%[%?([%d;]*)c" do
    for a in attributes:gmatch "%d+" do
      if a == "4" then
        return "sixel"
      end
    end
  end
end

-- Asks the terminal itself and waits for at most a few tenths of a second.
local function ask()
  local tty = io.open("/dev/tty", "r+b")
  if not tty then
    return ""
  end
  local pipe = io.popen "stty -g </dev/tty 2>/dev/null"
  local saved = pipe and pipe:read "l"
  if pipe then
    pipe:close()
  end
  local reply = {}
  if saved and saved:find "^[%x:]+$"
    and os.execute "stty -echo -icanon min 0 time 2 </dev/tty 2>/dev/null" then
    tty:setvbuf "no"
    tty:write "\27_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\27\\\27[c"
    for _ = 1, 256 do
      local byte = tty:read(1)
      reply[#reply + 1] = byte
      if not byte or (byte == "c" and table.concat(reply):find "\27%[%?[%d;]*c$") then
        break
      end
    end
    os.execute("stty " .. saved .. " </dev/tty 2>/dev/null")
  end
  tty:close()
  return table.concat(reply)
end

--- The way to show pictures: by environment variables, then by what the terminal answers.
--- @param env function name -> value, os.getenv
--- @param query function|nil asks the terminal; nil: do not ask
--- @return string kitty, sixel, blocks or plain
function picture.choose(env, query)
  local term, program = env "TERM" or "", env "TERM_PROGRAM" or ""
  local fallback = screen.utf8(env) and not env "NO_COLOR" and "blocks" or "plain"
  if term == "dumb" or term == "" then
    return "plain"
  elseif env "TMUX" or term:find "^screen" then
    return fallback -- a multiplexer's inside cannot be told from its outside
  elseif env "KITTY_WINDOW_ID" or term == "xterm-kitty" or program == "ghostty"
    or program == "WezTerm" then
    return "kitty"
  elseif program == "iTerm.app" or term:find "^foot" or term:find "^mlterm"
    or term:find "sixel" then
    return "sixel"
  end
  return query and picture.parse_reply(query()) or fallback
end

local known
local function detect()
  if not core.terminal(1) then
    return "plain"
  end
  known = known or picture.choose(os.getenv, core.terminal(0) and ask or nil)
  return known
end

-- ---- encoders: uint8 (H, W, 3) -> text ----

local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

--- Base64 (RFC 4648).
function picture.base64(s)
  local out, d = {}, {}
  for i = 0, 63 do
    d[i] = digits:sub(i + 1, i + 1)
  end
  for i = 1, #s - 2, 3 do
    local a, b, c = s:byte(i, i + 2)
    local v = a << 16 | b << 8 | c
    out[#out + 1] = d[v >> 18] .. d[v >> 12 & 63] .. d[v >> 6 & 63] .. d[v & 63]
  end
  local left = #s % 3
  if left > 0 then
    local a, b = s:byte(#s - left + 1, #s)
    local v = a << 16 | (b or 0) << 8
    out[#out + 1] = d[v >> 18] .. d[v >> 12 & 63] .. (left == 2 and d[v >> 6 & 63] or "=") .. "="
  end
  return table.concat(out)
end

--- kitty's graphics protocol: a PNG in pieces of 4096 bytes.
function picture.kitty(p)
  local data = picture.base64(image.encode("png", p))
  local out = {}
  for at = 1, #data, 4096 do
    local more = at + 4096 <= #data and 1 or 0
    local head = at == 1 and "a=T,f=100,m=" or "m="
    out[#out + 1] = "\27_G" .. head .. more .. ";" .. data:sub(at, at + 4095) .. "\27\\"
  end
  return table.concat(out)
end

-- 4 x 4 thresholds of ordered dithering (Bayer 1973).
local BAYER = { 0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5 }

--- Sixel with 6 levels per channel, dithered.
function picture.sixel(p)
  local h, w = p.shape[1], p.shape[2]
  local bytes = p:tobytes()
  local out = { "\27Pq\"1;1;" .. w .. ";" .. h }
  local defined = {}
  for top = 0, h - 1, 6 do
    local band, order = {}, {} -- colour -> column -> bits
    for y = top, math.min(top + 5, h - 1) do
      local bit = 1 << (y - top)
      for x = 0, w - 1 do
        local r, g, b = bytes:byte((y * w + x) * 3 + 1, (y * w + x) * 3 + 3)
        local t = (BAYER[(y & 3) * 4 + (x & 3) + 1] + 0.5) / 16
        local c = (r * 5 / 255 + t) // 1 * 36 + (g * 5 / 255 + t) // 1 * 6 + (b * 5 / 255 + t) // 1
        c = math.min(215, math.tointeger(c))
        local row = band[c]
        if not row then
          row = {}
          band[c], order[#order + 1] = row, c
        end
        row[x] = (row[x] or 0) | bit
      end
    end
    for k, c in ipairs(order) do
      if not defined[c] then
        defined[c] = true
        out[#out + 1] = ("#%d;2;%d;%d;%d"):format(c, c // 36 * 20, c // 6 % 6 * 20, c % 6 * 20)
      end
      out[#out + 1] = "#" .. c
      local row, run = band[c], 0
      local last = row[0] or 0
      for x = 0, w do
        local v = x < w and (row[x] or 0) or -1
        if v == last then
          run = run + 1
        else
          local s = string.char(63 + last)
          if not (last == 0 and x == w) then
            out[#out + 1] = run > 3 and "!" .. run .. s or s:rep(run)
          end
          last, run = v, 1
        end
      end
      out[#out + 1] = k < #order and "$" or ""
    end
    out[#out + 1] = "-"
  end
  out[#out + 1] = "\27\\"
  return table.concat(out)
end

--- Two pixels per character in 24-bit colour.
function picture.blocks(p)
  local h, w = p.shape[1], p.shape[2]
  local bytes, out = p:tobytes(), {}
  for y = 0, h - 1, 2 do
    local line, before = {}, nil
    for x = 0, w - 1 do
      local r, g, b = bytes:byte((y * w + x) * 3 + 1, (y * w + x) * 3 + 3)
      local colors
      if y + 1 < h then
        local r2, g2, b2 = bytes:byte(((y + 1) * w + x) * 3 + 1, ((y + 1) * w + x) * 3 + 3)
        colors = ("\27[38;2;%d;%d;%d;48;2;%d;%d;%dm"):format(r, g, b, r2, g2, b2)
      else
        colors = ("\27[0;38;2;%d;%d;%dm"):format(r, g, b)
      end
      line[#line + 1] = colors == before and "▀" or colors .. "▀"
      before = colors
    end
    out[#out + 1] = table.concat(line) .. "\27[0m"
  end
  return table.concat(out, "\n")
end

local RAMP = " .:-=+*#%@"

--- Shades of characters, two rows of pixels to a line.
function picture.plain(p)
  local h, w = p.shape[1], p.shape[2]
  local bytes, out = p:tobytes(), {}
  for y = 0, h - 1, 2 do
    local line = {}
    for x = 0, w - 1 do
      local sum, n = 0, 0
      for k = y, math.min(y + 1, h - 1) do
        local r, g, b = bytes:byte((k * w + x) * 3 + 1, (k * w + x) * 3 + 3)
        sum, n = sum + 0.299 * r + 0.587 * g + 0.114 * b, n + 1
      end
      local k = math.min(#RAMP, 1 + math.floor(sum / n / 256 * #RAMP))
      line[#line + 1] = RAMP:sub(k, k)
    end
    out[#out + 1] = table.concat(line)
  end
  return table.concat(out, "\n")
end

--- A uint8 picture as text for the terminal.
--- @param mode string|nil "auto" and the names of picture.modes
--- @param width integer|nil columns of the terminal to fill at most
function picture.text(where, p, mode, width)
  mode = mode or "auto"
  if mode == "auto" then
    mode = detect()
  end
  local _, columns = core.terminal(1)
  width = width or math.min(columns - 1, 80)
  if mode == "kitty" or mode == "sixel" then
    return picture[mode](picture.within(p, width * 8, 1200, true))
  elseif mode == "blocks" or mode == "plain" then
    return picture[mode](picture.within(p, width, 400, false))
  end
  errors.raise(where, "unknown way to show pictures '%s' (expected %s)", tostring(mode),
    (picture.modes:gsub("|", ", ")))
end

return picture
