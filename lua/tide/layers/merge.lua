--- Layers that join a list of tensors into one.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local core = require "tide.core"
local add_relu = core.ops.add_relu_

local merge = {}

local function is_shape_list(shapes)
  return type(shapes) == "table" and type(shapes[1]) == "table" and shapes[1] ~= none
end

local function check_list(self, shapes, least)
  if not is_shape_list(shapes) or #shapes < least then
    errors.raise(getmetatable(self).__name, "takes a list of at least %d tensor%s (got %s)", least,
      least == 1 and "" or "s", is_shape_list(shapes) and #shapes or "one tensor")
  end
end

-- The common shape of two shapes: the shorter one gets axes of length 1 after the batch.
local function broadcast(name, a, b)
  if #a < #b then
    a, b = b, a
  end
  local out = list.new { (a[1] == none or b[1] == none) and (a[1] ~= none and a[1] or b[1])
    or a[1] }
  for i = 2, #a do
    local m = a[i]
    local at = i - (#a - #b)
    local n = at >= 2 and b[at] or 1
    if m == 1 then
      m = n
    elseif n ~= 1 then
      if m ~= none and n ~= none and m ~= n then
        errors.raise(name, "shapes %s and %s do not fit together", list.format(a), list.format(b))
      end
      m = m == none and n or m
    end
    out[i] = m
  end
  return out
end

-- Gives tensors of lower rank axes of length 1 after the batch.
local function aligned(inputs)
  local most, least = 0, math.huge
  for _, x in ipairs(inputs) do
    local n = x.ndim
    most, least = math.max(most, n), math.min(least, n)
  end
  if most == least then
    return inputs
  end
  local out = {}
  for i, x in ipairs(inputs) do
    for _ = x.ndim + 1, most do
      x = ops.expand_dims(x, 2)
    end
    out[i] = x
  end
  return out
end

local function or_mask(_, _, mask)
  local out
  for _, m in ipairs(mask or {}) do
    if not m then
      return nil
    end
    out = out and ops.logical_or(out, m) or m
  end
  return out
end

-- Whether any of the masks (one per input, or nil) counts; of inputs of several ranks none does.
local function any_mask(inputs, masks)
  local found = false
  for i, x in ipairs(type(masks) == "table" and inputs or {}) do
    if x.ndim ~= inputs[1].ndim then
      return false
    end
    found = found or core.is_tensor(masks[i])
  end
  return found
end

-- A mask with axes of 1 behind, for each element of x.
local function over(mask, x)
  for _ = mask.ndim + 1, x.ndim do
    mask = ops.expand_dims(mask, -1)
  end
  return mask
end

-- What is masked is no factor; what is so in all is 0.
local function masked_product(inputs, masks)
  local y, seen, all = nil, nil, true
  for i, x in ipairs(inputs) do
    local m = masks[i] and over(masks[i], x)
    all = all and m ~= nil and m ~= false
    if m then
      x = ops.where(m, x, ops.ones_like(x))
      seen = seen and ops.logical_or(seen, m) or m
    end
    y = y and ops.multiply(y, x) or x
  end
  return all and ops.where(seen, y, ops.zeros_like(y)) or y
end

-- Of two elements of which one is masked the other stands.
local function masked_choice(op)
  return function(inputs, masks)
    local y, seen
    for i, x in ipairs(inputs) do
      local m = masks[i] and over(masks[i], x) or nil
      if not y then
        y, seen = x, m
      else
        x = m and ops.where(m, x, y) or x
        y = seen and ops.where(seen, y, x) or y
        seen = m and seen and ops.logical_or(seen, m) or nil
        y = op(y, x)
      end
    end
    return y
  end
end

local function define(name, join, exactly, with_masks)
  --- Elementwise over a list of tensors, which broadcast.
  merge[name] = base.derive(base, name, {
    takes = "list",
    args = {},
    supports_masking = true,
    build = function(self, shapes)
      self:compute_output_shape(shapes)
    end,
    call = function(_, inputs, o)
      if exactly and #inputs ~= exactly then
        errors.raise(name, "takes exactly %d tensors (got %d)", exactly, #inputs)
      elseif with_masks and any_mask(inputs, o.mask) then
        return with_masks(inputs, o.mask)
      end
      return join(aligned(inputs))
    end,
    compute_mask = or_mask,
    compute_output_shape = function(self, shapes)
      check_list(self, shapes, exactly or 1)
      if exactly and #shapes ~= exactly then
        errors.raise(name, "takes exactly %d tensors (got %d)", exactly, #shapes)
      end
      local out = shapes[1]
      for i = 2, #shapes do
        out = broadcast(name, out, shapes[i])
      end
      return out
    end,
  })
end

local function folded(op)
  return function(inputs)
    local y = inputs[1]
    for i = 2, #inputs do
      y = op(y, inputs[i])
    end
    return y
  end
end

local add = folded(ops.add)
--- Sums of tensors.
--     tide.layers.Add()({ tide.ones { 1, 2 }, tide.ones { 1, 2 } })   --> { { 2, 2 } }
define("Add", add)
-- The layer and a plain relu behind it, in one op (see tide.graph.fuse).
merge.Add.fuse = { relu = function(_, inputs)
  if #inputs == 2 and inputs[1].ndim == inputs[2].ndim and inputs[1].ndim > 0 then
    return add_relu(inputs[1], inputs[2])
  end
  return ops.relu(add(aligned(inputs)))
end }
--- The first tensor minus the second.
--     tide.layers.Subtract()({ tide.ones { 1, 2 }, tide.ones { 1, 2 } })   --> { { 0, 0 } }
define("Subtract", folded(ops.subtract), 2)
--- Products of tensors; where steps are masked, of those that are not (0 where all are), as Keras.
--     tide.layers.Multiply()({ tide.ones { 1, 2 }, tide.zeros { 1, 2 } })   --> { { 0, 0 } }
define("Multiply", folded(ops.multiply), nil, masked_product)
--- Means of tensors.
--     tide.layers.Average()({ tide.zeros { 1, 2 }, tide.ones { 1, 2 } })   --> { { 0.5, 0.5 } }
define("Average", function(inputs)
  return add(inputs) / #inputs
end)
--- The larger elements of tensors, of those that are not masked.
--     tide.layers.Maximum()({ tide.zeros { 1, 2 }, tide.ones { 1, 2 } })   --> { { 1, 1 } }
define("Maximum", folded(ops.maximum), nil, masked_choice(ops.maximum))
--- The smaller elements of tensors, of those that are not masked.
--     tide.layers.Minimum()({ tide.zeros { 1, 2 }, tide.ones { 1, 2 } })   --> { { 0, 0 } }
define("Minimum", folded(ops.minimum), nil, masked_choice(ops.minimum))

--- Joins tensors along an axis (2 is the first after the batch).
--     tide.layers.Concatenate()({ tide.ones { 2, 3 }, tide.ones { 2, 1 } }).shape   --> { 2, 4 }
merge.Concatenate = base.derive(base, "Concatenate", {
  takes = "list",
  args = { { "axis", "axis", -1, "axis to join", batch = false } },
  supports_masking = true,
  init = function(self)
    self[S].options = { axis = self.axis }
  end,
  build = function(self, shapes)
    self:compute_output_shape(shapes)
  end,
  call = function(self, inputs)
    return ops.concatenate(inputs, self[S].options)
  end,
  compute_output_shape = function(self, shapes)
    check_list(self, shapes, 1)
    local first = shapes[1]
    local axis = self.axis < 0 and #first + 1 + self.axis or self.axis
    if axis == 1 or axis > #first then
      errors.raise("Concatenate", "axis %d is not an axis after the batch (input %s)", self.axis,
        list.format(first))
    end
    local out = list.copy(first)
    for i = 2, #shapes do
      local shape = shapes[i]
      local fits = #shape == #first
      for k = 1, fits and #shape or 0 do
        local m, n = out[k], shape[k]
        if k == axis then
          out[k] = (m == none or n == none) and none or m + n
        elseif m == none then
          out[k] = n
        elseif n ~= none and m ~= n then
          fits = false
        end
      end
      if not fits then
        errors.raise("Concatenate", "shapes must agree but for axis %d (got %s and %s)", self.axis,
          list.format(first), list.format(shape))
      end
    end
    return out
  end,
  compute_mask = function(self, inputs, mask)
    if not mask then
      return nil
    end
    local parts = {}
    for i, x in ipairs(inputs) do
      local m = mask[i] or nil
      if m == nil then
        parts[i] = ops.ones(x.shape, { dtype = "bool" })
      elseif m.ndim < x.ndim then
        parts[i] = ops.copy(ops.broadcast_to(ops.expand_dims(m, -1), x.shape))
      else
        parts[i] = m
      end
    end
    return ops.any(ops.concatenate(parts, self[S].options), { axis = -1 })
  end,
})

-- Products over axis a of x1 and axis b of x2 (numbers after resolving), batch by batch.
local function batch_dot(x1, x2, a, b)
  local s1, s2 = x1.shape, x2.shape
  local order1, order2, rest1, rest2 = { 1 }, { 1, b }, {}, {}
  for i = 2, #s1 do
    if i ~= a then
      order1[#order1 + 1] = i
      rest1[#rest1 + 1] = s1[i]
    end
  end
  order1[#order1 + 1] = a
  for i = 2, #s2 do
    if i ~= b then
      order2[#order2 + 1] = i
      rest2[#rest2 + 1] = s2[i]
    end
  end
  local n, k = s1[1], s1[a]
  local m1 = ops.reshape(ops.transpose(x1, order1), { n, -1, k })
  local m2 = ops.reshape(ops.transpose(x2, order2), { n, k, -1 })
  local out = { n }
  table.move(rest1, 1, #rest1, 2, out)
  table.move(rest2, 1, #rest2, #out + 1, out)
  if #out == 1 then
    out[2] = 1
  end
  return ops.reshape(ops.matmul(m1, m2), out)
end

--- Sums of products of two tensors over one axis of each; with `normalize`, cosines.
--     tide.layers.Dot { axes = 2 }({ tide.ones { 1, 3 }, tide.ones { 1, 3 } })   --> { { 3 } }
merge.Dot = base.derive(base, "Dot", {
  takes = "list",
  args = {
    {
      "axes", "axes", check.required,
      "one axis, or one for each tensor; 2 is the first after the batch", batch = false },
    { "normalize", "bool", false, "divide by the norms first" },
  },
  supports_masking = true,
  init = function(self)
    if type(self.axes) == "table" and #self.axes ~= 2 then
      errors.raise("Dot", "axes is one axis or a list of two (got %s)", tostring(self.axes))
    end
  end,
  _resolve = function(self, n1, n2)
    local axes = type(self.axes) == "table" and self.axes or { self.axes, self.axes }
    local a, b = axes[1], axes[2]
    return a < 0 and n1 + 1 + a or a, b < 0 and n2 + 1 + b or b
  end,
  build = function(self, shapes)
    self:compute_output_shape(shapes)
  end,
  call = function(self, inputs)
    if #inputs ~= 2 then
      errors.raise("Dot", "takes exactly 2 tensors (got %d)", #inputs)
    end
    local x1, x2 = inputs[1], inputs[2]
    local a, b = self:_resolve(x1.ndim, x2.ndim)
    if a < 2 or b < 2 or a > x1.ndim or b > x2.ndim then
      self:compute_output_shape { x1.shape, x2.shape }
    end
    if self.normalize then
      x1 = ops.normalize(x1, { axis = a, order = 2, epsilon = 1e-12 })
      x2 = ops.normalize(x2, { axis = b, order = 2, epsilon = 1e-12 })
    end
    return batch_dot(x1, x2, a, b)
  end,
  compute_mask = function()
    return nil
  end,
  compute_output_shape = function(self, shapes)
    check_list(self, shapes, 2)
    if #shapes ~= 2 then
      errors.raise("Dot", "takes exactly 2 tensors (got %d)", #shapes)
    end
    local s1, s2 = shapes[1], shapes[2]
    local a, b = self:_resolve(#s1, #s2)
    if a < 2 or b < 2 or a > #s1 or b > #s2 then
      errors.raise("Dot", "axes must lie after the batch (got %s; inputs %s and %s)",
        type(self.axes) == "table" and tostring(self.axes) or self.axes, list.format(s1),
          list.format(s2))
    end
    if s1[a] ~= none and s2[b] ~= none and s1[a] ~= s2[b] then
      errors.raise("Dot", "axes have different sizes, %d and %d (inputs %s and %s)", s1[a], s2[b],
        list.format(s1), list.format(s2))
    end
    local out = list.new { s1[1] }
    for i = 2, #s1 do
      if i ~= a then
        out[#out + 1] = s1[i]
      end
    end
    for i = 2, #s2 do
      if i ~= b then
        out[#out + 1] = s2[i]
      end
    end
    if #out == 1 then
      out[2] = 1
    end
    return out
  end,
})

--- The cosine of the angle between two tensors along an axis, which the result lacks: the product
--- of both, each divided by its norm, at least `epsilon`. They broadcast. As
--- torch.nn.CosineSimilarity.
--     tide.layers.CosineSimilarity()({ tide.ones { 1, 2 }, tide.ones { 1, 2 } })   --> { 1 }
merge.CosineSimilarity = base.derive(base, "CosineSimilarity", {
  takes = "list",
  args = {
    { "axis", "axis", -1, "axis of the vectors; 2 is the first after the batch", batch = false },
    { "epsilon", "number", 1e-8, "least norm", min = 0 },
  },
  supports_masking = true,
  build = function(self, shapes)
    self:compute_output_shape(shapes)
  end,
  call = function(self, inputs)
    if #inputs ~= 2 then
      errors.raise("CosineSimilarity", "takes exactly 2 tensors (got %d)", #inputs)
    end
    local x = aligned(inputs)
    local options = { axis = self.axis, order = 2, epsilon = self.epsilon }
    return ops.sum(ops.normalize(x[1], options) * ops.normalize(x[2], options),
      { axis = self.axis })
  end,
  compute_mask = or_mask,
  compute_output_shape = function(self, shapes)
    check_list(self, shapes, 2)
    if #shapes ~= 2 then
      errors.raise("CosineSimilarity", "takes exactly 2 tensors (got %d)", #shapes)
    end
    local out = broadcast("CosineSimilarity", shapes[1], shapes[2])
    local at = self.axis < 0 and #out + 1 + self.axis or self.axis
    if at < 2 or at > #out then
      errors.raise("CosineSimilarity", "axis must lie after the batch (got %d; inputs %s and %s)",
        self.axis, list.format(shapes[1]), list.format(shapes[2]))
    end
    table.remove(out, at)
    return out
  end,
})

return merge
