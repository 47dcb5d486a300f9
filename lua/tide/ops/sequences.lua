--- Rearrangement by pattern, bits seen in another dtype, sequences cut into frames, correlations.
--- Names and arguments are
--- keras.ops'.
local check = require "tide.check"
local common = require "tide.ops.common"
local core = require "tide.core"
local errors = require "tide.errors"

local ops = core.ops
local sequences = {}

local required = check.required

-- -- rearrange -------------------------------------------------------------------------------

-- One side of a pattern as a list of groups, each a list of names: "b (h w) 1 c" -> { { b }, { h, w
-- }, {}, { c } }.
local function groups_of(pattern, side)
  local out, inside = {}, nil
  for word in side:gsub("([()])", " %1 "):gmatch "%S+" do
    if word == "(" then
      if inside then
        errors.raise("rearrange", "brackets do not nest (pattern %q)", pattern)
      end
      inside = {}
    elseif word == ")" then
      if not inside then
        errors.raise("rearrange", "a bracket is closed that was not opened (pattern %q)", pattern)
      end
      out[#out + 1], inside = inside, nil
    elseif word == "1" then
      if not inside then
        out[#out + 1] = {}
      end
    elseif not word:find "^[%a_][%w_]*$" then
      errors.raise("rearrange",
        "a pattern holds names of axes, 1, brackets and one '->' (got %q in %q)", word, pattern)
    elseif inside then
      inside[#inside + 1] = word
    else
      out[#out + 1] = { word }
    end
  end
  if inside then
    errors.raise("rearrange", "a bracket is not closed (pattern %q)", pattern)
  end
  return out
end

local function flat(pattern, groups)
  local out, seen = {}, {}
  for _, group in ipairs(groups) do
    for _, name in ipairs(group) do
      if seen[name] then
        errors.raise("rearrange", "axis %q stands twice on one side (pattern %q)", name, pattern)
      end
      seen[name], out[#out + 1] = true, name
    end
  end
  return out, seen
end

--- Axes named, split, joined and permuted by a pattern: names in brackets make one axis, 1 is an
--- axis of length 1. Lengths that
--- cannot be told from the tensor are options. Keras: ops.rearrange (einops).
--     tide.ops.rearrange(tide.ones { 2, 8, 3 }, "b (h w) c -> b h w c", { h = 4 }).shape
--       --> { 2, 4, 2, 3 }
function sequences.rearrange(tensor, pattern, axes_lengths)
  if type(pattern) == "table" and axes_lengths == nil then
    pattern, axes_lengths = pattern.pattern, pattern
  end
  local left, right
  if type(pattern) == "string" then
    left, right = pattern:match "^(.-)%->(.*)$"
  end
  if not left or right:find("->", 1, true) then
    errors.raise("rearrange", 'pattern must be a text such as "b h w -> b (h w)" (got %s)',
      check.show(pattern))
  elseif axes_lengths ~= nil and not check.is_plain(axes_lengths) then
    errors.raise("rearrange", "axes_lengths must be a table of lengths by name (got %s)",
      check.show(axes_lengths))
  end
  local x = common.tensor(tensor)
  local from, to = groups_of(pattern, left), groups_of(pattern, right)
  local before, known = flat(pattern, from)
  local after, wanted = flat(pattern, to)
  for _, name in ipairs(after) do
    if not known[name] then
      errors.raise("rearrange", "the right side names axis %q, which the left lacks (pattern %q)",
        name, pattern)
    end
  end
  for _, name in ipairs(before) do
    if not wanted[name] then
      errors.raise("rearrange", "the right side lacks axis %q (pattern %q)", name, pattern)
    end
  end
  if #from ~= x.ndim then
    errors.raise("rearrange", "the left side names %d axes, the tensor has %d (%s)", #from, x.ndim,
      tostring(x.shape))
  end
  local length = {}
  for _, name in ipairs(check.sorted_keys(axes_lengths or {})) do
    local n = axes_lengths[name]
    if name ~= "pattern" then
      if not known[name] then
        errors.raise("rearrange", "unknown axis '%s' (pattern %q)", tostring(name), pattern)
      elseif not check.whole(n) or n < 0 then
        errors.raise("rearrange", "the length of axis %q must be a whole number (got %s)", name,
          check.show(n))
      end
      length[name] = check.whole(n)
    end
  end
  for i, group in ipairs(from) do
    local rest, product, open = x.shape[i], 1, nil
    for _, name in ipairs(group) do
      if length[name] then
        product = product * length[name]
      elseif open then
        errors.raise("rearrange", "the lengths of axes %q and %q must be given (pattern %q)", open,
          name, pattern)
      else
        open = name
      end
    end
    if open and product > 0 and rest % product == 0 then
      length[open], product = rest // product, rest
    end
    if product ~= rest then
      errors.raise("rearrange", "axis %d of %s does not split into %q", i, tostring(x.shape),
        table.concat(group, " "))
    end
  end
  local split, order, joined, at = {}, {}, {}, {}
  for i, name in ipairs(before) do
    split[i], at[name] = length[name], i
  end
  for i, name in ipairs(after) do
    order[i] = at[name]
  end
  for i, group in ipairs(to) do
    joined[i] = 1
    for _, name in ipairs(group) do
      joined[i] = joined[i] * length[name]
    end
  end
  local y = ops.reshape(x, split)
  y = #order > 0 and ops.transpose(common.tensor(y, x.dtype), order) or y
  return ops.reshape(y, joined)
end

-- -- bits ------------------------------------------------------------------------------------

local view_args = check.args("view", { { "x", "tensor", required }, { "dtype", "dtype", nil,
  "the dtype to read the bits as" } })

--- The bytes of x read as another dtype; where its size differs, the last axis is longer or
--- shorter. A copy, without gradients.
--- Keras: ops.view.
--- @usage local y = tide.ops.view(tide.tensor { 1 }, "int32")   -- 1065353216
function sequences.view(...)
  local _, second = ...
  if type(second) == "number" or (check.is_plain(second) and type(second[1]) == "number") then
    errors.raise("view", "reads bytes as another dtype and takes no sizes; did you mean 'reshape'?")
  end
  local o = view_args:call(...)
  local x, dtype = o.x, o.dtype or o.x.dtype
  local probe = #core.zeros({ 1 }, { dtype = dtype }):tobytes()
  local own = #core.zeros({ 1 }, { dtype = x.dtype }):tobytes()
  local shape = common.shape_of(x)
  if probe ~= own then
    if x.ndim == 0 or shape[#shape] * own % probe ~= 0 then
      errors.raise("view", "the last axis of %s, %s, cannot be read as %s", tostring(x.shape),
        x.dtype, dtype)
    end
    shape[#shape] = shape[#shape] * own // probe
  end
  local bytes = x:tobytes()
  if dtype == "bool" then
    bytes = bytes:gsub("[^%z]", "\1")
  end
  return core.from_bytes(dtype, shape, bytes)
end

-- -- numbers without an imaginary part -------------------------------------------------------

local function one(name)
  return check.args(name, { { "x", "tensor", required } })
end
local angle_args, real_args, imag_args, conj_args = one "angle", one "real", one "imag", one "conj"
local conjugate_args, isreal_args = one "conjugate", one "isreal"

--- The angle of real numbers: 0, or pi below 0; NaN stays NaN. Keras: ops.angle.
--- @usage local y = tide.ops.angle(tide.tensor { 2, -1 })   -- 0 3.14159
function sequences.angle(...)
  local x = common.float_of(angle_args:call(...).x)
  return ops.where(ops.isnan(x), x, ops.where(ops.less(x, 0), math.pi, ops.cast(0, x.dtype)))
end

--- The real part: x itself. Keras: ops.real.
function sequences.real(...)
  return real_args:call(...).x
end

--- The imaginary part: zeros. Keras: ops.imag.
function sequences.imag(...)
  local x = imag_args:call(...).x
  return core.zeros(common.shape_of(x), { dtype = x.dtype })
end

--- The complex conjugate: x itself. Keras: ops.conj.
function sequences.conj(...)
  return conj_args:call(...).x
end

--- The complex conjugate: x itself. Keras: ops.conjugate.
function sequences.conjugate(...)
  return conjugate_args:call(...).x
end

--- Is the imaginary part 0? True everywhere. Keras: ops.isreal.
function sequences.isreal(...)
  return core.ones(common.shape_of(isreal_args:call(...).x), { dtype = "bool" })
end

-- -- frames and correlations -----------------------------------------------------------------

local extract_args = check.args("extract_sequences", {
  { "x", "tensor", required, "(..., n)" },
  { "sequence_length", "int", required, "length of a frame", min = 1 },
  { "sequence_stride", "int", required, "from one frame to the next", min = 1 },
})

--- Frames of the last axis, (..., frames, sequence_length); what is left at the end is not used.
--- Keras: ops.extract_sequences.
--- @usage local y = tide.ops.extract_sequences(tide.arange(5), 3, 2)   -- {{0, 1, 2}, {2, 3, 4}}
function sequences.extract_sequences(...)
  local o = extract_args:call(...)
  local x, length, step = o.x, o.sequence_length, o.sequence_stride
  if x.ndim == 0 or x.shape[-1] < length then
    errors.raise("extract_sequences",
      "needs a last axis of at least sequence_length (expected %d, got %s)", length,
      tostring(x.shape))
  end
  local frames = (x.shape[-1] - length) // step + 1
  local starts = ops.expand_dims(ops.arange_(frames, 1, step, { dtype = "int64" }), 2)
  return ops.take(x, starts + ops.arange_(length, 0, 1, { dtype = "int64" }), -1)
end

local correlate_args = check.args("correlate", {
  { "x1", "tensor", required },
  { "x2", "tensor", required },
  { "mode", "enum", "valid", "which overlaps count", of = "valid|same|full" },
})

--- Sums of products of one sequence with the other, shifted: y[k] = sum over n of x1[n + k] x2[n].
--- Keras: ops.correlate.
--- @usage local y = tide.ops.correlate({ 1, 2, 3 }, { 0, 1, 0.5 }, "full")   -- 0.5 2 3.5 3 0
function sequences.correlate(...)
  local o = correlate_args:call(...)
  local a, b = common.float_of(o.x1), common.float_of(o.x2)
  if a.ndim ~= 1 or b.ndim ~= 1 or a.size == 0 or b.size == 0 then
    errors.raise("correlate",
      "x1 and x2 must have one axis and an element at least (got %s and %s)", tostring(a.shape),
      tostring(b.shape))
  end
  local n, m = a.size, b.size
  local turned = m > n
  local long, short = turned and b or a, turned and a or b
  local width, most = short.size, long.size
  -- how much of the shorter may hang out in front, and how many places there are
  local front, count = 0, most - width + 1
  if o.mode == "full" then
    front, count = width - 1, n + m - 1
  elseif o.mode == "same" then
    front, count = turned and width - 1 - width // 2 or width // 2, most
  end
  local back = math.max(0, count + width - 1 - most - front)
  long = ops.pad(long, { { front, back } })
  local y = ops.matmul(sequences.extract_sequences(long, width, 1), short)
  y = common.part(y, 1, 1, count)
  return turned and ops.flip(y, 1) or y
end

local vectorize_args = check.args("vectorize", {
  { "pyfunc", "callable", required, "a function of slices" },
  { "excluded", "any", nil, "kept for Keras" },
  { "signature", "any", nil, "kept for Keras" },
})

--- A function that applies `pyfunc` to every element (the tensors broadcast) and stacks what it
--- returns. Keras: ops.vectorize.
--- @usage local f = tide.ops.vectorize(function(a, b) return a > b and a - b or a + b end)
function sequences.vectorize(...)
  local f = vectorize_args:call(...).pyfunc
  return function(...)
    local xs = table.pack(...)
    local sum = 0
    for i = 1, xs.n do
      xs[i] = common.tensor(xs[i])
      sum = common.tensor(ops.equal(xs[i], sum), "bool") -- its shape is what all broadcast to
    end
    local shape = common.shape_of(common.tensor(sum))
    for i = 1, xs.n do
      xs[i] = ops.ravel(ops.broadcast_to(xs[i], shape))
    end
    local out, dtype = {}, nil
    for i = xs.n, 1, -1 do
      dtype = common.is_float(xs[i]) and xs[i].dtype or dtype
    end
    for k = 1, xs.n > 0 and xs[1].size or 0 do
      local arguments = { n = xs.n }
      for i = 1, xs.n do
        arguments[i] = xs[i][k]
      end
      local y = f(table.unpack(arguments, 1, xs.n))
      out[k] = common.tensor(y, type(y) == "number" and dtype or nil)
    end
    if #out == 0 then
      errors.raise("vectorize", "needs at least one element to call the function with")
    end
    return ops.stack(out):reshape(shape)
  end
end

return sequences
