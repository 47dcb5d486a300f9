-- How tensors print: as torch prints them (spec/ref/printing.py), without its wrapping name.
local tide = require "tide"

describe("tostring(tensor)", function()
  for i, row in ipairs(require "spec.ref.printing") do
    it("equals torch's for " .. row[1]:sub(1, 80) .. (#row[1] > 80 and " … number " .. i or ""),
      function()
      local t = assert(load("local tide = ... return " .. row[1]))(tide)
      local body, tail = tostring(t):match "^(.*)\n(%[tide%.Tensor .*%])$"
      assert.equal(row[2], body)
      local shape = t.ndim == 0 and "scalar" or table.concat(t.shape, "x")
      assert.equal(("[tide.Tensor %s %s %s]"):format(t.dtype, shape, t.device), tail)
    end)
  end

  it("reads no more of a tensor than it shows", function()
    local before = tide.memory().peak_bytes
    local big = tide.zeros { 1 }:broadcast_to { 1 << 20, 1 << 20 } -- 2^40 elements over one
    assert.equal(8, select(2, tostring(big):gsub("\n", "")) + 1)
    assert.is_true(tide.memory().peak_bytes - before < 1 << 20)
  end)

  it("writes no sign of what is no number, in elements neither", function()
    local signs = tide.tensor { 0 / 0, -(0 / 0) }
    assert.matches("^%[nan, nan%]", tostring(signs))
    for _, dtype in ipairs { "float32", "float64", "float16", "bfloat16" } do
      local t = signs:cast(dtype)
      assert.equal("nan nan", tostring(t[1]) .. " " .. tostring(t[2]))
      assert.equal("nan", tostring(t:sum():item()))
    end
  end)

  it("says that a gradient is asked for", function()
    local t = tide.ones({ 2 }, { requires_grad = true })
    assert.matches(t.device .. ", grad%]$", tostring(t))
  end)
end)
