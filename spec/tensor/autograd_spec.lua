local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local ops = tide.ops

local message = expect.message

local function leaf(x, dtype)
  return tide.tensor(x, { requires_grad = true, dtype = dtype or "float64" })
end

describe("backward", function()
  it("adds into .grad of the leaves", function()
    local x = leaf { 1, 2, 3 }
    ;(x * x):sum():backward()
    expect.close(x.grad, { 2, 4, 6 }, 1e-6, 1e-6)
    ;(x * x):sum():backward()
    expect.close(x.grad, { 4, 8, 12 }, 1e-6, 1e-6)
    x.grad = nil
    assert.is_nil(x.grad)
  end)

  it("sums over paths and undoes broadcasting", function()
    local a, b = leaf { { 1, 2 }, { 3, 4 } }, leaf { 10, 20 }
    local y = a * b + b
    y:sum():backward()
    expect.close(a.grad, { { 10, 20 }, { 10, 20 } }, 1e-6, 1e-6)
    expect.close(b.grad, { 6, 8 }, 1e-6, 1e-6)
  end)

  it("needs one number to start from, or the gradient", function()
    local x = leaf { 1, 2 }
    assert.matches("needs one number to start from %(expected a tensor of 1 element, got %[2%]%)",
      message(function()
      (x * 2):backward()
    end))
    local y = x * 2
    y:backward(tide.tensor({ 1, 10 }, { dtype = "float64" }))
    expect.close(x.grad, { 2, 20 }, 1e-6, 1e-6)
    assert.matches("wrong form", message(function()
      (x * 2):backward(tide.ones { 3, dtype = "float64" })
    end))
    assert.matches("depends on nothing", message(function()
      tide.ones({ 1 }):sum():backward()
    end))
  end)

  it("frees the graph, unless told to keep it", function()
    local x = leaf { 2 }
    local y = (x * x):sum()
    y:backward { retain_graph = true }
    y:backward()
    expect.close(x.grad, { 8 }, 1e-6, 1e-6)
    assert.matches("retain_graph", message(function()
      y:backward()
    end))
  end)

  it("walks 100,000 nodes without recursion", function()
    local x = leaf { 1 }
    local y = x
    for _ = 1, 100000 do
      y = y + 0
    end
    y:sum():backward()
    expect.close(x.grad, { 1 }, 1e-6, 1e-6)
  end)

  it("refuses create_graph into .grad in favour of tide.grad", function()
    local x = leaf { 1 }
    assert.matches("tide.grad", message(function()
      (x * x):sum():backward { create_graph = true }
    end))
  end)

  it("computes no gradient that nobody asked for", function()
    local x, w = tide.ones { 4, 3 }, leaf({ { 1 }, { 2 }, { 3 } }, "float32")
    x:matmul(w):sum():backward()
    assert.is_nil(x.grad)
    expect.close(w.grad, { { 4 }, { 4 }, { 4 } }, 1e-6, 1e-6)
  end)
end)

describe("sparse gradients", function()
  it("of one table read twice are added row by row", function()
    local rows = leaf { { 1, 2 }, { 3, 4 }, { 5, 6 } }
    local function read(...)
      return ops.embedding(rows, tide.tensor({ ... }, { dtype = "int32" }))
    end
    local g = tide.grad((read(1, 3) * 2 + read(3, 3)):sum(), { rows }, { sparse = true })[1]
    assert.same({ 3, 2 }, g.shape)
    local sum = tide.zeros({ 3, 2 }, { dtype = "float64" })
    core.ops.accumulate_step_({ sum }, { g }, 1)
    expect.close(sum, { { 2, 2 }, { 0, 0 }, { 4, 4 } }, 0, 0)
  end)
end)

describe("tide.grad and value_and_grad", function()
  it("differentiate functions of tensors, as JAX", function()
    local g = tide.grad(function(a, b)
      return (a * a * b):sum()
    end)
    local da, db = g(tide.tensor { 1, 2 }, tide.tensor { 3, 4 })
    expect.close(da, { 6, 16 }, 1e-6, 1e-6)
    expect.close(db, { 1, 4 }, 1e-6, 1e-6)
    local loss, dx = tide.value_and_grad(function(x)
      return (x * x):sum()
    end)(tide.tensor { 3 })
    expect.close(loss, 9, 1e-6, 1e-6)
    expect.close(dx, { 6 }, 1e-6, 1e-6)
  end)

  it("differentiate by a list of variables; false where nothing depends on one", function()
    local w, unused = leaf { 2 }, leaf { 5 }
    local loss, grads = tide.value_and_grad(function()
      return (w * w):sum()
    end, { w, unused })
    expect.close(loss, 4, 1e-6, 1e-6)
    expect.close(grads[1], { 4 }, 1e-6, 1e-6)
    assert.is_false(grads[2])
  end)

  it("give second and third derivatives", function()
    local x = leaf { 0.5, -1.5 }
    local y = (x ^ 4):sum()
    local d1 = tide.grad(y, { x }, { create_graph = true })[1]
    local d2 = tide.grad(d1:sum(), { x }, { create_graph = true })[1]
    local d3 = tide.grad(d2:sum(), { x })[1]
    expect.close(d1, { 0.5, -13.5 }, 1e-6, 1e-6)
    expect.close(d2, { 3, 27 }, 1e-6, 1e-6)
    expect.close(d3, { 12, -36 }, 1e-6, 1e-6)
    local nested = tide.grad(function(a)
      return tide.grad(function(b)
        return b:tanh():sum()
      end)(a):sum()
    end)
    local th = (math.exp(0.5) - math.exp(-0.5)) / (math.exp(0.5) + math.exp(-0.5))
    expect.close(nested(tide.tensor({ 0.5 }, { dtype = "float64" })), { -2 * th * (1 - th * th) },
      1e-6, 1e-6)
  end)

  it("restore the mode after an error", function()
    assert.matches("boom", message(tide.no_grad, function()
      error "boom"
    end))
    assert.is_true(core.grad_mode())
    local x = leaf { 1 }
    local y = tide.no_grad(function()
      return x * 2
    end)
    assert.is_false(y.requires_grad)
  end)
end)

describe("products where elements are 0", function()
  -- By definition: every derivative is a sum of products from which the elements differentiated by
  -- are left out.
  local function product(x, last, i, m)
    local p = 1
    for k = 1, last do
      p = (k == i or k == m) and p or p * x[k]
    end
    return p
  end

  it("have first and second derivatives, running or whole", function()
    local w, v = { 1, -2, 0.5, 3, 1.5 }, { 0.3, 1, -2, 0.7, 1.1 }
    local weights, direction = tide.tensor(w, { dtype = "float64" }),
      tide.tensor(v, { dtype = "float64" })
    for _, values in ipairs { { 2, 0, 3, 0.5, -1 }, { 0, 0, 2, 1, 3 }, { 2, 3, 4, 5, 0 },
      { 0, 0, 0, 0, 0 } } do
      for _, whole in ipairs { false, true } do
        local first, second = {}, {}
        for i = 1, 5 do
          first[i], second[i] = 0, 0
          for j = whole and 5 or i, 5 do
            local weight = whole and 1 or w[j]
            first[i] = first[i] + weight * product(values, j, i)
            for m = 1, j do
              second[i] = second[i] + (m ~= i and weight * v[m] * product(values, j, i, m) or 0)
            end
          end
        end
        local x = leaf(values)
        local y = whole and x:prod() or (x:cumprod(1) * weights):sum()
        local g = tide.grad(y, { x }, { create_graph = true })[1]
        expect.close(g, first, 1e-6, 1e-6)
        expect.close(tide.grad((g * direction):sum(), { x })[1], second, 1e-6, 1e-6)
        local flat = x:reshape { 5, 1 }
        expect.close(tide.grad(whole and flat:prod() or (flat:cumprod() * weights):sum(), { x })[1],
          first, 1e-6, 1e-6)
      end
    end
  end)

  it("hold where a product passes float32's range on its way back", function()
    for dtype, b in pairs { float32 = 2 ^ 60, float16 = 2 ^ 6 } do
      local x = tide.tensor({ 1 / b, 1 / b, 3, b, b, b }, { dtype = dtype, requires_grad = true })
      local want = { 3 * b ^ 2, 3 * b ^ 2, b, 3, 3, 3 } -- from behind alone: 3 b ^ 3
      expect.close(tide.grad(x:prod(), { x })[1], want, 0, 1e-3)
      expect.close(tide.grad(x:cumprod()[6], { x })[1], want, 0, 1e-3)
    end
  end)

  it("run along any axis, and from its end", function()
    local x = leaf { { 2, 0, 3 }, { 0, 4, 5 } }
    local weights = tide.tensor({ 1, 10, 100 }, { dtype = "float64" })
    ;(x:flip(2):cumprod(2):flip(2) * weights):sum():backward()
    expect.close(x.grad, { { 0, 6 + 30, 100 }, { 20, 0 + 50, 0 + 40 + 100 } }, 1e-6, 1e-6)
    x.grad = nil
    x:cumprod(1):sum():backward()
    expect.close(x.grad, { { 1, 5, 6 }, { 2, 0, 3 } }, 1e-6, 1e-6)
  end)
end)

describe("values changed in place", function()
  it("has an in-place form of every elementwise op, with its values and gradient", function()
    local count = 0
    for _, name in ipairs(core.op_names()) do
      local method = debug.getmetatable(tide.ones { 1 }).methods[name .. "_"]
      local info = method and not name:match "_$" and core.op_info(name)
      local needed = 0
      for _, a in ipairs(info and info.args or {}) do
        needed = needed + (a.required and 1 or 0)
      end
      if info and needed == 1 then
        count = count + 1
        local x = tide.tensor { 0.3, 0.7 }
        local ok, y = pcall(function() return x[name](x) end)
        if ok and y.dtype == "float32" then
          assert.is_true(tide.ops.all(y:nan_to_num():equal(x[name .. "_"](x):nan_to_num())), name)
        end
      end
    end
    assert.is_true(count > 60, count)
    local w = tide.tensor({ -1, 2 }, { requires_grad = true })
    local y = w * 2
    assert.equal(y, y:relu_():exp_():divide_(2):clip_(0, 20))
    y:sum():backward()
    assert.same({ 0, 0 }, w.grad:tolist()) -- relu's zero, and clip's upper limit
  end)

  it("are noticed by the gradient that needs them, with op and line", function()
    local w = leaf { 1, 2 }
    local z = w * w
    local q = z:exp()
    q:add_(1)
    local m = message(function()
      q:sum():backward()
    end)
    assert.matches(
      "exp: its result %[2%] was changed in place after the op ran at .*autograd_spec.lua:%d+", m)
    z = w * w
    local s = z:square()
    core.no_grad(function()
      z:copy_ { 0, 0 }
    end)
    m = message(function()
      s:sum():backward()
    end)
    assert.matches("square: .*changed in place after the op ran at .*autograd_spec.lua:%d+", m)
  end)

  it("are refused on leaves and views while recording", function()
    local w = leaf { 1, 2 }
    assert.matches("slice_update", message(function()
      w:add_(1)
    end))
    assert.matches("slice_update", message(function()
      w[1] = 3
    end))
    local v = (w * 2)[{ { 1, 1 } }]
    assert.matches("view", message(function()
      v:add_(1)
    end))
  end)

  it("bind results to the new node", function()
    local w = leaf { 1, 2 }
    local z = w * 3
    z:multiply_(w)
    z:sum():backward()
    expect.close(w.grad, { 6, 12 }, 1e-6, 1e-6)
    w.grad = nil
    z = w * 3
    z[2] = 0
    z:sum():backward()
    expect.close(w.grad, { 3, 0 }, 1e-6, 1e-6)
  end)

  it("make older differentiable views raise", function()
    local w = leaf { 1, 2 }
    local z = w * 3
    local v = z[{ { 1, 1 } }]
    z:add_(1)
    assert.matches("make the view again", message(function()
      return v * 2
    end))
  end)

  it("are recorded by copy_, cast and broadcast", function()
    local w, v = leaf { 1, 2 }, leaf { 3 }
    local z = w * 2
    z:copy_(w * w)
    local y = tide.zeros({ 2, 2 }, { dtype = "float64" })
    y:copy_(z * 5)
    local u = tide.zeros { 2 }
    u:copy_(v)
    assert.is_true(u.requires_grad)
    ;((y * y):sum() + (u:cast("float64") * w):sum()):backward()
    -- 2 * 25 w^4 + v (w1 + w2)
    expect.close(w.grad, { 200 + 3, 200 * 8 + 3 }, 0, 0)
    expect.close(v.grad, { 3 }, 0, 0)
    z:copy_ { 7, 8 } -- a constant: the old value goes, and its gradient
    assert.is_false(z.requires_grad)
    assert.matches("copy_: a leaf that requires a gradient", message(function()
      w:copy_ { 1, 1 }
    end))
    tide.no_grad(function()
      w:copy_ { 1, 1 }
    end)
    expect.close(w, { 1, 1 }, 0, 0)
    local part = y[1]
    assert.matches("copy_: a view", message(function()
      part:copy_ { 0, 0 }
    end))
    assert.matches("copy_: a view cannot take over", message(function()
      tide.zeros({ 2, 2 }, { dtype = "float64" })[1]:copy_(w * 2)
    end))
  end)

  it("hide no change in place that came between the value and its assignment", function()
    for _, change in ipairs {
      function(z) z[1] = 50 end,
      function(z) tide.no_grad(function() z:copy_ { 50, 50 } end) end,
    } do
      local w = leaf { 2, 3 }
      local z = w * 1
      local y = z * z -- its gradient needs z as it is here
      change(z)
      z:copy_(y)
      assert.matches("was changed in place after the op ran", message(function()
        z:sum():backward()
      end))
    end
    local w = leaf { 2, 3 } -- nothing in between
    local z = w * 1
    z:multiply_(z)
    z:multiply_(z)
    z:sum():backward()
    expect.close(w.grad, { 32, 108 }, 0, 0) -- 4 w^3
  end)

  it("are seen by a view of what was there before, which raises or is made again", function()
    local w = leaf { 1, 2 }
    for _, take in ipairs {
      function(y) y[1] = w end,
      function(y) y:copy_(w) end,
      function(y) y:add_(w) end,
    } do
      local y = tide.zeros({ 2, 2 }, { dtype = "float64" })
      local v, plain, stopped = y[1], y:detach(), ops.stop_gradient(y)
      take(y)
      for _, use in ipairs {
        function() return v * 2 end,
        function() return v:reshape { 2, 1 } end,
        function() v:add_(1) end,
        function() v[1] = 5 end,
        function() v:copy_ { 5, 5 } end,
      } do
        assert.matches("took over a value with a gradient .* make the view again", message(use))
      end
      assert.same({ 1, 2 }, v:tolist())
      assert.matches("1", tostring(v))
      assert.is_true(tide.no_grad(function() return (v * 2):tolist()[2] == 4 end))
      expect.close(plain[1] * 2, { 2, 4 }, 0, 0)
      expect.close(stopped[1] * 2, { 2, 4 }, 0, 0)
      local again = y[1]
      w.grad = nil
      again:sum():backward()
      expect.close(w.grad, { 1, 1 }, 0, 0)
    end
  end)

  it("take a part of the tensor itself", function()
    local w = leaf { 1, 2, 3 }
    local y = w * 1
    y[{ { 2, 3 } }] = y[{ { 1, 2 } }]
    expect.close(y, { 1, 1, 2 }, 0, 0)
    y[1] = y[3] + y[3]
    expect.close(y, { 4, 1, 2 }, 0, 0)
    y:backward(tide.tensor({ 1, 10, 100 }, { dtype = "float64" }))
    expect.close(w.grad, { 10, 102, 0 }, 0, 0)
    assert.matches("does not broadcast", message(function()
      y[{ { 1, 2 } }] = w
    end))
    y = w * 1
    local count = tide.zeros({ 2 }, { dtype = "int32" })
    count[1] = w[3]
    assert.same({ 3, 0 }, count:tolist())
    assert.is_false(count.requires_grad)
    y[{ {} }] = 2
    y:sum():backward()
    expect.close(w.grad, { 10, 102, 0 }, 0, 0)
  end)
end)

describe("custom gradients and hooks", function()
  it("take as many tensors as there may be", function()
    local many = {}
    for i = 1, 1000 do
      many[i] = tide.tensor({ i }, { requires_grad = true })
    end
    local f = tide.custom_gradient(function(...)
      return (select(1000, ...)) * 2, function(dy)
        local out = {}
        for i = 1, 1000 do out[i] = dy * i end
        return table.unpack(out)
      end
    end)
    local grads = tide.grad(f(table.unpack(many)):sum(), many)
    assert.same({ 1, 1000 }, { grads[1]:item(), grads[1000]:item() })
  end)

  it("run the function's own rule", function()
    local f = tide.custom_gradient(function(x)
      return x * x, function(dy)
        return dy * 100
      end
    end)
    local x = leaf { 3 }
    local y = f(x)
    expect.close(y, { 9 }, 1e-6, 1e-6)
    y:sum():backward()
    expect.close(x.grad, { 100 }, 1e-6, 1e-6)
  end)

  it("carry errors of the rule to the caller", function()
    local f = tide.custom_gradient(function(x)
      return x * x, function()
        error("in the rule", 0)
      end
    end)
    local x = leaf { 3 }
    assert.matches("in the rule", message(function()
      f(x):sum():backward()
    end))
    assert.matches("wrong form", message(function()
      tide.custom_gradient(function(a)
        return a * 1, function()
          return tide.ones { 7, dtype = "float64" }
        end
      end)(x):sum():backward()
    end))
  end)

  it("let hooks see and replace gradients", function()
    local x = leaf { 1, 2 }
    local y = x * 2
    local seen
    y:register_hook(function(g)
      seen = g:tolist()
      return g * 10
    end)
    y:sum():backward()
    assert.same({ 1, 1 }, seen)
    expect.close(x.grad, { 20, 20 }, 1e-6, 1e-6)
  end)
end)

describe("leaves whose gradient is whole", function()
  it("say so during the walk, once, in the order in which their last gradient arrives", function()
    local a, b, c, unused = leaf { 1 }, leaf { 2 }, leaf { 3 }, leaf { 4 }
    local order, into_grad = {}, true
    local function note(name)
      return function(x, g)
        order[#order + 1] = ("%s %g"):format(name, g:tolist()[1])
        assert.is_true(not into_grad or x.grad == g)
      end
    end
    for name, x in pairs { a = a, b = b, c = c, unused = unused } do
      x:register_post_accumulate_grad_hook(note(name))
    end
    local first = a * b -- used last
    local inner = first * 2
    inner:register_hook(function(g)
      order[#order + 1] = ("inner %g"):format(g:tolist()[1])
    end)
    local y = (inner + b) * c + c -- c is whole first, then a and b
    local side = unused * 1 -- leads nowhere
    y:backward(nil, { retain_graph = true })
    assert.same({ "c 7", "inner 3", "a 12", "b 9" }, order)
    assert.is_nil(unused.grad)
    order = {}
    y:backward(nil, { retain_graph = true }) -- adds into .grad, and is whole again
    assert.same({ "c 14", "inner 3", "a 24", "b 18" }, order)
    order, into_grad = {}, false
    local g = tide.grad(y, { b, b, a })
    assert.same({ "inner 3", "a 12", "b 9" }, order)
    expect.close(g[2], { 9 }, 0, 0)
    expect.close(b.grad, { 18 }, 0, 0)
    assert.equal(1, side.ndim)
  end)

  it("may have it changed: hooks of the gradient come before, those of the whole after", function()
    local x = leaf { 1, 2 }
    local order = {}
    x:register_post_accumulate_grad_hook(function(_, g)
      order[#order + 1] = ("whole %g"):format(g:tolist()[1])
      g:multiply_(10)
    end)
    x:register_hook(function(g)
      order[#order + 1] = ("hook %g"):format(g:tolist()[1])
      return g * 2
    end)
    ;(x[1] + x[{ {} }]:sum() + x[2]):backward()
    assert.same({ "hook 2", "whole 4" }, order)
    expect.close(x.grad, { 40, 40 }, 0, 0)
    local g = tide.grad(x:sum(), { x, x })
    expect.close(g[1], { 20, 20 }, 0, 0)
    expect.close(g[2]:add_(1), { 21, 21 }, 0, 0)
    expect.close(g[1], { 20, 20 }, 0, 0)
    x:backward(tide.ones({ 2 }, { dtype = "float64" })) -- a leaf itself
    expect.close(x.grad, { 420, 420 }, 0, 0)
  end)

  it("see walks that begin in a hook, and errors end the walk", function()
    local x, w = leaf { 3 }, leaf { 5 }
    local seen = {}
    for _, of in ipairs { x, w } do
      of:register_post_accumulate_grad_hook(function(t, g)
        seen[#seen + 1] = g:tolist()[1]
        if t == w and #seen == 1 then
          tide.enable_grad(function()
            expect.close(tide.grad((x * x * w):sum(), { x, w })[1], { 30 }, 0, 0)
          end)
        end
      end)
    end
    local y = x * x
    ;(y * w):backward()
    assert.same({ 9, 9, 30, 30 }, seen)
    expect.close(x.grad, { 30 }, 0, 0)
    local e = leaf { 1 }
    e:register_post_accumulate_grad_hook(function()
      error("in the hook", 0)
    end)
    assert.matches("in the hook", message(function()
      (e * x):backward()
    end))
    assert.matches("no leaf", message(function()
      y:register_post_accumulate_grad_hook(print)
    end))
    local table_ = tide.ones({ 3, 2 }, { requires_grad = true })
    local rows
    table_:register_post_accumulate_grad_hook(function(_, g)
      rows = g:tolist()
    end)
    ops.sum(ops.embedding(table_, tide.tensor({ 2 }, { dtype = "int32" }))):backward()
    assert.same({ { 0, 0 }, { 1, 1 }, { 0, 0 } }, rows)
  end)
end)

describe("memory of gradients", function()
  local function times(k)
    return function(g)
      g:multiply_(k)
    end
  end

  it("is shared by no two results, nor with the gradient given", function()
    local a, b, seed = leaf { 1, 1 }, leaf { 2, 2 }, tide.tensor({ 1, 3 }, { dtype = "float64" })
    for _, create in ipairs { false, true } do
      local g = tide.grad(a + b, { a, b, a }, { gradient = seed, create_graph = create })
      g[1]:multiply_(10)
      expect.close(g[1], { 10, 30 }, 0, 0)
      expect.close(g[2], { 1, 3 }, 0, 0)
      expect.close(g[3], { 1, 3 }, 0, 0)
      expect.close(seed, { 1, 3 }, 0, 0)
    end
    local m = leaf { { 1, 2 }, { 3, 4 } }
    local wide = tide.tensor({ { 1, 2 }, { 3, 4 } }, { dtype = "float64" })
    local g = tide.grad(m:transpose(), { m }, { gradient = wide })[1]
    g[1] = 7
    expect.close(wide, { { 1, 2 }, { 3, 4 } }, 0, 0)
    expect.close(tide.grad(a, { a }, { gradient = seed })[1]:multiply_(2), { 2, 6 }, 0, 0)
    expect.close(seed, { 1, 3 }, 0, 0)
  end)

  it("is the gradient's own where the op repeats its numbers", function()
    local a = leaf { 1, 2 }
    expect.close(tide.grad(a:sum(), { a })[1]:multiply_(2), { 2, 2 }, 0, 0)
    local sums = ops.sum(ops.broadcast_to(a, { 3, 2 }), { axis = 1 })
    local row = tide.grad(sums, { a }, { gradient = a:detach() })[1]
    expect.close(row:add_(1), { 4, 7 }, 0, 0)
    local inner = a * 1
    expect.close(tide.grad(inner:sum(), { inner })[1]:multiply_(3), { 3, 3 }, 0, 0)
    a:sum():backward()
    expect.close(a.grad:multiply_(5), { 5, 5 }, 0, 0)
  end)

  it("is not that of another branch where a hook writes into it", function()
    local a, b, seed = leaf { 1, 1 }, leaf { 2, 2 }, tide.tensor({ 1, 1 }, { dtype = "float64" })
    local u, v = a * 1, b * 1
    v:register_hook(times(100))
    a:register_hook(times(7))
    ;(u + v):backward(seed)
    expect.close(a.grad, { 7, 7 }, 0, 0)
    expect.close(b.grad, { 100, 100 }, 0, 0)
    expect.close(seed, { 1, 1 }, 0, 0)
    local kept
    local c = leaf { 1 }
    c:register_hook(function(g)
      kept = g
    end)
    local one = tide.ones({ 1 }, { dtype = "float64" })
    c:backward(one)
    c.grad:multiply_(3)
    kept:multiply_(5)
    expect.close(c.grad, { 3 }, 0, 0)
    expect.close(one, { 1 }, 0, 0)
  end)

  it("is not that of what an earlier hook returned", function()
    local constant = tide.tensor({ 1, 2 }, { dtype = "float64" })
    local x = leaf { 1, 1 }
    x:register_hook(function()
      return constant
    end)
    x:register_hook(times(10))
    x:sum():backward()
    expect.close(x.grad, { 10, 20 }, 0, 0)
    expect.close(constant, { 1, 2 }, 0, 0)
  end)

  it("takes no hook where there is none, and keeps none that it refused", function()
    local refused = setmetatable({}, { __mode = "k" })
    local x, y = tide.ones { 2 }, leaf { 1 } * 1
    local function hook()
      local f = function(g)
        return g * x
      end
      refused[f] = true
      return f
    end
    assert.matches("the tensor does not require a gradient",
      message(x.register_hook, x, hook()))
    assert.matches("the tensor is no leaf; use register_hook",
      message(y.register_post_accumulate_grad_hook, y, hook()))
    collectgarbage()
    assert.is_nil(next(refused))
  end)

  it("of a table's rows is written by hooks too", function()
    local w = tide.ones({ 3, 2 }, { requires_grad = true })
    w:register_hook(times(4))
    ops.sum(ops.embedding(w, tide.tensor({ 1, 3 }, { dtype = "int64" }))):backward()
    expect.close(w.grad, { { 4, 4 }, { 0, 0 }, { 4, 4 } }, 0, 0)
  end)

  it("of a custom op's result is its input's where the function returns it", function()
    local same = tide.custom_gradient(function(x)
      return x, function(dy)
        return dy * 2
      end
    end)
    local x = leaf { 1, 2 } * 1
    local y = same(x)
    assert.matches("a view that carries a gradient", message(function()
      y:add_(1)
    end))
    expect.close(x, { 1, 2 }, 0, 0)
  end)

  it("is a custom rule's own, and what the rule gives stays the rule's", function()
    local mask = tide.tensor({ 1, 0 }, { dtype = "float64" })
    local f = tide.custom_gradient(function(x, y)
      return x + y, function(dy)
        dy:multiply_(2)
        return dy, mask
      end
    end)
    local a, b, seed = leaf { 1, 1 }, leaf { 2, 2 }, tide.tensor({ 1, 1 }, { dtype = "float64" })
    local z = f(a, b)
    ;(z + a):backward(seed)
    expect.close(a.grad, { 3, 3 }, 0, 0)
    expect.close(seed, { 1, 1 }, 0, 0)
    b.grad:add_(5)
    expect.close(mask, { 1, 0 }, 0, 0)
  end)

  it("that is kept with its graph survives steps that read it", function()
    local w, average = leaf { 3 }, tide.zeros({ 1 }, { dtype = "float64" })
    local y = (w * w):sum()
    core.ops.ema_step_({ average }, { w })
    y:backward()
    expect.close(w.grad, { 6 }, 0, 0)
    local g = tide.grad((w * w * w):sum(), { w }, { create_graph = true })[1]
    local h = (g * g):sum()
    core.ops.accumulate_step_({ average }, { g })
    h:backward()
    expect.close(w.grad, { 6 + 2 * 27 * 18 }, 0, 0)
  end)
end)

describe("gradients of parts", function()
  local function weights(n)
    local w = {}
    for i = 1, n do
      w[i] = i
    end
    return tide.tensor(w, { dtype = "float64" })
  end

  it("add up where parts overlap, whatever their steps", function()
    local x = leaf { { 1, 2, 3, 4 }, { 5, 6, 7, 8 }, { 9, 10, 11, 12 } }
    local y = (x[2] * weights(4)):sum() -- row 2: 1 2 3 4
      + (x[{ {}, { 4, 1, -2 } }] * weights(2)):sum() -- column 4: 1, column 2: 2
      + x[{ 3, 2 }] * 10
      + (x[{ { 1, 3, 2 }, { 3 } }] * 100):sum() -- (1, 3), (3, 3)
      + (x[{ "...", "new", {} }] * 1000):sum()
      + x[{ {}, { 3, 2 } }]:sum() -- empty
    local want = {
      { 1000, 1002, 1100, 1001 }, { 1001, 1004, 1003, 1005 }, { 1000, 1012, 1100, 1001 },
    }
    expect.close(tide.grad(y, { x }, { retain_graph = true })[1], want, 0, 0)
    y:backward { retain_graph = true }
    local first = x.grad
    y:backward()
    expect.close(first, want, 0, 0)
    expect.close(x.grad, (tide.tensor(want, { dtype = "float64" }) * 2):tolist(), 0, 0)
  end)

  it("go with those of the whole, of diagonals and of a table's rows", function()
    local x = leaf { { 1, 2, 3 }, { 4, 5, 6 } }
    local y = (x * 2):sum()
      + (ops.diagonal(x, { offset = 1 }) * weights(2)):sum()
      + (ops.diagonal(x, { offset = -1 }) * 7):sum()
      + (x * x):sum()
    y = y + x[1]:sum()
    expect.close(tide.grad(y, { x })[1], { { 5, 8, 9 }, { 17, 12, 16 } }, 0, 0)
    local rows = tide.ones({ 3, 2 }, { requires_grad = true })
    local ids = tide.tensor({ 1, 3 }, { dtype = "int32" })
    local function found()
      return ops.sum(ops.embedding(rows, ids))
    end
    ;(found() + ops.sum(rows[1] * 4) + found()):backward()
    expect.close(rows.grad, { { 6, 6 }, { 0, 0 }, { 2, 2 } }, 0, 0)
  end)

  it("come whole to hooks, and change neither the gradient given nor each other", function()
    local x, seen = leaf { 1, 2, 3 }, {}
    local y = x * 1
    for _, of in ipairs { x, y } do
      of:register_hook(function(g)
        seen[#seen + 1] = g:tolist()
      end)
    end
    local seed = tide.tensor({ 1, 1 }, { dtype = "float64" })
    local z = y[{ { 1, 2 } }] + y[{ { 2, 3 } }] * 5
    z:backward(seed)
    assert.same({ { 1, 6, 5 }, { 1, 6, 5 } }, seen)
    expect.close(seed, { 1, 1 }, 0, 0)
    local u = leaf { 1, 2, 3 }
    local g = tide.grad(u[1] * 2, { u, u })
    g[1]:add_(1)
    expect.close(g[1], { 3, 1, 1 }, 0, 0)
    expect.close(g[2], { 2, 0, 0 }, 0, 0)
  end)

  it("have second derivatives", function()
    local x = leaf { 1, 2, 3 }
    local y = x[1] * x[2] * x[2] + (x[{ { 2, 3 } }] * x[{ { 2, 3 } }] * x[{ { 2, 3 } }]):sum()
    local g = tide.grad(y, { x }, { create_graph = true })[1]
    expect.close(g, { 4, 4 + 12, 27 }, 0, 0)
    expect.close(tide.grad(g:sum(), { x })[1], { 4, 4 + 2 + 12, 18 }, 0, 0)
  end)

  it("of half precision add up too", function()
    local x = leaf({ 1, 2, 3 }, "float16")
    ;(x[{ { 1, 2 } }] + x[{ { 2, 3 } }]):sum():backward()
    assert.equal("float16", x.grad.dtype)
    expect.close(x.grad:cast("float32"), { 1, 2, 1 }, 0, 0)
  end)

  it("of assigned parts are those of the values, and the rest's is 0 there", function()
    local x, v = leaf { 1, 2, 3, 4 }, leaf { 10, 20 }
    local seed = tide.tensor({ 1, 2, 3, 4 }, { dtype = "float64" })
    local y = x * 1
    y[{ { 2, 3 } }] = v
    y[{ { 1, 4, 3 } }] = v * 2
    y:backward(seed, { retain_graph = true })
    expect.close(x.grad, { 0, 0, 0, 0 }, 0, 0)
    expect.close(v.grad, { 2 + 2 * 1, 3 + 2 * 4 }, 0, 0)
    expect.close(seed, { 1, 2, 3, 4 }, 0, 0)
    local g = tide.grad((y * y):sum(), { v }, { create_graph = true })[1]
    expect.close(g, { 2 * 10 + 8 * 10, 2 * 20 + 8 * 20 }, 0, 0)
    expect.close(tide.grad(g:sum(), { v })[1], { 10, 10 }, 0, 0)
  end)

  it("and results joined of parts are written once", function()
    local function bytes(f)
      core.profile_start()
      f():sum():backward()
      local n = 0
      for _, row in ipairs(core.profile_stop()) do
        n = n + row.bytes
      end
      return n
    end
    local function stack(n)
      local list = {}
      for i = 1, n do
        list[i] = tide.ones({ 8 }, { requires_grad = true })
      end
      return function()
        return ops.stack(list)
      end
    end
    local function fold(taps)
      local x = tide.ones({ 1, taps, 40 * 40 }, { requires_grad = true })
      return function()
        return ops.fold(x, { output_size = { 40, 39 + taps }, kernel_size = { 1, taps } })
      end
    end
    assert.is_true(bytes(stack(2048)) < 10 * bytes(stack(256)))
    assert.is_true(bytes(fold(32)) < 10 * bytes(fold(4)))
  end)

  it("cost what the parts cost", function()
    local function bytes(steps, f, create)
      local x = tide.ones({ 2, steps, 8 }, { requires_grad = true })
      local y = f(x, steps):sum()
      core.profile_start()
      tide.grad(y, { x }, { create_graph = create })
      local n = 0
      for _, row in ipairs(core.profile_stop()) do
        n = n + row.bytes
      end
      return n
    end
    local function read(x, steps)
      local s = 0
      for t = 1, steps do
        s = s + x[{ {}, t }]
      end
      return s
    end
    local function write(x, steps)
      local y = tide.zeros { 2, steps, 8 }
      local v = x[{ {}, 1 }]
      for t = 1, steps do
        y[{ {}, t }] = v * t
      end
      return y
    end
    for _, case in ipairs { { read }, { read, true }, { write } } do
      local few, many = bytes(16, table.unpack(case)), bytes(128, table.unpack(case))
      assert.is_true(few > 0)
      assert.is_true(many < 10 * few, ("%d bytes for 16 steps, %d for 128"):format(few, many))
    end
  end)
end)

describe("gradients that come from outside", function()
  it("are refused in .grad where their form is not the tensor's", function()
    local x = tide.ones({ 3 }, { requires_grad = true })
    local function set(g)
      x.grad = g
    end
    assert.matches("expected float32 %[3%], got float64 %[3%]",
      message(set, tide.zeros({ 3 }, { dtype = "float64" })))
    assert.matches("expected float32 %[3%], got float32 %[300, 3%]",
      message(set, tide.zeros { 300, 3 }))
    x.grad = x * 2 -- without its graph, which would hold x
    assert.is_false(x.grad.requires_grad)
    expect.close(x.grad, { 2, 2, 2 }, 1e-6, 1e-6)
  end)

  it("are refused from hooks where their form is another", function()
    local x = tide.ones({ 3 }, { requires_grad = true })
    x:register_hook(function()
      return tide.zeros { 300, 3 }
    end)
    local text =
      "a hook returned a gradient of another form %(expected float32 %[3%], got float32 %[300, \z
      3%]%)"
    assert.matches(text, message(function()
      ops.sum(x * 2):backward()
    end))
  end)
end)

describe("memory of the tape", function()
  local function live()
    core.collect()
    local m = core.memory()
    return m.live_tensors, m.live_nodes
  end

  it("holds one node for a reshape, be it a view or a copy", function()
    local x = leaf { { 1, 2, 3 }, { 4, 5, 6 } }
    local turned = x:transpose()
    for _, view in ipairs { x, turned } do
      local _, before = live()
      local y = view:reshape { 6 }
      local z = view:ravel()
      local _, after = live()
      assert.equal(2, after - before)
      local w = tide.tensor({ 1, 2, 3, 4, 5, 6 }, { dtype = "float64" })
      local want = view == x and { { 2, 4, 6 }, { 8, 10, 12 } } or { { 2, 6, 10 }, { 4, 8, 12 } }
      expect.close(tide.grad(((y + z) * w):sum(), { x })[1], want, 0, 0)
    end
    expect.close(turned:reshape { 2, 3 }, { { 1, 4, 2 }, { 5, 3, 6 } }, 0, 0)
  end)

  it("goes with the graph", function()
    local x = leaf { 1, 2 }
    local tensors, nodes = live()
    for _ = 1, 50 do
      local y = (x:tanh() * x):exp():sum()
      y:backward()
      x.grad = nil
    end
    local t, n = live()
    assert.equal(tensors, t)
    assert.equal(nodes, n)
  end)

  it("is returned by 10,000 custom gradients", function()
    local f = tide.custom_gradient(function(x)
      return x * 2, function(dy)
        return dy * 2
      end
    end)
    local x = leaf { 1 }
    local tensors, nodes = live()
    for _ = 1, 10000 do
      f(x):sum():backward()
    end
    x.grad = nil
    local t, n = live()
    assert.equal(tensors, t)
    assert.equal(nodes, n)
  end)

  it("is not released by a scope where layers, metrics and optimizers own it", function()
    local x = tide.random.normal { 4, 3 }
    for _, policy in ipairs { "float32", "mixed_float16", "bfloat16" } do
      local a = tide.layers.Dense { 4, dtype = policy }
      local b, metric = tide.layers.BatchNormalization { dtype = policy }, tide.metrics.Mean()
      local optimizer = tide.optimizers.Adam { use_ema = true, gradient_accumulation_steps = 2,
        amsgrad = true }
      local function step()
        local s <close> = tide.scope() -- luacheck: ignore s
        local params = { a.kernel, a.bias, b.gamma, b.beta }
        local grads = tide.grad(function()
          return ops.cast(b(a(x), { training = true }), "float32"):sum()
        end, params)
        optimizer:apply(grads, params)
        metric:update_state(x)
      end
      do
        local s <close> = tide.scope() -- luacheck: ignore s
        b(a(x)) -- the weights are made here
      end
      for _ = 1, 4 do
        step()
      end
      for _, w in ipairs(a.weights) do
        assert.is_true(w.size > 0)
      end
      assert.near(x:mean():item(), metric:result(), 1e-6)
    end
  end)

  it("is released by scopes", function()
    local tensors = live()
    local kept
    do
      local s <close> = tide.scope()
      local a = tide.ones { 10 }
      local _ = a * 2
      kept = s:keep(a + 1)
    end
    assert.equal(tensors + 1, core.memory().live_tensors)
    assert.equal(2, kept[1])
  end)

  it("holds nothing by a scope that was dropped before it ended", function()
    local tensors = live()
    tide.scope()
    local kept = ops.ones { 4 } * 3
    collectgarbage()
    collectgarbage()
    for _ = 1, 10 do
      local _ = kept * 2
    end
    do
      local s <close> = tide.scope()
      s:keep(kept * 4)
      local _ = kept * 5
    end
    assert.equal(tensors + 1, live())
    assert.equal(3, kept[1])
    expect.raises("deterministic: takes no argument (got a function); it ends with its block",
      tide.deterministic, function() end)
    expect.raises('local _ <close> = tide.device "cpu"', tide.device, "cpu", function() end)
    assert.is_false(tide.config.is_op_determinism_enabled())
    expect.raises("scope: takes no argument (got function); it ends with its block", tide.scope,
      function() end)
  end)

  it("stays bounded in a loop that never collects", function()
    local before = core.memory().peak_bytes
    core.memory_limit(0)
    for _ = 1, 3000 do
      local _ = ops.zeros { 256, 1024 } -- 1 MB each
    end
    assert.is_true(core.memory().peak_bytes - before <= 600 * 2 ^ 20)
  end)

  it("respects a limit with one clear error", function()
    collectgarbage()
    core.memory_limit(core.memory().live_bytes + 2 ^ 20)
    local m = message(tide.zeros, { 1024, 1024 })
    core.memory_limit(0)
    assert.matches("not enough memory: float32%[1024, 1024%] needs 4.2 MB", m)
    assert.equal(4 * 2 ^ 20, tide.zeros({ 1024, 1024 }).nbytes)
  end)
end)

describe("tide.jacobian and tide.hessian", function()
  it("are the tables of first and second derivatives", function()
    local a = tide.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
    local j = tide.jacobian(function(x) return a:matmul(x) end, tide.ones { 3 })
    assert.same(a:tolist(), j:tolist())
    j = tide.jacobian(function(x) return ops.outer(x, x) end, tide.tensor { 2, 3 })
    assert.same({ 2, 2, 2 }, j.shape:totable())
    assert.same({ { { 4, 0 }, { 3, 2 } }, { { 3, 2 }, { 0, 6 } } }, j:tolist())
    local h = tide.hessian(function(x) return x[1] * x[1] * x[2] end, tide.tensor { 2, 3 })
    assert.same({ { 6, 4 }, { 4, 0 } }, h:tolist())
    -- x' A x has A + A' as its Hessian
    local m = tide.tensor { { 1, 2 }, { 5, 3 } }
    h = tide.hessian(function(x) return (x * m:matmul(x)):sum() end, tide.tensor { 0.3, -2 })
    assert.same({ { 2, 7 }, { 7, 6 } }, h:tolist())
  end)

  it("are zero where nothing depends on x, and leave the argument alone", function()
    local x = tide.tensor({ 1, 2 }, { requires_grad = true })
    assert.same({ { 0, 0 } }, tide.jacobian(function() return tide.ones { 1 } end, x):tolist())
    assert.same({ { 0, 0 }, { 0, 0 } }, tide.hessian(function(v) return v:sum() end, x):tolist())
    assert.is_nil(x.grad)
    assert.is_false(tide.jacobian(function(v) return v * v end, x).requires_grad)
  end)

  it("can be differentiated again with create_graph", function()
    local x = tide.tensor({ 1, 2 }, { requires_grad = true })
    local j = tide.jacobian(function(v) return v ^ 3 end, x, { create_graph = true })
    local g = tide.grad(j:sum(), { x })[1]
    assert.same({ 6, 12 }, g:tolist())
  end)

  it("say what they take", function()
    local raises = require("spec.support.expect").raises
    raises("hessian: the function must return one number (got shape [2])", tide.hessian,
      function(x) return x * 2 end, tide.ones { 2 })
    raises("jacobian: the argument must be a tensor", tide.jacobian, function(x) return x end, "a")
    raises("unknown option 'creat_graph'", tide.jacobian, function(x) return x end, tide.ones { 1 },
      { creat_graph = true })
  end)
end)

describe("options of gradients and what a scope keeps", function()
  it("names an option that does not exist", function()
    local w = tide.tensor({ 1 }, { requires_grad = true })
    local function f() return (w * w):sum() end
    expect.raises("value_and_grad: unknown option 'create_grap'; did you mean 'create_graph'?",
      tide.value_and_grad, f, { w }, { create_grap = true })
    expect.raises("grad: unknown option 'graph'", tide.grad, f, { w }, { graph = true })
    expect.raises("grad: unknown option 'graph'", tide.grad(f, nil, { graph = true }), w)
    expect.raises("grad: unknown option 'graph'", tide.grad, f(), { w }, { graph = true })
    expect.raises("profile: unknown option 'prnt'; did you mean 'print'?", tide.profile, f,
      { prnt = false })
  end)

  it("keeps what models and tables that refer to themselves hold, and passes over nil", function()
    local model = tide.Sequential { tide.layers.Dense { 1, input_shape = { 2 } } }
    local loop, x = {}
    do
      local s <close> = tide.scope()
      x = tide.ones { 1, 2 }
      loop.self, loop.t = loop, tide.ones { 3 }
      model:set_weights { tide.ones { 2, 1 }, tide.zeros { 1 } }
      s:keep(nil, x, model, loop)
    end
    assert.equal(2, model(x):item())
    assert.equal(3, loop.t:sum():item())
  end)
end)
