-- What the core answers to programs that release, interrupt and re-enter where they should not.
-- Under `make sanitize-core` every access is checked; in the hostile build (`make hard`) each
-- allocation fails once.
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local ops = tide.ops

local message = expect.message

local function leaf(x)
  return tide.tensor(x, { requires_grad = true, dtype = "float64" })
end

-- Runs f() while finalizers, started by every allocation, call g().
local function while_collecting(g, f)
  local pause = collectgarbage("incremental", 1, 1000)
  local stop = false
  local function again()
    if not stop then
      setmetatable({}, { __gc = function()
        g()
        again()
      end })
    end
  end
  again()
  local results = table.pack(pcall(f))
  stop = true
  collectgarbage(pause)
  collectgarbage()
  return table.unpack(results, 1, results.n)
end

describe("a tensor that a finalizer releases while it is used", function()
  it("is released for the op, or was read before", function()
    local function try(f)
      for _ = 1, 8 do
        local x, y = tide.ones { 16, 16 }, tide.ones { 16, 16 }
        local ok, e = while_collecting(function()
          core.release(x)
          core.release(y)
        end, function()
          return f(x, y)
        end)
        assert.is_true(ok or tostring(e):find("released", 1, true) ~= nil, tostring(e))
      end
    end
    try(function(x, y) return x + y, x * 2, x + { { 1 } } end)
    try(function(x, y)
      return ops.stack { x[{ {}, 1 }], y[{ {}, 1 }],
        { 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8 } }
    end)
    try(function(x) return x[3], x[{ { 1, 3 }, "new" }], x[{ 1, 1 }] end)
    try(function(x, y) x[{ { 1, 16, 2 } }] = y[{ { 1, 8 } }] end)
    try(function(x) return x:tolist() end)
    try(function(x, y) return x:copy_(y), x:add_(y), x:tobytes(), tide.tensor(x), x:detach() end)
    local rows = {}
    for i = 1, 16 do
      rows[i] = { 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8 }
    end
    try(function(x, y) return x:assign(rows), x:assign(y) end)
    local path = os.tmpname()
    try(function(x, y) core.safetensors_write(path, { { "x", x:transpose() }, { "y", y } }) end)
    os.remove(path)
    try(function(x, y)
      x.requires_grad = true
      x.grad = y
      return x.grad
    end)
    try(function(x, y)
      x.requires_grad, y.requires_grad = true, true
      return tide.grad((x * y):sum(), { x, y })
    end)
  end)

  it("is a picture, or the numbers of one", function()
    for _ = 1, 8 do
      local u8, f32 = tide.ones({ 64, 64, 3 }, { dtype = "uint8" }), tide.ones { 1, 64, 64, 3 }
      local ok, e = while_collecting(function()
        core.release(u8)
        core.release(f32)
      end, function()
        core.image.encode("png", u8)
        core.image.convert(u8, 1)
        core.image.fit(u8, 32, 32, "bilinear", false)
        core.image.resize(f32, 32, 32, "bilinear", false)
      end)
      assert.is_true(ok or tostring(e):find("released", 1, true) ~= nil, tostring(e))
    end
  end)

  it("may not change the data that are being read", function()
    local data = { { 1, 2 }, { 3, 4 } }
    local ok, e = while_collecting(function()
      for i = #data + 1, 2000 do
        data[i] = { 1, 2 }
      end
    end, function()
      for _ = 1, 200 do
        tide.tensor(data)
      end
    end)
    assert.is_true(ok or tostring(e):find("changed while", 1, true) ~= nil, tostring(e))
  end)
end)

describe("gradients of gradients", function()
  it("form no cycle and no deep chain", function()
    collectgarbage()
    collectgarbage()
    local before = core.memory().live_tensors
    do
      local a, b = leaf { 1 }, leaf { 2 }
      a.grad, b.grad = b, a
      a.grad = a
      local x, zero = leaf { 1 }, tide.zeros({ 1 }, { dtype = "float64" })
      for _ = 1, 100000 do
        x.grad = zero
        x = x.grad
      end
    end
    collectgarbage()
    collectgarbage()
    assert.equal(before, core.memory().live_tensors)
  end)

  it("share memory with nobody once they are in .grad", function()
    local a, b, seed = leaf { 1, 2 }, leaf { 3, 4 }, tide.tensor({ 1, 1 }, { dtype = "float64" })
    local y = a + b
    y:backward(seed)
    a.grad:add_(5)
    assert.same({ 1, 1 }, b.grad:tolist())
    assert.same({ 1, 1 }, seed:tolist())
    local c = leaf { 1, 2 }
    c:sum():backward()
    c.grad[1] = 7
    assert.same({ 7, 1 }, c.grad:tolist())
  end)

  it("come for every place in the list that names a tensor", function()
    local x = leaf { 3 }
    local g = tide.grad((x * x):sum(), { x, x })
    assert.same({ 6 }, g[1]:tolist())
    assert.same({ 6 }, g[2]:tolist())
  end)
end)

describe("a hook", function()
  it("on a leaf sees the whole gradient", function()
    local x, seen = leaf { 1 }, {}
    x:register_hook(function(g)
      seen[#seen + 1] = g:item()
      return g:clip(-1, 1)
    end)
    local y = x * 2 + x * 3
    y:sum():backward()
    assert.same({ 5 }, seen)
    assert.same({ 1 }, x.grad:tolist())
  end)

  it("passes its own error value on, and the core goes on working", function()
    for _ = 1, 50 do
      local x = leaf { 1, 2 }
      local y, mark = x * 2, {}
      y:register_hook(function()
        error(mark)
      end)
      local ok, e = pcall(y.sum, y)
      assert.is_true(ok)
      ok, e = pcall(e.backward, e)
      assert.is_false(ok)
      assert.equal(mark, e)
      assert.is_nil(x.grad);
      (x * 2):sum():backward()
      assert.same({ 2, 2 }, x.grad:tolist())
    end
  end)

  it("may release everything and change the mode", function()
    local x = leaf { 1, 2 }
    local y = x * x
    local loss = y:sum()
    y:register_hook(function()
      core.release(x)
      core.release(y)
      core.release(loss)
      core.recording(false)
    end)
    loss:backward()
    assert.is_true(core.grad_mode())
    assert.matches("released", message(function() return x + 1 end))
  end)

  it("may walk other graphs, and gradients of the gradient, but not the graph that is being walked",
    function()
    local x, w = leaf { 2 }, leaf { 3 }
    local y = x * x
    local inner
    y:register_hook(function(g)
      tide.enable_grad(function()
        (w * w):sum():backward()
      end)
      inner = tide.grad(function(v)
        return (v * v):sum()
      end)(g)
    end)
    tide.grad((y * 5):sum(), { x })
    assert.same({ 6 }, w.grad:tolist())
    assert.same({ 10 }, inner:tolist())

    local a = leaf { 2 }
    local b = a * a
    local c = b * 3
    c:register_hook(function()
      local again = tide.enable_grad(c.sum, c)
      again:backward()
    end)
    assert.matches("being walked", message(function()
      (c * 2):sum():backward { retain_graph = true }
    end))
    assert.is_nil(a.grad)
  end)

  it("that walks a part outside leaves the marks of a pruned walk as they were", function()
    local a, b = leaf { 2 }, leaf { 5 }
    local p = a * 3
    local pp, other = p * p, p * 1
    local q = b * 7
    local total = (pp + q):sum()
    q:register_hook(function()
      other:backward(tide.ones({ 1 }, { dtype = "float64" }), { retain_graph = true })
    end)
    local g = tide.grad(total, { a, b })
    assert.same({ 36 }, g[1]:tolist())
    assert.same({ 7 }, g[2]:tolist())
    assert.same({ 3 }, a.grad:tolist())
  end)

  it("that returns another form is refused, by name", function()
    local x = leaf { 1, 2 }
    x:register_hook(function()
      return tide.ones { 3 }
    end)
    assert.matches(
      "a hook returned a gradient of another form %(expected float64 %[2%], got float32 %[3%]%)",
      message(function()
      x:sum():backward()
    end))
  end)
end)

describe("a custom gradient", function()
  it("passes its error on and may release its arguments", function()
    local f = tide.custom_gradient(function(x)
      return x * 2, function(dy)
        core.release(dy)
        error({ code = 7 })
      end
    end)
    local x = leaf { 1 }
    local ok, e = pcall(function()
      f(x):sum():backward()
    end)
    assert.is_false(ok)
    assert.equal(7, e.code)
    local g = tide.custom_gradient(function(v)
      return v * 2, function(dy)
        return dy * 10
      end
    end)
    g(x):sum():backward()
    assert.same({ 10 }, x.grad:tolist())
  end)

  it("says what a gradient must be", function()
    local f = tide.custom_gradient(function(v)
      return v * 1, function()
        return "no"
      end
    end)
    assert.matches("gradient 1 must be a tensor or nil %(got a string%)", message(function()
      f(leaf { 1 }):sum():backward()
    end))
  end)

  it("leaves nothing on the stack of a deep chain", function()
    local f = tide.custom_gradient(function(v)
      return v + 1, function(dy)
        return dy
      end
    end)
    local x = leaf { 1 }
    local y = x
    for _ = 1, 5000 do
      y = f(y)
    end
    y:sum():backward()
    assert.same({ 1 }, x.grad:tolist())
  end)
end)

describe("a scope", function()
  it("belongs to its coroutine", function()
    local kept
    local co = coroutine.create(function()
      local s <close> = tide.scope()
      kept = tide.ones { 1 }
      coroutine.yield()
      return s
    end)
    coroutine.resume(co)
    local mine = tide.ones { 2 }
    coroutine.resume(co)
    assert.equal(2, mine.size)
    assert.matches("released", message(function() return kept.size end))
  end)

  it("that is given up with its coroutine holds nothing", function()
    collectgarbage()
    collectgarbage()
    local before = core.memory().live_tensors
    for _ = 1, 20 do
      local co = coroutine.wrap(function()
        local s <close> = tide.scope()
        coroutine.yield(tide.ones { 8 }, s)
      end)
      co()
    end
    collectgarbage()
    collectgarbage()
    assert.equal(before, core.memory().live_tensors)
  end)

  it("ends those left open inside, keeps what is kept, and ends once", function()
    local outer = tide.scope()
    local a = tide.ones { 1 }
    local inner = tide.scope()
    local b, c = tide.ones { 2 }, tide.ones { 3 }
    inner:keep(c)
    outer:keep(a)
    getmetatable(outer).__close(outer)
    local d = tide.ones { 4 }
    getmetatable(inner).__close(inner)
    getmetatable(outer).__close(outer)
    assert.equal(1, a.size)
    assert.equal(4, d.size)
    assert.matches("released", message(function() return b.size end))
    assert.matches("released", message(function() return c.size end))
  end)
end)

describe("recording in coroutines", function()
  it("a yield leaves value_and_grad, which goes on in its own mode", function()
    local x = leaf { 1 }
    local co = coroutine.wrap(function()
      core.no_grad(function()
        local ok, loss = pcall(tide.value_and_grad, function()
          coroutine.yield(core.grad_mode())
          return (x * x):sum()
        end, { x })
        assert.is_true(ok and loss:item() == 1)
        assert.is_false(core.grad_mode())
      end)
    end)
    assert.is_true(co())
    assert.is_true(core.grad_mode())
    co()
    assert.is_true(core.grad_mode())
  end)

  it("stays with the op while a finalizer runs another one", function()
    local x, ran, kept = tide.ones({ 2000000 }, { requires_grad = true }), 0, {}
    local one = tide.ones { 1 }
    local function another()
      tide.no_grad(function()
        coroutine.yield(one * 2)
      end)
    end
    setmetatable({}, { __gc = function()
      ran = ran + 1
      coroutine.resume(coroutine.create(another))
    end })
    local mode = collectgarbage "generational" -- an op sets the collector to work at times
    repeat
      kept[#kept + 1] = x * 2 -- 8 MB
      assert.is_true(kept[#kept].requires_grad)
    until ran > 0 or #kept == 60
    collectgarbage(mode)
    assert.equal(1, ran)
  end)

  it("nodes outlive the coroutine that made them", function()
    local x, y = leaf { 3 }, nil
    coroutine.wrap(function()
      y = x * x
      coroutine.yield()
    end)()
    collectgarbage()
    y:sum():backward()
    assert.same({ 6 }, x.grad:tolist())
  end)
end)

describe("writes in place", function()
  it("refuse tensors whose elements share memory", function()
    local wide = ops.broadcast_to(tide.zeros { 1, 3 }, { 4, 3 })
    assert.matches("share one place", message(function() wide:copy_(1) end))
    assert.matches("share one place", message(function() wide:add_(1) end))
    assert.matches("share one place", message(function() wide[{ {}, 1 }] = 2 end))
  end)

  it("copy overlapping parts as if through a copy", function()
    local t = tide.arange(6):cast "float32"
    t[{ { 2, 6 } }] = t[{ { 1, 5 } }]
    assert.same({ 0, 0, 1, 2, 3, 4 }, t:tolist())
    t[{ { 1, 6 } }] = t[{ { 6, 1, -1 } }]
    assert.same({ 4, 3, 2, 1, 0, 0 }, t:tolist())
    local m = tide.arange(4):cast("float32"):reshape { 2, 2 }
    m:copy_(m:transpose())
    assert.same({ { 0, 2 }, { 1, 3 } }, m:tolist())
  end)

  it("refuse a view that would take over a gradient of its own", function()
    local buffer, w = tide.zeros({ 4 }, { dtype = "float64" }), leaf { 1, 2 }
    local part = buffer[{ { 1, 2 } }]
    assert.matches("a view cannot take over", message(function() part:add_(w) end))
    assert.same({ 0, 0, 0, 0 }, buffer:tolist())
  end)

  it('have no place for "new"', function()
    local t = tide.zeros { 2, 3 }
    assert.matches('"new" has no place', message(function() t[{ "...", "new" }] = 1 end))
    assert.matches('"new" has no place', message(function() t[{ 1, "new" }] = 1 end))
    assert.equal(0, t:sum():item())
  end)
end)

describe("a sparse gradient", function()
  it("is for ops that take one; everything else says so", function()
    local table_ = leaf { { 1, 2 }, { 3, 4 } }
    local y = ops.embedding(table_, tide.tensor({ 2, 2 }, { dtype = "int32" }))
    local g = tide.grad(y:sum(), { table_ }, { sparse = true })[1]
    assert.same({ 2, 2 }, g.shape)
    for _, f in ipairs {
      function()
        return g:tolist()
      end, function()
        return g:tobytes()
      end, function()
        return g[1]
      end, function()
        g[1] = 0
      end, function()
        return g:item()
      end, function()
        return g:version()
      end, function()
        return g:detach()
      end, function()
        return g + 1
      end, function()
        return g:sum()
      end, function()
        g:copy_(1)
      end, function()
        return tide.tensor(g)
      end, function()
        return #g
      end, function()
        table_.grad = g
      end, function()
        return g .. ""
      end, function()
        return tide.zeros({ g })
      end, function()
        return g < 1
      end, function() return g:is_contiguous() end, function() return tide.tensor { g } end,
    } do
      local m = message(f)
      assert.is_true(m:find "sparse gradient" ~= nil or m:find "must be" ~= nil
        or m:find "holds a tensor" ~= nil, m)
    end
  end)
end)

describe("a list of tensors", function()
  it("has no place for false", function()
    local x = tide.ones { 2 }
    assert.matches("concatenate: tensor 2 of the list is missing",
      message(ops.concatenate, { x, false }))
    assert.matches("stack: tensor 1 of the list is missing", message(ops.stack, { false, x }))
    assert.matches("must be a tensor %(got a string%)", message(ops.stack, { x, "x" }))
  end)
end)

describe("closing the state", function()
  local function run(script)
    local name = expect.write(os.tmpname(), script)
    local command = "LUA_PATH='%s' LUA_CPATH='%s' lua5.4 %s >/dev/null 2>&1"
    local ok, how, code = os.execute(command:format(package.path, package.cpath, name))
    os.remove(name)
    return ok == true, how, code
  end

  it("in the middle of a graph, of a hook and behind finalizers older than Tide harms nothing",
    function()
    assert.is_true(run [[
      local tide, core, old
      local late = setmetatable({}, { __gc = function() -- older than Tide: runs when Tide is closed
        pcall(function() return tide.ones { 2 } + 1 end)
        pcall(function() return old + 1 end)
        pcall(function() old:backward() end)
        pcall(function() return core.memory() end)
        pcall(function() return tide.value_and_grad(function() return old end, { old }) end)
      end })
      tide, core = require "tide", require "tide.core"
      old = tide.tensor({ 1 }, { requires_grad = true })
      local y = old * 2
      y:register_hook(print)
      local late2 = setmetatable({}, { __gc = function()
        y = tide.ones { 3 } + y
        y:sum():backward()
      end })
      local s = tide.scope()
      local kept = old * 3
    ]])
    local _, _, code = run [[
      local tide = require "tide"
      local x = tide.tensor({ 1 }, { requires_grad = true })
      local y = x * 2
      y:register_hook(function() os.exit(7, true) end)
      y:sum():backward()
    ]]
    assert.equal(7, code)
  end)
end)

if core.hard_fail then
  describe("when the k-th allocation fails, and with Lua's some behind it", function()
    local programs = {
      ops = function()
        local x = leaf { { 1, 2 }, { 3, 4 } }
        local row = tide.tensor({ 1, 2 }, { dtype = "float64" })
        return (x * 2 + row):tanh():matmul(x):sum(1), ops.concatenate { x, x:transpose() },
          x[{ { 1, 2 }, "new" }]
      end,
      backward = function()
        local x = leaf { { 1, 2 }, { 3, 4 } }
        local y = x:exp():matmul(x) + x
        y:register_hook(function(g)
          return g * 2
        end)
        x:register_hook(function(g)
          return g:clip(-1, 1)
        end)
        y:sum():backward()
        return x.grad:tolist()
      end,
      twice = function()
        local x = leaf { 1, 2, 3 }
        local g = tide.grad((x * x * x):sum(), { x }, { create_graph = true })[1]
        return tide.grad(g:sum(), { x })[1]:tolist()
      end,
      custom = function()
        local f = tide.custom_gradient(function(v, w)
          return v * w, w + 1, function(a, b)
            return a * 3, b
          end
        end)
        local x, y = leaf { 1, 2 }, leaf { 3, 4 }
        local p, q = f(x, y)
        ;(p + q):sum():backward()
        return x.grad, y.grad
      end,
      places = function()
        local t = tide.zeros { 4, 4 }
        t[{ 1, { 1, 2 } }] = { 5, 6 }
        t:add_(1)
        t:copy_(t:transpose())
        local s <close> = tide.scope()
        s:keep(t + 1)
        return t:tolist(), tostring(t), t:tobytes(), tide.tensor(t, { dtype = "float16" })
      end,
      halves = function()
        local x = tide.tensor({ { 1, 3 }, { 4, 6 } }, { dtype = "float16", requires_grad = true })
        local q, r = ops.qr(x)
        ;((q * x):sum() + (r * x):sum()):backward()
        return q:tolist(), r:tolist(), x.grad:tolist()
      end,
      tables = function()
        local rows = tide.tensor({ { 1, 2 }, { 3, 4 }, { 5, 6 } }, { requires_grad = true })
        local ids = tide.tensor({ 1, 3, 1 }, { dtype = "int32" })
        ;(ops.embedding(rows, ids):sum() + ops.embedding(rows, ids):sum()):backward()
        return rows.grad:tolist()
      end,
    }
    local names = {}
    for name in pairs(programs) do
      names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
      local f = programs[name]
      for _, of_lua in ipairs { false, true } do
        it(("the program '%s' fails cleanly or not at all (%s)"):format(name,
          of_lua and "Lua" or "Tide"), function()
          f()
          collectgarbage()
          collectgarbage()
          local before = core.memory()
          local failures, k, fired = 0, 0
          repeat
            k = k + 1
            local ok, e
            fired, ok, e = core.hard_fail(k, of_lua, f)
            if not ok then
              failures = failures + 1
              assert.is_true(fired, tostring(e))
              assert.is_true(tostring(e):find "memory" ~= nil
                or tostring(e):find "tide.core" ~= nil, tostring(e))
            end
            assert.is_true(core.grad_mode())
          until not fired or k > 5000
          assert.is_true(k <= 5000)
          -- an op that is refused memory collects and tries again, so that not each run fails
          assert.is_true(k > 4, ("%d failures in %d runs"):format(failures, k))
          collectgarbage()
          collectgarbage()
          local after = core.memory()
          assert.equal(before.live_nodes, after.live_nodes)
          assert.equal(before.live_tensors, after.live_tensors)
        end)
      end
    end
  end)
end

describe("a table whose metamethods release a tensor", function()
  -- A table that releases x and hands its memory back as soon as something of its metatable runs.
  local function hostile(x, t)
    local function strike()
      core.release(x)
      core.memory_trim()
      return true
    end
    local meta = setmetatable({}, { __index = strike })
    for _, event in ipairs { "__index", "__newindex", "__len", "__pairs", "__call", "__eq", "__lt",
      "__tostring", "__concat", "__unm", "__add" } do
      meta[event] = strike
    end
    return setmetatable(t or {}, meta)
  end
  local function big()
    return tide.ones { 1500, 1500 }
  end

  it("finds nothing borrowed, wherever Tide takes tables", function()
    local function try(f)
      local x = big()
      local ok, e = pcall(f, x)
      assert.is_true(ok or type(e) == "table" or type(e) == "string")
      if not ok then
        assert.is_falsy(tostring(e):find("attempt to", 1, true), tostring(e))
      end
      core.release(x)
    end
    try(function(x) return x[hostile(x, { 1499, 1499 })] end)
    try(function(x) return x[{ hostile(x, { 1, 3 }), 1 }] end)
    try(function(x) x[hostile(x, { 1499, 1499 })] = 1 end)
    try(function(x) x[{ 1 }] = hostile(x, { 1, 2 }) end)
    try(function(x) return x + hostile(x, { 1 }) end)
    try(function(x) return x < hostile(x, { 1 }) end)
    try(function(x) return ops.sum(x, hostile(x, { 1 })) end)
    try(function(x) return ops.sum(x, hostile(x, { axis = 1 })) end)
    try(function(x) return ops.sum(x, { axis = hostile(x, { 1 }) }) end)
    try(function(x) return ops.where(x, hostile(x, { 1 }), x) end)
    try(function(x) return ops.reshape(x, hostile(x, { -1 })) end)
    try(function(x) return ops.pad(x, hostile(x, { hostile(x, { 1, 1 }), { 0, 0 } })) end)
    try(function(x) return ops.concatenate({ x, hostile(x, { { 1 } }) }, 1) end)
    try(function(x) return ops.concatenate(hostile(x, { x, x }), 1) end)
    try(function(x) return ops.stack({ x, x }, hostile(x, { axis = 1 })) end)
    try(function(x) return ops.take(x, hostile(x, { 1, 2 }), 1) end)
    try(function(x) return ops.linear(x, x, hostile(x, { 1 })) end)
    try(function(x) return ops.clip(x, hostile(x), 1) end)
    try(function(x) return tide.tensor(hostile(x, { x })) end)
    try(function(x) return tide.tensor(x, hostile(x, { dtype = "float64" })) end)
    try(function(x) return core.zeros_like(x, hostile(x, { dtype = "float64" })) end)
    try(function(x) return core.full_like(x, hostile(x)) end)
    try(function(x) return x:copy_(hostile(x, { 1 })) end)
    try(function(x) return x:assign(hostile(x, { 1 })) end)
    try(function(x)
      x.requires_grad = true
      return (x * x):sum():backward(hostile(x, { retain_graph = true }))
    end)
    try(function(x)
      x.requires_grad = true
      return tide.grad((x * x):sum(), hostile(x, { x }), hostile(x, { create_graph = true }))
    end)
    try(function(x) return core.gradients(x, hostile(x, { x }), hostile(x)) end)
    try(function(x) x.grad = hostile(x) end)
    try(function(x) return core.record_custom(hostile(x, { x }), hostile(x, { x }), print) end)
    try(function(x) return core.safetensors_write(os.tmpname(), hostile(x, { { "x", x } }),
      hostile(x)) end)
    try(function(x) return core.image.transform(hostile(x), hostile(x), x) end)
    try(function(x) return core.image.loader(hostile(x), hostile(x, { data = x })) end)
    try(function(x) return core.image.resize(x, hostile(x)) end)
    try(function(x) return tide.layers.Dense(2)(hostile(x, { x })) end)
    try(function(x)
      local model = tide.Sequential { tide.Input { 1500 }, tide.layers.Dense { 1 } }
      model:compile { loss = "mse" }
      return model:predict(hostile(x, { x }), { verbose = 0 })
    end)
  end)

  it("cannot be met with something borrowed: a check reads the door's C files", function()
    assert.is_true(os.execute "lua5.4 .ci/borrows src/bind/*.c")
    local folder = expect.folder()
    local function said(body)
      local file = assert(io.open(folder .. "/x.c", "w"))
      file:write("static int f(lua_State *L) {\n" .. body .. "\n    return 1;\n}\n")
      file:close()
      local pipe = io.popen("lua5.4 .ci/borrows " .. folder .. "/x.c")
      local text = pipe:read "a"
      pipe:close()
      return (text:gsub("^.-x%.c:", ""))
    end
    local borrow = '    tide_tensor *t = tideL_checktensor(L, 1, "f");\n'
    assert.are.equal("", said(borrow .. "    use(t);\n    lua_newtable(L);"))
    assert.are.equal("4: f: t is used behind lua_newtable, which may run Lua code\n",
      said(borrow .. "    lua_newtable(L);\n    use(t);"))
    assert.are.equal("", said(borrow .. '    tideL_error(L, "f", "no");\n    use(t);'))
    assert.are.equal("2: f: lua_getfield may meet a person's metamethods; read it raw\n",
      said '    lua_getfield(L, i, "key");')
    os.execute("rm -r " .. folder)
  end)
end)

describe("a function that hangs on a gradient", function()
  local collect = core.collect
  -- How many tensors are left of f() ten times.
  local function left(f)
    f()
    collect()
    local before = core.memory().live_tensors
    for _ = 1, 10 do
      f()
    end
    collect()
    return core.memory().live_tensors - before
  end

  it("is collected with the results that it holds, walked or not", function()
    local made = {
      hook_of_a_result = function()
        local y = leaf { 1, 2 } * 2
        y:register_hook(function() return y end)
        return y
      end,
      hook_of_a_leaf = function()
        local x = leaf { 1, 2 }
        x:register_hook(function() return x end)
        return x
      end,
      hook_behind_the_whole_gradient = function()
        local x = leaf { 1, 2 }
        x:register_post_accumulate_grad_hook(function() return x end)
        return x
      end,
      rule_of_one_result = function()
        local y
        y = tide.custom_gradient(function(x)
          return x * 2, function(dy)
            return dy, y
          end
        end)(leaf { 1 })
        return y
      end,
      rule_of_two_results = function()
        local y, z
        y, z = tide.custom_gradient(function(x)
          return x * 2, x * 3, function(a, b)
            return a + b, y, z
          end
        end)(leaf { 1 })
        return y * z
      end,
      hook_that_holds_what_was_computed_from_it = function()
        local y = leaf { 1, 2 } * 2
        local z = y:exp()
        y:register_hook(function() return z end)
        return y
      end,
    }
    for name, f in pairs(made) do
      assert.equal(0, left(f), name)
      assert.equal(0, left(function()
        local z
        do
          local y = f()
          collectgarbage()
          z = y:sum()
        end
        collectgarbage()
        return z
      end), name .. ", in use when the collector came")
      if not name:find "hook" then
        assert.equal(0, left(function() f():sum():backward() end), name .. ", walked")
      end
    end
  end)

  it("has what it holds itself when the gradient comes, whoever looked meanwhile", function()
    local function scale(x)
      local by = x:exp() -- the rule's alone
      return x * 1, function(dy)
        return dy * by
      end
    end
    local made = {
      rule = function(x)
        return tide.custom_gradient(scale)(x) * 2
      end,
      rule_within_a_rule = function(x)
        local f = tide.custom_gradient(scale)
        return tide.custom_gradient(function(v)
          local inner = leaf(v:tolist())
          local y = tide.enable_grad(f, inner)
          return v * 1, function(dy)
            return tide.grad(y, { inner }, { gradient = dy, retain_graph = true })[1]
          end
        end)(x) * 2
      end,
      hook_of_a_result = function(x)
        local y, by = x * 1, x:exp()
        y:register_hook(function(g) return g * by end)
        return y * 2
      end,
      hook_of_a_leaf = function(x)
        local y = leaf(x:tolist())
        local by = y:exp()
        y:register_hook(function(g)
          x.grad = g * by
        end)
        return y * 2
      end,
    }
    for name, f in pairs(made) do
      for look, times in pairs { [collectgarbage] = 3, [collect] = 2 } do
        local x = leaf { 1, 2 }
        local z = f(x)
        for _ = 1, times do
          look()
        end
        z:sum():backward()
        expect.close(x.grad, { 2 * math.exp(1), 2 * math.exp(2) }, 1e-6, 0, name)
      end
    end
  end)

  it("is found in chains of such circles, and what lives beside them is not", function()
    local function chain(x)
      local y = x
      for _ = 1, 5 do
        local of, made = y, nil
        made = tide.custom_gradient(function(v)
          return v * 2, function(dy)
            return dy * 2, of, made
          end
        end)(of)
        y = made
      end
      return y:sum()
    end
    local x = leaf { 1 }
    local kept = chain(x)
    assert.equal(0, left(function() chain(leaf { 1 }) end))
    assert.equal(0, left(function() chain(leaf { 1 }):backward() end))
    kept:backward()
    assert.same({ 32 }, x.grad:tolist())
  end)

  it("is found where memory grows by such circles alone", function()
    collect()
    local before = core.memory().peak_bytes
    for _ = 1, 300 do
      local y = core.ones({ 1 << 18 }, { requires_grad = true }) * 2
      local z = y:exp()
      y:register_hook(function() return z end)
    end -- 3 MB each; in a large state a search comes after 256 MB at most
    assert.is_true(core.memory().peak_bytes - before < 400 << 20)
  end)

  it("lives as long as the graph that it is in", function()
    local seen = {}
    local function graph(release)
      local x = leaf { 3 }
      local y = x * 2
      y:register_hook(function(g)
        seen[#seen + 1] = release and "released" or y:tolist()[1]
        return g * 10
      end)
      local z = (y * y):sum()
      if release then
        y:release()
      end
      y = not release and y or nil
      return x, z
    end
    for _, release in ipairs { false, true } do
      local x, z = graph(release)
      collect()
      z:backward()
      assert.same({ 240 }, x.grad:tolist())
      collect()
    end
    assert.same({ 6, "released" }, seen)
  end)

  it("is taken away by what register_hook returns", function()
    local x, calls = leaf { 1 }, 0
    local first = x:register_hook(function(g)
      calls = calls + 1
      return g * 3
    end)
    local second
    second = x:register_hook(function(g)
      second:remove() -- in the middle of the walk
      return g * 5
    end)
    local third = x:register_post_accumulate_grad_hook(function() calls = calls + 100 end)
    local function gradient()
      x.grad = nil
      x:sum():backward()
      return x.grad:tolist()[1]
    end
    assert.equal(15, gradient())
    assert.equal(101, calls)
    third()
    assert.equal(3, gradient())
    assert.equal(102, calls)
    first:remove()
    first:remove()
    first()
    assert.equal(1, gradient())
    assert.equal(102, calls)
    local y = x * 2
    local of_result = y:register_hook(function(g) return g * 7 end)
    of_result()
    local keep = { retain_graph = true }
    assert.equal(2, tide.grad(y:sum(), { x }, keep)[1]:tolist()[1])
    y:register_hook(function(g) return g * 7 end)
    assert.equal(14, tide.grad(y:sum(), { x }, keep)[1]:tolist()[1])
  end)

  it("does not outlive its state", function()
    local script = [[
      local tide = require "tide"
      local x = tide.ones({ 2 }, { requires_grad = true })
      local y = x * 2
      y:register_hook(function() return y end)
      local z = y:exp()
      y = nil
      collectgarbage()
      collectgarbage()
      io.write(z:sum():item() > 14 and "right" or "wrong")]]
    local pipe = io.popen(("%s -e %s 2>&1"):format(expect.lua, expect.quoted(script)))
    assert.equal("right", pipe:read "a")
    assert.is_true(pipe:close())
  end)
end)

describe("attention with a window or an offset beyond all sizes", function()
  it("is refused", function()
    local x = core.ones { 1, 3, 1, 2 }
    for _, o in ipairs { { scale = 1, window = math.maxinteger },
      { scale = 1, offset = math.maxinteger },
      { scale = 1, offset = math.mininteger } } do
      local ok, e = pcall(core.ops.attention_, x, x, x, o)
      assert.is_false(ok)
      assert.truthy(tostring(e):find("must be below 2^60", 1, true), tostring(e))
    end
  end)
end)
