local rows = {}
local function add(row)
  row.length = row.length or 64
  rows[#rows + 1] = row
end
local function conv(label, options, more)
  local row = { op = "conv", label = label, ref = label, options = options }
  for k, v in pairs(more or {}) do
    row[k] = v
  end
  add(row)
end
local second = { gradgrad = true }
local floats = { float32 = "float32", float64 = "float64", int32 = "float32", uint8 = "float32" }

conv("1-D", nil, second)
conv("1-D, causal", { padding = "causal", dilation_rate = 2 })
conv("1-D, same, stride 3", { strides = 3, padding = "same" })
conv("2-D", nil, { gradgrad = true, dtypes = floats,
  empty = { inputs = { { 0, 6, 5, 3 }, { 3, 2, 3, 4 } }, output = { 0, 4, 4, 4 } },
  errors = {
    { inputs = { { shape = { 2, 6, 5, 3 } }, { shape = { 3, 2, 4, 4 } } },
      says =
      "conv: input has 3 channels, kernel expects 4 (input [2, 6, 5, 3], kernel [3, 2, 4, 4])" },
    { inputs = { { shape = { 2, 6, 5, 3 } }, { shape = { 3, 3, 4 } } },
      says =
      "kernel has the wrong number of axes (expected 4 like x, got [3, 3, 4]; x [2, 6, 5, 3])" },
    { inputs = { { shape = { 6, 5 } }, { shape = { 3, 3 } } },
      says =
      "x has the wrong number of axes (expected (N, ..., C) with 1 to 3 spatial axes, \z
        got [6, 5])" },
    { inputs = { { shape = { 2, 2, 5, 3 } }, { shape = { 3, 2, 3, 4 } } },
      says =
      "spatial axis 1 is shorter than the kernel (expected 3 or more, got 2; input [2, 2, 5, 3], \z
      kernel [3, 2, 3, 4])" },
    { options = { strides = { 1, 2, 3 } },
      says = "strides has the wrong number of entries (expected 1 or 2, got 3)" },
    { options = { strides = 0 }, says = "strides must be 1 or more (got 0)" },
    { options = { strides = 1 << 31 },
      says = "strides must be 2147483647 or less (got 2147483648)" },
    { options = { dilation_rate = -1 }, says = "dilation_rate must be 1 or more (got -1)" },
    { options = { padding = "causal" }, says = "padding \"causal\" needs 1 spatial axis (got 2)" },
    { options = { padding = "explicit" }, says = "padding \"explicit\" needs pads" },
    { options = { padding = "explicit", pads = { { -1, 0 } } },
      says = "pads must be 0 or more (got -1)" },
    { options = { padding = "sane" }, says = "same" },
    { options = { groups = 2 }, says = "channels are not divisible by groups" },
    { inputs = { { shape = { 2, 6, 5, 3 } }, { shape = { 3, 2, 3, 4 } }, { shape = { 3 } } },
      says = "bias has the wrong shape (expected [4], got [3])" },
  } })
conv("2-D, no bias")
conv("2-D, same", { padding = "same" }, second)
conv("2-D, same, even kernel", { padding = "same" })
conv("2-D, same, stride 2", { padding = "same", strides = 2 }, second)
conv("2-D, strides", { strides = { 2, 3 } })
conv("2-D, dilation", { dilation_rate = { 2, 3 } })
conv("2-D, stride and dilation", { strides = 2, dilation_rate = 2 }, second)
conv("2-D, groups", { groups = 2 }, second)
conv("2-D, explicit", { padding = "explicit", pads = { { 1, 0 }, { 0, 2 } }, strides = { 1, 2 } })
conv("2-D, 1x1", nil, second)
conv("2-D, 1x1, stride 2", { strides = 2 })
conv("2-D, one channel", { activation = "relu" })
conv("2-D, wide", { padding = "same", activation = "relu" },
  { grad = false, why = "covered by the small ones" })
conv("3-D", { padding = "same", strides = { 1, 2, 1 } }, second)
for _, name in ipairs { "relu", "relu6", "sigmoid", "tanh", "elu", "gelu", "silu" } do
  conv("activation " .. name, { padding = "same", activation = name }, second)
end

local function transposed(label, options, more)
  local row = { op = "conv_transpose", label = label, ref = "transposed, " .. label,
    options = options }
  for k, v in pairs(more or {}) do
    row[k] = v
  end
  add(row)
end
transposed("1-D", { strides = 2 }, second)
transposed("2x2 stride 2", { strides = 2 },
  { gradgrad = true, dtypes = { float32 = "float32", float64 = "float64" },
    empty = { inputs = { { 0, 3, 3, 4 }, { 2, 2, 3, 4 } }, output = { 0, 6, 6, 3 },
    options = { strides = 2 } },
  errors = {
    { inputs = { { shape = { 2, 3, 3, 4 } }, { shape = { 2, 2, 4, 3 } } },
      says =
      "conv_transpose: input has 4 channels, kernel expects 3 (input [2, 3, 3, 4], kernel [2, 2, \z
      4, 3])" },
    { options = { strides = 2, output_padding = 2 },
      says = "output_padding must be less than the stride (expected 0..1, got 2)" },
  } })
transposed("3x3 stride 2, same", { strides = 2, padding = "same", activation = "relu" }, second)
transposed("stride over kernel", { strides = 3 })
transposed("stride 1")
transposed("stride 1, same", { padding = "same", activation = "sigmoid" })
transposed("output padding", { strides = 2, output_padding = 1 })
transposed("output padding, same", { strides = 2, padding = "same", output_padding = 1 }, second)
transposed("3-D", { strides = 2 })

add { op = "depthwise_conv", label = "2-D", ref = "depthwise, 2-D", gradgrad = true,
  dtypes = { float32 = "float32", float64 = "float64" },
    errors = { { inputs = { { shape = { 2, 5, 5, 3 } }, { shape = { 3, 3, 4, 1 } } },
    says = "input has 3 channels, kernel expects 4" } } }
add { op = "depthwise_conv", label = "multiplier", ref = "depthwise, multiplier",
  options = { strides = 2, padding = "same" }, gradgrad = true }
add { op = "depthwise_conv", label = "dilation", ref = "depthwise, dilation",
  options = { dilation_rate = 2, padding = "same" } }
add { op = "depthwise_conv", label = "1-D", ref = "depthwise, 1-D",
  options = { strides = 2, padding = "same" } }
add { op = "separable_conv", label = "2-D", ref = "separable, 2-D",
  options = { strides = 2, padding = "same", activation = "tanh" }, gradgrad = true,
    dtypes = { float32 = "float32", float64 = "float64" },
  errors = { { inputs = { { shape = { 2, 5, 5, 3 } }, { shape = { 3, 3, 3, 2 } },
    { shape = { 1, 1, 5, 4 } } }, says = "input has 6 channels, kernel expects 5" } } }
add { op = "separable_conv", label = "1-D", ref = "separable, 1-D" }

-- With a normalization behind it: gradients are those of both, values are compared in
-- spec/graph/fuse_spec.lua.
local given = { { shape = { 5 } }, { shape = { 5 } }, { shape = { 5 }, from = 0.5, to = 2 },
  { shape = { 5 } }, { shape = { 5 } } }
add { op = "conv_norm_", label = "relu6", gradgrad = true, spec = "spec/graph/fuse_spec.lua",
  options = { activation = "relu6", padding = "same", strides = 2, epsilon = 0.1 },
  inputs = { { shape = { 2, 6, 5, 3 } }, { shape = { 3, 2, 3, 5 } }, table.unpack(given) },
  errors = {
    { inputs = { { shape = { 1, 4, 4, 3 } }, { shape = { 2, 2, 3, 5 } }, false, { shape = { 4 } },
      { shape = { 5 } } }, says = "mean has the wrong shape (expected [5], got [4])" },
    { inputs = { { shape = { 1, 4, 4, 3 } }, { shape = { 2, 2, 2, 5 } }, false, { shape = { 5 } },
      { shape = { 5 } } }, says = "input has 3 channels, kernel expects 2" } } }
add { op = "conv_norm_", label = "depthwise, bare", options = { groups = 5 },
  inputs = { { shape = { 1, 6, 5, 5 } }, { shape = { 3, 3, 1, 5 } }, false, { shape = { 5 } },
    { shape = { 5 }, from = 0.5, to = 2 } } }

local patch = { kernel_size = { 2, 3 }, padding = { 1, 0 }, stride = { 2, 1 }, dilation = { 1, 2 } }
add { op = "unfold", ref = "unfold", options = { kernel_size = 2 },
  dtypes = { float32 = "float32", float64 = "float64", int32 = "int32" },
  errors = { { inputs = { { shape = { 1, 4, 5 } } }, options = { kernel_size = 2 },
    says = "expected (N, C, H, W), got [1, 4, 5]" },
      { inputs = { { shape = { 1, 1, 1, 5 } } }, options = { kernel_size = 2 },
      says = "the picture is smaller than the kernel" } } }
add { op = "unfold", label = "every option", ref = "unfold, every option", options = patch }
local back = { output_size = { 5, 7 } }
for k, v in pairs(patch) do
  back[k] = v
end
add { op = "fold", ref = "fold", options = { output_size = { 4, 5 }, kernel_size = 2 },
  dtypes = { float32 = "float32", float64 = "float64" },
    errors = { { inputs = { { shape = { 1, 5, 12 } } },
    options = { output_size = { 4, 5 }, kernel_size = 2 },
      says = "x has the wrong shape (expected (N, a multiple of 4, 12), got [1, 5, 12])" } } }
add { op = "fold", label = "every option", ref = "fold, every option", options = back }

return rows
