-- Elementwise ops. kernels/pointwise.def is the list: each of its lines gives a row here, whose
-- macro says the dtypes and whose domains say where to sample. The values are those of
-- spec/ref/pointwise.lua (an entry per op over its domain, <op>_special over NaN, infinities and
-- zeros, <op>_int over int32), or, for an op without an entry, of the examples in its text: three
-- of them, `name(0.5) = 0.479`, computed elsewhere.
local core = require "tide.core"
local ref = dofile "spec/ref/pointwise.lua"

local floating = { float32 = "float32", float64 = "float64", int32 = "float32", int64 = "float32",
  uint8 = "float32", bool = "float32" }
local whole_too = { float32 = "float32", float64 = "float64", int32 = "int32", int64 = "int64",
  uint8 = "uint8", bool = "bool" }
local numbers = { float32 = "float32", float64 = "float64", int32 = "int32", int64 = "int64",
  uint8 = "uint8" }
local truth = { float32 = "bool", float64 = "bool", int32 = "bool", int64 = "bool", uint8 = "bool",
  bool = "bool" }
local bits = { int32 = "int32", int64 = "int64", uint8 = "uint8", int8 = "int8", bool = "bool" }

local rows = {}
local function add(row)
  row.family = "pointwise"
  rows[#rows + 1] = row
end

local function set(text)
  local out = {}
  for name in text:gmatch "%S+" do
    out[name] = true
  end
  return out
end

-- The lines of pointwise.def: { macro, op, whole = has an integer form, steps = has no slope, { lo,
-- hi } ... }.
local function definitions()
  local file = assert(io.open "kernels/pointwise.def")
  local text = file:read("a"):gsub("/%*.-%*/", "")
  file:close()
  local out = {}
  for macro, body in ("\n" .. text):gmatch "\n(%u+) ?(%b())" do
    local line = { macro = macro, op = body:match "^%(%s*([%w_]+)" }
    line.whole = macro == "UI" or macro == "B" and not body:find("NOINT", 1, true)
    line.steps = body:find("NOGRAD", 1, true) ~= nil
    for lo, hi in body:gmatch "R%(([%d.-]+), ([%d.-]+)%)" do
      line[#line + 1] = { tonumber(lo), tonumber(hi) }
    end
    out[#out + 1] = line
  end
  return out
end

-- Of ternary ops, beside their lines: PyTorch's values, and what x3 and the options are there.
local third = {
  lerp = { x3 = { 0.25, 0.5, 1.5 }, by = "torch.lerp(x1, x2, x3)",
    values = { { 1.75, 0, -1.75 }, { 2.3125, 4, 3.75 } } },
  addcmul = { x3 = { 0.25, 0.5, 1.5 }, options = { value = -0.5 },
    by = "torch.addcmul(x1, x2, x3, value=-0.5)",
      values = { { 0.5, -2.5, 1.25 }, { 2.96875, -2, -3 } } },
  addcdiv = { x3 = { 0.25, 0.5, 1.5 }, options = { value = 2 },
    by = "torch.addcdiv(x1, x2, x3, value=2)",
      values = { { 33, 6, -0.8333333333333333 }, { 5, 32, 1.1666666666666665 } } },
}

local mismatch = { inputs = { { shape = { 2, 3 } }, { shape = { 2, 4 } } },
  says = "shapes [2, 3] and [2, 4] do not broadcast" }
local two_floats = {
  inputs = { { values = { 1, 2 }, dtype = "float32" }, { values = { 1, 2 }, dtype = "float64" } },
  says = "float32 and float64 do not mix",
}
local a_float = {
  inputs = { { values = { 1, 2 }, dtype = "float32" }, { values = { 1, 2 }, dtype = "int32" } },
  says = "x1 has a float dtype",
}

-- What the lines cannot say.
-- or no slope by definition
local steps_at_entry = set "floor_divide heaviside nextafter copysign ldexp"
local no_bools = set "negative subtract" -- refused
local no_f32 = set "nextafter" -- the neighbour of a float32 is another one

-- false: not checked; nil: every float input.
local function gradient(checked)
  if checked then
    return nil
  end
  return false
end

-- The row's own numbers, or else its line's: the domain for the inputs, the examples of its text
-- for the values.
local function values(row, line, count)
  for _, key in ipairs { line.macro == "BI" and line.op .. "_int" or line.op,
    line.op .. "_options" } do
    if ref[key] then
      row.ref, row.options = key, ref[key].options
      return row
    end
  end
  row.examples = 3
  row.inputs = {}
  for i = 1, count do
    local domain = line[i] or { -3, 3 }
    row.inputs[i] = { shape = { 9 }, from = domain[1], to = domain[2],
      dtype = line.macro == "BI" and "int32" or nil }
  end
  return row
end

for _, line in ipairs(definitions()) do
  local op, macro = line.op, line.macro
  local one = macro:sub(1, 1) == "U"
  local dtypes = macro == "BI" and bits or (macro == "UB" or macro == "BC") and truth
    or no_bools[op] and numbers
    or line.whole and whole_too or floating
  if op:find "_$" then -- private to C: its public op has rows below
    assert(core.op_info(op).private)
  elseif one then
    add(values({ op = op, dtypes = dtypes, gradgrad = macro ~= "UB" and not line.steps,
      f32 = not no_f32[op], empty = { inputs = { { 0, 3 } }, output = { 0, 3 } } }, line, 1))
  elseif macro == "B" then
    local flat = steps_at_entry[op]
    add(values({ op = op, dtypes = dtypes, gradgrad = not flat, grad = gradient(not flat),
      f32 = not no_f32[op], why = flat and "steps at the entry's numbers, or by definition" or nil,
        errors = { mismatch, two_floats },
      empty = { inputs = { { 0, 3 }, { 1, 3 } }, output = { 0, 3 } } }, line, 2))
    if not flat then
      add { op = op, label = "broadcast", gradgrad = true,
        inputs = { { shape = { 2, 1, 3 }, from = 0.5, to = 2 },
          { shape = { 4, 1 }, from = 0.7, to = 3 } } }
    end
  elseif macro == "T" then
    local e = third[op]
    add { op = op, options = e.options, dtypes = floating, gradgrad = true, by = e.by,
      inputs = { { values = { { 1, -2, 0.5 }, { 3, 0, -1.5 } } },
        { values = { { 4, 2, -1 }, { 0.25, 8, 2 } } }, { values = e.x3 } },
      outputs = { { values = e.values } },
        errors = { { inputs = { { shape = { 2, 3 } }, { shape = { 2, 3 } }, { shape = { 2 } } },
          says = "do not broadcast" } },
          empty = { inputs = { { 0, 3 }, { 1, 3 }, {} }, output = { 0, 3 } } }
    local domain = {}
    for i = 1, 3 do
      domain[i] = { shape = { i == 1 and 4 or 1, 5 }, from = line[i][1], to = line[i][2] }
    end
    add { op = op, label = "over its domain", inputs = domain, gradgrad = true }
  elseif macro == "BC" then
    add(values({ op = op, dtypes = dtypes, errors = { mismatch },
      empty = { inputs = { { 0 }, {} }, output = { 0 } } }, line, 2))
  else
    add(values({ op = op, errors = { a_float },
      empty = { inputs = { { 0 }, { 0 } }, dtypes = { "int32", "int32" }, output = { 0 } } }, line,
      2))
    add { op = op, label = "dtypes", inputs = { { shape = { 3 }, from = 1, to = 4 },
      { shape = { 3 }, from = 1, to = 4 } }, dtypes = bits, strided = false, threads = false,
      engines = false }
  end
end
for key in pairs(ref) do
  local op, kind = key:match "^(.-)_(special)$"
  if not op then
    op, kind = key:match "^(.-)_(int)$"
  end
  if kind then
    rows[#rows + 1] = { op = op, ref = key, label = kind, family = "pointwise", grad = false,
      why = "no slope at the special values", f32 = not (op == "nextafter" or op == "nan_to_num") }
  end
end
for key, e in pairs(ref) do
  if e.op then
    add { op = e.op, ref = key, label = key, options = e.options, gradgrad = e.op ~= "round",
      grad = gradient(e.op ~= "nan_to_num") }
  end
end

add { op = "sinc", ref = "sinc", dtypes = floating, gradgrad = true,
  empty = { inputs = { { 0, 3 } }, output = { 0, 3 } } }
add { op = "clip", inputs = { { shape = { 3 }, from = -3, to = 3 } }, label = "dtypes",
  options = { x_min = -1, x_max = 2 }, dtypes = whole_too }
add { op = "round", inputs = { { shape = { 3 }, from = -3, to = 3 } }, label = "dtypes",
  dtypes = whole_too }
add { op = "gelu", inputs = { { shape = { 3 }, from = -3, to = 3 } }, label = "dtypes",
  dtypes = floating, gradgrad = true }
add { op = "threshold", inputs = { { shape = { 3 }, from = -3, to = 3 } }, label = "dtypes",
  options = { threshold = 0.5, default_value = 2 }, dtypes = floating }
add {
  op = "glu",
  inputs = { { values = { { -2, 0.5, 1, 0, -1.5, 3 }, { 0.25, 2, -1, 1, 0.1, -0.7 } } } },
  expect_all = function(x) -- rows of 6: the first half times the sigmoid of the second
    local out = {}
    for i = 0, 6, 6 do
      for j = 1, 3 do
        out[#out + 1] = x[i + j] / (1 + math.exp(-x[i + j + 3]))
      end
    end
    return out, { 2, 3 }
  end,
  dtypes = { float32 = "float32", float64 = "float64" },
  gradgrad = true,
  errors = { { inputs = { { shape = { 2, 5 } } }, says = "axis 2 of [2, 5] cannot be halved" } },
}
add { op = "isclose", ref = "isclose", f32 = false }
add { op = "isclose", label = "dtypes", inputs = { { shape = { 3 } }, { shape = { 3 } } },
  dtypes = truth }
add {
  op = "bitwise_not",
  inputs = { { values = { 0, 5, -3 }, dtype = "int32" } },
  expect = function(x)
    return ~x
  end,
  dtypes = {},
  errors = { { inputs = { { values = { 1.5 }, dtype = "float32" } },
    says = "x has a float dtype" } },
}
add {
  op = "where",
  inputs = { { values = { true, false, true }, dtype = "bool" }, { shape = { 3 } },
    { shape = { 3 } } },
  expect = function(c, a, b)
    return c and a or b
  end,
  dtypes = {},
  errors = { { inputs = { { values = { true }, dtype = "bool" },
    { values = { 1 }, dtype = "float32" }, { values = { 1 }, dtype = "float64" } },
    says = "do not mix" } },
}

table.sort(rows, function(a, b) -- entries of the reference file come in no order
  return a.op .. (a.label or "") < b.op .. (b.label or "")
end)
return rows
