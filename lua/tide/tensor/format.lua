--- How values look when printed: tensors by torch's rules of rounding and elision. Cost depends on
--- what is shown, not on the
-- tensor's size.

local core = require "tide.core"
local ops = core.ops

local format = {}

local PRECISION, THRESHOLD, EDGE, WIDTH = 4, 1000, 3, 80

-- The first and last slices of every long axis from `axis` on: views until the pieces are joined.
local function edges(t, axis)
  if axis > t.ndim then
    return t
  end
  local n = t.shape[axis]
  if n <= 2 * EDGE then
    return edges(t, axis + 1)
  end
  local first, last = {}, {}
  for i = 1, axis - 1 do
    first[i], last[i] = {}, {}
  end
  first[axis], last[axis] = { 1, EDGE }, { n - EDGE + 1, n }
  return ops.concatenate({ edges(t[first], axis + 1), edges(t[last], axis + 1) }, axis)
end

-- Puts "..." where the lists of an axis of `shape` were cut.
local function mark(x, shape, axis)
  if axis < #shape then
    for _, row in ipairs(x) do
      mark(row, shape, axis + 1)
    end
  end
  if shape[axis] > 2 * EDGE then
    table.insert(x, EDGE + 1, "...")
  end
  return x
end

-- The shown part of a tensor: nested lists, "..." where elements are left out.
local function shown(t, summarise)
  if t.ndim == 0 then
    return t:item()
  elseif not summarise then
    return t:tolist()
  end
  return mark(edges(t, 1):tolist(), t.shape, 1)
end

local function flatten(x, out)
  if type(x) == "table" then
    for _, y in ipairs(x) do
      flatten(y, out)
    end
  elseif x ~= "..." then
    out[#out + 1] = x
  end
  return out
end

-- The form that all numbers of a tensor share; whole numbers have no digits after their point.
local function pattern_of(values)
  local lo, hi, whole = math.huge, 0, true
  for i = 1, #values do
    local v = values[i]
    if v - v == 0 and v ~= 0 then
      local a = v < 0 and -v or v
      lo, hi = a < lo and a or lo, a > hi and a or hi
      whole = whole and v % 1 == 0
    end
  end
  if hi > 0 and (hi / lo > 1e3 or hi > 1e8 or lo < 1e-4) then
    return "%." .. PRECISION .. "e"
  end
  return whole and "%.0f." or "%." .. PRECISION .. "f"
end

-- Replaces the numbers of nested lists by their texts; returns the width of the widest, where of
-- floats only those that are finite and not 0 count.
local function spell(x, pattern, width)
  local spelt = string.format
  for i = 1, #x do
    local v = x[i]
    if type(v) == "table" then
      width = spell(v, pattern, width)
    elseif v ~= "..." then
      local word
      if not pattern then
        word = tostring(v)
        width = #word > width and #word or width
      elseif v - v == 0 then
        word = spelt(pattern, v)
        width = v ~= 0 and #word > width and #word or width
      else
        word = v ~= v and "nan" or v > 0 and "inf" or "-inf"
      end
      x[i] = word
    end
  end
  return width
end

local function render(x, width, indent, depth)
  local pad = (" "):rep(indent + 1)
  if depth > 1 then
    local parts = {}
    for i, row in ipairs(x) do
      parts[i] = row == "..." and "..." or render(row, width, indent + 1, depth - 1)
    end
    return "[" .. table.concat(parts, "," .. ("\n"):rep(depth - 1) .. pad) .. "]"
  end
  local lines, blanks = {}, (" "):rep(width)
  for i = 1, #x do
    local word = x[i]
    if word == "..." then
      x[i] = " ..."
    elseif #word < width then
      x[i] = blanks:sub(1, width - #word) .. word
    end
  end
  local per_line = math.max(1, (WIDTH - indent) // (width + 2))
  for i = 1, #x, per_line do
    lines[#lines + 1] = table.concat(x, ", ", i, math.min(#x, i + per_line - 1))
  end
  return "[" .. table.concat(lines, ",\n" .. pad) .. "]"
end

--- A tensor as text: its numbers in one common format, edges only above 1000 elements, then dtype
--- and shape.
--- @usage print(tide.tensor { { 1, 2 }, { 3, 4.5 } })
function format.tensor(t)
  local _ <close> = core.decimal_point()
  local shape = #t.shape > 0 and table.concat(t.shape, "x") or "scalar"
  local tail = string.format("[tide.Tensor %s %s %s%s]", t.dtype, shape, t.device,
    t.requires_grad and ", grad" or "")
  if t.size == 0 then
    return "[]\n" .. tail
  end
  if t.device == "meta" then
    return tail
  end
  local plain = t:detach()
  local values = shown(plain, t.size > THRESHOLD)
  local pattern = t.dtype:find "float" and pattern_of(flatten({ values }, {})) or nil
  local rows = t.ndim == 0 and { values } or values
  local width = spell(rows, pattern, 1)
  if t.ndim == 0 then
    return (" "):rep(width - #rows[1]) .. rows[1] .. "\n" .. tail
  end
  return render(rows, width, 0, t.ndim) .. "\n" .. tail
end

return format
