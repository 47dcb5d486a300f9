-- Merging layers whose inputs bring masks, as Keras 3.15 merges them.
local expect = require "spec.support.expect"
local tide = require "tide"
local L, ops = tide.layers, tide.ops

local function masked(values, mask)
  return L.Masking { -1 }(ops.where(tide.tensor { mask } :reshape { 1, #mask, 1 },
    tide.tensor { values }:reshape { 1, #values, 1 }, -1))
end

describe("merging layers and masks:", function()
  local a = masked({ 2, 3, 4, 5 }, { true, true, false, false })
  local b = masked({ 7, 1, 9, 6 }, { true, false, true, false })
  local plain = tide.tensor { 2, 2, 2, 2 }:reshape { 1, 4, 1 }

  it("Multiply takes what is masked as 1, and gives 0 where all is", function()
    expect.close(L.Multiply()({ a, b }):reshape { 4 }, { 14, 3, 9, 0 })
    expect.close(L.Multiply()({ a, plain }):reshape { 4 }, { 4, 6, 2, 2 })
  end)

  it("Maximum and Minimum take what is not masked", function()
    expect.close(L.Maximum()({ a, b })[{ 1, { 1, 3 } }]:reshape { 3 }, { 7, 3, 9 })
    expect.close(L.Minimum()({ a, b })[{ 1, { 1, 3 } }]:reshape { 3 }, { 2, 3, 9 })
    expect.close(L.Minimum()({ a, plain }):reshape { 4 }, { 2, 2, 2, 2 })
  end)

  it("layers of masks that are switched off are those of numbers", function()
    expect.close(L.Multiply()({ a, b }, { mask = false })[{ 1, 1 }], { 14 })
  end)

  it("Concatenate brings float inputs to its dtype, as others do", function()
    local y = L.Concatenate() { ops.ones({ 1, 2 }):cast "bfloat16", ops.ones { 1, 2 } }
    assert.equal("float32", y.dtype)
    assert.equal("int32", (L.Concatenate() { ops.ones({ 1, 2 }):cast "int32",
      ops.ones({ 1, 2 }):cast "int32" }).dtype)
  end)
end)
