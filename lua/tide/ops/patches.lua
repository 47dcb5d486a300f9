--- Patches of pictures and volumes as channels, and back, as keras.ops.image has them.
local check = require "tide.check"
local common = require "tide.ops.common"
local core = require "tide.core"
local errors = require "tide.errors"

local ops = core.ops
local patches = {}

local required = check.required
local PADDING = { "padding", "enum", "valid", "edges", of = "valid|same" }
local FORMAT = { "data_format", "enum", "channels_last", "where the channels are",
  of = "channels_last|channels_first" }

local function is_batch(where, what, x, rank)
  if x.ndim ~= rank + 1 and x.ndim ~= rank + 2 then
    errors.raise(where, "%s have the wrong number of axes (expected %d, or %d with a batch, got \z
      %d: %s)", what, rank + 1, rank + 2, x.ndim, tostring(x.shape))
  end
  return x.ndim == rank + 2
end

-- A batch with the channels last, and the function that brings results back to the form of `x`.
local function batch_of(where, what, x, rank, data_format)
  local single = not is_batch(where, what, x, rank)
  x = single and ops.expand_dims(x, 1) or x
  local first = data_format == "channels_first"
  x = first and ops.moveaxis(x, 2, -1) or x
  return x, function(y)
    y = first and ops.moveaxis(y, -1, 2) or y
    return single and ops.squeeze(y, { axis = 1 }) or y
  end
end

-- One number per spatial axis.
local function each(where, name, v, rank)
  local out = {}
  for i = 1, rank do
    out[i] = type(v) == "number" and v or v[i]
  end
  if type(v) ~= "number" and #v ~= rank then
    errors.raise(where, "%s must be a number or %d (got %s)", name, rank, check.show(v))
  end
  return out
end

-- Axis by axis: how many patches there are, and the zeros before and after.
local function counts(where, x, size, strides, dilation, same)
  local n, pads, margin = {}, { { 0, 0 } }, false
  for i, k in ipairs(size) do
    local reach, len = (k - 1) * dilation[i] + 1, x.shape[i + 1]
    if same then
      n[i] = (len + strides[i] - 1) // strides[i]
      local zeros = math.max((n[i] - 1) * strides[i] + reach - len, 0)
      pads[i + 1] = { zeros // 2, zeros - zeros // 2 }
      margin = margin or zeros > 0
    else
      if len < reach then
        errors.raise(where, "patches of %d do not fit into an axis of %d (got the shape %s)",
          reach, len, tostring(x.shape))
      end
      n[i], pads[i + 1] = (len - reach) // strides[i] + 1, { 0, 0 }
    end
  end
  pads[#pads + 1] = { 0, 0 }
  return n, margin and pads
end

-- The shapes (N, n1, k1, n2, k2, ..., C) and (N, n1, ..., k1, ..., C), and the order of axes that
-- leads from the first to the second.
local function split_shapes(batch, n, size, channels)
  local rank = #size
  local split, order = { batch }, { 1 }
  for i = 1, rank do
    split[2 * i], split[2 * i + 1] = n[i], size[i]
    order[i + 1], order[rank + i + 1] = 2 * i, 2 * i + 1
  end
  split[2 * rank + 2], order[2 * rank + 2] = channels, 2 * rank + 2
  return split, order
end

local function extracted(where, what, o, x, rank)
  local size = each(where, "size", o.size, rank)
  local strides = each(where, "strides", o.strides or o.size, rank)
  local dilation = each(where, "dilation_rate", o.dilation_rate, rank)
  local batch, restore = batch_of(where, what, x, rank, o.data_format)
  local n, pads = counts(where, batch, size, strides, dilation, o.padding == "same")
  local y = pads and ops.pad(batch, pads) or batch
  local count, channels = y.shape[1], y.shape[rank + 2]
  local apart, taps = true, 1
  for i = 1, rank do
    apart = apart and strides[i] == size[i] and dilation[i] == 1
    taps = taps * size[i]
  end
  local start, whole, step = { 0 }, { count }, { 1 }
  for i = 1, rank do
    start[i + 1], step[i + 1] = 0, apart and 1 or strides[i]
    whole[i + 1] = apart and n[i] * size[i] or n[i]
  end
  start[rank + 2], whole[rank + 2], step[rank + 2] = 0, channels, 1
  local out = { count }
  table.move(n, 1, rank, 2, out)
  out[rank + 2] = taps * channels
  if apart then -- the same elements in another order
    local split, order = split_shapes(count, n, size, channels)
    y = common.parts(y, start, whole, step)
    y = ops.transpose(ops.reshape(y, split), order)
  else
    local parts = {}
    for t = 0, taps - 1 do
      local rest = t
      for i = rank, 1, -1 do
        start[i + 1] = rest % size[i] * dilation[i]
        rest = rest // size[i]
      end
      parts[t + 1] = common.parts(y, start, whole, step)
    end
    y = ops.concatenate(parts, { axis = -1 })
  end
  return restore(ops.reshape(y, out))
end

local function rows(first, doc)
  return { first, { "size", { "int", "ints" }, required, doc, min = 1 },
    { "strides", { "int", "ints" }, nil, "steps of the patches; their size when left out",
      min = 1 },
    { "dilation_rate", { "int", "ints" }, 1, "distance of neighbouring pixels of a patch",
      min = 1 }, PADDING, FORMAT }
end

local extract_args = check.args("extract_patches", rows({ "images", "tensor", required,
  "(height, width, channels), a volume (depth, height, width, channels), or a batch" },
  "height and width, or depth too, of a patch"))

--- Patches of pictures as channels, in the order (row, column, channel): (..., rows, columns,
--- height * width * channels) of a batch or of one. A size of three numbers takes volumes.
---
---     tide.ops.image.extract_patches(tide.ones { 2, 20, 20, 3 }, 5).shape   --> { 2, 4, 4, 75 }
function patches.extract_patches(...)
  local o = extract_args:call(...)
  local rank = type(o.size) ~= "number" and #o.size == 3 and 3 or 2
  return extracted("extract_patches", "images", o, o.images, rank)
end

local extract_3d_args = check.args("extract_patches_3d", rows({ "volumes", "tensor", required,
  "(depth, height, width, channels), or a batch" }, "depth, height and width of a patch"))

--- Patches of volumes as channels: (..., depths, rows, columns, depth * height * width * channels).
---
---     tide.ops.extract_patches_3d(tide.ones { 4, 4, 4, 2 }, 2).shape   --> { 2, 2, 2, 16 }
function patches.extract_patches_3d(...)
  local o = extract_3d_args:call(...)
  return extracted("extract_patches_3d", "volumes", o, o.volumes, 3)
end

local reconstruct_args = check.args("reconstruct_patches", {
  { "patches", "tensor", required, "as extract_patches gives them" },
  { "size", { "int", "ints" }, required, "of a patch", min = 1 },
  { "output_size", "ints", nil, "spatial shape of the result; needed with padding = 'same'",
    min = 1 },
  { "strides", { "int", "ints" }, nil, "equal to size", min = 1 }, PADDING, FORMAT })

--- The pictures or volumes whose patches, side by side, these are: the inverse of extract_patches
--- with strides of the patches' size.
---
---     tide.ops.image.reconstruct_patches(tide.ones { 2, 3, 12 }, 2).shape   --> { 4, 6, 3 }
function patches.reconstruct_patches(...)
  local o = reconstruct_args:call(...)
  local where = "reconstruct_patches"
  local rank = type(o.size) ~= "number" and #o.size == 3 and 3 or 2
  local size = each(where, "size", o.size, rank)
  for i, s in ipairs(each(where, "strides", o.strides or o.size, rank)) do
    if s ~= size[i] then
      errors.raise(where, "strides must be the size of the patches (expected %s, got %s)",
        check.show(o.size), check.show(o.strides))
    end
  end
  local same = o.padding == "same"
  if same and o.output_size == nil then
    errors.raise(where, "padding = 'same' needs output_size, the shape without the zeros")
  end
  local x, restore = batch_of(where, "patches", o.patches, rank, o.data_format)
  local taps, n, joined, start, whole = 1, {}, { x.shape[1] }, { 0 }, { x.shape[1] }
  local output = o.output_size and each(where, "output_size", o.output_size, rank)
  for i = 1, rank do
    taps, n[i] = taps * size[i], x.shape[i + 1]
    joined[i + 1] = n[i] * size[i]
    whole[i + 1] = output and output[i] or joined[i + 1]
    local zeros = joined[i + 1] - whole[i + 1]
    if zeros < 0 or zeros >= size[i] or zeros > 0 and not same then
      errors.raise(where, "output_size does not fit the patches (expected %d along axis %d, got \z
        %d)", joined[i + 1], i, whole[i + 1])
    end
    start[i + 1] = zeros // 2
  end
  local channels = x.shape[rank + 2] // taps
  if channels * taps ~= x.shape[rank + 2] then
    errors.raise(where, "the channels of patches must be a multiple of %d (got %s)", taps,
      tostring(o.patches.shape))
  end
  joined[rank + 2], start[rank + 2], whole[rank + 2] = channels, 0, channels
  local split, order = split_shapes(x.shape[1], n, size, channels)
  local grouped, inverse = {}, {}
  for i, from in ipairs(order) do
    grouped[i], inverse[from] = split[from], i
  end
  local y = ops.reshape(ops.transpose(ops.reshape(x, grouped), inverse), joined)
  return restore(common.parts(y, start, whole))
end

return patches
