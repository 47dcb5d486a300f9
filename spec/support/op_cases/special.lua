-- The incomplete gamma function, of exponent 1 (1 - e^-x) and 2 (1 - (1 + x) e^-x).
local exp = math.exp
local a = { values = { 1.0, 2.0, 2.0 } }
local x = { values = { 0.5, 1.5, 4.0 } }
return {
  { op = "gammainc_", inputs = { a, x }, grad = { 2 }, dtypes = {}, gradgrad = true,
    outputs = { { values = { 1 - exp(-0.5), 1 - 2.5 * exp(-1.5), 1 - 5 * exp(-4) } } },
    errors = { { inputs = { { shape = { 2 } }, { shape = { 3 } } },
      says = "a and x differ in shape (a [2], x [3])" } } },
}
