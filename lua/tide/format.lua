--- How values look when printed: tensors by torch's rules of rounding and elision. Cost depends on what is shown, not on the
-- tensor's size.

local format = {}

local PRECISION, THRESHOLD, EDGE, WIDTH = 4, 1000, 3, 80

-- The shown part of a tensor: nested lists, "..." where elements are left out.
local function shown(t, summarise)
  if t.ndim == 0 then
    return t:item()
  elseif not summarise then
    return t:tolist()
  end
  local n, out = #t, {}
  local short = n <= 2 * EDGE
  for _, range in ipairs { { 1, short and n or EDGE }, { short and n + 1 or n - EDGE + 1, n } } do
    if range[2] >= range[1] and t.ndim == 1 then
      local part = t[{ range }]:tolist()
      table.move(part, 1, #part, #out + 1, out)
    else
      for i = range[1], range[2] do
        out[#out + 1] = shown(t[i], true)
      end
    end
    if range[1] == 1 and not short then
      out[#out + 1] = "..."
    end
  end
  return out
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

local function is_finite(v)
  return v - v == 0
end

-- One format for all numbers of a tensor: the function that writes one, and the width that most take. The width is that of
-- the finite numbers other than 0; whole numbers have no digits after their point.
local function formatter(values, is_float)
  local width = 1
  if not is_float then
    for _, v in ipairs(values) do
      width = math.max(width, #tostring(v))
    end
    return tostring, width
  end
  local lo, hi, whole = math.huge, 0, true
  for _, v in ipairs(values) do
    if is_finite(v) and v ~= 0 then
      local a = math.abs(v)
      lo, hi = math.min(lo, a), math.max(hi, a)
      whole = whole and v == math.floor(v)
    end
  end
  local pattern = whole and "%.0f." or "%." .. PRECISION .. "f"
  if hi > 0 and (hi / lo > 1e3 or hi > 1e8 or lo < 1e-4) then
    pattern = "%." .. PRECISION .. "e"
  end
  for _, v in ipairs(values) do
    if is_finite(v) and v ~= 0 then
      width = math.max(width, #pattern:format(v))
    end
  end
  return function(v)
    if is_finite(v) then
      return pattern:format(v)
    end
    return v ~= v and "nan" or v > 0 and "inf" or "-inf"
  end, width
end

local function render(x, number, width, indent, depth)
  local function padded(v)
    if v == "..." then
      return " ..."
    end
    local word = number(v)
    return (" "):rep(width - #word) .. word
  end
  if type(x) ~= "table" then
    return padded(x)
  end
  local pad = (" "):rep(indent + 1)
  if depth == 1 then -- a row of numbers
    local lines, line = {}, {}
    local per_line = math.max(1, (WIDTH - indent) // (width + 2))
    for i, v in ipairs(x) do
      line[#line + 1] = padded(v)
      if #line == per_line or i == #x then
        lines[#lines + 1] = table.concat(line, ", ")
        line = {}
      end
    end
    return "[" .. table.concat(lines, ",\n" .. pad) .. "]"
  end
  local parts = {}
  for i, row in ipairs(x) do
    parts[i] = row == "..." and "..." or render(row, number, width, indent + 1, depth - 1)
  end
  return "[" .. table.concat(parts, "," .. ("\n"):rep(depth - 1) .. pad) .. "]"
end

--- A tensor as text: its numbers in one common format, edges only above 1000 elements, then dtype and shape.
--- @usage print(tide.tensor { { 1, 2 }, { 3, 4.5 } })
function format.tensor(t)
  local shape = #t.shape > 0 and table.concat(t.shape, "x") or "scalar"
  local tail = string.format("[tide.Tensor %s %s %s%s]", t.dtype, shape, t.device,
    t.requires_grad and ", grad" or "")
  if t.size == 0 then
    return "[]\n" .. tail
  end
  local plain = t:detach()
  local values = shown(plain, t.size > THRESHOLD)
  local is_float = t.dtype:find "float" ~= nil
  local number, width = formatter(flatten(values, {}), is_float)
  return render(values, number, width, 0, t.ndim) .. "\n" .. tail
end

return format
