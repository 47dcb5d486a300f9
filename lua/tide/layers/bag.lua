--- EmbeddingBag: vectors looked up by id and joined, with PyTorch's numbers.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"

local bag = {}

-- Vectors (batch, n, d) of each bag joined over n; `weight` (batch, n, 1): 0 for what is left out.
local joins = {}
function joins.sum(x, weight)
  return ops.sum(weight and x * weight or x, { axis = 2 })
end
function joins.mean(x, weight)
  if not weight then
    return ops.mean(x, { axis = 2 })
  end
  return ops.sum(x * weight, { axis = 2 }) / ops.maximum(ops.sum(weight, { axis = 2 }), 1)
end
function joins.max(x, weight)
  if not weight then
    return ops.max(x, 2)
  end
  local kept = ops.not_equal(weight, 0)
  local y = ops.max(ops.where(kept, x, -math.huge), 2)
  return ops.where(ops.any(kept, { axis = 2 }), y, 0)
end

-- Vectors (n, d) of all bags in one row, joined by the numbers of their bags.
local rows = {}
function rows.sum(x, ids, n, weight)
  return ops.segment_sum(weight and x * weight or x, ids, n)
end
function rows.mean(x, ids, n, weight)
  local count = weight or ops.ones({ x.shape[1], 1 }, { dtype = x.dtype })
  return rows.sum(x, ids, n, weight) / ops.maximum(ops.segment_sum(count, ids, n), 1)
end
function rows.max(x, ids, n, weight)
  local y = ops.segment_max(weight and ops.where(ops.not_equal(weight, 0), x, -math.huge) or x, ids,
    n)
  return ops.where(ops.equal(y, -math.huge), 0, y)
end

-- Where bags begin must rise from 1.
local function check_offsets(self, offsets, n)
  if offsets.ndim ~= 1 or offsets.dtype:find("float", 1, true) then
    errors.raise(self:_label(), "offsets must be one row of whole numbers (got %s of shape %s)",
      offsets.dtype, tostring(offsets.shape))
  end
  local before = 1
  for i, v in ipairs(offsets:tolist()) do
    if i == 1 and v ~= 1 or v < before or v > n + 1 then
      errors.raise(self:_label(), "offsets must begin with 1, rise and stay within the ids \z
        (expected %s, got %d at %d)", i == 1 and "1" or ("%d to %d"):format(before, n + 1), v, i)
    end
    before = v
  end
end

--- Vectors looked up by id, as an Embedding's, and joined: (batch, n) of integers becomes (batch,
--- output_dim), the "mean", "sum" or "max" of each row's n vectors.
--
-- Ids count as an Embedding's: from 1; with `mask_zero` from 0, and 0 is padding that no bag
-- counts; nor does it count what a mask leaves out. Bags of different lengths come as one row of
-- ids with `offsets`, where each bag begins, from 1: `layer(ids, { offsets = offsets })`.
-- `per_sample_weights`, of the ids' shape, multiply the vectors of a "sum". A bag of nothing is 0.
-- As torch.nn.EmbeddingBag.
--     tide.layers.EmbeddingBag { 100, 8 }(tide.tensor({ { 1, 5, 3 } }, { dtype = "int32" })).shape
--     --> { 1, 8 }
bag.EmbeddingBag = base.derive(base, "EmbeddingBag", {
  inputs = { "ids", "offsets", "per_sample_weights" },
  takes = { ids = "tensor", offsets = "tensor", per_sample_weights = "tensor" },
  args = {
    { "input_dim", "int", check.required, "number of ids", min = 1 },
    { "output_dim", "int", check.required, "length of each vector", min = 1 },
    { "mode", "enum", "mean", "how the vectors of a bag are joined", of = "sum|mean|max" },
    { "embeddings_initializer", "initializer", "uniform" },
    { "embeddings_regularizer", "regularizer" },
    { "embeddings_constraint", "constraint" },
    { "mask_zero", "bool", false, "0 is padding: a row of its own, which no bag counts" },
    { "zero_based", "bool", false, "ids count from 0", own = true },
  },
  keeps_dtype = true,
  init = function(self)
    self[S].base = (self.mask_zero or self.zero_based) and 0 or 1
  end,
  build = function(self)
    self.embeddings = self:add_weight { { self.input_dim, self.output_dim }, name = "embeddings",
      initializer = self.embeddings_initializer, regularizer = self.embeddings_regularizer,
      constraint = self.embeddings_constraint, autocast = false }
  end,
  call = function(self, ids, offsets, weights, o)
    local rank = offsets and 1 or 2
    if ids.ndim ~= rank then
      errors.raise(self:_label(),
        offsets and "with offsets the ids must be one row (expected [n], got %s)"
          or "the ids must have 2 axes, or offsets must say where bags begin (expected \z
            [batch, n], got %s)", tostring(ids.shape))
    elseif weights and self.mode ~= "sum" then
      errors.raise(self:_label(), "per_sample_weights go with mode 'sum' alone (got '%s')",
        self.mode)
    elseif weights and not list.equal(weights.shape, ids.shape) then
      errors.raise(self:_label(), "per_sample_weights must have the ids' shape (expected %s, got \z
        %s)", tostring(ids.shape), tostring(weights.shape))
    end
    local x = ops.embedding(self.embeddings, ids, self[S].base)
    local dtype = self[S].compute or x.dtype
    x = x.dtype == dtype and x or ops.cast(x, dtype)
    local kept = self.mask_zero and ops.not_equal(ids, 0) or nil
    local mask = type(o.mask) == "table" and o.mask.ids or o.mask
    if mask then
      kept = kept and ops.logical_and(kept, mask) or mask
    end
    local weight = kept and ops.cast(kept, dtype)
    if weights then
      weights = ops.cast(weights, dtype)
      weight = weight and weight * weights or weights
    end
    weight = weight and ops.expand_dims(weight, -1)
    if not offsets and ids.shape[2] == 0 then
      return joins.sum(x)
    elseif not offsets then
      return joins[self.mode](x, weight)
    end
    check_offsets(self, offsets, ids.shape[1])
    local places = ops.arange(1, ids.shape[1] + 1, { dtype = "int64" })
    local numbers = ops.searchsorted(ops.cast(offsets, "int64"), places, "right", 0)
    return rows[self.mode](x, numbers, offsets.shape[1], weight)
  end,
  compute_output_shape = function(self, shape, offsets)
    return list.new { offsets and offsets[1] or #shape > 1 and shape[1] or none, self.output_dim }
  end,
  _brief = function(self)
    return self.input_dim .. " x " .. self.output_dim
  end,
})

return bag
