local rows = {}
for _, op in ipairs { "random_uniform", "random_normal", "random_truncated_normal",
  "random_randint", "random_categorical", "random_shuffle", "dropout", "alpha_dropout" } do
  rows[#rows + 1] = { op = op, spec = "spec/core/random_spec.lua" }
end
for _, op in ipairs { "dropout", "alpha_dropout" } do
  rows[#rows + 1] = { op = op, label = "a seed of its own",
    inputs = { { shape = { 9, 16 }, from = -2, to = 2 } }, options = { rate = 0.4, seed = 3 },
      gradgrad = true, dtypes = { float32 = "float32", float64 = "float64", int32 = "float32" },
    empty = { inputs = { { 0, 3 } }, output = { 0, 3 }, options = { rate = 0.4 } } }
end
return rows
