--- Pooling: maxima and means of windows, of whole images, and of as many windows as asked for.
local S = require "tide.private"
local base = require "tide.layers.base"
local errors = require "tide.errors"
local list = require "tide.list"
local ops = require "tide.ops"
local spatial = require "tide.layers.spatial"

local pool = {}

local ops_of = { Max = ops.max_pool, Average = ops.average_pool }
local adaptive_of = { Max = ops.adaptive_max_pool, Average = ops.adaptive_average_pool }
local whole_of = { Max = ops.max, Average = ops.mean }

local spatial_axes = { channels_last = { { 2 }, { 2, 3 }, { 2, 3, 4 } },
  channels_first = { { 3 }, { 3, 4 }, { 3, 4, 5 } } }

for kind, op in pairs(ops_of) do
  for rank = 1, 3 do
    local name = kind .. "Pooling" .. rank .. "D"
    --- Maxima or means of windows; (batch, ..., channels). Padding never counts.
    --     tide.layers.MaxPooling2D { 2 }(tide.ones { 1, 4, 6, 3 }).shape   --> { 1, 2, 3, 3 }
    pool[name] = base.derive(base, name, {
      takes = "tensor",
      args = {
        { "pool_size", "ints", kind == "Max" and 2 or spatial.required, "extents of the window",
          n = rank },
        { "strides", "ints", nil, "step; the window's extents by default", n = rank },
        { "padding", "enum", "valid", "border rule", of = "valid|same" },
        spatial.data_format,
      },
      rank = rank,
      keeps_dtype = kind == "Max",
      init = function(self)
        self[S].size = spatial.scalar(self.pool_size)
        self[S].strides = spatial.scalar(self.strides or self.pool_size)
      end,
      call = spatial.either(rank, function(self, x)
        return op(x, self[S].size, self[S].strides, self.padding)
      end),
      compute_output_shape = function(self, shape)
        local batch, sizes, channels = spatial.parts(self, shape, rank)
        local step = self.strides or self.pool_size
        for i = 1, rank do
          sizes[i] = spatial.windows(self, sizes[i], self.pool_size[i], step[i], self.padding)
        end
        return spatial.join(self, batch, sizes, channels)
      end,
      _brief = function(self)
        return table.concat(self.pool_size, "x")
      end,
    })

    local whole = whole_of[kind]
    local global = "Global" .. name
    --- Maximum or mean over all spatial axes: (batch, ..., channels) becomes (batch, channels).
    --     tide.layers.GlobalAveragePooling2D()(tide.ones { 2, 4, 4, 3 }).shape   --> { 2, 3 }
    pool[global] = base.derive(base, global, {
      takes = "tensor",
      args = { spatial.data_format, { "keepdims", "bool", false,
        "keep the spatial axes as length 1" } },
      rank = rank,
      supports_masking = kind == "Average" and rank == 1,
      init = function(self)
        self[S].options = { axis = spatial_axes[self.data_format][rank], keepdims = self.keepdims }
      end,
      call = function(self, x, o)
        if x.ndim ~= rank + 2 then
          spatial.parts(self, x.shape, rank)
        end
        if rank == 1 and kind == "Average" and o.mask ~= nil then
          local steps = self.data_format == "channels_first" and 3 or 2
          local m = ops.expand_dims(ops.cast(o.mask, x.dtype), steps == 2 and 3 or 2)
          return ops.sum(x * m, self[S].options) / ops.sum(m, self[S].options)
        end
        return whole(x, self[S].options)
      end,
      compute_mask = function()
        return nil
      end,
      compute_output_shape = function(self, shape)
        local batch, sizes, channels = spatial.parts(self, shape, rank)
        if not self.keepdims then
          return list.new { batch, channels }
        end
        for i = 1, rank do
          sizes[i] = 1
        end
        return spatial.join(self, batch, sizes, channels)
      end,
    })

    local adaptive_op = adaptive_of[kind]
    local adaptive = "Adaptive" .. name
    --- Maxima or means of so many windows, of even extents, that the result has `output_size`.
    --     tide.layers.AdaptiveAveragePooling1D { 2 }(tide.ones { 1, 5, 3 }).shape   --> { 1, 2, 3 }
    pool[adaptive] = base.derive(base, adaptive, {
      takes = "tensor",
      args = {
        { "output_size", "ints", spatial.required, "extents of the result", n = rank },
        spatial.data_format,
      },
      rank = rank,
      init = function(self)
        self[S].size = self.output_size:totable()
      end,
      call = spatial.either(rank, function(self, x)
        return adaptive_op(x, self[S].size)
      end),
      compute_output_shape = function(self, shape)
        local batch, sizes, channels = spatial.parts(self, shape, rank)
        for i = 1, rank do
          if type(sizes[i]) == "number" and sizes[i] < 1 then
            errors.raise(adaptive, "the input has an empty axis (got the shape %s)",
              list.format(shape))
          end
          sizes[i] = self.output_size[i]
        end
        return spatial.join(self, batch, sizes, channels)
      end,
      _brief = function(self)
        return table.concat(self.output_size, "x")
      end,
    })
  end
end

return pool
