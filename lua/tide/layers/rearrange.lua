--- Pixels and patches: PixelShuffle, PixelUnshuffle, Unfold and Fold, with PyTorch's numbers.
local S = require "tide.private"
local base = require "tide.layers.base"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local spatial = require "tide.layers.spatial"

local rearrange = {}

local function same_dtype(_, dtype)
  return dtype
end

local function define(name, def)
  def.keeps_dtype, def.takes = true, "tensor"
  def.compute_output_dtype = same_dtype
  rearrange[name] = base.derive(base, name, def)
end

-- ---- pixels ----

-- depth_to_space takes the r * r parts of a pixel from channels that are far apart, PyTorch from
-- neighbours: for each channel that the op reads, the place where PyTorch has it, from 1; or back.
local function order(channels, parts, back)
  local out = {}
  for part = 0, parts - 1 do
    for c = 0, channels - 1 do
      local ours, theirs = part * channels + c + 1, c * parts + part + 1
      if back then
        out[theirs] = ours
      else
        out[ours] = theirs
      end
    end
  end
  return core.tensor(out, { dtype = "int32" })
end

--- Channels as pixels: (batch, height, width, channels * r * r) becomes (batch, height * r, width *
--- r, channels), r the `upscale_factor` (Shi et al. 2016). As torch.nn.PixelShuffle.
--     tide.layers.PixelShuffle { 2 }(tide.ones { 1, 2, 3, 4 }).shape   --> { 1, 4, 6, 1 }
define("PixelShuffle", {
  args = { { "upscale_factor", "int", spatial.required, "pixels per side that one becomes",
    min = 1 }, spatial.data_format },
  build = function(self, shape)
    local out = self:compute_output_shape(shape)
    local channels = self.data_format == "channels_first" and out[2] or out[4]
    if channels == none then
      spatial.channels(self, shape, 2)
    end
    self[S].order = order(channels, self.upscale_factor * self.upscale_factor)
  end,
  call = spatial.either(2, function(self, x)
    return ops.depth_to_space(ops.take(x, self[S].order, -1), self.upscale_factor)
  end),
  compute_output_shape = function(self, shape)
    local batch, sizes, channels = spatial.parts(self, shape, 2)
    local r = self.upscale_factor
    if channels ~= none and channels % (r * r) ~= 0 then
      errors.raise("PixelShuffle", "the channels must be a multiple of upscale_factor squared \z
        (expected a multiple of %d, got the shape %s)", r * r, list.format(shape))
    end
    for i, n in ipairs(sizes) do
      sizes[i] = n == none and none or n * r
    end
    return spatial.join(self, batch, sizes, channels == none and none or channels // (r * r))
  end,
})

--- Pixels as channels: (batch, height * r, width * r, channels) becomes (batch, height, width,
--- channels * r * r), r the `downscale_factor`. As torch.nn.PixelUnshuffle.
--     tide.layers.PixelUnshuffle { 2 }(tide.ones { 1, 4, 6, 1 }).shape   --> { 1, 2, 3, 4 }
define("PixelUnshuffle", {
  args = { { "downscale_factor", "int", spatial.required, "pixels per side that become one",
    min = 1 }, spatial.data_format },
  build = function(self, shape)
    self:compute_output_shape(shape)
    local r = self.downscale_factor
    self[S].order = order(spatial.channels(self, shape, 2), r * r, true)
  end,
  call = spatial.either(2, function(self, x)
    return ops.take(ops.space_to_depth(x, self.downscale_factor), self[S].order, -1)
  end),
  compute_output_shape = function(self, shape)
    local batch, sizes, channels = spatial.parts(self, shape, 2)
    local r = self.downscale_factor
    for i, n in ipairs(sizes) do
      if n ~= none and n % r ~= 0 then
        errors.raise("PixelUnshuffle", "height and width must be multiples of downscale_factor \z
          (expected multiples of %d, got the shape %s)", r, list.format(shape))
      end
      sizes[i] = n == none and none or n // r
    end
    return spatial.join(self, batch, sizes, channels == none and none or channels * r * r)
  end,
})

-- ---- patches ----

local function whole_pair(where, key, v, least)
  local out = type(v) == "table" and v or { v, v }
  if #out ~= 2 then
    errors.raise(where, "%s must be one integer or two (got %s)", key, list.format(v))
  end
  for i = 1, 2 do
    if math.type(out[i]) ~= "integer" or out[i] < least then
      errors.raise(where, "%s must be %d or more (got %s)", key, least, tostring(out[i]))
    end
  end
  return { out[1], out[2] }
end

local PATCH = {
  { "kernel_size", { "int", "ints" }, spatial.required, "height and width of a patch" },
  { "dilation", { "int", "ints" }, 1, "distance of neighbouring taps" },
  { "padding", { "int", "ints" }, 0, "zeros around the picture" },
  { "stride", { "int", "ints" }, 1, "step of the patches" },
  spatial.data_format,
}

local function windows_of(self)
  local name, own = getmetatable(self).__name, {}
  for key, least in pairs { kernel_size = 1, dilation = 1, padding = 0, stride = 1 } do
    own[key] = whole_pair(name, key, self[key], least)
  end
  self[S].windows = own
end

-- How many patches there are in a picture of these sizes; none where one is unknown.
local function positions(self, sizes, shape)
  local w, n = self[S].windows, 1
  for i = 1, 2 do
    if sizes[i] == none then
      return none
    end
    local room = sizes[i] + 2 * w.padding[i] - (w.kernel_size[i] - 1) * w.dilation[i] - 1
    if room < 0 then
      errors.raise(getmetatable(self).__name, "the patch does not fit into the picture (expected \z
        at least %d pixels per side with the padding, got the shape %s)",
        (w.kernel_size[i] - 1) * w.dilation[i] + 1, list.format(shape))
    end
    n = n * (room // w.stride[i] + 1)
  end
  return n
end

--- The patches of pictures: (batch, height, width, channels) becomes (batch, patches, channels *
--- kernel height * kernel width), each patch channel by channel. As torch.nn.Unfold, whose layout
--- `data_format = "channels_first"` keeps: (batch, channels, height, width) becomes (batch,
--- channels * kernel height * kernel width, patches).
--     tide.layers.Unfold { 2 }(tide.ones { 1, 3, 4, 5 }).shape   --> { 1, 6, 20 }
define("Unfold", {
  args = PATCH,
  init = windows_of,
  call = function(self, x)
    spatial.check_rank(self, x, 2)
    local first = self.data_format == "channels_first"
    local y = ops.unfold(first and x or spatial.first(x, 2), self[S].windows)
    return first and y or ops.swapaxes(y, 2, 3)
  end,
  compute_output_shape = function(self, shape)
    local batch, sizes, channels = spatial.parts(self, shape, 2)
    local k = self[S].windows.kernel_size
    local width = channels == none and none or channels * k[1] * k[2]
    local n = positions(self, sizes, shape)
    return self.data_format == "channels_first" and list.new { batch, width, n }
      or list.new { batch, n, width }
  end,
})

--- Pictures of patches, which are added where they overlap: Unfold's way back to pictures of
--- `output_size`. As torch.nn.Fold.
--     tide.layers.Fold { { 3, 4 }, 2 }(tide.ones { 1, 6, 20 }).shape   --> { 1, 3, 4, 5 }
define("Fold", {
  args = { { "output_size", { "int", "ints" }, spatial.required,
    "height and width of the pictures" }, table.unpack(PATCH) },
  init = function(self)
    windows_of(self)
    self[S].sizes = whole_pair("Fold", "output_size", self.output_size, 1)
  end,
  call = function(self, x)
    self:compute_output_shape(x.shape)
    local first = self.data_format == "channels_first"
    local w = self[S].windows
    local y = ops.fold(first and x or ops.swapaxes(x, 2, 3), self[S].sizes, w.kernel_size,
      w.dilation, w.padding, w.stride)
    return first and y or spatial.last(y, 2)
  end,
  compute_output_shape = function(self, shape)
    local first = self.data_format == "channels_first"
    local k, n = self[S].windows.kernel_size, positions(self, self[S].sizes, self[S].sizes)
    local width, count = shape[first and 2 or 3], shape[first and 3 or 2]
    if #shape ~= 3 or width ~= none and width % (k[1] * k[2]) ~= 0
      or count ~= none and count ~= n then
      errors.raise("Fold", "the input has the wrong shape (expected [batch, %s], got %s)",
        first and ("a multiple of %d, %d"):format(k[1] * k[2], n)
          or ("%d, a multiple of %d"):format(n, k[1] * k[2]), list.format(shape))
    end
    return spatial.join(self, shape[1], self[S].sizes, width == none and none
      or width // (k[1] * k[2]))
  end,
})

return rearrange
