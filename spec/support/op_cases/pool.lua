local rows = {}
local function add(row)
  rows[#rows + 1] = row
end
local floats = { float32 = "float32", float64 = "float64", uint8 = "float32" }

-- Maxima are compared away from ties, where no difference quotient exists; ties and NaN are in
-- spec/ops/pool_spec.lua.
local function both(label, options, more)
  for kind, name in pairs { max = "max_pool", average = "average_pool" } do
    local row = { op = name, label = label, ref = kind .. ", " .. label, options = options }
    for k, v in pairs(more or {}) do
      row[k] = v
    end
    row.gradgrad = row.gradgrad and kind == "max" -- means are linear
    add(row)
  end
end
both("1-D", { pool_size = 2 }, { gradgrad = true })
both("2-D", { pool_size = 2 }, { dtypes = floats,
  empty = { inputs = { { 0, 4, 6, 3 } }, output = { 0, 2, 3, 3 }, options = { pool_size = 2 } },
    errors = {
    { inputs = { { shape = { 4, 6 } } }, options = { pool_size = 2 },
      says =
      "x has the wrong number of axes (expected (N, ..., C) with 1 to 3 spatial axes, \z
        got [4, 6])" },
    { inputs = { { shape = { 1, 4, 1, 2 } } }, options = { pool_size = 2 },
      says =
      "spatial axis 2 is shorter than the window (expected 2 or more, got 1; input [1, 4, 1, 2])" },
    { options = { pool_size = { 2, 2, 2 } },
      says = "pool_size has the wrong number of entries (expected 1 or 2, got 3)" },
    { options = { pool_size = 2, strides = 0 }, says = "strides must be 1 or more (got 0)" },
    { options = { pool_size = 1 << 31 },
      says = "pool_size must be 2147483647 or less (got 2147483648)" },
    { options = {}, says = "pool_size" },
  } })
both("2-D, rest", { pool_size = { 2, 3 } })
both("2-D, overlapping", { pool_size = 3, strides = 1 }, { gradgrad = true })
both("2-D, same", { pool_size = 2, padding = "same" })
both("2-D, same, overlapping", { pool_size = 3, strides = 2, padding = "same" },
  { gradgrad = true })
both("2-D, stride over window", { pool_size = 2, strides = 3 })
both("2-D, many channels", { pool_size = 2 }, { grad = false, why = "covered by the small ones" })
both("3-D", { pool_size = { 2, 1, 2 }, padding = "same" })

for kind, name in pairs { max = "adaptive_max_pool", average = "adaptive_average_pool" } do
  local ref = "adaptive " .. kind .. ", "
  add { op = name, label = "1-D", ref = ref .. "1-D", options = { output_size = 3 },
    gradgrad = kind == "max", dtypes = floats,
      errors = { { options = { output_size = 0 }, says = "output_size must be 1 or more (got 0)" },
        { options = { output_size = { 1, 2 } },
        says = "output_size has the wrong number of entries" } } }
  add { op = name, label = "2-D", ref = ref .. "2-D", options = { output_size = { 3, 2 } } }
  add { op = name, label = "3-D", ref = ref .. "3-D", options = { output_size = { 2, 3, 2 } } }
  add { op = name, label = "larger", ref = ref .. "larger", options = { output_size = 4 } }
end

add { op = "depth_to_space", ref = "depth_to_space", options = { block_size = 2 },
  dtypes = { float32 = "float32", uint8 = "uint8" },
  errors = { { inputs = { { shape = { 1, 2, 2, 6 } } }, options = { block_size = 2 },
    says = "channels are not divisible by the square of block_size 2 (input [1, 2, 2, 6])" } } }
add { op = "space_to_depth", ref = "space_to_depth", options = { block_size = 2 },
  dtypes = { float32 = "float32", uint8 = "uint8" },
  errors = { { inputs = { { shape = { 1, 3, 2, 6 } } }, options = { block_size = 2 },
    says = "height and width are not divisible by block_size 2 (input [1, 3, 2, 6])" },
    { inputs = { { shape = { 3, 2, 6 } } }, options = { block_size = 2 },
      says = "x has the wrong number of axes" } } }

return rows
