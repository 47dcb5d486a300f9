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
local links = require "tide.layers.links"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local random = require "tide.random"

local required = check.required
local recurrent_op = core.ops.recurrent_

local recurrent = {}

-- Whether a value is one tensor, also a symbolic one; else it is a list of states.
local function is_one(v)
  local meta = getmetatable(v)
  return type(v) == "userdata" or type(meta) == "table" and rawget(meta, "__tide_op") ~= nil
end

-- ---- options ----

local function units() return { "units", "int", required, "width of state and output", min = 1 } end
local activation = { "activation", "activation", "tanh", "of the candidate; none: linear",
  none = true }
local gate = { "recurrent_activation", "activation", "sigmoid", "of the gates; none: linear",
  none = true }
local use_bias = { "use_bias", "bool", true, "add a bias" }
local forget = { "unit_forget_bias", "bool", true, "the forget gate's bias starts at 1" }
local dropouts = {
  { "dropout", "number", 0, "share of the input's features dropped, the same at all steps",
    min = 0, max = 1 },
  { "recurrent_dropout", "number", 0, "share of the state dropped, the same at all steps",
    min = 0, max = 1 },
}
local seed = { "seed", "int", nil, "own random stream" }
local reset_after = { "reset_after", "bool", true, "the reset gate acts after the product" }

-- The rows of initializers, regularizers and constraints in Keras' order; `between` follows the
-- initializers, `penalty` says whether the output may be penalized.
local function weight_rows(between, penalty)
  local out = {
    { "kernel_initializer", "initializer", "glorot_uniform" },
    { "recurrent_initializer", "initializer", "orthogonal" },
    { "bias_initializer", "initializer", "zeros" },
    between,
  }
  for _, name in ipairs { "kernel", "recurrent", "bias", penalty and "activity" or nil } do
    out[#out + 1] = { name .. "_regularizer", "regularizer" }
  end
  for _, name in ipairs { "kernel", "recurrent", "bias" } do
    out[#out + 1] = { name .. "_constraint", "constraint" }
  end
  return out
end

local sequence_rows = {
  { "return_sequences", "bool", false, "the outputs of all steps, not the last one" },
  { "return_state", "bool", false, "the last states too, as further values" },
  { "go_backwards", "bool", false, "from the last step to the first" },
  { "stateful", "bool", false, "each batch goes on from the states of the one before" },
  { "unroll", "bool", false, "taken for Keras' sake: there is no graph to unroll" },
}
local zero_output = { "zero_output_for_mask", "bool", false,
  "the output of a masked step is zero, not the one before" }
local fused_row = { "use_cudnn", "any", "auto",
  '"auto": one op for the whole sequence where the options allow it; false: step by step' }

local function join(...)
  local out = {}
  for _, group in ipairs { ... } do
    if type(group[1]) == "table" then
      table.move(group, 1, #group, #out + 1, out)
    else
      out[#out + 1] = group
    end
  end
  return out
end

-- ---- states ----

-- Applies f to the tensors of a state, which may be a list of states, beside those of `other`.
local function map_states(f, state, other)
  if type(state) == "table" and getmetatable(state) == nil or list.is(state) then
    local out = {}
    for i = 1, #state do
      out[i] = map_states(f, state[i], other and other[i])
    end
    return out
  end
  return f(state, other)
end

local function flatten(state, out)
  out = out or {}
  map_states(function(s) out[#out + 1] = s end, state)
  return out
end

local function zeros_of(size, batch, dtype)
  return map_states(function(n)
    return ops.zeros({ batch, n }, { dtype = dtype })
  end, size)
end

-- The sizes of a cell's states as a list, each an integer or a list of them.
local function state_sizes(cell)
  local size = cell.state_size
  if math.type(size) == "integer" then
    return { size }
  end
  return size
end

-- The width of a cell's output.
local function output_size(cell)
  local size = cell.output_size or state_sizes(cell)[1]
  while type(size) == "table" do
    size = size[1]
  end
  return size
end

local function check_cell(where, cell)
  if not base.is_layer(cell) then
    errors.raise(where, "this is no cell (expected a layer with state_size that is called with \z
      its input and states, got %s)", check.show(cell))
  end
  local size = rawget(cell, "state_size") or cell.state_size
  if not (math.type(size) == "integer" or check.is_list(size) and #size > 0) then
    errors.raise(where, "the cell %s must have state_size, an integer or a list of them (got %s)",
      cell:_label(), check.show(size))
  end
end

-- The states that a cell starts from.
local function start_of(cell, batch)
  local make = cell.get_initial_state
  if make then
    local states = make(cell, batch)
    return is_one(states) and { states } or states
  end
  return zeros_of(state_sizes(cell), batch, cell.compute_dtype)
end

-- ---- cells ----

-- Masks of dropout live from the first step of a sequence to its end; used alone, a cell keeps
-- them until reset_dropout_mask.
local Cell = base.derive(base, "RecurrentCell", { args = {}, inputs = { "inputs", "states" },
  takes = { inputs = "tensor" },
  init = function(self)
    self[S].generator = self.seed and random.SeedGenerator(self.seed)
  end })

local function dropout_masks(self, which, rate, x, training, count)
  if not training or rate <= 0 then
    return nil
  end
  local own = self[S]
  local kept = own[which]
  if not kept then
    count = count or self.recurrent_dropout > 0 and self._gates or 1
    kept = {}
    for i = 1, count do
      kept[i] = ops.dropout(ops.ones_like(x), rate, nil, own.generator and own.generator:next())
    end
    own[which] = kept
  end
  return kept
end


--- Draws the dropout of the input anew at the next step.
function Cell:reset_dropout_mask()
  self[S].dropout_mask = nil
end

--- Draws the dropout of the states anew at the next step.
function Cell:reset_recurrent_dropout_mask()
  self[S].recurrent_dropout_mask = nil
end

-- One step from the input and the states, which a list holds, or which is the only one.
function Cell:call(x, states, o)
  local alone = is_one(states)
  local want = #state_sizes(self)
  states = alone and { states } or states
  if type(states) ~= "table" or #states ~= want then
    errors.raise(self:_label(), "takes its input and a list of its states (expected %d, got %s)",
      want, type(states) == "table" and #states or "none")
  end
  local y, after = self:_step(self:_project(x, o.training), states, o.training)
  return y, alone and after[1] or after
end

--- Zeros for the states of `batch_size` sequences.
function Cell:get_initial_state(batch_size)
  return zeros_of(state_sizes(self), batch_size, self.compute_dtype)
end

-- What the cell reads of its input, (batch, features) or (batch, steps, features): the product with
-- the kernel and its bias. Dropout has one mask for all gates, or one for each where the states are
-- dropped too, as Keras'.
local function project(self, x, training)
  local first = x
  if training and self.dropout > 0 and x.ndim == 3 then
    first = x[{ {}, 1 }]
  end
  local masks = dropout_masks(self, "dropout_mask", self.dropout, first, training)
  local bias = self:_input_bias()
  if not masks then
    return ops.linear(x, self.kernel, bias)
  end
  local function dropped(i)
    return x * (x.ndim == 3 and ops.expand_dims(masks[i], 2) or masks[i])
  end
  if #masks == 1 then
    return ops.linear(dropped(1), self.kernel, bias)
  end
  local n, parts = self.units, {}
  for i = 1, #masks do
    local columns = { (i - 1) * n + 1, i * n }
    parts[i] = ops.linear(dropped(i), self.kernel[{ {}, columns }],
      bias and bias[{ columns }])
  end
  return ops.concatenate(parts, -1)
end

-- The product of the state with the recurrent kernel, or with its first `gates` gates.
local function recur(self, h, training, gates)
  local masks = dropout_masks(self, "recurrent_dropout_mask", self.recurrent_dropout, h, training)
  local kernel, n = self.recurrent_kernel, self.units
  gates = gates or self._gates
  if not masks then
    return ops.matmul(h, gates == self._gates and kernel or kernel[{ {}, { 1, gates * n } }])
  elseif #masks == 1 then
    return ops.matmul(h * masks[1], kernel)
  end
  local parts = {}
  for i = 1, gates do
    parts[i] = ops.matmul(h * masks[i], kernel[{ {}, { (i - 1) * n + 1, i * n } }])
  end
  return ops.concatenate(parts, -1), masks
end

local function add_weights(self, shape)
  local width = shape[#shape]
  if width == none then
    errors.raise(getmetatable(self).__name, "the last axis of the input must be known (expected a \z
      number of features, got the shape %s)", list.format(shape))
  end
  local n = self.units * self._gates
  self.kernel = self:add_weight { { width, n }, name = "kernel",
    initializer = self.kernel_initializer, regularizer = self.kernel_regularizer,
    constraint = self.kernel_constraint }
  self.recurrent_kernel = self:add_weight { { self.units, n }, name = "recurrent_kernel",
    initializer = self.recurrent_initializer, regularizer = self.recurrent_regularizer,
    constraint = self.recurrent_constraint }
  if self.use_bias then
    self.bias = self:add_weight { self:_bias_shape(), name = "bias",
      initializer = self:_bias_initializer(), regularizer = self.bias_regularizer,
      constraint = self.bias_constraint }
  else
    self.bias = false
  end
end

local function apply(f, x)
  if f then
    return f(x)
  end
  return x
end

-- Defines a cell of Tide's own. `step(self, z, states, training)`: the step from the projected
-- input.
local function define_cell(name, def)
  def.build = add_weights
  function def.compute_output_shape(self, shape)
    local out, states = list.new { shape[1], self.units }, {}
    for i = 1, #state_sizes(self) do
      states[i] = list.new { shape[1], self.units }
    end
    return out, states
  end
  def._project = project
  def._input_bias = def._input_bias or function(self) return self.bias or nil end
  def._bias_shape = def._bias_shape or function(self) return { self.units * self._gates } end
  def._bias_initializer = def._bias_initializer or function(self) return self.bias_initializer end
  def._brief = function(self) return tostring(self.units) end
  recurrent[name] = base.derive(Cell, name, def)
end

-- How PyTorch holds a cell; `order` of the gates as links.recurrent takes it, `fits`: whether
-- PyTorch computes as this cell does.
local function in_torch(order, fits)
  return { links = function(cell, level, backward)
    return (not fits or fits(cell)) and links.recurrent(cell, order, level, backward) or nil
  end }
end

--- One step of SimpleRNN: `activation(x @ kernel + h @ recurrent_kernel + bias)`.
--
-- `output, states = cell(x, { h })`; x (batch, features), h (batch, units). As Keras'
-- SimpleRNNCell.
--     tide.layers.SimpleRNNCell { 4 }(tide.ones { 2, 3 }, { tide.zeros { 2, 4 } }).shape
--     --> { 2, 4 }
define_cell("SimpleRNNCell", {
  args = join(units(), activation, use_bias, weight_rows(), dropouts, seed),
  init = function(self)
    self.state_size, self.output_size = self.units, self.units
  end,
  _gates = 1,
  torch = in_torch(),
  _word = function() return "simple" end,
  _step = function(self, z, states, training)
    local y = apply(self.activation, z + recur(self, states[1], training))
    return y, { y }
  end,
})

-- Columns of gate number i of n units.
local function gate_of(z, i, n)
  return z[{ {}, { (i - 1) * n + 1, i * n } }]
end

-- The bias of four gates, that of the forget gate beginning with 1.
local function forget_bias(self)
  if not self.unit_forget_bias then
    return self.bias_initializer
  end
  return function(shape, dtype)
    local n = shape[1] // 4
    return ops.concatenate { self.bias_initializer({ n }, dtype),
      ops.ones({ n }, { dtype = dtype }), self.bias_initializer({ 2 * n }, dtype) }
  end
end

--- One step of LSTM (Hochreiter and Schmidhuber 1997), gates in the order i, f, c, o.
--
-- `output, states = cell(x, { h, c })`; x (batch, features), h and c (batch, units). As Keras'
-- LSTMCell.
--     tide.layers.LSTMCell { 1 }(tide.ones { 2, 3 }, tide.ops.zeros { 2, 2, 1 }:unstack()).shape
--     --> { 2, 1 }
define_cell("LSTMCell", {
  args = join(units(), activation, gate, use_bias, weight_rows(forget), dropouts, seed),
  init = function(self)
    self.state_size, self.output_size = { self.units, self.units }, self.units
  end,
  _gates = 4,
  torch = in_torch(), -- gates in the same order
  _word = function() return "lstm" end,
  _bias_initializer = forget_bias,
  _step = function(self, z, states, training)
    local n = self.units
    z = z + recur(self, states[1], training)
    local i = apply(self.recurrent_activation, gate_of(z, 1, n))
    local f = apply(self.recurrent_activation, gate_of(z, 2, n))
    local c = f * states[2] + i * apply(self.activation, gate_of(z, 3, n))
    local y = apply(self.recurrent_activation, gate_of(z, 4, n)) * apply(self.activation, c)
    return y, { y, c }
  end,
})

--- One step of GRU (Cho et al. 2014), gates in the order z, r, h: the new state is
--- `z * h + (1 - z) * candidate`.
--
-- `output, states = cell(x, { h })`; x (batch, features), h (batch, units). With `reset_after` the
-- bias is (2, 3 units): of the input, then of the state. As Keras' GRUCell.
--     tide.layers.GRUCell { 4 }(tide.ones { 2, 3 }, { tide.zeros { 2, 4 } }).shape   --> { 2, 4 }
define_cell("GRUCell", {
  args = join(units(), activation, gate, use_bias, weight_rows(), dropouts, reset_after, seed),
  init = function(self)
    self.state_size, self.output_size = self.units, self.units
  end,
  _gates = 3,
  torch = in_torch({ 2, 1, 3 }, function(self) return self.reset_after end),
  _word = function(self) return self.reset_after and "gru" or "gru_before" end,
  _bias_shape = function(self)
    return self.reset_after and { 2, 3 * self.units } or { 3 * self.units }
  end,
  _input_bias = function(self)
    return self.bias and (self.reset_after and self.bias[1] or self.bias) or nil
  end,
  _step = function(self, z, states, training)
    local n, h = self.units, states[1]
    local inner, masks = recur(self, h, training, not self.reset_after and 2 or nil)
    if self.reset_after and self.bias then
      inner = inner + self.bias[2]
    end
    local update = apply(self.recurrent_activation, gate_of(z, 1, n) + gate_of(inner, 1, n))
    local reset = apply(self.recurrent_activation, gate_of(z, 2, n) + gate_of(inner, 2, n))
    local candidate
    if self.reset_after then
      candidate = reset * gate_of(inner, 3, n)
    else
      candidate = ops.matmul(reset * (masks and h * masks[3] or h),
        gate_of(self.recurrent_kernel, 3, n))
    end
    candidate = apply(self.activation, gate_of(z, 3, n) + candidate)
    local y = update * h + (1 - update) * candidate
    return y, { y }
  end,
})

--- Several cells as one, each on the output of the one before; its states are a list of theirs.
--     #tide.layers.StackedRNNCells { { { "GRUCell", 8 }, { "LSTMCell", 4 } } }.cells   --> 2
recurrent.StackedRNNCells = base.derive(base, "StackedRNNCells", {
  args = { { "cells", "list", required, "cells, the first one first" } },
  list_first = true,
  inputs = { "inputs", "states" },
  takes = { inputs = "tensor" },
  init = function(self)
    local cells, sizes = {}, {}
    for i, cell in ipairs(self.cells) do
      cells[i] = require("tide.layers").get(cell)
      check_cell("StackedRNNCells", cells[i])
      sizes[i] = cells[i].state_size
    end
    if #cells == 0 then
      errors.raise("StackedRNNCells", "needs at least one cell (got an empty list)")
    end
    self.cells = cells
    self.state_size, self.output_size = sizes, output_size(cells[#cells])
  end,
  build = function(self, shape)
    for _, cell in ipairs(self.cells) do
      cell:build(shape)
      shape = list.new { shape[1], output_size(cell) }
    end
  end,
  call = function(self, x, states, o)
    local after = {}
    for i, cell in ipairs(self.cells) do
      local given = states[i]
      local one = is_one(given)
      x, given = cell(x, one and { given } or given, o.training ~= nil
        and { training = o.training } or nil)
      if not is_one(given) and one then
        given = given[1]
      end
      after[i] = given
    end
    return x, after
  end,
  -- The layers of one module, numbered from 0.
  torch = { whole = true, links = function(self, level, backward)
    local out = {}
    for i, cell in ipairs(self.cells) do
      local there = level and cell.torch.links and cell.torch.links(cell, level + i - 1, backward)
      if not there then
        return nil
      end
      table.move(there, 1, #there, #out + 1, out)
    end
    return out
  end },
  get_initial_state = function(self, batch_size)
    local out = {}
    for i, cell in ipairs(self.cells) do
      out[i] = start_of(cell, batch_size)
      if math.type(cell.state_size) == "integer" then
        out[i] = out[i][1]
      end
    end
    return out
  end,
})

-- ---- RNN ----

-- The mask (batch, steps) of a call, checked; nil where there is none.
local function mask_of(self, o, x)
  local mask = o.mask
  if type(mask) == "table" then
    mask = mask[self._input_names[1]] or mask[1]
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
  local mask = mask_of(self, o, x)
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
      cell = recurrent.StackedRNNCells { cell }
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
      self.cell = cell_of(self, recurrent[cell_name], snake)
    end,
    _brief = function(self) return tostring(self.units) end,
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
