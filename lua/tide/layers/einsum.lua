--- EinsumDense: a dense layer whose product is an einsum equation, by Keras' names and options.
--
-- Keras' equations have one of three forms: `abc,cd->abd`, `...x,xy->...y`, `ab...,bc->ac...`.
-- The usual kind, where the last axes of the input meet the first of the kernel and the others stay
-- in their order, is one product of matrices (`as_matrices`); einsum computes the rest.
local S = require "tide.private"
local activations = require "tide.activations"
local base = require "tide.layers.base"
local check = require "tide.check"
local errors = require "tide.errors"
local links = require "tide.layers.links"
local list = require "tide.list"
local lora = require "tide.layers.lora"
local none = require "tide.none"
local ops = require "tide.ops"

local required = check.required
local reshape, linear = ops.reshape, ops.linear

local einsum = {}

-- ---- equations ----

local forms = { { "^(%a+),(%a+)%->(%a+)$" }, { "^%.%.%.(%a+),(%a+)%->%.%.%.(%a+)$", left = true },
  { "^(%a+)%.%.%.,(%a+)%->(%a+)%.%.%.$", right = true } }

-- An equation as { input, kernel, output, left, right }: its letters, and on which side of them
-- "..." stands.
local function parse(equation)
  local text = equation:gsub("%s", "")
  for _, form in ipairs(forms) do
    local input, kernel, output = text:match(form[1])
    if input then
      for letter in output:gmatch "." do
        if not (input .. kernel):find(letter, 1, true) then
          errors.raise("EinsumDense", "the axis '%s' of the result is in neither operand (got \z
            '%s')", letter, equation)
        end
      end
      for letter in kernel:gmatch "." do
        if not (input .. output):find(letter, 1, true) then
          errors.raise("EinsumDense", "the axis '%s' of the kernel is in neither input nor result \z
            (got '%s')", letter, equation)
        end
      end
      return { input = input, kernel = kernel, output = output, left = form.left,
        right = form.right }
    end
  end
  errors.raise("EinsumDense", "the equation has no form that it takes (expected 'ab,bc->ac', \z
    '...ab,bc->...ac' or 'ab...,bc->ac...', got '%s')", equation)
end

-- The sizes of the axes by their letters, and the shape of the result, for an input of this shape.
local function analyze(self, shape)
  local e, given = self[S].equation, self.output_shape
  local hidden = #shape - #e.input
  if hidden < 0 or hidden > 0 and not (e.left or e.right) then
    errors.raise(self:_label(), "the input does not fit the equation '%s' (expected %d axes%s, \z
      got the shape %s)", self.equation, #e.input, (e.left or e.right) and " or more" or "",
      list.format(shape))
  end
  local sizes, full = {}, list.new {}
  local before = e.left and hidden or 0 -- axes of "..." in front of the letters
  for i = 1, #e.input do
    sizes[e.input:sub(i, i)] = shape[before + i]
  end
  for i = 1, before do
    full[i] = shape[i]
  end
  local first = before > 0 and 0 or 1 -- the batch is not in output_shape
  if #given ~= #e.output - first then
    errors.raise(self:_label(), "output_shape does not fit the equation '%s' (expected %d sizes, \z
      got %s)", self.equation, #e.output - first, list.format(given))
  end
  for i = 1, #e.output do
    local letter = e.output:sub(i, i)
    local size, known = i > first and given[i - first] or none, sizes[letter]
    if size ~= none and known and known ~= none and known ~= size then
      errors.raise(self:_label(), "the axis '%s' has two sizes (the input %d, output_shape %d)",
        letter, known, size)
    end
    if i == 1 and first == 1 then
      size = shape[1]
    elseif size == none and known then
      size = known
    end
    sizes[letter] = known and known ~= none and known or size
    full[#full + 1] = size
  end
  for i = #shape - (e.right and hidden or 0) + 1, #shape do
    full[#full + 1] = shape[i]
  end
  return sizes, full, hidden
end

-- The size of an axis that a weight has.
local function size_of(self, sizes, letter, shape)
  if sizes[letter] == none then
    errors.raise(self:_label(), "the size of the axis '%s' must be known (got the input %s and \z
      output_shape %s)", letter, list.format(shape), list.format(self.output_shape))
  end
  return sizes[letter]
end

-- Drawn by the numbers of inputs and outputs that the equation tells, unless the options say which
-- axes these are.
local function initializer_for(self, e)
  local init = self.kernel_initializer
  local args = type(init) == "table" and init.args
  if not (args and args.index.input_axes) or init.input_axes and init.output_axes then
    return init
  end
  local config = init:get_config()
  config.input_axes, config.output_axes = list.new {}, list.new {}
  for i = 1, #e.kernel do
    local axes = e.output:find(e.kernel:sub(i, i), 1, true) and config.output_axes
      or config.input_axes
    axes[#axes + 1] = i
  end
  return getmetatable(init).from_config(config)
end

-- How many axes the input and the kernel sum over and how many the kernel adds, where the equation
-- is a product of matrices: `F C, C O -> F O`, the bias on all of O.
local function as_matrices(e, bias_axes)
  if e.right then
    return nil
  end
  for summed = 1, #e.kernel - 1 do
    local inside, outside = e.kernel:sub(1, summed), e.kernel:sub(summed + 1)
    local free = e.input:sub(1, -summed - 1)
    if e.input:sub(-summed) == inside and e.output == free .. outside
      and (not bias_axes or bias_axes == outside) and not free:find("[" .. e.kernel .. "]") then
      return { summed = summed, added = #outside }
    end
  end
end

local function product_of(shape, from, to)
  local n = 1
  for i = from, to do
    n = n * shape[i]
  end
  return n
end

local function multiply(self, x, plan, word)
  local kernel, bias = self.kernel, self.bias or nil
  local shape, of = x.shape, kernel.shape
  local free = #shape - plan.summed
  if plan.summed > 1 then
    local joined = table.move(shape, 1, free, 1, {})
    joined[free + 1] = product_of(of, 1, plan.summed)
    x = reshape(x, joined)
  end
  if #of > 2 then
    local n = product_of(of, plan.summed + 1, #of)
    kernel = reshape(kernel, { product_of(of, 1, plan.summed), n })
    bias = bias and reshape(bias, { n })
  end
  local y = linear(x, kernel, bias, word)
  if plan.added == 1 then
    return y
  end
  local full = table.move(shape, 1, free, 1, {})
  return reshape(y, table.move(of, plan.summed + 1, #of, free + 1, full))
end

--- A dense layer over the axes that an equation names: `activation(einsum(equation, x, kernel) +
--- bias)`.
--
-- `output_shape`: the sizes of the result after the batch (and after the axes of "..."), tide.none
-- where the input tells them; a number for one. `bias_axes`: the axes of the result that have a
-- bias. As Keras' EinsumDense.
--     tide.layers.EinsumDense { "abc,cde->abde", { tide.none, 2, 3 }, bias_axes = "de" }(
--       tide.ones { 1, 5, 4 }).shape   --> { 1, 5, 2, 3 }
einsum.EinsumDense = base.derive(base, "EinsumDense", lora.extend({
  takes = "tensor",
  args = {
    { "equation", "string", required, "'ab,bc->ac', '...ab,bc->...ac' or 'ab...,bc->ac...'" },
    { "output_shape", { "int", "shape" }, required, "sizes of the result, the batch left out" },
    { "activation", "activation", nil, "applied to the result; linear by default" },
    { "bias_axes", "string", nil, "letters of the result's axes that have a bias" },
    { "kernel_initializer", "initializer", "glorot_uniform" },
    { "bias_initializer", "initializer", "zeros" },
    { "kernel_regularizer", "regularizer" },
    { "bias_regularizer", "regularizer" },
    { "activity_regularizer", "regularizer" },
    { "kernel_constraint", "constraint" },
    { "bias_constraint", "constraint" },
  },
  init = function(self)
    if type(self.output_shape) == "number" then
      self.output_shape = list.new { self.output_shape }
    end
    local own = self[S]
    local e = parse(self.equation)
    own.equation = e
    for letter in (self.bias_axes or ""):gmatch "." do
      if not e.output:find(letter, 1, true) then
        errors.raise("EinsumDense", "the axis '%s' of bias_axes is not in the result (got '%s')",
          letter, self.equation)
      end
    end
    own.plan = as_matrices(e, self.bias_axes)
    local word = self.activation and activations.fused(self.activation)
    own.word, own.after = word ~= "linear" and word or nil, not word and self.activation or nil
  end,
  build = function(self, shape)
    local e = self[S].equation
    local sizes, _, hidden = analyze(self, shape)
    local of = {}
    for i = 1, #e.kernel do
      of[i] = size_of(self, sizes, e.kernel:sub(i, i), shape)
    end
    self.kernel = self:add_weight { of, name = "kernel", initializer = initializer_for(self, e),
      regularizer = self.kernel_regularizer, constraint = self.kernel_constraint }
    self.bias = false
    if self.bias_axes and self.bias_axes ~= "" then
      local bias = {}
      for i = 1, #e.output do
        local letter = e.output:sub(i, i)
        local has = self.bias_axes:find(letter, 1, true)
        if has or #bias > 0 then
          bias[#bias + 1] = has and size_of(self, sizes, letter, shape) or 1
        end
      end
      for _ = 1, e.right and hidden or 0 do
        bias[#bias + 1] = 1
      end
      self.bias = self:add_weight { bias, name = "bias", initializer = self.bias_initializer,
        regularizer = self.bias_regularizer, constraint = self.bias_constraint }
    end
  end,
  call = function(self, x)
    local own = self[S]
    local y
    if own.plan then
      y = multiply(self, x, own.plan, own.word)
      return own.after and own.after(y) or y
    end
    y = ops.einsum(self.equation, x, self.kernel)
    y = self.bias and y + self.bias or y
    return self.activation and self.activation(y) or y
  end,
  compute_output_shape = function(self, shape)
    local _, full = analyze(self, shape)
    return full
  end,
  -- A Linear, where the axes that are summed stand first in the kernel.
  torch = { links = function(self)
    local n = self:_inputs()
    return n and links.list(links.linear("weight", self.kernel, n),
      links.flat("bias", self.bias)) or nil
  end },
  -- How many of the kernel's first axes are summed; nil where others stand between them.
  _inputs = function(self)
    local e, n, outputs = self[S].equation, 0, false
    for letter in e.kernel:gmatch "." do
      local summed = not e.output:find(letter, 1, true)
      if summed and outputs then
        return nil
      end
      outputs, n = not summed, n + (summed and 1 or 0)
    end
    return n
  end,
  _brief = function(self)
    return self.equation
  end,
}, "kernel"))

return einsum
