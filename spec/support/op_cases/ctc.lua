-- One step of two frames and two channels: blank 2 moves the label to channel 1, so the paths are 1
-- 1, 1 -, - 1.
local p = { { 0.6, 0.4 }, { 0.3, 0.7 } }
local logs = { { math.log(0.6), math.log(0.4) }, { math.log(0.3), math.log(0.7) } }

return {
  { op = "ctc_loss", label = "lengths and repetitions", ref = "ctc", grad = { 2 },
    dtypes = { float32 = "float32", float64 = "float64" }, errors = {
      { inputs = { { values = { { 1, 3 } }, dtype = "int32" }, { shape = { 1, 4, 3 } },
        { values = { 2 }, dtype = "int32" }, { values = { 4 }, dtype = "int32" } },
          says = "target[1, 2] is out of range (expected 1..2, got 3)" },
      { inputs = { { values = { { 1, 2 } }, dtype = "int32" }, { shape = { 1, 4, 3 } },
        { values = { 3 }, dtype = "int32" }, { values = { 4 }, dtype = "int32" } },
          says = "target_length[1] is out of range (expected 0..2, got 3)" },
      { inputs = { { values = { { 1, 2 } }, dtype = "int32" }, { shape = { 4, 3 } },
        { values = { 2 }, dtype = "int32" }, { values = { 4 }, dtype = "int32" } },
          says = "output has three axes" },
    } },
  { op = "ctc_loss", label = "blank last", options = { mask_index = 2 }, grad = { 2 },
    inputs = { { values = { { 1 } }, dtype = "int32" },
      { values = { { { math.log(0.6), math.log(0.4) }, { math.log(0.3), math.log(0.7) } } } },
        { values = { 1 }, dtype = "int32" }, { values = { 2 }, dtype = "int32" } },
    outputs = {
      { values = { -math.log(p[1][1] * p[2][1] + p[1][1] * p[2][2] + p[1][2] * p[2][1]) } } } },
  -- 1 - 1 - has the probability 0.6 * 0.7, less than 1 alone: 0.6 * 0.3 + 0.6 * 0.7 + 0.4 * 0.3
  { op = "ctc_decode", label = "the best path", grad = false, options = { mask_index = 2 },
    dtypes = { float32 = "int32", float64 = "int32" },
    inputs = { { values = { p } }, { values = { 2 }, dtype = "int32" } },
    outputs = { { values = { { { 1, 0 } } }, dtype = "int32" }, { values = { { -1.3 } } } },
    errors = { { inputs = { { shape = { 3, 2 } }, { values = { 2 }, dtype = "int32" } },
      says = "x has three axes" } } },
  { op = "ctc_decode", label = "labellings by their probabilities", grad = false,
    options = { strategy = "beam_search", mask_index = 2, top_paths = 2 },
    inputs = { { values = { logs } }, { values = { 2 }, dtype = "int32" } },
    outputs = { { values = { { { 1, 0 } }, { { 0, 0 } } }, dtype = "int32" },
      { values = { { math.log(0.72), math.log(0.28) } } } } },
}
