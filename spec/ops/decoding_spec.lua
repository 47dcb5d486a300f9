-- Functions of keras.ops that the case rows do not hold, against the real Keras, SciPy, NumPy and
-- JAX (spec/ref/decoding.py, spec/ref/special.py): ctc_decode, gammainc, eig, jvp, and complex
-- numbers as pairs of their parts.
local expect = require "spec.support.expect"
local tide = require "tide"

local ops = tide.ops
local decoding, special = dofile "spec/ref/decoding.lua", dofile "spec/ref/special.lua"

local function flat(x)
  return ops.ravel(x):tolist()
end

local function made(shape, f, dtype)
  local n, values = 1, {}
  for _, d in ipairs(shape) do
    n = n * d
  end
  for i = 0, n - 1 do
    values[i + 1] = f(i)
  end
  return tide.tensor(values, { dtype = dtype or "float64" }):reshape(shape)
end

describe("ops.ctc_decode", function()
  for i, row in ipairs(decoding) do
    it(("gives Keras' labels and scores (%d: %s)"):format(i, row.options.strategy or "greedy"),
      function()
        for _, dtype in ipairs { "float64", "float32" } do
          local x = made(row.shape, function(k)
            return math.sin(k ^ 1.5 * 0.37 + 0.3) * row.scale
          end, dtype)
          local labels, scores = ops.ctc_decode(x, tide.tensor(row.lengths, { dtype = "int32" }),
            row.options)
          assert.equal("int32", labels.dtype)
          assert.equal(dtype, scores.dtype)
          assert.same(row.labels, labels:tolist())
          expect.close(flat(scores), flat(tide.tensor(row.scores)), 1e-5, 1e-5, "scores")
        end
      end)
  end

  it("goes back from what ctc_loss takes", function()
    -- outputs that are sure of blank, 2, 2, blank, 2, 1 in channels behind a blank in the middle
    local x = ops.one_hot({ { 2, 3, 3, 2, 3, 1 } }, 3) * 20
    local length = tide.tensor({ 6 }, { dtype = "int32" })
    for _, strategy in ipairs { "greedy", "beam_search" } do
      local labels = ops.ctc_decode(x, length, { strategy = strategy, mask_index = 2 })
      assert.same({ { { 2, 2, 1, 0, 0, 0 } } }, labels:tolist())
      local loss = ops.ctc_loss(labels[1], x, { 3 }, { 6 }, { mask_index = 2 })
      assert.is_true(loss:item() < 1e-6)
    end
  end)

  it("takes lengths of 0, and gives nothing where nothing is left", function()
    local x, none = tide.ones { 1, 3, 2 }, tide.tensor({ 0 }, { dtype = "int32" })
    local labels, scores = ops.ctc_decode(x, none, { strategy = "beam_search", top_paths = 2 })
    assert.same({ { { 0, 0, 0 } }, { { 0, 0, 0 } } }, labels:tolist())
    assert.same({ { 0, -math.huge } }, scores:tolist())
    assert.same({ { 0 } }, select(2, ops.ctc_decode(x, none)):tolist())
    assert.equal("[1, 0, 3]", tostring(ops.ctc_decode(tide.ones { 0, 3, 2 }, ops.zeros({ 0 },
      { dtype = "int32" })).shape))
  end)

  it("refuses what does not fit", function()
    local x, n = tide.ones { 1, 3, 2 }, tide.tensor({ 3 }, { dtype = "int32" })
    local raises = expect.raises
    raises("ctc_decode: x has three axes (expected (N, T, C), got [3, 2])", ops.ctc_decode, x[1], n)
    raises("mask_index names a channel (expected 1..2, got 0)", ops.ctc_decode, x, n,
      { mask_index = 0 })
    raises("top_paths must be 1 to beam_width, 2 (got 3)", ops.ctc_decode, x, n,
      { strategy = "beam_search", beam_width = 2, top_paths = 3 })
    raises("beam_width must be 1 to 1048576 (got 0)", ops.ctc_decode, x, n,
      { strategy = "beam_search", beam_width = 0 })
    raises("sequence_lengths[1] is out of range (expected 0..3, got 4)", ops.ctc_decode, x,
      tide.tensor({ 4 }, { dtype = "int32" }))
    raises("strategy", ops.ctc_decode, x, n, { strategy = "best" })
  end)
end)

describe("ops.gammainc", function()
  it("gives SciPy's values and TensorFlow's slopes", function()
    local a = tide.tensor(special.a, { dtype = "float64" })
    local x = tide.tensor(special.x, { dtype = "float64", requires_grad = true })
    local y = ops.gammainc(a, x)
    expect.close(flat(y), special.gammainc, 1e-300, 2e-12, "values")
    y:sum():backward()
    expect.close(flat(x.grad), special.slope, 1e-300, 1e-10, "slopes")
  end)

  it("broadcasts, and knows its limits", function()
    local y = ops.gammainc({ { 0.5 }, { 1 } }, { 0, 1 })
    expect.close(flat(y), { 0, 0.8427008, 0, 0.6321206 }, 1e-6, 0, "values")
    local inf = math.huge
    local a = tide.tensor { 2, 0, inf }
    assert.same({ 1, 1, 0 }, flat(ops.gammainc(a, tide.tensor { inf, 3, 5 })))
    for _, v in ipairs(flat(ops.gammainc(tide.tensor { -1, 1, 0 }, tide.tensor { 1, -1, 0 }))) do
      assert.is_true(v ~= v)
    end
    -- x^a alone passes the range of numbers
    local wide = function(t) return tide.tensor(t, "float64") end
    local y1 = ops.gammainc(wide { 19, 19, 5, 0.5 }, wide { 1e20, 1e100, 1e308, 1.7e308 })
    assert.same({ 1, 1, 1, 1 }, flat(y1))
    local x = tide.tensor({ 1e20, 1e308 }, { dtype = "float64", requires_grad = true })
    ops.gammainc(wide { 19, 5 }, x):sum():backward()
    assert.same({ 0, 0 }, flat(x.grad))
    expect.raises("a and x do not broadcast (got [2] and [3])", ops.gammainc, { 1, 2 }, { 1, 2, 3 })
    expect.raises("gammainc: has a gradient for x alone, none for a", function()
      local p = tide.tensor({ 1.5 }, { requires_grad = true })
      ops.gammainc(p, { 2 }):sum():backward()
    end)
  end)

  it("has second derivatives for x", function()
    local x = tide.tensor({ 0.4, 3 }, { dtype = "float64", requires_grad = true })
    local a = tide.tensor({ 2.5, 2.5 }, { dtype = "float64" })
    local g = tide.grad(function() return ops.gammainc(a, x):sum() end, { x },
      { create_graph = true })[1]
    local slopes = g:detach()
    g:sum():backward()
    expect.close(flat(x.grad), flat(slopes * (1.5 / x:detach() - 1)), 1e-12, 1e-10, "second")
  end)
end)

describe("ops.eig", function()
  for _, row in ipairs(special.matrices) do
    it(("gives NumPy's eigenvalues, and vectors that fit (%d rows)"):format(row.n), function()
      local n = row.n
      local x = made({ n, n }, function(i) return math.sin(i ^ 1.4 * 0.7 + row.k) * 2 end)
      local wr, wi, vr, vi = ops.eig(x)
      local order, re, im = {}, flat(wr), flat(wi)
      for i = 1, n do
        order[i] = i
      end
      table.sort(order, function(a, b)
        local p, q = math.floor(re[a] * 1e9 + 0.5), math.floor(re[b] * 1e9 + 0.5)
        return p < q or p == q and im[a] < im[b]
      end)
      local sorted_re, sorted_im = {}, {}
      for i, k in ipairs(order) do
        sorted_re[i], sorted_im[i] = re[k], im[k]
      end
      expect.close(sorted_re, row.re, 1e-10, 1e-10, "real parts")
      expect.close(sorted_im, row.im, 1e-10, 1e-10, "imaginary parts")
      local left = ops.matmul(x, vr) - (vr * wr - vi * wi)
      local right = ops.matmul(x, vi) - (vr * wi + vi * wr)
      local most = { ops.max(ops.abs(left)):item(), ops.max(ops.abs(right)):item() }
      expect.close(most, { 0, 0 }, 1e-10, 0, "x v - w v")
      expect.close(flat(ops.sum(vr * vr + vi * vi, 1)), flat(tide.ones { n }), 1e-12, 0, "lengths")
    end)
  end

  it("takes matrices whose squares pass the range of numbers", function()
    local rows = { { 1, 2, 1 }, { 3, 4, 1 }, { 1, -5, 1 } } -- -1, 3.5 +- sqrt(1.75) i
    for _, scale in ipairs { 1e300, 1e200, 1e-200, 1e-300 } do
      local x = made({ 3, 3 }, function(i) return rows[i // 3 + 1][i % 3 + 1] * scale end)
      local wr, wi, vr = ops.eig(x)
      local re, im = flat(wr / scale), flat(wi / scale)
      table.sort(re)
      table.sort(im)
      expect.close(re, { -1, 3.5, 3.5 }, 1e-12, 0, "real parts")
      expect.close(im, { -1.75 ^ 0.5, 0, 1.75 ^ 0.5 }, 1e-12, 0, "imaginary parts")
      assert.is_true(ops.all(ops.isfinite(vr)))
    end
    local wr = ops.eig(tide.tensor({ { 1e200, 2e200 }, { 3e200, 4e200 } }, "float64"))
    expect.close(flat(ops.sort(wr / 1e200)), { -0.372281323, 5.37228132 }, 1e-8, 0, "two rows")
  end)

  it("keeps real what is real, and takes many, empty and defective matrices", function()
    local wr, wi = ops.eig { { { 2, 1 }, { 1, 2 } }, { { 0, -1 }, { 1, 0 } } }
    expect.close(flat(ops.sort(wr, -1)), { 1, 3, 0, 0 }, 1e-6, 0, "real parts")
    expect.close(flat(ops.sort(wi, -1)), { 0, 0, -1, 1 }, 1e-6, 0, "imaginary parts")
    assert.equal("[0, 3]", tostring(ops.eig(tide.ones { 0, 3, 3 }).shape))
    local values, parts, vectors = ops.eig { { 1, 1 }, { 0, 1 } }
    assert.same({ 1, 1, 0, 0 }, flat(ops.concatenate { values, parts }))
    expect.close(flat(ops.abs(vectors[1])), { 1, 1 }, 1e-6, 0, "one direction")
    assert.same({ 0, 0, 0 }, flat(ops.eig(tide.zeros { 3, 3 })))
    expect.raises("matrix 1 of x holds NaN or infinity", ops.eig, { { 0 / 0 } })
    expect.raises("needs square matrices (expected [..., n, n], got [2, 3])", ops.eig,
      tide.ones { 2, 3 })
  end)
end)

describe("complex numbers as pairs", function()
  it("polar gives both parts", function()
    local re, im = ops.polar({ 2, 1 }, { math.pi / 2, math.pi })
    expect.close(flat(re), { 0, -1 }, 1e-6, 0, "real")
    expect.close(flat(im), { 2, 0 }, 1e-6, 0, "imaginary")
    expect.raises("abs_ and angle do not broadcast", ops.polar, { 1, 2 }, { 1, 2, 3 })
  end)

  it("view_as_complex and view_as_real go back and forth, with gradients", function()
    local x = tide.tensor({ { 1, 2 }, { 3, 4 } }, { requires_grad = true })
    local re, im = ops.view_as_complex(x)
    assert.same({ { 1, 3 }, { 2, 4 } }, { re:tolist(), im:tolist() })
    local y = ops.view_as_real { re, im }
    assert.same(x:tolist(), y:tolist())
    ops.sum(y * y):backward()
    assert.same({ { 2, 4 }, { 6, 8 } }, x.grad:tolist())
    assert.same({ { 5, 0 } }, ops.view_as_real(tide.tensor { 5 }):tolist())
    expect.raises("(expected [..., 2], got [3])", ops.view_as_complex, tide.ones { 3 })
    expect.raises("x must be a tensor, or a list of two", ops.view_as_real, { tide.ones { 1 } })
    expect.raises("the parts of x differ", ops.view_as_real, { tide.ones { 1 }, tide.ones { 2 } })
  end)
end)

describe("tide.jvp", function()
  local p, t = { 0.3, -1.2, 2.0 }, { 1.0, 0.5, -0.25 }
  local function double(v)
    return tide.tensor(v, { dtype = "float64" })
  end
  local m = double { { 1.0, 2.0, -1.0 }, { 0.5, 0.0, 3.0 } }
  local cases = { function(v, w) return ops.sin(v) * w end,
    function(v, w) return ops.exp(ops.matmul(m, v)) * w end,
    function(v, w) return ops.sum(v ^ 2) / w end, function(v) return v * 3 end }

  it("gives JAX's results and tangents", function()
    for i, f in ipairs(cases) do
      local y, dy = tide.jvp(f, { double(p), double { 0.7 } }, { double(t), double { 2 } })
      expect.close(flat(y), special.jvps[i].y, 1e-12, 1e-12, "result " .. i)
      expect.close(flat(dy), special.jvps[i].dy, 1e-12, 1e-10, "tangent " .. i)
      assert.is_false(dy.requires_grad)
    end
  end)

  it("takes lists of results, numbers, aux, and stands in tide.ops too", function()
    local y, dy, aux = ops.jvp(function(v)
      return { v * v, ops.zeros { 2 } }, "aux"
    end, { 3 }, { 2 }, true)
    assert.same({ 9, 12, "aux" }, { y[1]:item(), dy[1]:item(), aux })
    assert.same({ 0, 0 }, dy[2]:tolist())
  end)

  it("can be differentiated itself", function()
    local x = tide.tensor({ 2.0 }, { requires_grad = true })
    local _, dy = tide.jvp(function(v) return v ^ 3 end, { x }, { tide.ones { 1 } })
    dy:sum():backward()
    expect.close(flat(x.grad), { 12 }, 1e-5, 0, "second")
  end)

  it("refuses what does not fit", function()
    local one = tide.ones { 1 }
    expect.raises("jvp: primals and tangents must be equally many (got 1 and 2)", tide.jvp, ops.sin,
      { one }, { one, one })
    expect.raises("tangents[1] has another shape than its primal (expected [1], got [2])", tide.jvp,
      ops.sin, { one }, { tide.ones { 2 } })
    expect.raises("the function must return a tensor or a list of them (got 3)", tide.jvp,
      function() return 3 end, { one }, { one })
    expect.raises("primals must be a list of tensors", tide.jvp, ops.sin, one, { one })
  end)
end)
