-- Elementwise ops. The reference file holds an entry per op over its domain, <op>_special over NaN, infinities and zeros,
-- and <op>_int over int32; the rows say what the file cannot.
local ref = dofile "spec/ref/pointwise.lua"

local floating = { float32 = "float32", float64 = "float64", int32 = "float32", int64 = "float32", uint8 = "float32", bool = "float32" }
local whole_too = { float32 = "float32", float64 = "float64", int32 = "int32", int64 = "int64", uint8 = "uint8", bool = "bool" }
local truth = { float32 = "bool", float64 = "bool", int32 = "bool", int64 = "bool", uint8 = "bool", bool = "bool" }
local bits = { int32 = "int32", int64 = "int64", uint8 = "uint8", int8 = "int8", bool = "bool" }

local rows = {}
local function add(row)
  row.family = "pointwise"
  rows[#rows + 1] = row
  return row
end

-- Smooth over the domain of their entry, so that second derivatives are checked too.
local function names(text)
  local out = {}
  for name in text:gmatch "%S+" do
    out[#out + 1] = name
  end
  return out
end

-- Piecewise linear: no second derivative to compare.
local linear = {}
for _, op in
  ipairs(names [[deg2rad rad2deg nan_to_num relu leaky_relu relu6 hard_sigmoid hard_tanh soft_shrink hard_shrink sparse_sigmoid
    negative abs sign rint trunc threshold clip add subtract fmax fmin maximum minimum mod fmod round]])
do
  linear[op] = true
end

for _, op in
  ipairs(names [[sqrt rsqrt cbrt reciprocal deg2rad rad2deg exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos
    arctan sinh cosh tanh arcsinh arccosh arctanh erf erfc erfinv elu celu selu gelu_erf gelu_tanh silu mish sigmoid log_sigmoid
    tanh_shrink softplus softsign squareplus sinc nan_to_num relu leaky_relu relu6 hard_silu hard_sigmoid hard_tanh
    soft_shrink hard_shrink sparse_plus sparse_sigmoid]])
do
  add { op = op, ref = op, dtypes = floating, gradgrad = not linear[op], empty = { inputs = { { 0, 3 } }, output = { 0, 3 } } }
end
for _, op in ipairs(names "floor ceil") do
  add { op = op, ref = op, dtypes = floating, empty = { inputs = { { 0 } }, output = { 0 } } }
end
for _, op in ipairs(names "negative abs square sign rint trunc") do
  add { op = op, ref = op, dtypes = whole_too, gradgrad = not linear[op], empty = { inputs = { { 0 } }, output = { 0 } } }
end
for _, op in ipairs(names "logical_not isnan isinf isposinf isneginf isfinite signbit") do
  add { op = op, ref = op, dtypes = truth, empty = { inputs = { { 2, 0 } }, output = { 2, 0 } } }
end

-- false: not checked; nil: every float input.
local function gradient(checked)
  if checked then
    return nil
  end
  return false
end

local mismatch = { inputs = { { shape = { 2, 3 } }, { shape = { 2, 4 } } }, says = "shapes [2, 3] and [2, 4] do not broadcast" }
local two_floats = {
  inputs = { { values = { 1, 2 }, dtype = "float32" }, { values = { 1, 2 }, dtype = "float64" } },
  says = "float32 and float64 do not mix",
}
local flat = { floor_divide = true, heaviside = true, nextafter = true, copysign = true, ldexp = true }
for _, op in
  ipairs(names [[add subtract multiply divide divide_no_nan floor_divide mod fmod power maximum minimum fmax fmin
    squared_difference arctan2 hypot logaddexp logaddexp2 heaviside copysign nextafter ldexp]])
do
  add {
    op = op,
    ref = op,
    dtypes = (ref[op .. "_int"] or op == "fmax" or op == "fmin") and whole_too or floating,
    gradgrad = not linear[op] and not flat[op],
    grad = gradient(not flat[op]),
    why = flat[op] and "steps at the entry's numbers, or by definition" or nil,
    f32 = op ~= "nextafter", -- the neighbour of a float32 is another one
    errors = { mismatch, two_floats },
    empty = { inputs = { { 0, 3 }, { 1, 3 } }, output = { 0, 3 } },
  }
  if not flat[op] then
    add {
      op = op,
      label = "broadcast",
      family = "pointwise",
      inputs = { { shape = { 2, 1, 3 }, from = 0.5, to = 2 }, { shape = { 4, 1 }, from = 0.7, to = 3 } },
      gradgrad = not linear[op] and not flat[op],
    }
  end
end
for _, op in ipairs(names "equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor") do
  add { op = op, ref = op, dtypes = truth, errors = { mismatch }, empty = { inputs = { { 0 }, {} }, output = { 0 } } }
end
for _, op in ipairs(names "bitwise_and bitwise_or bitwise_xor left_shift right_shift gcd lcm") do
  add {
    op = op,
    ref = op .. "_int",
    errors = {
      { inputs = { { values = { 1, 2 }, dtype = "float32" }, { values = { 1, 2 }, dtype = "int32" } }, says = "x1 has a float dtype" },
    },
    empty = { inputs = { { 0 }, { 0 } }, dtypes = { "int32", "int32" }, output = { 0 } },
  }
  add { op = op, label = "dtypes", inputs = { { shape = { 3 }, from = 1, to = 4 }, { shape = { 3 }, from = 1, to = 4 } }, dtypes = bits, strided = false, threads = false, engines = false }
end
for key in pairs(ref) do
  local op, kind = key:match "^(.-)_(special)$"
  if not op then
    op, kind = key:match "^(.-)_(int)$"
  end
  if kind then
    rows[#rows + 1] = { op = op, ref = key, label = kind, family = "pointwise", grad = false, why = "no slope at the special values",
      f32 = not (op == "nextafter" or op == "nan_to_num") }
  end
end
for key, e in pairs(ref) do
  if e.op then
    add { op = e.op, ref = key, label = key, options = e.options, gradgrad = not linear[e.op], grad = gradient(e.op ~= "nan_to_num") }
  end
end

add { op = "clip", inputs = { { shape = { 3 }, from = -3, to = 3 } }, label = "dtypes", options = { x_min = -1, x_max = 2 }, dtypes = whole_too }
add { op = "round", inputs = { { shape = { 3 }, from = -3, to = 3 } }, label = "dtypes", dtypes = whole_too }
add { op = "gelu", inputs = { { shape = { 3 }, from = -3, to = 3 } }, label = "dtypes", dtypes = floating, gradgrad = true }
add { op = "threshold", inputs = { { shape = { 3 }, from = -3, to = 3 } }, label = "dtypes", options = { threshold = 0.5, default_value = 2 }, dtypes = floating }
add {
  op = "glu",
  inputs = { { shape = { 2, 6 }, from = -2, to = 2 } },
  expect_nested = function(x)
    local out = {}
    for i, line in ipairs(x) do
      out[i] = {}
      for j = 1, 3 do
        out[i][j] = line[j] / (1 + math.exp(-line[j + 3]))
      end
    end
    return out
  end,
  dtypes = { float32 = "float32", float64 = "float64" },
  gradgrad = true,
  errors = { { inputs = { { shape = { 2, 5 } } }, says = "axis 2 of [2, 5] cannot be halved" } },
}
add { op = "isclose", ref = "isclose", f32 = false }
add { op = "isclose", label = "dtypes", inputs = { { shape = { 3 } }, { shape = { 3 } } }, dtypes = truth }
add {
  op = "bitwise_not",
  inputs = { { values = { 0, 5, -3 }, dtype = "int32" } },
  expect = function(x)
    return ~x
  end,
  dtypes = {},
  errors = { { inputs = { { values = { 1.5 }, dtype = "float32" } }, says = "x has a float dtype" } },
}
add {
  op = "where",
  inputs = { { values = { true, false, true }, dtype = "bool" }, { shape = { 3 } }, { shape = { 3 } } },
  expect = function(c, a, b)
    return c and a or b
  end,
  dtypes = {},
  errors = { { inputs = { { values = { true }, dtype = "bool" }, { values = { 1 }, dtype = "float32" }, { values = { 1 }, dtype = "float64" } }, says = "do not mix" } },
}

table.sort(rows, function(a, b) -- entries of the reference file come in no order
  return a.op .. (a.label or "") < b.op .. (b.label or "")
end)
return rows
