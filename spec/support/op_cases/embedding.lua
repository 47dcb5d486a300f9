local all = {}
for _, dtype in ipairs { "float32", "float64", "int32", "int64", "uint8", "int8", "bool" } do
  all[dtype] = dtype
end
local rows = { values = { { 1, 2 }, { 3, 4 }, { 5, 6 } } }
local u8 = { values = { { 0, 51 }, { 102, 255 }, { 1, 2 } }, dtype = "uint8" }
local order = { values = { 3, 1, 2, 1 }, dtype = "int32" }
return {
  { op = "embedding", label = "rows", inputs = { rows,
    { values = { { 3, 1 }, { 1, 1 } }, dtype = "int32" } }, dtypes = all,
      outputs = { { values = { { { 5, 6 }, { 1, 2 } }, { { 1, 2 }, { 1, 2 } } } } },
      gradgrad = true,
    empty = { inputs = { { 3, 2 }, { 0 } }, output = { 0, 2 } },
    errors = {
      { inputs = { rows, { values = { 1, 4 }, dtype = "int64" } },
        says = "embedding: ids[2] is out of range (expected 1..3, got 4)" },
      { inputs = { rows, { values = { { 1, 0 } }, dtype = "float32" } },
        says = "ids[1, 2] is out of range (expected 1..3, got 0); ids count from 1" },
    } },
  { op = "embedding", label = "counted from 0",
    inputs = { rows, { values = { 2, 0 }, dtype = "float64" } }, options = { base = 0 },
    grad = { 1 }, outputs = { { values = { { 5, 6 }, { 1, 2 } } } } },
  { op = "batch_gather", label = "rows", inputs = { rows, order },
    options = { first = 2, count = 2 }, dtypes = all,
      outputs = { { values = { { 1, 2 }, { 3, 4 } } } },
    empty = { inputs = { { 3, 2 }, { 4 } }, output = { 0, 2 }, options = { count = 0 } },
    errors = {
      { options = { first = 4, count = 2 },
        says = "order has 4 entries (asked for 2 from entry 4 on)" },
      { inputs = { rows, { values = { 1, 9 }, dtype = "int32" } }, options = { count = 2 },
        says = "order[2] is out of range (expected 1..3, got 9)" },
    } },
  { op = "batch_gather", label = "bytes to scaled floats", inputs = { u8, order },
    options = { count = 3, scale = 1 / 255, offset = -0.5 },
      outputs = { { values = { { 1 / 255 - 0.5, 2 / 255 - 0.5 }, { -0.5, -0.3 },
      { 102 / 255 - 0.5, 0.5 } } } }, rtol = 1e-6, atol = 1e-6 },
  { op = "batch_gather", label = "in float64, counted from 0",
    inputs = { u8, { values = { 2, 1, 0 }, dtype = "int64" } },
      options = { first = 1, count = 2, base = 0, dtype = "float64", scale = 2 },
      outputs = { { values = { { 204, 510 }, { 0, 102 } } } } },
}
