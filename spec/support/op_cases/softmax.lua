local floats = { float32 = "float32", float64 = "float64", int32 = "float32", bool = "float32" }
local rows = {}
for _, op in ipairs { "softmax", "log_softmax", "sparsemax" } do
  local function add(key, options, more)
    local row = { op = op, label = key, ref = op .. ", " .. key, options = options,
      gradgrad = op ~= "sparsemax", length = 16 }
    for k, v in pairs(more or {}) do
      row[k] = v
    end
    rows[#rows + 1] = row
  end
  add("last axis", nil, {
    dtypes = floats,
    empty = { inputs = { { 0, 3 } }, output = { 0, 3 } },
    errors = {
      { options = { axis = 4 }, says = op .. ": no axis 4 in a tensor of 3 axes" },
      { inputs = { { values = 1.0 } }, says = "no axis" },
    },
  })
  add("first axis", { axis = 1 })
  add("middle axis", { axis = 2 })
  add("large values", nil, { grad = false, why = "differences lose their digits beside 1e9",
    f32 = op ~= "log_softmax" })
  add("wide", nil, { gradgrad = false })
end
return rows
