local hits = { { { 2 }, { 1 } }, { { 1 }, { 0 } }, { { 1 }, { 2 } }, { { 0 }, { 1 } } }
return {
  { op = "threshold_counts", label = "counted by hand", grad = false,
    why = "counts are constant almost everywhere",
      dtypes = { float32 = "float32", float64 = "float64" },
    inputs = { { values = { { 1 }, { 0 }, { 1 }, { 0 } } },
      { values = { { 0.9 }, { 0.4 }, { 0.3 }, { 0.1 } } }, { values = { 0.2, 0.5 } }, false },
    outputs = { { values = hits } },
    empty = { inputs = { { 0, 1 }, { 0, 1 }, { 2 } }, output = { 4, 2, 1 } },
    errors = {
      { inputs = { { shape = { 3, 1 } }, { shape = { 2, 1 } }, { shape = { 2 } } },
        says = "need one shape (expected [n, labels], got [3, 1] and [2, 1])" },
      { inputs = { { shape = { 3, 1 } }, { shape = { 3, 1 } }, { shape = { 2, 1 } } },
        says = "thresholds must be a vector (got [2, 1])" },
    } },
  { op = "threshold_counts", label = "weighted, two labels", grad = false,
    why = "counts are constant almost everywhere",
      inputs = { { values = { { 1, 0 }, { 0, 1 } } }, { values = { { 0.5, 0.5 }, { 0.9, 0.2 } } },
      { values = { 0.5 } }, { values = { { 2, 1 }, { 3, 0.5 } } } },
    outputs = { { values = { { { 0, 0 } }, { { 3, 0 } }, { { 0, 1 } }, { { 2, 0.5 } } } } } },
}
