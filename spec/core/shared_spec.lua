-- Elements that stand at one place in memory: ops that repeat give elements of their own, as
-- NumPy's do; a broadcast view is read and not written, whichever way the write comes.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"
local ops, layers = tide.ops, tide.layers

-- What `make` gives of `source` keeps its other elements, and the source its own, where one is
-- written.
local function owns(make, source)
  local x = tide.tensor(source)
  local before = x:tolist()
  local results = { make(x) }
  for i, y in ipairs(results) do
    local want = ops.ravel(y):tolist()
    local at = {}
    for a = 1, y.ndim do
      at[a] = 1
    end
    y[at] = 77
    want[1] = 77
    expect.close(ops.ravel(y), want, 0, 0, "result " .. i)
    assert.same(before, x:tolist())
  end
end

describe("elements of their own", function()
  local cases = {
    { "tile", { 1 }, function(x) return ops.tile(x, { 3 }) end },
    { "tile once", { 1, 2 }, function(x) return ops.tile(x, { 1 }) end },
    { "tile with a new axis", { 1, 2 }, function(x) return ops.tile(x, { 2, 1 }) end },
    { "rep", { 1 }, function(x) return ops.rep(x, 3) end },
    { "rep once", { 1, 2 }, function(x) return ops.rep(x, 1) end },
    { "rep along an axis", { { 1 }, { 2 } }, function(x) return ops.rep(x, 2, 2) end },
    { "repeat", { 1 }, function(x) return ops["repeat"](x, 2) end },
    { "repeat by counts", { 1 }, function(x) return ops["repeat"](x, { 3 }) end },
    { "meshgrid", { 1, 2 }, function(x) return ops.meshgrid(x, tide.tensor { 3, 4, 5 }) end },
    { "meshgrid of one", { 1, 2 }, function(x) return ops.meshgrid(x) end },
    { "meshgrid ij", { 1 }, function(x) return ops.meshgrid(x, x, { indexing = "ij" }) end },
    { "roll by nothing", { 1, 2 }, function(x) return ops.roll(x, 2) end },
    { "roll of axes by nothing", { { 1, 2 } }, function(x) return ops.roll(x, { 0 }, { 2 }) end },
    { "concatenate of one", { 1, 2 }, function(x) return ops.concatenate { x } end },
    { "matrix_power 0", { { { 2 } }, { { 1 } } }, function(x) return ops.matrix_power(x, 0) end },
    { "UpSampling1D", { { { 1 } } }, function(x) return layers.UpSampling1D { 2 }(x) end },
    { "UpSampling2D", { { { { 1 } } } }, function(x) return layers.UpSampling2D { 2 }(x) end },
    { "UpSampling3D", { { { { { 1 } } } } }, function(x) return layers.UpSampling3D { 2 }(x) end },
    { "UpSampling2D once", { { { { 1 } } } }, function(x) return layers.UpSampling2D { 1 }(x) end },
    { "RepeatVector", { { 1 } }, function(x) return layers.RepeatVector { 3 }(x) end },
  }
  for _, c in ipairs(cases) do
    it("has what " .. c[1] .. " gives", function()
      owns(c[3], c[2])
    end)
  end
end)

describe("a broadcast view", function()
  local function view()
    local x = tide.tensor { 1, 2 }
    return ops.broadcast_to(x, { 2, 2 }), x
  end
  local writes = {
    { "a row", function(y) y[1] = 5 end },
    { "an element", function(y) y[{ 1, 1 }] = 5 end },
    { "a range", function(y) y[{ { 1 } }] = 5 end },
    { "all", function(y) y[{}] = 5 end },
    { "masked elements", function(y) y[tide.tensor { { true, false }, { false, false } }] = 5 end },
    { "indexed rows", function(y) y[tide.tensor({ 1 }, { dtype = "int64" })] = 5 end },
    { "a row of a row", function(y) y[1][1] = 5 end },
    { "its transpose", function(y) y:transpose()[1] = 5 end },
    { "its detached form", function(y) y:detach()[1] = 5 end },
    { "its shape", function(y) y:reshape({ 2, 1, 2 })[2] = 5 end },
    { "its diagonal", function(y) y:diagonal()[1] = 5 end },
    { "copy_", function(y) y[1]:copy_(5) end },
    { "assign", function(y) y[1]:assign { 5, 6 } end },
    { "add_", function(y) y:add_(1) end },
    { "a row by relu_", function(y) y[1]:relu_() end },
    { "ema_step_", function(y)
      core.ops.ema_step_({ y[1] }, { tide.tensor { 5, 6 } }, { momentum = 0.5 })
    end },
  }
  for _, c in ipairs(writes) do
    it("refuses to be written through " .. c[1], function()
      local y, x = view()
      local text = expect.message(c[2], y)
      expect.has(text, "share one place in memory")
      expect.has(text, "copy()")
      assert.same({ { 1, 2 }, { 1, 2 } }, y:tolist())
      assert.same({ 1, 2 }, x:tolist())
    end)
  end

  it("that repeats nothing is written", function()
    local y = ops.broadcast_to(tide.tensor { 1, 2 }, { 1, 2 })
    y[1] = 5
    assert.same({ { 5, 5 } }, y:tolist())
  end)

  it("is written after a copy", function()
    local y, x = view()
    y = y:copy()
    y[1] = 5
    assert.same({ { 5, 5 }, { 1, 2 } }, y:tolist())
    assert.same({ 1, 2 }, x:tolist())
  end)
end)
