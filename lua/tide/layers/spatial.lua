--- What the convolution, pooling, padding and resizing layers share: data formats, and the sizes of
--- results.
--
-- The ops work on channels-last data. A layer with data_format "channels_first" turns its input,
-- runs, and turns the result.
local check = require "tide.check"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"

local spatial = {}

--- The row of the option data_format.
spatial.data_format = { "data_format", "enum", "channels_last", "where the channels are",
  of = "channels_last|channels_first" }

local to_last = { { 1, 3, 2 }, { 1, 3, 4, 2 }, { 1, 3, 4, 5, 2 } }
local to_first = { { 1, 3, 2 }, { 1, 4, 2, 3 }, { 1, 5, 2, 3, 4 } }

--- A channels-first tensor of `rank` spatial axes as channels-last.
function spatial.last(x, rank)
  return ops.transpose(x, to_last[rank])
end

--- A channels-last tensor of `rank` spatial axes as channels-first.
function spatial.first(x, rank)
  return ops.transpose(x, to_first[rank])
end

--- Wraps the call of a channels-last layer so that it serves channels-first data too.
--- @param rank integer spatial axes
--- @param call function (self, x, o) on channels-last data
function spatial.either(rank, call)
  return function(self, x, o)
    if self.data_format == "channels_first" then
      return spatial.first(call(self, spatial.last(x, rank), o), rank)
    end
    return call(self, x, o)
  end
end

--- Checks the rank of an input shape and returns batch, spatial sizes and channels.
--- @return any, table, any
function spatial.parts(self, shape, rank)
  if #shape ~= rank + 2 then
    local first = self.data_format == "channels_first"
    local axes = table.concat({ "height", "width", "depth" }, ", ", 1, rank)
    if rank == 1 then
      axes = "steps"
    end
    errors.raise(getmetatable(self).__name, "the input must have %d axes, %s (got the shape %s)",
      rank + 2, first and "(batch, channels, " .. axes .. ")"
        or "(batch, " .. axes .. ", channels)", list.format(shape))
  end
  local sizes = {}
  local at = self.data_format == "channels_first" and 3 or 2
  for i = 1, rank do
    sizes[i] = shape[at + i - 1]
  end
  return shape[1], sizes, shape[at == 3 and 2 or #shape]
end

--- Refuses a tensor of another rank than the layer's.
function spatial.check_rank(self, x, rank)
  if x.ndim ~= rank + 2 then
    spatial.parts(self, x.shape, rank)
  end
end

--- A shape from batch, spatial sizes and channels in the layer's data format.
function spatial.join(self, batch, sizes, channels)
  local out = list.new { batch }
  if self.data_format == "channels_first" then
    out[2] = channels
  end
  for _, n in ipairs(sizes) do
    out[#out + 1] = n
  end
  if self.data_format ~= "channels_first" then
    out[#out + 1] = channels
  end
  return out
end

--- The number of windows along an axis of size `n`.
--- @param window integer
--- @param stride integer
--- @param padding string "valid", "same" or "causal"
--- @param dilation integer|nil
function spatial.windows(self, n, window, stride, padding, dilation)
  if n == none then
    return none
  end
  if padding ~= "valid" then
    return (n + stride - 1) // stride
  end
  local reach = (window - 1) * (dilation or 1) + 1
  if n < reach then
    errors.raise(getmetatable(self).__name,
      "a window of %d does not fit into an axis of size %d; use padding = 'same'", reach, n)
  end
  return (n - reach) // stride + 1
end

--- A list of equal integers as one integer: scalars take the short way through the binding.
function spatial.scalar(values)
  for i = 2, #values do
    if values[i] ~= values[1] then
      return table.move(values, 1, #values, 1, {})
    end
  end
  return values[1]
end

--- A channel count that must be known.
function spatial.channels(self, shape, rank)
  local _, _, channels = spatial.parts(self, shape, rank)
  if channels == none then
    errors.raise(getmetatable(self).__name,
      "the number of channels must be known (got the shape %s)", list.format(shape))
  end
  return channels
end

spatial.required = check.required

return spatial
