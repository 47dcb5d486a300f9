--- Options of calls and masks of attention, as its layers take them: of steps, of scores, and of
--- places.
--
-- A mask is a bool tensor, true where a query may look, or nil, which hides nothing. Scores are
-- (batch, heads, T, S), of T queries and S keys.
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"

local reshape = ops.reshape

local masks = {}

-- A mask as bool; nil where there is none.
local function bool(mask)
  if mask == nil or mask == false or mask == none then
    return nil
  end
  mask = ops.convert_to_tensor(mask)
  return mask.dtype == "bool" and mask or ops.cast(mask, "bool")
end

-- A mask (batch, length) of one of the inputs.
local function step_mask(self, name, mask, x)
  mask = bool(mask)
  if mask and (mask.ndim ~= 2 or mask.shape[1] ~= x.shape[1] or mask.shape[2] ~= x.shape[2]) then
    errors.raise(self:_label(), "the mask of %s must have one value per step (expected the shape \z
      %s, got %s)", name, list.format { x.shape[1], x.shape[2] }, list.format(mask.shape))
  end
  return mask
end

local function both(a, b)
  return a and b and ops.logical_and(a, b) or a or b
end

local function product_of(shape, from, to)
  local n = 1
  for i = from, to do
    n = n * shape[i]
  end
  return n
end

-- The attention mask as (batches, heads, T, S), sizes of 1 standing for all. As in Keras, axes that
-- it lacks come before those of the attended steps.
local function explicit_mask(self, mask, scores, attended)
  mask = bool(mask)
  if not mask then
    return nil
  end
  local rank, given = #scores, mask.shape
  local steps = 2 * attended
  local lacks = rank - #given
  local fits = #given >= steps and lacks >= 0
  local full = {}
  for i = 1, fits and rank or 0 do
    -- what stands before the attended axes is counted from the batch
    local at = i > rank - steps and i - lacks or i <= #given - steps and i or nil
    full[i] = at and given[at] or 1
    fits = fits and (full[i] == 1 or full[i] == scores[i])
  end
  if not fits then
    errors.raise(self:_label(), "attention_mask has the wrong shape (expected one that broadcasts \z
      to %s, got %s)", list.format(scores), list.format(given))
  end
  mask = reshape(mask, full)
  if rank == 4 then
    return mask
  end
  local groups = { { 1, rank - steps - 1 }, { rank - steps, rank - steps },
    { rank - steps + 1, rank - attended }, { rank - attended + 1, rank } }
  local wide, out = {}, {}
  for g, range in ipairs(groups) do
    local n = product_of(full, range[1], range[2])
    for i = range[1], range[2] do
      wide[i] = n == 1 and 1 or scores[i]
    end
    out[g] = product_of(wide, range[1], range[2])
  end
  return reshape(ops.broadcast_to(mask, wide), out)
end

-- Which keys queries see by their positions, of which the first has `offset` keys before it:
-- (1, 1, T, S); nil where they see all.
local function position_mask(causal, window, t, s, offset)
  if not causal and not window then
    return nil
  end
  offset = offset or 0
  local i = ops.expand_dims(ops.arange(offset, t + offset, 1, "int32"), 2)
  local j = ops.expand_dims(ops.arange(0, s, 1, "int32"), 1)
  local mask = causal and ops.greater_equal(i, j)
  if window then
    mask = both(mask, ops.less(ops.abs(i - j), window))
  end
  return reshape(mask, { 1, 1, t, s })
end

-- What the mask of the call says of an input; an option by its own name goes before.
local function given_mask(o, name)
  local own = o[name .. "_mask"]
  if own ~= nil then
    return own
  end
  local mask = o.mask
  if type(mask) == "table" then
    local at = name == "query" and 1 or name == "value" and 2 or 3
    local one = mask[name]
    if one == nil then
      one = mask[at]
    end
    return one
  end
  return name == "query" and mask or nil
end

-- The masks of steps: of the queries, and of the keys that value and key hide; nil for none.
local function step_masks(self, query, value, key, o)
  return step_mask(self, "query", given_mask(o, "query"), query),
    both(step_mask(self, "value", given_mask(o, "value"), value),
      key and step_mask(self, "key", given_mask(o, "key"), key))
end

masks.bool, masks.both, masks.product_of = bool, both, product_of
masks.step, masks.steps, masks.explicit = step_mask, step_masks, explicit_mask
masks.places = position_mask

return masks
