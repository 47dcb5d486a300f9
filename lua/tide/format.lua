--- How values look when printed: tensors by torch's rules of rounding and elision. Cost depends on what is shown, not on the
-- tensor's size.
local core = require "tide.core"

local format = {}

local PRECISION, THRESHOLD, EDGE, WIDTH = 4, 1000, 3, 80

-- The shown part: nested lists, "..." where elements are left out. `summarise`: more than THRESHOLD elements.
local function shown(t, summarise)
  if t.ndim == 0 then
    return t:item()
  end
  local n, out = #t, {}
  local function row(i)
    local x = t[i]
    if core.is_tensor(x) then
      x = shown(x, summarise)
    end
    out[#out + 1] = x
  end
  if summarise and n > 2 * EDGE then
    for i = 1, EDGE do
      row(i)
    end
    out[#out + 1] = "..."
    for i = n - EDGE + 1, n do
      row(i)
    end
  else
    for i = 1, n do
      row(i)
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

-- One format for all numbers of a tensor.
local function formatter(values, is_float)
  if not is_float then
    local width = 1
    for _, v in ipairs(values) do
      width = math.max(width, #tostring(v))
    end
    return function(v)
      return tostring(v), width
    end
  end
  local lo, hi, whole, finite = math.huge, 0, true, false
  for _, v in ipairs(values) do
    if v == v and v ~= math.huge and v ~= -math.huge then
      finite = true
      local a = math.abs(v)
      if a ~= 0 then
        lo, hi = math.min(lo, a), math.max(hi, a)
      end
      if v ~= math.floor(v) then
        whole = false
      end
    end
  end
  if not finite or hi == 0 then
    lo, hi = 1, 1
  end
  local pattern
  if whole then
    pattern = hi >= 1e8 and "%." .. PRECISION .. "e" or "%d."
  elseif hi / lo > 1e3 or hi > 1e8 or lo < 1e-4 then
    pattern = "%." .. PRECISION .. "e"
  else
    pattern = "%." .. PRECISION .. "f"
  end
  local function text(v)
    if v ~= v then
      return "nan"
    elseif v == math.huge then
      return "inf"
    elseif v == -math.huge then
      return "-inf"
    elseif pattern == "%d." then
      return string.format("%.0f.", v)
    end
    return string.format(pattern, v)
  end
  local width = 1
  for _, v in ipairs(values) do
    width = math.max(width, #text(v))
  end
  return function(v)
    return text(v), width
  end
end

local function render(x, number, indent, depth)
  if type(x) ~= "table" then
    return (number(x))
  end
  local pad = string.rep(" ", indent + 1)
  if type(x[1]) ~= "table" then -- a row of numbers
    local lines, line = {}, ""
    for i, v in ipairs(x) do
      local word, width = "...", 3
      if v ~= "..." then
        word, width = number(v)
      end
      word = string.rep(" ", width - #word) .. word .. (i < #x and ", " or "")
      if #line > 0 and indent + #line + #word > WIDTH then
        lines[#lines + 1] = line
        line = ""
      end
      line = line .. word
    end
    lines[#lines + 1] = line
    return "[" .. table.concat(lines, "\n" .. pad) .. "]"
  end
  local parts = {}
  for _, row in ipairs(x) do
    parts[#parts + 1] = row == "..." and "..." or render(row, number, indent + 1, depth - 1)
  end
  return "[" .. table.concat(parts, "," .. string.rep("\n", math.max(1, depth - 1)) .. pad) .. "]"
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
  local number = formatter(flatten(values, {}), is_float)
  return render(values, number, 0, t.ndim) .. "\n" .. tail
end

return format
