--- Layers that move elements: reshaping, permuting, repeating, padding, cropping, enlarging.
local S = require "tide.private"
local base = require "tide.layers.base"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local spatial = require "tide.layers.spatial"

local reshape = {}

local function same_dtype(_, dtype)
  return dtype
end

local function define(name, def)
  def.keeps_dtype, def.takes = true, "tensor"
  def.compute_output_dtype = same_dtype
  reshape[name] = base.derive(base, name, def)
end

local reshape_op = ops.reshape

-- The product of known sizes, or none.
local function product(shape, first)
  local n = 1
  for i = first, #shape do
    if shape[i] == none then
      return none
    end
    n = n * shape[i]
  end
  return n
end

--- Gives each sample another shape; one size may be -1. `Reshape { 7, 7, 64 }`.
--     tide.layers.Reshape { 2, -1 }(tide.ones { 1, 6 }).shape   --> { 1, 2, 3 }
define("Reshape", {
  args = { { "target_shape", "shape", spatial.required, "shape without the batch" } },
  list_first = true,
  init = function(self)
    local unknown = 0
    local shape = { -1 }
    for i, n in ipairs(self.target_shape) do
      if n == -1 or n == none then
        unknown = unknown + 1
        n = -1
      end
      shape[i + 1] = n
    end
    if unknown > 1 then
      errors.raise("Reshape", "only one size may be -1 (got %s)", tostring(self.target_shape))
    end
    self[S].shape = shape
    self[S].unknown = unknown
  end,
  call = function(self, x)
    local shape = self[S].shape
    if self[S].unknown == 0 and x.size ~= 0 then
      return reshape_op(x, shape)
    end
    if x.size == 0 then -- -1 says nothing beside a 0
      return reshape_op(x, self:compute_output_shape(x.shape))
    end
    shape = table.move(shape, 1, #shape, 1, {})
    shape[1] = x.shape[1]
    return reshape_op(x, shape)
  end,
  compute_output_shape = function(self, shape)
    local out = list.new { shape[1] }
    local known, at = 1, nil
    for i = 2, #self[S].shape do
      out[i] = self[S].shape[i]
      if out[i] == -1 then
        at = i
      else
        known = known * out[i]
      end
    end
    local total = product(shape, 2)
    if total == none then
      if at then
        out[at] = none
      end
      return out
    end
    if (at and (known == 0 or total % known ~= 0)) or (not at and total ~= known) then
      errors.raise("Reshape", "%d elements do not fit into %s (input %s)", total,
        tostring(self.target_shape), list.format(shape))
    end
    if at then
      out[at] = total // known
    end
    return out
  end,
  _brief = function(self)
    return table.concat(self[S].shape, "x", 2)
  end,
})

local first_to_last = { [3] = { 1, 3, 2 }, [4] = { 1, 3, 4, 2 }, [5] = { 1, 3, 4, 5, 2 } }

--- Makes one row of each sample: (batch, ...) becomes (batch, size).
--     tide.layers.Flatten()(tide.ones { 2, 3, 4 }).shape   --> { 2, 12 }
define("Flatten", {
  args = { spatial.data_format },
  call = function(self, x)
    local order = self.data_format == "channels_first" and first_to_last[x.ndim]
    if order then
      x = ops.transpose(x, order)
    end
    local size = x.ndim == 1 and 1 or product(x.shape, 2)
    return reshape_op(x, { x.shape[1], size == none and -1 or size })
  end,
  compute_output_shape = function(_, shape)
    return list.new { shape[1], #shape == 1 and 1 or product(shape, 2) }
  end,
})

--- Reorders the axes of each sample; `Permute { 2, 1 }` swaps the first two after the batch, which
--- keep Keras' numbers.
--     tide.layers.Permute { 2, 1 }(tide.ones { 1, 3, 4 }).shape   --> { 1, 4, 3 }
define("Permute", {
  args = { { "dims", "ints", spatial.required, "the axes after the batch, from 1" } },
  list_first = true,
  init = function(self)
    local seen, order = {}, { 1 }
    for i, d in ipairs(self.dims) do
      if d > #self.dims or seen[d] then
        errors.raise("Permute", "dims must hold each of 1 to %d once (got %s)", #self.dims,
          tostring(self.dims))
      end
      seen[d] = true
      order[i + 1] = d + 1
    end
    self[S].dims = order
  end,
  call = function(self, x)
    return ops.transpose(x, self[S].dims)
  end,
  compute_output_shape = function(self, shape)
    if #shape ~= #self[S].dims then
      errors.raise("Permute", "dims names %d axes, the input has %d after the batch (input %s)",
        #self.dims, #shape - 1, list.format(shape))
    end
    local out = list.new {}
    for i, axis in ipairs(self[S].dims) do
      out[i] = shape[axis]
    end
    return out
  end,
})

--- Repeats each row n times: (batch, features) becomes (batch, n, features).
--     tide.layers.RepeatVector { 3 }(tide.ones { 2, 4 }).shape   --> { 2, 3, 4 }
define("RepeatVector", {
  args = { { "n", "int", spatial.required, "how often", min = 1 } },
  call = function(self, x)
    if x.ndim ~= 2 then
      errors.raise("RepeatVector",
        "the input has the wrong shape (expected [batch, features], got %s)", tostring(x.shape))
    end
    return ops.copy(ops.broadcast_to(ops.expand_dims(x, 2), { x.shape[1], self.n, x.shape[2] }))
  end,
  compute_output_shape = function(self, shape)
    if #shape ~= 2 then
      errors.raise("RepeatVector",
        "the input has the wrong shape (expected [batch, features], got %s)", list.format(shape))
    end
    return list.new { shape[1], self.n, shape[2] }
  end,
})

-- ---- padding and cropping ----

-- `3`, `{1, 2}` and `{{1, 2}, {3, 4}}` as one {before, after} per axis. With one axis, `{1, 2}` is
-- before and after.
local function pairs_of(name, key, v, rank)
  local function bad()
    errors.raise(
      name, "%s must be an integer, one integer per axis, or one {before, after} per axis (got %s)",
      key, type(v) == "table" and list.format(v) or tostring(v))
  end
  local function whole(n)
    n = type(n) == "number" and math.tointeger(n)
    if not n or n < 0 then
      bad()
    end
    return n
  end
  local out = {}
  if type(v) == "number" then
    for i = 1, rank do
      out[i] = { whole(v), whole(v) }
    end
  elseif type(v) ~= "table" then
    bad()
  elseif rank == 1 and #v == 2 and type(v[1]) == "number" then
    out[1] = { whole(v[1]), whole(v[2]) }
  else
    if #v ~= rank then
      bad()
    end
    for i = 1, rank do
      if type(v[i]) == "table" then
        if #v[i] ~= 2 then
          bad()
        end
        out[i] = { whole(v[i][1]), whole(v[i][2]) }
      else
        out[i] = { whole(v[i]), whole(v[i]) }
      end
    end
  end
  return out
end

local function repeated(pair, rank)
  local out = {}
  for i = 1, rank do
    out[i] = pair
  end
  return out
end

for rank = 1, 3 do
  for _, kind in ipairs { { "ZeroPadding" }, { "ReflectionPadding", "reflect" },
    { "ReplicationPadding", "edge" } } do
    local padding, mode = kind[1] .. rank .. "D", kind[2]
    --- Adds rows around the spatial axes: zeros; with ReflectionPadding the rows inside, mirrored
    --- at the edge (less than the size of the axis); with ReplicationPadding copies of the edge.
    --     tide.layers.ZeroPadding2D { 1 }(tide.ones { 1, 2, 3, 1 }).shape   --> { 1, 4, 5, 1 }
    define(padding, {
      args = { { "padding", { "int", "list" }, 1,
        "per side, per axis, or {before, after} per axis" }, spatial.data_format },
      init = function(self)
        self[S].pairs = pairs_of(padding, "padding", self.padding, rank)
        local widths = table.move(self[S].pairs, 1, rank, 2, { { 0, 0 } })
        table.insert(widths, self.data_format == "channels_first" and 2 or rank + 2, { 0, 0 })
        self[S].widths = widths
      end,
      call = function(self, x)
        spatial.check_rank(self, x, rank)
        return ops.pad(x, self[S].widths, mode)
      end,
      compute_output_shape = function(self, shape)
        local batch, sizes, channels = spatial.parts(self, shape, rank)
        for i, p in ipairs(self[S].pairs) do
          if mode == "reflect" and sizes[i] ~= none and math.max(p[1], p[2]) >= sizes[i] then
            errors.raise(padding, "padding must be less than the size of its axis (expected less \z
              than %d, got %d)", sizes[i], math.max(p[1], p[2]))
          end
          sizes[i] = sizes[i] == none and none or sizes[i] + p[1] + p[2]
        end
        return spatial.join(self, batch, sizes, channels)
      end,
    })
  end

  local cropping = "Cropping" .. rank .. "D"
  --- Cuts rows off the spatial axes.
  --     tide.layers.Cropping2D { 1 }(tide.ones { 1, 4, 5, 3 }).shape   --> { 1, 2, 3, 3 }
  define(cropping, {
    args = {
      { "cropping", { "int", "list" }, rank == 1 and { 1, 1 }
        or repeated(rank == 2 and { 0, 0 } or { 1, 1 }, rank),
          "per side, per axis, or {before, after} per axis" },
      rank > 1 and spatial.data_format or nil,
    },
    init = function(self)
      self[S].pairs = pairs_of(cropping, "cropping", self.cropping, rank)
    end,
    call = function(self, x)
      spatial.check_rank(self, x, rank)
      local index = { {} }
      local first = self.data_format == "channels_first" and 2 or 1
      if first == 2 then
        index[2] = {}
      end
      for i, p in ipairs(self[S].pairs) do
        local size = x.shape[first + i]
        if p[1] + p[2] >= size then
          errors.raise(cropping, "nothing is left of axis %d (input %s)", first + i,
            tostring(x.shape))
        end
        index[first + i] = { p[1] + 1, size - p[2] }
      end
      return x[index]
    end,
    compute_output_shape = function(self, shape)
      local batch, sizes, channels = spatial.parts(self, shape, rank)
      for i, p in ipairs(self[S].pairs) do
        if sizes[i] ~= none then
          sizes[i] = sizes[i] - p[1] - p[2]
          if sizes[i] <= 0 then
            errors.raise(cropping, "nothing is left of axis %d (input %s)", i + 1,
              list.format(shape))
          end
        end
      end
      return spatial.join(self, batch, sizes, channels)
    end,
  })
end

-- ---- enlarging ----

-- Each element of the spatial axes repeated size[i] times: a broadcast over axes of length 1, then
-- one copy.
local function nearest(x, size)
  local shape = x.shape
  local split, wide, out = { shape[1] }, { shape[1] }, { shape[1] }
  for i, factor in ipairs(size) do
    local n = shape[i + 1]
    split[#split + 1], split[#split + 2] = n, 1
    wide[#wide + 1], wide[#wide + 2] = n, factor
    out[#out + 1] = n * factor
  end
  local channels = shape[#size + 2]
  split[#split + 1], wide[#wide + 1], out[#out + 1] = channels, channels, channels
  return reshape_op(ops.copy(ops.broadcast_to(reshape_op(x, split), wide)), out)
end

local kernels = {
  bilinear = { 1, function(t) return math.max(0, 1 - t) end },
  -- Keys' cubic with a = -0.5, as TensorFlow's.
  bicubic = { 2, function(t)
    if t <= 1 then
      return (1.5 * t - 2.5) * t * t + 1
    end
    return t < 2 and ((-0.5 * t + 2.5) * t - 4) * t + 2 or 0
  end },
}
local function lanczos(radius)
  return { radius, function(t)
    if t == 0 then
      return 1
    elseif t >= radius then
      return 0
    end
    local p = math.pi * t
    return radius * math.sin(p) * math.sin(p / radius) / (p * p)
  end }
end
kernels.lanczos3, kernels.lanczos5 = lanczos(3), lanczos(5)

-- Rows of weights (out, in) of a resize along one axis with half-pixel centres; weights beyond the
-- border are left out and the others scaled to sum 1, as in TensorFlow and JAX.
local function weights_of(n, out, kernel, dtype)
  local radius, weight = kernel[1], kernel[2]
  local rows = {}
  for i = 1, out do
    local centre = (i - 0.5) * n / out - 0.5
    local row, total = {}, 0
    for k = 1, n do
      local d = math.abs(k - 1 - centre)
      row[k] = d <= radius and weight(d) or 0
      total = total + row[k]
    end
    for k = 1, n do
      row[k] = row[k] / total
    end
    rows[i] = row
  end
  return ops.convert_to_tensor(rows, { dtype = dtype })
end

local ranges = { uint8 = { 0, 255 }, int8 = { -128, 127 }, bool = { 0, 1 } }

local function smooth(self, x)
  if not x.dtype:find "float" then -- whole numbers are computed as floats and rounded
    local y = ops.round(smooth(self, ops.cast(x, "float32")))
    local range = ranges[x.dtype]
    return ops.cast(range and ops.clip(y, range[1], range[2]) or y, x.dtype)
  end
  local n, h, w, c = table.unpack(x.shape, 1, 4)
  local oh, ow = h * self.size[1], w * self.size[2]
  local cache = self[S].matrices
  local key = h .. "x" .. w .. x.dtype
  if not cache[key] then
    local _ <close> = core.scope_pause() -- later calls use them
    local kernel = kernels[self.interpolation]
    cache[key] = { weights_of(h, oh, kernel, x.dtype), weights_of(w, ow, kernel, x.dtype) }
  end
  local rows = ops.matmul(cache[key][1], reshape_op(x, { n, h, w * c }))
  return ops.matmul(cache[key][2], reshape_op(rows, { n, oh, w, c }))
end

for rank = 1, 3 do
  local name = "UpSampling" .. rank .. "D"
  local args = { { "size", "ints", 2, "factor per axis", n = rank },
    rank > 1 and spatial.data_format or nil }
  if rank == 2 then
    args[3] = { "interpolation", "enum", "nearest", "how values between are found",
      of = "nearest|bilinear|bicubic|lanczos3|lanczos5" }
  end
  --- Enlarges the spatial axes by whole factors.
  --     tide.layers.UpSampling2D { 2 }(tide.ones { 1, 2, 3, 1 }).shape   --> { 1, 4, 6, 1 }
  define(name, {
    args = args,
    keras = rank == 1 and { config = function(_, config)
      config.size = config.size[1]
      return config
    end } or nil,
    init = function(self)
      self[S].matrices = {}
    end,
    call = spatial.either(rank, function(self, x)
      spatial.check_rank(self, x, rank)
      if self.interpolation and self.interpolation ~= "nearest" then
        return smooth(self, x)
      end
      return nearest(x, self.size)
    end),
    compute_output_shape = function(self, shape)
      local batch, sizes, channels = spatial.parts(self, shape, rank)
      for i = 1, rank do
        sizes[i] = sizes[i] == none and none or sizes[i] * self.size[i]
      end
      return spatial.join(self, batch, sizes, channels)
    end,
  })
end

return reshape
