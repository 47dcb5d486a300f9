--- Helpers that Keras keeps in keras.utils: seeds, one-hot labels, confusion matrices.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local ops = require "tide.ops"

local utils = {}

--- Restarts every generator of Tide: initial weights, dropout, shuffles. Keras:
--- utils.set_random_seed.
---
---     tide.seed(42)
--- @param seed integer
function utils.set_random_seed(seed)
  check.refuse_colon("seed", seed)
  local s = math.tointeger(seed)
  if not s then
    errors.raise("set_random_seed", "seed must be a whole number (got %s)", check.show(seed))
  end
  core.seed(s)
end

local clear_args = check.args("clear_session", {
  { "free_memory", "bool", true, "collect what nothing refers to, and give idle memory back" },
})

--- Starts anew what the process keeps between models: automatic names count from the beginning
--- (`dense`, `dense_1`), and the policy of layers is float32 again. Models that are there stay as
--- they are; there is no global graph that would grow. Keras: utils.clear_session.
---
---     tide.utils.clear_session()
---     tide.layers.Dense(2).name   --> "dense"
--- @param free_memory boolean|nil true when left out
function utils.clear_session(...)
  local o = clear_args:call(...)
  require("tide.object").reset_names()
  require("tide.layers.base")._policy "float32"
  if o.free_memory then
    collectgarbage()
    collectgarbage()
    core.memory_trim()
  end
end

local function as_tensor(x, dtype)
  return core.is_tensor(x) and x or core.tensor(x, { dtype = dtype })
end

-- Labels as integers with axes: whole numbers of any dtype are taken.
local function as_labels(x, dtype)
  x = as_tensor(x, dtype)
  if x.ndim == 0 then
    x = x:reshape { 1 }
  end
  return x.dtype:find "^u?int" and x or x:cast(dtype)
end

local NUM_CLASSES = { "num_classes", "int", nil, "the largest label by default", min = 1 }
local categorical_args = check.args("to_categorical", {
  { "x", "any", check.required, "labels from 1" }, NUM_CLASSES,
})

--- One-hot rows of labels 1..num_classes (num_classes: the largest label by default). Keras:
--- utils.to_categorical.
--- @usage local y = tide.utils.to_categorical({ 1, 3, 2 }, 3)   -- [3, 3]
function utils.to_categorical(...)
  local o = categorical_args:call(...)
  local labels = as_labels(o.x, "int32")
  local n = o.num_classes or (labels.size > 0 and labels:max() or 0)
  if labels.size > 0 and (labels:min() < 1 or labels:max() > n) then
    errors.raise("to_categorical", "labels must be 1..%d (got %d..%d)%s", n, labels:min(),
      labels:max(), labels:min() == 0 and "; these count from 0: add 1" or "")
  end
  return ops.one_hot(labels, n)
end

local confusion_args = check.args("confusion_matrix", {
  { "y_true", "any", check.required, "labels from 1" }, { "y_pred", "any", check.required,
    "labels from 1" },
  NUM_CLASSES,
})

--- Rows: true labels, columns: predicted labels, both 1..num_classes; int64 counts.
--- tf.math.confusion_matrix.
---     tide.utils.confusion_matrix({ 1, 2, 2 }, { 1, 2, 1 })   --> { { 1, 0 }, { 1, 1 } }
function utils.confusion_matrix(...)
  local o = confusion_args:call(...)
  local y_true, y_pred = as_labels(o.y_true, "int64"):reshape { -1 }, as_labels(o.y_pred,
    "int64"):reshape { -1 }
  if #y_true ~= #y_pred then
    errors.raise("confusion_matrix", "the lists differ in length (expected %d, got %d)", #y_true,
      #y_pred)
  end
  local n = o.num_classes
    or math.max(#y_true > 0 and y_true:max() or 0, #y_pred > 0 and y_pred:max() or 0)
  for i, y in ipairs { y_true, y_pred } do
    if #y > 0 and (y:min() < 1 or y:max() > n) then
      errors.raise("confusion_matrix", "%s must hold labels 1..%d (got %d..%d)",
        i == 1 and "y_true" or "y_pred", n,
        y:min(), y:max())
    end
  end
  local cell = (y_true:cast "int64" - 1) * n + y_pred:cast "int64"
  return ops.bincount(cell, { minlength = n * n }):cast("int64"):reshape { n, n }
end

local normalize_args = check.args("normalize", {
  { "x", "any", check.required, "a tensor" }, { "axis", "axis", -1, "axis of the norms" },
  { "order", "number", 2, "of the norm", above = 0 },
})

--- Rows scaled to norm 1 along `axis` (-1), the norm of `order` (2). Keras: utils.normalize.
--- @usage local x = tide.utils.normalize({ { 3, 4 } })   -- 0.6 0.8
function utils.normalize(...)
  local o = normalize_args:call(...)
  local x = as_tensor(o.x)
  if not x.dtype:find "float" then
    x = x:cast "float32"
  end
  local norm = core.ops.vector_norm_(x, { ord = o.order, axis = o.axis, keepdims = true })
  return x / ops.where(norm:equal(0), 1.0, norm)
end

-- Keras keeps these in keras.utils; they are loaded when first used.
local elsewhere = {
  load_img = "tide.preprocessing.image",
  save_img = "tide.preprocessing.image",
  img_to_array = "tide.preprocessing.image",
  array_to_img = "tide.preprocessing.image",
  image_dataset_from_directory = "tide.preprocessing.image",
  pad_sequences = "tide.preprocessing.sequence",
  plot_model = "tide.plot", model_to_dot = "tide.plot",
  text_dataset_from_directory = "tide.data.texts",
  audio_dataset_from_directory = "tide.data.sounds",
  timeseries_dataset_from_array = "tide.data.helpers",
  split_dataset = "tide.data.helpers",
  pack_x_y_sample_weight = "tide.data.helpers",
  unpack_x_y_sample_weight = "tide.data.helpers",
  FeatureSpace = "tide.models.feature_space",
  bounding_boxes = { "tide.ops.boxes" },
}

local clip_args = check.args("clip_by_global_norm", {
  { "gradients", "list", check.required, "list of tensors; false where there is none" },
  { "clip_norm", "number", check.required, "the largest norm of all together", above = 0 },
})

--- Scales all gradients by one factor so that their norm together is at most `clip_norm` (Pascanu
--- et al. 2013). TensorFlow's tf.clip_by_global_norm, PyTorch's clip_grad_norm_; `global_clipnorm`
--- of optimizers does the same within the step.
---
---     tide.utils.clip_by_global_norm({ tide.tensor { 3, 4 } }, 1)[1]   --> { 0.6, 0.8 }
--- @return table list of tensors (false stays false), userdata the norm before
function utils.clip_by_global_norm(...)
  local o = clip_args:call(...)
  local sum
  for i, g in ipairs(o.gradients) do
    if g then
      if not core.is_tensor(g) then
        errors.raise("clip_by_global_norm", "gradient %d must be a tensor (got %s)", i,
          check.show(g))
      end
      local part = ops.sum(ops.square(g))
      sum = sum and sum + part or part
    end
  end
  if not sum then
    return o.gradients, core.tensor(0)
  end
  local norm = ops.sqrt(sum)
  local factor = ops.divide(o.clip_norm, ops.maximum(norm, o.clip_norm))
  local out = {}
  for i, g in ipairs(o.gradients) do
    out[i] = g and ops.multiply(g, factor)
  end
  return out, norm
end

return require("tide.namespace").new("tide.utils", utils, { members = utils, modules = elsewhere })
