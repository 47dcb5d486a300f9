local rows = {}
local function add(row)
  row.length = row.length or 16
  rows[#rows + 1] = row
end
local logits = { from_logits = true }

local sparse = "sparse_categorical_crossentropy"
add { op = sparse, label = "logits", ref = "sparse, logits", options = logits, grad = { 2 },
  gradgrad = true, dtypes = { float32 = "float32", float64 = "float64" },
  empty = { inputs = { { 0 }, { 0, 4 } }, output = { 0 }, options = logits },
  errors = {
    { inputs = { { values = { 1, 4, 2 }, dtype = "int32" }, { shape = { 3, 3 } } },
      options = logits, says = "target[2] is out of range (expected 1..3, got 4)" },
    { inputs = { { values = { 1, 0, 2 }, dtype = "int32" }, { shape = { 3, 3 } } },
      options = logits,
      says = "target[2] is out of range (expected 1..3, got 0); positions count from 1" },
    { inputs = { { values = { 1, 1.5, 2 } }, { shape = { 3, 3 } } }, options = logits,
      says = "sparse_cross_entropy: target[2] is not a whole number (expected 1..3)" },
    { inputs = { { values = { 1, 2 }, dtype = "int32" }, { shape = { 3, 3 } } }, options = logits,
      says = "target has one entry per example (expected [3], got [2])" },
  } }
add { op = sparse, label = "labels with a last axis of 1", grad = { 2 },
  inputs = { { values = { { 2 }, { 1 } }, dtype = "int32" },
    { values = { { 0.2, 0.8 }, { 0.4, 0.6 } } } },
  outputs = { { values = { -math.log(0.8), -math.log(0.4) } } } }
add { op = sparse, label = "probabilities", ref = "sparse, probabilities", grad = { 2 },
  gradgrad = true }
add { op = sparse, label = "not normalized", ref = "sparse, not normalized", grad = { 2 },
  gradgrad = true }
add { op = sparse, label = "sequences", ref = "sparse, sequences", options = logits, grad = { 2 } }
add { op = sparse, label = "channels first", ref = "sparse, channels first",
  options = { from_logits = true, axis = 2 }, grad = { 2 } }
add { op = sparse, label = "wide", ref = "sparse, wide", options = logits, grad = { 2 } }
add { op = sparse, label = "counted from 0, one class ignored",
  options = { from_logits = true, base = 0, ignore_class = 2 }, grad = { 2 }, gradgrad = true,
  inputs = { { values = { 0, 2, 1 }, dtype = "int64" },
    { values = { { 0, 0, 0 }, { 1, 2, 3 }, { 0, math.log(2), 0 } } } },
  outputs = { { values = { math.log(3), 0, math.log(2) } } } }
add { op = "sparse_cross_entropy_", label = "weighted; weight 0 does not read the label",
  options = logits, grad = { 1 }, results = 1, gradgrad = true,
    inputs = { { values = { { 0, 0 }, { 1, 2 }, { 0, 0 } } },
    { values = { 1, 0, 2 }, dtype = "int32" }, { values = { 2.0, 0.0, 0.5 } } },
  outputs = { { values = { 2 * math.log(2), 0, 0.5 * math.log(2) } } } }
add { op = "sparse_cross_entropy_", label = "gradient of the weights", options = logits,
  grad = { 1, 3 }, results = 1, gradgrad = true,
    inputs = { { shape = { 3, 4 } }, { values = { 1, 4, 2 }, dtype = "int32" },
    { shape = { 3 }, from = 0.5, to = 2 } } }

local categorical = "categorical_crossentropy"
add { op = categorical, label = "logits", ref = "categorical, logits", options = logits,
  gradgrad = true, dtypes = { float32 = "float32", float64 = "float64" },
  empty = { inputs = { { 0, 3 }, { 0, 3 } }, output = { 0 } },
  errors = { { inputs = { { shape = { 2, 3 } }, { shape = { 2, 4 } } },
    says = "target and output differ in shape (expected [2, 4], got [2, 3])" } } }
add { op = categorical, label = "probabilities", ref = "categorical, probabilities",
  gradgrad = true }
add { op = categorical, label = "not normalized", ref = "categorical, not normalized",
  gradgrad = true }
add { op = categorical, label = "first axis", ref = "categorical, first axis",
  options = { from_logits = true, axis = 1 }, gradgrad = true }
add { op = "cross_entropy_", label = "label smoothing", ref = "categorical, smoothed",
  options = { from_logits = true, label_smoothing = 0.2 }, results = 1, gradgrad = true }

local binary = "binary_crossentropy"
add { op = binary, label = "logits", ref = "binary, logits", options = logits, gradgrad = true,
  dtypes = { float32 = "float32", float64 = "float64" },
  empty = { inputs = { { 0, 3 }, { 0, 3 } }, output = { 0, 3 } },
  errors = { { inputs = { { shape = { 2, 3 } }, { shape = { 3 } } },
    says = "target and output differ in shape (expected [3], got [2, 3])" } } }
add { op = binary, label = "probabilities", ref = "binary, probabilities", gradgrad = true }
add { op = binary, label = "at the limits", ref = "binary, at the limits", grad = false,
  why = "clipped", rtol = 1e-6, f32 = false }
add { op = binary, label = "large logits", ref = "binary, large logits", options = logits,
  grad = { 1 } }

add { op = "squared_error_", label = "rows", gradgrad = true,
  dtypes = { float32 = "float32", float64 = "float64" },
  inputs = { { values = { { 1.0, 2.0, 4.0 }, { 0.0, 0.5, 1.0 } } },
    { values = { { 1.0, 0.0, 2.5 }, { 3.0, 0.5, 1.0 } } } },
  outputs = { { values = { 6.25 / 3, 3 } } },
  empty = { inputs = { { 0, 3 }, { 0, 3 } }, output = { 0 } },
  errors = { { inputs = { { shape = { 2, 3 } }, { shape = { 3 } } },
    says = "target and output differ in shape (expected [2, 3], got [3])" } } }
add { op = "squared_error_", label = "a single channel", gradgrad = true,
  inputs = { { values = { { 1.0 }, { 2.0 }, { -0.5 } } },
    { values = { { 1.5 }, { -1.0 }, { 0.0 } } } }, outputs = { { values = { 0.25, 9, 0.25 } } } }
add { op = "squared_error_", label = "long rows",
  inputs = { { shape = { 5, 77 } }, { shape = { 5, 77 } } } }

local scores = { values = { { 0.1, 0.7, 0.2 }, { 0.5, 0.2, 0.3 }, { 0.3, 0.3, 0.4 } } }
add { op = "sparse_accuracy_", label = "labels",
  inputs = { scores, { values = { 2, 2, 3 }, dtype = "int32" } },
  outputs = { { values = { 1, 0, 1 } } } }
add { op = "sparse_accuracy_", label = "first axis, from 0", options = { axis = 1, base = 0 },
  inputs = { scores, { values = { 1, 0, 1 }, dtype = "int32" } },
    outputs = { { values = { 1, 1, 0 } } } }
add { op = "categorical_accuracy_", label = "one-hot",
  inputs = { scores, { values = { { 0, 1, 0 }, { 0, 0, 1 }, { 0, 0, 1 } } } },
  outputs = { { values = { 1, 0, 1 } } } }
add { op = "top_k_accuracy_", label = "two", options = { k = 2 },
  inputs = { scores, { values = { 3, 2, 1 }, dtype = "int32" } },
  outputs = { { values = { 1, 0, 1 } } } }
return rows
