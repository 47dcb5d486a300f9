local rows = {}
local function add(row)
  row.length = row.length or 64
  rows[#rows + 1] = row
end
local floats = { float32 = "float32", float64 = "float64", int32 = "float32", bool = "float32" }

-- matmul gives BLAS what strides it can read, so other strides may mean another order of summation
-- (see spec/ops/linear_spec.lua).
for _, case in ipairs { "square", "tall", "batch", "one matrix for a batch", "broadcast batches",
  "vector left", "vector right", "vectors", "vector and batch" } do
  add { op = "matmul", label = case, ref = "matmul, " .. case, gradgrad = true, strided = false }
end
add { op = "matmul", label = "wide", ref = "matmul, wide", strided = false, grad = false,
  why = "covered by the small ones",
    dtypes = { float32 = "float32", float64 = "float64", int64 = "int64", int32 = "int32",
    uint8 = "uint8", int8 = "int8", bool = "bool" },
  empty = { inputs = { { 2, 0 }, { 0, 3 } }, output = { 2, 3 } },
  errors = {
    { inputs = { { shape = { 2, 3 } }, { shape = { 4, 5 } } },
      says =
      "matmul: the last axis of x1 and the last but one axis of x2 differ (expected 3, got 4; x1 \z
      [2, 3], x2 [4, 5])" },
    { inputs = { { shape = { 2, 3, 4 } }, { shape = { 3, 4, 5 } } },
      says = "the leading axes do not broadcast (x1 [2, 3, 4], x2 [3, 4, 5])" },
    { inputs = { { shape = {} }, { shape = { 4, 5 } } }, says = "a number has no matrix product" },
  } }
add { op = "matmul", label = "integers", grad = false, why = "integers",
  inputs = { { values = { { 1, -2 }, { 3, 4 } }, dtype = "int32" },
  { values = { { 5, 6 }, { 7, 8 } }, dtype = "int32" } },
    outputs = { { values = { { -9, -10 }, { 43, 50 } } } } }
add { op = "matmul", label = "integers, batches of other ranks", grad = false, why = "integers",
  by = "np.int32([[[1, 2]], [[3, 4]]]) @ np.int32([[5], [6]]), and the other way round",
  inputs = { { values = { { { 1, 2 } }, { { 3, 4 } } }, dtype = "int32" },
    { values = { { 5 }, { 6 } }, dtype = "int32" } },
  outputs = { { values = { { { 17 } }, { { 39 } } } } } }
add { op = "matmul", label = "integers, batch on the right", grad = false, why = "integers",
  inputs = { { values = { { 5, 6 } }, dtype = "int32" },
    { values = { { { 1 }, { 2 } }, { { 3 }, { 4 } } }, dtype = "int32" } },
  outputs = { { values = { { { 17 } }, { { 39 } } } } } }

for _, act in ipairs { "linear", "relu", "relu6", "sigmoid", "tanh", "elu", "gelu", "silu" } do
  add { op = "linear", label = act, ref = "linear, " .. act, options = { activation = act },
    gradgrad = true }
end
add { op = "add_relu_", inputs = { { shape = { 4, 3 } }, { shape = { 4, 3 } } }, gradgrad = true,
  dtypes = { float32 = "float32", float64 = "float64", int32 = "float32" }, expect = function(a, b)
    return math.max(a + b, 0)
  end, errors = { { inputs = { { shape = {} }, { shape = {} } },
    says = "add_relu_: x1 and x2 are numbers" } } }
add { op = "linear", label = "no bias", ref = "linear, no bias", gradgrad = true, dtypes = floats,
  empty = { inputs = { { 0, 4 }, { 4, 3 } }, output = { 0, 3 } },
  errors = {
    { inputs = { { shape = { 32, 784 } }, { shape = { 128, 64 } } },
      says =
      "linear: input has 784 features, kernel expects 128 (input [32, 784], kernel [128, 64])" },
    { inputs = { { shape = { 3, 4 } }, { shape = { 4, 2 } }, { shape = { 3 } } },
      says = "bias has the wrong shape (expected [2], got [3])" },
    { inputs = { { shape = { 3, 4 } }, { shape = { 4 } } },
      says = "kernel has the wrong number of axes (expected (in, out), got [4])" },
    { inputs = { { shape = {} }, { shape = { 4, 2 } } }, says = "input is a number" },
    { options = { activation = "rely" }, says = "relu" },
  } }

local two = { float32 = "float32", float64 = "float64", int32 = "int32" }
add { op = "dot", ref = "dot", gradgrad = true, strided = false, dtypes = two }
add { op = "dot", label = "matrices", ref = "dot, matrices", strided = false }
add { op = "inner", ref = "inner", gradgrad = true, strided = false, dtypes = two,
  errors = { { inputs = { { shape = { 2, 3 } }, { shape = { 2, 4 } } },
    says = "paired axes differ in extent (expected 3, got 4; x1 [2, 3], x2 [2, 4])" } } }
add { op = "outer", ref = "outer", gradgrad = true, dtypes = two }
add { op = "vdot", ref = "vdot", gradgrad = true, strided = false,
  dtypes = { float32 = "float32", float64 = "float64" },
    errors = { { inputs = { { shape = { 2, 3 } }, { shape = { 5 } } },
    says = "inputs differ in their number of elements (expected 6, got 5)" } } }
add { op = "vecdot", ref = "vecdot", gradgrad = true,
  dtypes = { float32 = "float32", float64 = "float64" } }
add { op = "vecdot", label = "middle axis", ref = "vecdot, middle axis", options = { axis = 2 } }
add { op = "tensordot_", spec = "spec/ops/linear_spec.lua" }

return rows
