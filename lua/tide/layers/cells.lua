--- The cells of recurrent layers, by Keras' names and options: one step, `output, states = cell(x,
--- states)`, x being (batch, features) and `states` a list of tensors.
local S = require "tide.private"
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

local cells = {}

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
    local _ <close> = core.scope_pause() -- later steps use them
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
  cells[name] = base.derive(Cell, name, def)
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
cells.StackedRNNCells = base.derive(base, "StackedRNNCells", {
  args = { { "cells", "list", required, "cells, the first one first" } },
  list_first = true,
  inputs = { "inputs", "states" },
  takes = { inputs = "tensor" },
  init = function(self)
    local inside, sizes = {}, {}
    for i, cell in ipairs(self.cells) do
      inside[i] = require("tide.layers").get(cell)
      check_cell("StackedRNNCells", inside[i])
      sizes[i] = inside[i].state_size
    end
    if #inside == 0 then
      errors.raise("StackedRNNCells", "needs at least one cell (got an empty list)")
    end
    self.cells = inside
    self.state_size, self.output_size = sizes, output_size(inside[#inside])
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

-- What the layers that run cells build on.
cells.parts = { is_one = is_one, units = units, activation = activation, gate = gate, use_bias =
  use_bias, forget = forget, dropouts = dropouts, seed = seed, reset_after = reset_after,
  weight_rows = weight_rows, sequence_rows = sequence_rows, zero_output = zero_output, fused_row =
  fused_row, join = join, map_states = map_states, flatten = flatten, state_sizes = state_sizes,
  output_size = output_size, check_cell = check_cell, start_of = start_of, Cell = Cell,
  dropout_masks = dropout_masks, apply = apply, forget_bias = forget_bias }

return cells
