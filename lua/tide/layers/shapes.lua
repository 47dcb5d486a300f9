--- Shapes that a person gives to a layer's methods.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local origin = require "tide.origin"

local shapes = {}

local NESTED = 16 -- lists of shapes in lists: a table that holds itself has no end

--- A shape, or a list or table of shapes, as a person writes it.
--- @param where string the method that messages name
--- @param v any
--- @param depth integer|nil
function shapes.read(where, v, depth)
  depth = depth or 1
  local first = list.is(v) and v[1]
  if type(first) == "number" or first == none then
    return v -- a layer's or a tensor's own
  elseif not check.is_list(v) or depth > NESTED then
    errors.raise(where, "takes the shape of the input, batch first (got %s)", check.show(v))
  elseif type(v[1]) == "table" and v[1] ~= none or (#v == 0 and next(v) ~= nil) then
    local out = {}
    for k, x in pairs(v) do
      out[k] = shapes.read(where, x, depth + 1)
    end
    return out
  end
  local shape, expected = check.types.shape(v)
  if not shape then
    errors.raise(where, "takes %s (got %s)", expected, check.show(v))
  end
  return shape
end

-- The shape of input number `i`: one where the layer takes a tensor there, a list of them where it
-- takes a list.
local function of_input(self, i, v)
  local shape = shapes.read("compute_output_shape", v)
  local takes, one = self:_takes(i), list.is(shape)
  if one and takes == "list" or not one and takes == "tensor" then
    errors.raise("compute_output_shape", "%s takes %s (got %s)", self:_label(),
      one and "a list of shapes" or "one shape", check.show(v))
  end
  return shape
end

--- `compute_output_shape` of a class as a person calls it: what it is given are shapes.
--- @param f fun(self, shape, ...)
local function shapes_checked(f)
  return origin.wraps(function(self, first, ...)
    first = of_input(self, 1, first)
    local n = select("#", ...)
    if n == 0 then
      return f(self, first)
    end
    local more = { ... }
    for i = 1, n do
      more[i] = more[i] ~= nil and of_input(self, i + 1, more[i]) or nil
    end
    return f(self, first, table.unpack(more, 1, n))
  end, f)
end

-- Whether a value may be a mask: none, a tensor, or an object that stands for one.
local function may_be_mask(v)
  return not v or core.is_tensor(v) or type(v) == "table" and getmetatable(v) ~= nil
end

--- `compute_mask` of a class as a person calls it: after the inputs comes a mask, or a list or
--- table of them.
--- @param f fun(self, inputs, mask)
local function masked(f)
  return origin.wraps(function(self, inputs, mask, ...)
    if self.takes == "list" and mask then
      for _, x in ipairs(check.is_plain(inputs) and inputs or { false }) do
        if not x or not may_be_mask(x) then -- a tensor, or what stands for one
          errors.raise("compute_mask", "%s takes a list of tensors (got %s)", self:_label(),
            check.show(inputs))
        end
      end
    end
    local wrong = not may_be_mask(mask) and not check.is_plain(mask)
    for _, m in pairs(check.is_plain(mask) and mask or {}) do
      wrong = wrong or not may_be_mask(m)
    end
    if wrong then
      errors.raise("compute_mask", "%s takes a mask, or a list of masks (got %s)", self:_label(),
        check.show(mask))
    end
    return f(self, inputs, mask, ...)
  end, f)
end

shapes.checked = shapes_checked
shapes.methods = { compute_output_shape = shapes_checked, compute_mask = masked } -- of `def`

return shapes
