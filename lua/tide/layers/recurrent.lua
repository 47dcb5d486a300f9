--- Recurrent layers: RNN over any cell, and SimpleRNN, LSTM and GRU with their cells, by Keras'
--- names and options.
--
-- A cell computes one step: `output, states = cell(x, states)`, x being (batch, features) and
-- `states` a list of tensors. RNN runs a cell over the steps of (batch, steps, features). Under a
-- mask (batch, steps), a step that is left out keeps the states and repeats the output before it
-- (zeros before the first).
--
-- Tide's own cells compute what they read of the input for all steps in one product (`project`),
-- then step by step (`step`); where nothing in the options forbids it, one op computes the whole
-- sequence (see `whole`).
local S = require "tide.private"
local activations = require "tide.activations"
local base = require "tide.layers.base"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local cells = require "tide.layers.cells"

local required = check.required
local recurrent_op = core.ops.recurrent_

local parts = cells.parts
local is_one, units, activation, gate =
  parts.is_one, parts.units, parts.activation, parts.gate
local use_bias, forget, dropouts, seed =
  parts.use_bias, parts.forget, parts.dropouts, parts.seed
local reset_after, weight_rows, sequence_rows, zero_output =
  parts.reset_after, parts.weight_rows, parts.sequence_rows, parts.zero_output
local fused_row, join, map_states, flatten =
  parts.fused_row, parts.join, parts.map_states, parts.flatten
local state_sizes, output_size, check_cell, start_of =
  parts.state_sizes, parts.output_size, parts.check_cell, parts.start_of
local Cell, dropout_masks, apply, forget_bias =
  parts.Cell, parts.dropout_masks, parts.apply, parts.forget_bias

local recurrent = {}

-- ---- RNN ----

-- The mask (batch, steps) of a call, checked; nil where there is none. One that x brings does not
-- count where states are given: Keras hands masks on to calls with one tensor alone.
local function mask_of(self, o, x, states)
  local mask = o.mask
  if type(mask) == "table" then
    mask = mask[1] or states == nil and mask[self._input_names[1]]
  end
  if not mask then
    return nil
  end
  local shape = mask.shape
  if #shape ~= 2 or shape[1] ~= x.shape[1] or shape[2] ~= x.shape[2] then
    errors.raise(self:_label(), "the mask must have one value per step (expected the shape %s, \z
      got %s)", list.format { x.shape[1], x.shape[2] }, list.format(shape))
  end
  return mask.dtype == "bool" and mask or ops.cast(mask, "bool")
end

-- Raises unless the given states are as the cell's.
local function check_states(self, states, wanted)
  local got = is_one(states) and 1 or type(states) == "table" and #states or 0
  if got ~= #wanted then
    errors.raise(self:_label(), "initial_state must hold the cell's states (expected %d, got %d)",
      #wanted, got)
  end
  for i, want in ipairs(wanted) do
    if is_one(want) then
      local state = states[i]
      if not is_one(state) or not list.equal(state.shape, want.shape) then
        errors.raise(self:_label(), "state %d has the wrong shape (expected %s, got %s)", i,
          list.format(want.shape), is_one(state) and list.format(state.shape)
          or check.show(state))
      end
    else
      check_states(self, states[i], want)
    end
  end
end

-- A mask of one step, (batch), beside a tensor (batch, ...).
local function beside(kept, x)
  local shape = { kept.shape[1] }
  for i = 2, x.ndim do
    shape[i] = 1
  end
  return ops.reshape(kept, shape)
end

-- Runs the cell over the steps: the list of outputs wanted, and the last states.
local function steps(self, x, states, mask, o)
  local cell, training = self.cell, o.training
  local own, dtype = cell._project and not cell._custom, cell.compute_dtype
  cell = own and cell[S].stand_in or cell -- under a mixed policy, whose weights are cast
  local z = own and cell:_project(x.dtype == dtype and x or ops.cast(x, dtype), training)
  local mode = { training = training }
  local n = x.shape[2]
  local outputs, last = {}, nil
  for i = 1, n do
    local t = self.go_backwards and n + 1 - i or i
    local y, after
    if own then
      y, after = cell:_step(z[{ {}, t }], states, training)
    else
      y, after = cell(x[{ {}, t }], states, mode)
      after = is_one(after) and { after } or after
    end
    if mask then
      local kept = mask[{ {}, t }]
      local other = (self.zero_output_for_mask or not last) and ops.zeros_like(y) or last
      y = ops.where(beside(kept, y), y, other)
      after = map_states(function(new, old)
        return ops.where(beside(kept, new), new, old)
      end, after, states)
    end
    last, states = y, after
    if self.return_sequences then
      outputs[i] = y
    end
  end
  return self.return_sequences and ops.stack(outputs, 2) or last, states
end

-- The word by which the op of whole sequences applies an activation itself, or nil.
local function word_of(f)
  return f == nil and "linear" or f and activations.fused(f, "recurrent_")
end

-- How the op of whole sequences computes what this cell does; nil where it cannot.
local function form_of(cell, training)
  local c = getmetatable(cell)
  if c._custom or not cell._word or training and cell.recurrent_dropout > 0 then
    return nil
  end
  local own = cell[S]
  if own.form == nil then
    local word, of_gates = word_of(cell.activation), word_of(cell.recurrent_activation)
    own.form = word and of_gates
      and { word = cell:_word(), activation = word, gate = of_gates } or false
  end
  return own.form or nil
end

-- The whole sequence by one op.
local function whole(self, form, x, states, mask, o)
  local cell, dtype = self.cell, self.cell.compute_dtype
  cell = cell[S].stand_in or cell -- under a mixed policy, whose weights are cast
  local z = cell:_project(x.dtype == dtype and x or ops.cast(x, dtype), o.training)
  local y, h, c = recurrent_op(z, states[1], states[2], cell.recurrent_kernel,
    form.word == "gru" and cell.bias and cell.bias[2] or nil, mask, form.word, form.activation,
    form.gate, self.go_backwards, self.zero_output_for_mask)
  if not self.return_sequences then
    y = mask and y[{ {}, -1 }] or h
  end
  return y, states[2] and { h, c } or { h }
end

local function run(self, x, states, mask, o)
  local form = self.use_cudnn ~= false and form_of(self.cell, o.training)
  if form then
    return whole(self, form, x, states, mask, o)
  elseif self.use_cudnn == true then
    errors.raise(self:_label(), "no op computes the whole sequence with these options; leave \z
      use_cudnn out to go step by step")
  end
  return steps(self, x, states, mask, o)
end

-- Masks of dropout are the sequence's: its end, or an error, forgets them.
local Sequence = {}
function Sequence.__close(sequence)
  for _, cell in ipairs(sequence) do
    cell:reset_dropout_mask()
    cell:reset_recurrent_dropout_mask()
  end
end

local function call(self, x, given, o)
  local shape = x.shape
  self:_check_shape(shape)
  if shape[2] == none then
    errors.raise(self:_label(), "the number of steps must be known here (got the shape %s)",
      list.format(shape))
  elseif shape[2] == 0 then
    errors.raise(self:_label(), "needs at least one step (got the shape %s)", list.format(shape))
  end
  local mask = mask_of(self, o, x, given)
  local states = given
  if states == nil and self.stateful then
    states = map_states(ops.copy, self[S].sequence_states) -- they change when the batch ends
    local batch = flatten(states)[1].shape[1]
    if batch ~= shape[1] then
      errors.raise(self:_label(), "is stateful: every batch must have the size of the first one \z
        (expected %d, got %d)", batch, shape[1])
    end
  end
  local start = states == nil and start_of(self.cell, shape[1])
  if states == nil then
    states = start
  else
    states = map_states(function(s)
      local dtype = self.cell.compute_dtype
      return type(s) == "userdata" and s.dtype ~= dtype and ops.cast(s, dtype) or s
    end, is_one(states) and { states } or states)
    check_states(self, states, start_of(self.cell, shape[1]))
  end
  local sequence <close> = setmetatable({}, Sequence)
  for _, cell in ipairs(self.cell.cells or { self.cell }) do
    if cell.reset_dropout_mask then
      sequence[#sequence + 1] = cell
    end
  end
  local y
  y, states = self:_run(x, states, mask, o)
  if self.stateful then
    local kept = flatten(self[S].sequence_states)
    for i, s in ipairs(flatten(states)) do
      kept[i]:assign(s:detach())
    end
  end
  local function own(t)
    local dtype = self.compute_dtype
    return t.dtype == dtype and t or ops.cast(t, dtype)
  end
  if self.return_state then
    return own(y), table.unpack(map_states(own, states))
  end
  return own(y)
end

local function build(self, shape)
  self:_check_shape(shape)
  local step = list.new { shape[1] }
  table.move(shape, 3, #shape, 2, step)
  self.cell:build(step)
  if self.stateful then
    if shape[1] == none then
      errors.raise(getmetatable(self).__name, "a stateful layer needs a fixed batch size (got the \z
        shape %s); give batch_input_shape, or batch_size to tide.Input", list.format(shape))
    end
    local count = 0
    self[S].sequence_states = map_states(function(s)
      count = count + 1
      return self:add_state { s.shape, name = "rnn_state_" .. count, dtype = s.dtype }
    end, start_of(self.cell, shape[1]))
  end
end

local function shapes(self, shape)
  local out = self.return_sequences and list.new { shape[1], shape[2] } or list.new { shape[1] }
  out[#out + 1] = output_size(self.cell)
  if not self.return_state then
    return out
  end
  return out, table.unpack(map_states(function(n)
    return list.new { shape[1], n }
  end, state_sizes(self.cell)))
end

-- What runs a cell over sequences: `self.cell`, which `init` of the classes below makes.
local Recurrent = base.derive(base, "Recurrent", {
  args = { zero_output },
  _check_shape = function(self, shape)
    if #shape ~= 3 then
      errors.raise(self:_label(), "the input has the wrong axes (expected (batch, steps, \z
        features), got the shape %s)", list.format(shape))
    end
  end,
  inputs = { "sequences", "initial_state" },
  takes = { sequences = "tensor" },
  supports_masking = true,
  build = build,
  keras = { states = false },
  torch = { whole = true, links = function(self, level, backward)
    local cell = self.cell.torch
    return cell.links and cell.links(self.cell, level or 0, backward)
  end },
  call = call,
  compute_output_shape = shapes,
  compute_mask = function(self, _, mask)
    if not self.return_sequences then
      return nil
    end
    return type(mask) == "table" and (mask[self._input_names[1]] or mask[1]) or mask
  end,
  _run = run,
})

--- Sets the states that a stateful layer keeps to zero.
function Recurrent:reset_state()
  for _, s in ipairs(flatten(self[S].sequence_states or {})) do
    s:zero_()
  end
end

--- As reset_state: Keras' older name.
function Recurrent:reset_states()
  self:reset_state()
end

--- The states of a batch of sequences to begin with: zeros, unless the cell says otherwise.
function Recurrent:get_initial_state(batch_size)
  return start_of(self.cell, batch_size)
end

--- A cell run over the steps of a sequence: (batch, steps, features) becomes (batch, units), or
--- (batch, steps, units) with `return_sequences`.
--
-- `layer(x, { initial_state = { ... }, mask = m })`. With `return_state` the states follow as
-- further values. A cell is a layer with `state_size` (an integer, or a list of them, one per
-- state) and `call(self, x, states, o)`, which returns the output and a list of states; perhaps
-- with `output_size` and `get_initial_state(self, batch_size)`. A list of cells is stacked.
---
---     tide.layers.RNN { tide.layers.GRUCell { 4 } }(tide.ones { 2, 5, 3 }).shape   --> { 2, 4 }
recurrent.RNN = base.derive(Recurrent, "RNN", {
  args = join({ { "cell", "any", required, "a cell, or a list of cells" } }, sequence_rows,
    zero_output),
  init = function(self)
    local cell = self.cell
    if check.is_plain(cell) and cell.class_name == nil then
      cell = cells.StackedRNNCells { cell }
    else
      cell = require("tide.layers").get(cell)
    end
    check_cell(getmetatable(self).__name, cell)
    self.cell = cell
  end,
  _check_shape = function(self, shape)
    if #shape < 3 then
      errors.raise(self:_label(), "the input has the wrong axes (expected (batch, steps, \z
        ...), got the shape %s)", list.format(shape))
    end
  end,
})

-- ---- the layers with cells of their own ----

-- Options of a layer that its cell has too.
local function cell_of(self, class, name)
  local o = { name = name, dtype = self.dtype_policy, trainable = self[S].trainable }
  for _, key in ipairs(class.args.names) do
    local v = rawget(self, key)
    if key ~= "name" and self.args.index[key] and not base.args.index[key] then
      if v == nil and class.args.index[key].none then
        v = none
      end
      o[key] = v
    end
  end
  return class(o)
end

local function define(name, rows, more)
  local cell_name = name .. "Cell"
  local snake = name == "SimpleRNN" and "simple_rnn_cell" or name:lower() .. "_cell"
  local def = {
    args = rows,
    init = function(self)
      self.cell = cell_of(self, cells[cell_name], snake)
    end,
    _brief = function(self) return tostring(self.units) end,
    keras = { states = false },
  }
  for key, v in pairs(more or {}) do
    def[key] = v
  end
  recurrent[name] = base.derive(Recurrent, name, def)
end

--- The simple recurrent layer: `h = activation(x @ kernel + h @ recurrent_kernel + bias)`.
--
-- (batch, steps, features) becomes (batch, units). As Keras' SimpleRNN.
--     tide.layers.SimpleRNN { 4 }(tide.ones { 2, 5, 3 }).shape   --> { 2, 4 }
define("SimpleRNN", join(units(), activation, use_bias, weight_rows(nil, true), dropouts,
  sequence_rows, seed))

--- Long short-term memory (Hochreiter and Schmidhuber 1997).
--
-- (batch, steps, features) becomes (batch, units), or (batch, steps, units) with
-- `return_sequences`; with `return_state` h and c follow. As Keras' LSTM.
--     tide.layers.LSTM { 4, return_sequences = true }(tide.ones { 2, 5, 3 }).shape
--     --> { 2, 5, 4 }
define("LSTM", join(units(), activation, gate, use_bias, weight_rows(forget, true), dropouts, seed,
  sequence_rows, fused_row))

--- Gated recurrent unit (Cho et al. 2014), with the reset gate after the product unless
--- `reset_after` is false.
--
-- (batch, steps, features) becomes (batch, units), or (batch, steps, units) with
-- `return_sequences`; with `return_state` the state follows. As Keras' GRU.
--     tide.layers.GRU { 4 }(tide.ones { 2, 5, 3 }).shape   --> { 2, 4 }
define("GRU", join(units(), activation, gate, use_bias, weight_rows(nil, true), dropouts, seed,
  sequence_rows, reset_after, fused_row))

-- What tide.layers.conv_recurrent builds on.
recurrent.parts = { Cell = Cell, Recurrent = Recurrent, activation = activation, gate = gate,
  use_bias = use_bias, forget = forget, dropouts = dropouts, seed = seed, rows = weight_rows,
  sequence_rows = sequence_rows, join = join, apply = apply, cell_of = cell_of,
  dropout_masks = dropout_masks, forget_bias = forget_bias }

return recurrent
