--- ConvLSTM1D, ConvLSTM2D, ConvLSTM3D: LSTM whose products are convolutions (Shi et al. 2015), by
--- Keras' names and options.
local base = require "tide.layers.base"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local parts = require("tide.layers.recurrent").parts
local spatial = require "tide.layers.spatial"

local conv_recurrent = {}

local join, apply = parts.join, parts.apply

-- The options of a layer of `rank` spatial axes and of its cell.
local function rows(rank, penalty)
  return join({
    { "filters", "int", spatial.required, "channels of the result", min = 1 },
    { "kernel_size", "ints", spatial.required, "extents of the kernels", n = rank },
    { "strides", "ints", 1, "step per spatial axis of the input's convolution", n = rank },
    { "padding", "enum", "valid", "border rule of the input's convolution", of = "valid|same" },
    spatial.data_format,
    { "dilation_rate", "ints", 1, "distance of neighbouring taps", n = rank },
  }, parts.activation, parts.gate, parts.use_bias, parts.rows(parts.forget, penalty),
    parts.dropouts, parts.seed)
end

-- Gate number i of the channels, which stand last.
local function gate_of(z, i, n)
  local at = {}
  for axis = 1, z.ndim - 1 do
    at[axis] = {}
  end
  at[z.ndim] = { (i - 1) * n + 1, i * n }
  return z[at]
end

local function convolve(self, x, kernel, bias)
  return ops.conv(x, kernel, { bias = bias, strides = spatial.scalar(self.strides),
    padding = self.padding, dilation_rate = spatial.scalar(self.dilation_rate) })
end

-- The four convolutions of the input, of one step or of all of them.
local function project(self, x, training)
  local rank = self._rank
  local steps = x.ndim == rank + 3 and x.shape[2]
  local first = steps and training and x[{ {}, 1 }] or x
  local masks = parts.dropout_masks(self, "dropout_mask", self.dropout, first, training, 4)
  local bias = self.bias or nil
  local function run(input, kernel, b)
    if steps then
      local shape = input.shape:totable()
      table.remove(shape, 2)
      shape[1] = shape[1] * steps
      input = ops.reshape(input, shape)
    end
    if self.data_format == "channels_first" then
      input = spatial.last(input, rank)
    end
    local z = convolve(self, input, kernel, b)
    if steps then
      local shape = z.shape:totable()
      shape[1] = shape[1] // steps
      table.insert(shape, 2, steps)
      z = ops.reshape(z, shape)
    end
    return z
  end
  if not masks then
    return run(x, self.kernel, bias)
  end
  local n, gates = self.filters, {}
  for i = 1, 4 do
    local mask = steps and ops.expand_dims(masks[i], 2) or masks[i]
    gates[i] = run(x * mask, gate_of(self.kernel, i, n),
      bias and bias[{ { (i - 1) * n + 1, i * n } }])
  end
  return ops.concatenate(gates, -1)
end

local function recur(self, h, training)
  local masks = parts.dropout_masks(self, "recurrent_dropout_mask", self.recurrent_dropout, h,
    training, 4)
  if not masks then
    return ops.conv(h, self.recurrent_kernel, { padding = "same" })
  end
  local gates = {}
  for i = 1, 4 do
    gates[i] = ops.conv(h * masks[i], gate_of(self.recurrent_kernel, i, self.filters),
      { padding = "same" })
  end
  return ops.concatenate(gates, -1)
end

-- The shape of a step's result for a step's input, in the layer's data format.
local function step_shape(self, shape)
  local rank = self._rank
  local batch, sizes = spatial.parts(self, shape, rank)
  for i = 1, rank do
    sizes[i] = spatial.windows(self, sizes[i], self.kernel_size[i], self.strides[i], self.padding,
      self.dilation_rate[i])
  end
  return spatial.join(self, batch, sizes, self.filters)
end

local function define_cell(rank)
  return base.derive(parts.Cell, "ConvLSTMCell", {
    args = rows(rank, false),
    init = function(self)
      self.state_size, self.output_size = { self.filters, self.filters }, self.filters
    end,
    _rank = rank,
    _gates = 4,
    build = function(self, shape)
      local _, sizes, channels = spatial.parts(self, shape, rank)
      for i = 1, rank do
        if sizes[i] == none then
          errors.raise("ConvLSTM" .. rank .. "D", "the sizes of a step must be known (got the \z
            shape %s)", list.format(shape))
        end
      end
      if channels == none then
        errors.raise("ConvLSTM" .. rank .. "D", "the number of channels must be known (got the \z
          shape %s)", list.format(shape))
      end
      self.step = list.copy(shape)
      local n = self.filters
      local function kernel(name, option, width)
        local size = table.move(self.kernel_size, 1, rank, 1, {})
        size[rank + 1], size[rank + 2] = width, 4 * n
        self[name] = self:add_weight { size, name = name,
          initializer = self[option .. "_initializer"],
          regularizer = self[option .. "_regularizer"], constraint = self[option .. "_constraint"] }
      end
      kernel("kernel", "kernel", channels)
      kernel("recurrent_kernel", "recurrent", n)
      self.bias = false
      if self.use_bias then
        self.bias = self:add_weight { { 4 * n }, name = "bias",
          initializer = self:_bias_initializer(), regularizer = self.bias_regularizer,
          constraint = self.bias_constraint }
      end
    end,
    _bias_initializer = parts.forget_bias,
    _project = project,
    _step = function(self, z, states, training)
      local n, first = self.filters, self.data_format == "channels_first"
      local h, c = states[1], states[2]
      if first then
        h, c = spatial.last(h, rank), spatial.last(c, rank)
      end
      z = z + recur(self, h, training)
      local i = apply(self.recurrent_activation, gate_of(z, 1, n))
      local f = apply(self.recurrent_activation, gate_of(z, 2, n))
      c = f * c + i * apply(self.activation, gate_of(z, 3, n))
      local y = apply(self.recurrent_activation, gate_of(z, 4, n)) * apply(self.activation, c)
      if first then
        y, c = spatial.first(y, rank), spatial.first(c, rank)
      end
      return y, { y, c }
    end,
    get_initial_state = function(self, batch_size)
      local shape = step_shape(self, self.step):totable()
      shape[1] = batch_size
      return { ops.zeros(shape, { dtype = self.compute_dtype }),
        ops.zeros(shape, { dtype = self.compute_dtype }) }
    end,
  })
end

local axes = { "steps", "rows, columns", "depth, rows, columns" }

for rank = 1, 3 do
  local Cell = define_cell(rank)
  local name = ("ConvLSTM%dD"):format(rank)
  --- LSTM over sequences of pictures (lines, volumes): (batch, steps, ..., channels), its products
  --- being convolutions.
  --
  -- The result is (batch, ..., filters), or (batch, steps, ..., filters) with `return_sequences`.
  --     tide.layers.ConvLSTM2D { 4, 3, padding = "same" }(tide.ones { 1, 5, 8, 8, 2 }).shape
  --     --> { 1, 8, 8, 4 }
  conv_recurrent[name] = base.derive(parts.Recurrent, name, {
    args = join(rows(rank, true), parts.sequence_rows),
    init = function(self)
      self.cell = parts.cell_of(self, Cell, "conv_lstm_cell")
    end,
    _check_shape = function(self, shape)
      if #shape ~= rank + 3 then
        errors.raise(self:_label(), "the input has the wrong axes (expected (batch, steps, %s, \z
          channels), got the shape %s)", axes[rank], list.format(shape))
      end
    end,
    compute_output_shape = function(self, shape)
      self:_check_shape(shape)
      local step = list.new { shape[1] }
      table.move(shape, 3, #shape, 2, step)
      local state = step_shape(self.cell, step)
      local out = state
      if self.return_sequences then
        out = list.new { shape[1], shape[2] }
        table.move(state, 2, #state, 3, out)
      end
      if self.return_state then
        return out, state, list.copy(state)
      end
      return out
    end,
    _brief = function(self)
      return self.filters .. " " .. table.concat(self.kernel_size, "x")
    end,
  })
end

return conv_recurrent
