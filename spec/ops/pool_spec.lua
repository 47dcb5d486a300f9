-- Pooling where the case rows cannot go: ties, NaN, edges.
local core = require "tide.core"
local tide = require "tide"
local ops = tide.ops

local function column(t)
  return ops.reshape(t, { t.size }):tolist()
end

describe("max_pool", function()
  it("gives the gradient to the first of equal elements", function()
    local x = tide.tensor({ 1, 1, 1, 1, 0, 2, 2, 0 }, { dtype = "float64" })
    local image = ops.reshape(x, { 1, 2, 4, 1 }):copy():requires_grad_(true) -- 1 1 1 1 / 0 2 2 0
    local g = core.gradients(ops.max_pool(image, 2):sum(), { image })[1]
    assert.are.same({ 0, 0, 0, 0, 0, 1, 1, 0 }, column(g))
    local flat = ops.reshape(tide.ones { 4 }, { 1, 2, 2, 1 }):copy():requires_grad_(true)
    assert.are.same({ 1, 0, 0, 0 }, column(core.gradients(ops.max_pool(flat, 2):sum(),
      { flat })[1]))
  end)

  it("adds up where windows overlap", function()
    local x = ops.reshape(tide.tensor { 0, 3, 1, 2 }, { 1, 4, 1 }):copy():requires_grad_(true)
    local y = ops.max_pool(x, 2, { strides = 1 })
    assert.are.same({ 3, 3, 2 }, column(y))
    assert.are.same({ 0, 2, 0, 1 }, column(core.gradients(y:sum(), { x })[1]))
  end)

  it("lets NaN win its window and take the gradient", function()
    local nan = 0 / 0
    local x = ops.reshape(tide.tensor { 1, nan, 3, 4 }, { 1, 4, 1 }):copy():requires_grad_(true)
    local y = ops.max_pool(x, 2)
    local out = column(y)
    assert.is_true(out[1] ~= out[1])
    assert.are.equal(4, out[2])
    assert.are.same({ 0, 1, 0, 1 }, column(core.gradients(y:sum(), { x })[1]))
  end)

  it("finds the maxima of windows of every form, NaN among them", function()
    local x = tide.random.uniform { 2, 6, 7, 11 }
    x[{ 1, 2, 3, 4 }] = 0 / 0
    local at = x:tolist()
    for _, size in ipairs { { 1, 1 }, { 1, 2 }, { 2, 1 }, { 2, 2 }, { 3, 2 }, { 2, 3 }, { 3, 3 },
      { 5, 4 } } do
      local got = ops.max_pool(x, size, { strides = { 1, 1 } }):tolist()
      for n, image in ipairs(got) do
        for i, row in ipairs(image) do
          for j, cell in ipairs(row) do
            for c, v in ipairs(cell) do
              local want = -math.huge
              for a = i, i + size[1] - 1 do
                for b = j, j + size[2] - 1 do
                  local e = at[n][a][b][c]
                  want = want ~= want and want or e ~= e and e or math.max(want, e)
                end
              end
              assert.is_true(v == want or (v ~= v and want ~= want))
            end
          end
        end
      end
    end
  end)

  it("never lets padding win, though all elements are negative", function()
    local x = ops.reshape(tide.tensor { -1, -2, -3 }, { 1, 3, 1 })
    assert.are.same({ -1, -3 }, column(ops.max_pool(x, 2, { padding = "same" })))
  end)
end)

describe("average_pool", function()
  it("does not count padding", function()
    local x = ops.reshape(tide.tensor { 2, 4, 6 }, { 1, 3, 1 })
    assert.are.same({ 3, 6 }, column(ops.average_pool(x, 2, { padding = "same" })))
  end)
end)

describe("adaptive pooling", function()
  it("is the global pooling for one position", function()
    local x = ops.reshape(tide.tensor { 5, 1, 3, 7 }, { 1, 2, 2, 1 })
    assert.are.same({ 4 }, column(ops.adaptive_average_pool(x, 1)))
    assert.are.same({ 7 }, column(ops.adaptive_max_pool(x, 1)))
  end)
end)
