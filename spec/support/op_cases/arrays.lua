-- Reductions, layout, indexing, sorting. The reference file holds one entry per call; what it
-- cannot say stands here. A new op needs a row at the end only, with values of its own.
local ref = dofile "spec/ref/arrays.lua"

local same = { float32 = "float32", float64 = "float64", int32 = "int32", int64 = "int64",
  uint8 = "uint8", int8 = "int8", bool = "bool" }
local summed = { float32 = "float32", float64 = "float64", int32 = "int32", int64 = "int64",
  uint8 = "int32", int8 = "int32", bool = "int32" }
local floating = { float32 = "float32", float64 = "float64", int32 = "float32", int64 = "float32",
  bool = "float32" }
local positions = { float32 = "int64", float64 = "int64", int32 = "int64", int64 = "int64",
  uint8 = "int64" }
local truth = { float32 = "bool", float64 = "bool", int32 = "bool", int64 = "bool", uint8 = "bool",
  bool = "bool" }
local floats = { float32 = "float32", float64 = "float64" }

local no_axis = { options = { axis = 4 }, says = "no axis 4 in a tensor of 3 axes" }
local twice = { options = { axis = { 1, -3 } }, says = "axis 1 is named twice" }
local no_element = { inputs = { { shape = { 2, 0 } } },
  says = "no element to choose from in [2, 0]" }

-- Per op: what its first row adds to the reference's entry. `second`: its derivative depends on the
-- input.
local facts = {
  sum = { dtypes = summed, errors = { no_axis, twice },
    empty = { inputs = { { 0, 3 } }, output = {} } },
  prod = { dtypes = summed, second = true, errors = { no_axis },
    empty = { inputs = { { 0, 3 } }, output = {} } },
  mean = { dtypes = floating, errors = { no_axis } },
  max = { dtypes = same, errors = { no_axis, no_element } },
  min = { dtypes = same, errors = { no_axis, no_element } },
  var = { dtypes = floating, second = true, errors = { no_axis } },
  std = { dtypes = floating, second = true },
  logsumexp = { dtypes = floating, second = true, errors = { no_axis } },
  any = { dtypes = truth, errors = { no_axis } },
  all = { dtypes = truth },
  count_nonzero = { dtypes = { float32 = "int32", int64 = "int32", bool = "int32" } },
  argmax = { dtypes = positions, errors = { no_axis, no_element } },
  argmin = { dtypes = positions, errors = { no_axis } },
  cumsum = { dtypes = summed, errors = { no_axis } },
  cumprod = { dtypes = summed, second = true },
  copy = { dtypes = same, empty = { inputs = { { 0, 3 } }, output = { 0, 3 } } },
  cast = { dtypes = { float32 = "int32", float64 = "int32", bool = "int32" }, grad = false },
  broadcast_to = {
    dtypes = same,
    errors = { { options = { shape = { 2, 5 } }, says = "broadcast" },
      { options = { shape = { -1 } }, says = "negative extent" } },
  },
  transpose = { dtypes = same, errors = { { options = { axes = { 1, 2 } },
    says = "axes must name every axis once (expected 3, got 2)" } } },
  reshape = {
    dtypes = same,
    errors = { { options = { newshape = { 5, 5 } }, says = "24 elements" },
      { options = { newshape = { -1, -1 } }, says = "one extent may be -1" } },
    empty = { inputs = { { 0, 3 } }, options = { newshape = { 3, 0 } }, output = { 3, 0 } },
  },
  ravel = { dtypes = same, empty = { inputs = { { 0, 3 } }, output = { 0 } } },
  expand_dims = { dtypes = same, errors = { { options = { axis = 4 },
    says = "no axis 4 in a tensor of 2 axes" } } },
  squeeze = { dtypes = same, errors = { { options = { axis = 2 },
    says = "axis 2 of [1, 6, 1] cannot be dropped (expected length 1, got 6)" } } },
  swapaxes = { dtypes = same, errors = { { options = { axis1 = 1, axis2 = 5 },
    says = "no axis 5" } } },
  moveaxis = { dtypes = same, errors = { { options = { source = { 1, 2 }, destination = { 1 } },
    says = "source and destination differ in length" } } },
  diagonal = { dtypes = same, errors = { { options = { axis1 = 1, axis2 = 1 },
    says = "axis1 and axis2 are both 1" } } },
  diag = { dtypes = same, errors = { { inputs = { { shape = { 2, 2, 2 } } },
    says = "x must have one or two axes (got 3)" } } },
  tril = { dtypes = same, errors = { { inputs = { { shape = { 2 } } },
    says = "x needs two axes (got 1)" } } },
  triu = { dtypes = same },
  stop_gradient = { dtypes = same, grad = false },
  concatenate = {
    dtypes = {},
    errors = {
      { inputs = { { list = { { shape = { 2, 3 } }, { shape = { 3, 4 } } } } },
        options = { axis = 2 }, says = "expected [2, 3], got [3, 4]" },
      { inputs = { { list = {} } }, says = "at least one tensor" },
    },
  },
  stack = {
    dtypes = {},
    errors = { { inputs = { { list = { { shape = { 2, 3 } }, { shape = { 3, 3 } } } } },
      says = "tensor 2 has another shape than the first (expected [2, 3], got [3, 3])" } },
  },
  pad = {
    dtypes = same,
    errors = {
      { options = { pad_width = { { 1, -1 } } }, says = "pad_width of axis 1 is negative" },
      { options = { pad_width = { { 1, 1 }, { 1, 1 } } },
        says = "pad_width needs one pair per axis (expected 3, got 2)" },
      { options = { pad_width = 1, mode = "wrap" },
        says = "mode must be one of constant|reflect|symmetric|edge" },
    },
    empty = { inputs = { { 0, 3 } }, options = { pad_width = 1 }, output = { 2, 5 } },
  },
  tile = { dtypes = same, errors = { { options = { repeats = { -1 } },
    says = "repeats must not be negative" } } },
  rep = { dtypes = same, errors = { { options = { repeats = -1 },
    says = "repeats must not be negative" } } },
  flip = { dtypes = same, errors = { no_axis } },
  roll = { dtypes = same, errors = { { options = { shift = { 1, 2, 3 }, axis = { 1, 2 } },
    says = "shift needs one number per axis (expected 2, got 3)" } } },
  take = {
    dtypes = same,
    errors = {
      { inputs = { { shape = { 3, 2 } }, { values = { 1, 0 }, dtype = "int32" } },
        options = { axis = 1 }, says = "indices[2] is out of range (expected 1..3, got 0)" },
      { inputs = { { shape = { 3, 2 } }, { values = { 1, 4 }, dtype = "int32" } },
        options = { axis = 1 }, says = "out of range (expected 1..3, got 4)" },
      { inputs = { { shape = { 3, 2 } }, { values = { 1.5 }, dtype = "float32" } },
        says = "indices must hold whole numbers" },
    },
  },
  take_along_axis = {
    dtypes = same,
    errors = { { inputs = { { shape = { 3, 2 } }, { values = { { 1, 1, 1 } }, dtype = "int32" } },
      options = { axis = 1 }, says = "indices do not fit x" } },
  },
  gather_nd = {
    dtypes = same,
    errors = {
      { inputs = { { shape = { 3, 2 } }, { values = { { 4, 1 } }, dtype = "int32" } },
        says = "out of range (expected 1..3, got 4)" },
      { inputs = { { shape = { 3 } }, { values = { { 1, 1 } }, dtype = "int32" } },
        says = "rows of indices name more axes than x has" },
    },
  },
  scatter = {
    dtypes = {},
    errors = {
      { inputs = { { values = { { 9 } }, dtype = "int32" }, { shape = { 1 } } },
        options = { shape = { 3 } }, says = "out of range (expected 1..3, got 9)" },
      { inputs = { { values = { { 1 } }, dtype = "int32" }, { shape = { 2 } } },
        options = { shape = { 3 } }, says = "values has the wrong shape (expected [1], got [2])" },
    },
  },
  scatter_update = {
    dtypes = { float32 = "float32", float64 = "float64" },
    errors = { { inputs = { { shape = { 3 } }, { values = { { 0 } }, dtype = "int32" },
      { shape = { 1 } } }, says = "out of range (expected 1..3, got 0)" } },
  },
  put_rows = { dtypes = floats },
  slice = {
    dtypes = same,
    errors = { { options = { start_indices = { 1, 1, 4 }, shape = { 1, 1, 2 } },
      says = "a block of 2 from 4 lies outside of axis 3 of [3, 2, 4]" } },
  },
  slice_update = { dtypes = floats, errors = { { options = { start_indices = { 3, 1, 1 } },
    says = "lies outside of axis 1" } } },
  boolean_mask = { dtypes = same, errors = { { inputs = { { shape = { 3 } },
    { values = { true }, dtype = "bool" } },
    says = "the mask does not cover the leading axes of x" } } },
  one_hot = {
    dtypes = {},
    errors = { { inputs = { { values = { 1, 4 }, dtype = "int32" } }, options = { num_classes = 3 },
      says = "x[2] is out of range (expected 1..3, got 4)" } },
  },
  flatnonzero = { dtypes = positions },
  bincount = { dtypes = {}, grad = false,
    errors = { { inputs = { { values = { 1, 0 }, dtype = "int32" }, false },
    says = "x[2] is out of range (expected 1 or more, got 0)" } } },
  sort = { dtypes = same, errors = { no_axis } },
  argsort = { dtypes = positions, errors = { no_axis } },
  top_k = { dtypes = { float32 = "float32", float64 = "float64", int32 = "int32" },
    errors = {
    { options = { k = 9 }, says = "k is out of range for [3, 2, 4] (expected 0..4, got 9)" } } },
  searchsorted = { dtypes = positions, errors = { { inputs = { { shape = { 2, 2 } },
    { shape = { 2 } } }, says = "sorted_sequence must have one axis (got 2)" } } },
  digitize = { dtypes = positions },
}

-- Entries whose inputs have no slope: NaN, infinities, ties.
local flat = { max_8 = true, min_8 = true, logsumexp_4 = true, sort_2 = true, sort_3 = true,
  top_k_2 = true, top_k_3 = true, concatenate_2 = true }

local keys = {}
for key in pairs(ref) do
  keys[#keys + 1] = key
end
table.sort(keys)

local rows, seen = {}, {}
for _, key in ipairs(keys) do
  local e = ref[key]
  local first = not seen[e.op]
  -- integers without axes are Lua values
  local typed = seen[e.op] ~= "typed" and #e.outputs[1].shape > 0
  seen[e.op] = (typed or seen[e.op] == "typed") and "typed" or true
  local extra = assert(facts[e.op], e.op)
  local row = { op = e.op, ref = key, label = key:match "%d+$", options = e.options,
    family = "arrays" }
  row.gradgrad = extra.second and not flat[key] or nil
  if extra.grad == false or flat[key] then
    row.grad, row.why = false, "no slope by definition, or at these numbers"
  end
  if first then
    row.errors, row.empty = extra.errors, extra.empty
  end
  if typed then
    row.dtypes = extra.dtypes
  end
  rows[#rows + 1] = row
end

rows[#rows + 1] = {
  op = "cast",
  label = "what does not fit",
  inputs = { { values = { 0.9, -0.9, 3e9, -3e9, math.huge, -math.huge, 0 / 0, 2147483648.0 } } },
  options = { dtype = "int32" },
  expect = function(v)
    if v ~= v then
      return 0
    end
    return math.max(-2147483648, math.min(2147483647, v < 0 and math.ceil(v) or math.floor(v)))
  end,
  grad = false,
  why = "integers have no gradient",
}

-- Options that NumPy and Keras have beside the reference's entries; values by hand.
local updates = { { values = { 1, 2, 3 } }, { values = { { 1 }, { 1 }, { 3 } }, dtype = "int32" },
  { values = { 5, 6, 2 } } }
for reduction, values in pairs { add = { 12, 2, 5 }, max = { 6, 2, 3 }, min = { 1, 2, 2 },
  mul = { 30, 2, 6 } } do
  rows[#rows + 1] = { op = "scatter_update", label = reduction, inputs = updates,
    options = { reduction = reduction }, outputs = { { values = values } } }
end
local bytes = { { values = { { 200, 100 }, { 100, 100 } }, dtype = "uint8" } }
for op, values in pairs { sum = { 300, 200 }, prod = { 20000, 10000 }, mean = { 150, 100 } } do
  rows[#rows + 1] = { op = op, label = "in another dtype", inputs = bytes,
    options = { axis = 1, dtype = "float64" }, outputs = { { values = values } },
      dtypes = { uint8 = "float64" } }
end
for op, values in pairs { cumsum = { 200, 300, 400, 500 },
  cumprod = { 200, 20000, 2000000, 200000000 } } do
  rows[#rows + 1] = { op = op, label = "in another dtype", inputs = bytes,
    options = { dtype = "int64" }, outputs = { { values = values } }, dtypes = { uint8 = "int64" } }
end
for op, values in pairs { max = { 0, 2 }, min = { -2, 0 } } do
  rows[#rows + 1] = { op = op, label = "initial",
    inputs = { { values = { { -1, -2, -0.5 }, { 1, 2, 0.3 } } } },
      options = { axis = 2, initial = 0 }, outputs = { { values = values } },
    empty = { inputs = { { 0, 2 } }, options = { axis = 1, initial = 0 }, output = { 2 } } }
end

return rows
