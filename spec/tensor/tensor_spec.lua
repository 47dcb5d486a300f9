local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local ops = tide.ops

local message = expect.message

describe("tide.tensor", function()
  it("makes float32 of numbers, bool of booleans, and one tensor of any nesting", function()
    assert.equal("float32", tide.tensor({ 1, 2 }).dtype)
    assert.equal("bool", tide.tensor({ true, false }).dtype)
    local t = tide.tensor { { { 1 }, { 2 } }, { { 3 }, { 4 } } }
    assert.same({ 2, 2, 1 }, t.shape:totable())
    assert.same({ { { 1 }, { 2 } }, { { 3 }, { 4 } } }, t:tolist())
  end)

  it("takes Keras' dtype names and the short ones, and says which it knows", function()
    for _, d in ipairs { "float64", "int64", "int32", "uint8", "int8", "float16", "bfloat16" } do
      assert.equal(d, tide.tensor({ 1, 0 }, { dtype = d }).dtype)
    end
    assert.equal("int64", tide.tensor({ 1 }, { dtype = "i64" }).dtype)
    assert.matches("unknown dtype 'float99' %(expected float32",
      message(tide.tensor, { 1 }, { dtype = "float99" }))
  end)

  it("refuses what a dtype cannot hold", function()
    assert.matches("float32 cannot hold 16777217 exactly", message(tide.tensor, { 16777217 }))
    assert.matches("uint8 cannot hold 256", message(tide.tensor, { 256 }, { dtype = "uint8" }))
    assert.matches("int32 cannot hold 1.5", message(tide.tensor, { 1.5 }, { dtype = "int32" }))
    assert.equal(16777217, tide.tensor({ 16777217 }, { dtype = "int64" })[1])
  end)

  it("names ragged, mixed and foreign data", function()
    assert.matches("ragged", message(tide.tensor, { { 1, 2 }, { 3 } }))
    assert.matches("ragged", message(tide.tensor, { { 1 }, 2 }))
    assert.matches("mix numbers and booleans", message(tide.tensor, { 1, true }))
    assert.matches("got a string", message(tide.tensor, { "a" }))
    assert.matches("data are missing", message(tide.tensor))
  end)

  it("checks sizes before it allocates", function()
    assert.matches("too many elements", message(tide.zeros, { 2 ^ 31, 2 ^ 31 }))
    assert.matches("cannot hold %-1", message(tide.zeros, { -1 }))
    assert.matches("too many elements", message(tide.zeros, { math.maxinteger }))
    assert.matches("at most 8", message(tide.zeros, { 1, 1, 1, 1, 1, 1, 1, 1, 1 }))
  end)

  it("has Keras' properties as fields and suggests names", function()
    local t = tide.zeros { 2, 3 }
    assert.equal(2, t.ndim)
    assert.equal(6, t.size)
    assert.equal(3, t.shape[-1])
    assert.equal(2, #t)
    assert.matches("did you mean 'reshape'", message(function()
      return t.reshap
    end))
  end)

  it("makes zeros, ones, full and their likes, options inside or after", function()
    assert.same({ { 0, 0 } }, tide.zeros({ 1, 2, dtype = "int32" }):tolist())
    assert.equal("int32", tide.zeros({ 1, 2 }, { dtype = "int32" }).dtype)
    assert.same({ 1, 1 }, tide.ones({ 2 }):tolist())
    assert.same({ 7, 7 }, tide.full({ 2 }, 7):tolist())
    assert.equal("int8", ops.ones_like(tide.zeros { 3, dtype = "int8" }).dtype)
  end)

  it("travels through bytes", function()
    local t = tide.tensor({ { 1, 2 }, { 3, 4 } }, { dtype = "int32" })
    local back = core.from_bytes("int32", { 2, 2 }, t:transpose():tobytes())
    assert.same({ { 1, 3 }, { 2, 4 } }, back:tolist())
    assert.matches("do not fit", message(core.from_bytes, "int32", { 2 }, "abc"))
  end)

  it("is released once and says so afterwards", function()
    local t = tide.ones { 2 }
    t:release()
    assert.matches("released", message(function()
      return t + 1
    end))
    assert.matches("released", tostring(t))
  end)
end)

describe("indexing", function()
  local t
  before_each(function()
    t = ops.arange(12):reshape { 3, 4 }
  end)

  it("takes slices of the first axis, negative ones from the end, and ends ipairs", function()
    assert.same({ 4, 5, 6, 7 }, t[2]:tolist())
    assert.same({ 8, 9, 10, 11 }, t[-1]:tolist())
    assert.is_nil(t[4])
    local n = 0
    for _ in ipairs(t) do
      n = n + 1
    end
    assert.equal(3, n)
    assert.matches("position 5 is outside of axis 1", message(function()
      return t[5]
    end))
    assert.matches("positions count from 1", message(function()
      return t[0]
    end))
  end)

  it("gives Lua numbers for full indices", function()
    assert.equal(6, t[{ 2, 3 }])
    assert.equal("integer", math.type(t:cast("int32")[{ 2, 3 }]))
    assert.is_true(t:greater(5)[{ 2, 3 }])
  end)

  it("has inclusive ranges, steps and clamps", function()
    assert.same({ { 1, 2 }, { 5, 6 } }, t[{ { 1, 2 }, { 2, 3 } }]:tolist())
    assert.same({ { 3, 2, 1, 0 } }, t[{ { 1 }, { -1, 1, -1 } }]:tolist())
    assert.same({ { 0, 2 } }, t[{ { 1 }, { 1, 4, 2 } }]:tolist())
    assert.same({ 3, 4 }, t[{ { 1, 99 } }].shape:totable())
    assert.same({ 0, 4 }, t[{ { 3, 2 } }].shape:totable())
  end)

  it("knows the rest and new axes", function()
    assert.same({ 3 }, t[{ "...", 2 }].shape:totable())
    assert.same({ 3, 1, 4 }, t[{ {}, "new", {} }].shape:totable())
    assert.matches("more entries than axes", message(function()
      return t[{ 1, 1, 1 }]
    end))
  end)

  it("selects by masks and tensors of positions", function()
    assert.same({ 6, 7, 8, 9, 10, 11 }, t[t:greater(5)]:tolist())
    local i = tide.tensor({ 3, 1 }, { dtype = "int32" })
    assert.same({ { 8, 9, 10, 11 }, { 0, 1, 2, 3 } }, t[i]:tolist())
    assert.same({ { 2, 0 }, { 6, 4 }, { 10, 8 } }, t[{ {}, i }]:tolist())
    local j = tide.tensor({ 1, 2 }, { dtype = "int32" })
    assert.same({ 8, 1 }, t[{ i, j }]:tolist())
  end)

  it("assigns what the same forms select", function()
    t[1] = 0
    t[{ 2, { 1, 2 } }] = tide.tensor { 50, 51 }
    t[{ 3, 4 }] = 99
    assert.same({ { 0, 0, 0, 0 }, { 50, 51, 6, 7 }, { 8, 9, 10, 99 } }, t:tolist())
    t[t:greater(49)] = -1
    assert.same({ { 0, 0, 0, 0 }, { -1, -1, 6, 7 }, { 8, 9, 10, -1 } }, t:tolist())
    t[tide.tensor({ 1, 3 }, { dtype = "int32" })] = 5
    assert.same({ { 5, 5, 5, 5 }, { -1, -1, 6, 7 }, { 5, 5, 5, 5 } }, t:tolist())
  end)

  it("assigns to tensors of positions, to masks, and to both beside other entries", function()
    local rows = tide.tensor({ 1, 3 }, { dtype = "int32" })
    t[{ rows, rows }] = { 100, 200 }
    assert.same({ { 100, 1, 2, 3 }, { 4, 5, 6, 7 }, { 8, 9, 200, 11 } }, t:tolist())
    local columns = tide.tensor({ 4, 1 }, { dtype = "int32" })
    t[{ { 1, 2 }, columns }] = tide.tensor { { -1, -2 }, { -3, -4 } }
    assert.same({ { -2, 1, 2, -1 }, { -4, 5, 6, -3 }, { 8, 9, 200, 11 } }, t:tolist())
    t[tide.tensor { false, true, false }] = 7
    assert.same({ { -2, 1, 2, -1 }, { 7, 7, 7, 7 }, { 8, 9, 200, 11 } }, t:tolist())
    local large = t:greater(8)
    t[large] = t[large] * 2
    assert.same({ { -2, 1, 2, -1 }, { 7, 7, 7, 7 }, { 8, 18, 400, 22 } }, t:tolist())
    local u = tide.arange(24):cast("float32"):reshape { 2, 3, 4 }
    local one = tide.tensor({ 3, 1 }, { dtype = "int32" })
    local two = tide.tensor({ { 2 }, { 4 } }, { dtype = "int32" })
    for _, key in ipairs { { {}, one }, { {}, {}, one }, { {}, one, two }, { 2, { 2, 3 }, two },
      { 1, {}, one }, { one[{ { 2 } }], { 1, 2 }, one } } do
      local into, marks = tide.zeros { 2, 3, 4 }, tide.zeros { 2, 3, 4 }
      into[key], marks[key] = u[key], 1 -- what is read goes back to where it was
      assert.same((u * marks):tolist(), into:tolist())
    end
    for key, says in pairs { x = "'x'", [print] = "function", [{ {}, "y" }] = '"y"' } do
      expect.has(message(function() return t[key] end), says)
    end
  end)

  it("makes views that see writes", function()
    local row = t[2]
    t[{ 2, 1 }] = 77
    assert.equal(77, row[1])
  end)
end)

describe("operators", function()
  it("work elementwise, with weak scalars", function()
    local x = tide.tensor { 1, 2, 4 }
    assert.same({ 3, 4, 6 }, (x + 2):tolist())
    assert.same({ 1, 0, -2 }, (2 - x):tolist())
    assert.same({ 0.5, 1, 2 }, (x / 2):tolist())
    assert.same({ 1, 4, 16 }, (x ^ 2):tolist())
    assert.same({ 0, 1, 2 }, (x // 2):tolist())
    assert.same({ 1, 2, 1 }, (x % 3):tolist())
    assert.same({ -1, -2, -4 }, (-x):tolist())
    assert.equal("float64", (tide.ones { 1, dtype = "float64" } * 0.1).dtype)
  end)

  it("promote integers as Keras and refuse two float dtypes", function()
    local i = tide.ones { 2, dtype = "int32" }
    assert.equal("int32", (i + 1).dtype)
    assert.equal("float32", (i + 1.5).dtype)
    assert.equal("float32", (i / i).dtype)
    assert.equal("int64", (i + tide.ones { 2, dtype = "int64" }).dtype)
    assert.matches("float32 and float64 do not mix", message(function()
      return tide.ones { 1 } + tide.ones { 1, dtype = "float64" }
    end))
  end)

  it("combine masks and integers", function()
    local a, b = tide.tensor { true, true, false }, tide.tensor { true, false, false }
    assert.same({ true, false, false }, (a & b):tolist())
    assert.same({ true, true, false }, (a | b):tolist())
    assert.same({ false, false, true }, (~a):tolist())
    assert.same({ 4, 8 }, (tide.tensor({ 1, 2 }, { dtype = "int32" }) << 2):tolist())
  end)

  it("compare one-element tensors only, and say what to use instead", function()
    assert.is_true(tide.tensor(1) < tide.tensor(2))
    assert.matches("use x:less%(y%)", message(function()
      return tide.ones { 2 } < tide.ones { 2 }
    end))
    local x = tide.ones { 1 }
    assert.is_true(x == x)
    assert.is_false(x == tide.ones { 1 })
    assert.matches("use tostring", message(function()
      return "x" .. tide.ones { 2 }
    end))
    assert.equal("loss 2.5", "loss " .. tide.tensor(2.5))
  end)
end)

describe("print(tensor)", function()
  -- The specs run on other devices too.
  local device = tide.zeros({ 1 }).device
  local function tostring(t)
    return (_G.tostring(t):gsub(device .. "]", "cpu]"))
  end

  it("follows torch's rules of rounding and elision", function()
    assert.equal("[1., 2., 3.]\n[tide.Tensor float32 3 cpu]", tostring(tide.tensor { 1, 2, 3 }))
    assert.equal("[0.1000, 2.5000]\n[tide.Tensor float32 2 cpu]",
      tostring(tide.tensor { 0.1, 2.5 }))
    assert.equal("[1.0000e-05, 1.0000e+00]\n[tide.Tensor float32 2 cpu]",
      tostring(tide.tensor { 1e-5, 1 }))
    local t = tide.tensor({ { 1, -2 }, { 3, 4 } }, { dtype = "int32" })
    assert.equal("[[ 1, -2],\n [ 3,  4]]\n[tide.Tensor int32 2x2 cpu]", tostring(t))
    local big = tostring(tide.zeros { 1000, 1000 })
    assert.matches("%.%.%.", big)
    assert.is_true(#big < 1000)
    assert.equal("[]\n[tide.Tensor float32 0x3 cpu]", tostring(tide.zeros { 0, 3 }))
  end)
end)

describe("arguments of ops", function()
  it("keeps two numbers of one call apart", function()
    for a = 1, 20 do
      for b = 1, 20 do
        assert.equal(a + 0.5, ops.where(tide.ones { 1 }, a + 0.5, b + 0.25):item())
      end
    end
  end)

  it("counts narrow weights as int32", function()
    for _, dtype in ipairs { "uint8", "int8", "bool", "int32" } do
      local n = ops.bincount(tide.tensor({ 1, 2, 2 }, { dtype = "int32" }),
        { weights = tide.ones({ 3 }, { dtype = dtype }) })
      assert.same({ 1, 2 }, n:tolist())
    end
  end)

  it("takes positions, bases, offsets and counts of any size", function()
    local largest, smallest = math.maxinteger, math.mininteger
    local x, ids = tide.tensor { { 3, 1 }, { 2, 5 } }, tide.tensor({ 1, 2 }, { dtype = "int32" })
    for _, base in ipairs { largest, smallest } do
      assert.equal(base, ops.argmax(tide.tensor { 9, 8 }, { base = base }))
      assert.equal(base, ops.argsort(tide.tensor { 1, 2 }, { base = base })[1])
      assert.equal(base, select(2, ops.top_k(tide.tensor { 9, 8 }, 1, { base = base }))[1])
      assert.equal(base, ops.searchsorted(tide.tensor { 1, 2 }, tide.tensor { 0 },
        { base = base })[1])
      assert.matches("take: indices%[1%] is out of range",
        message(ops.take, x, ids, { axis = 1, base = base }))
      assert.matches("scatter: indices%[1, 1%] is out of range",
        message(ops.scatter, ids:reshape { 2, 1 }, ids, { 4 }, { base = base }))
    end
    assert.matches("out of range", message(ops.bincount, ids, { base = largest }))
    assert.matches("too large", message(ops.bincount, tide.tensor({ largest }, { dtype = "int64" }),
      { base = 0 }))
    assert.matches("bincount: x%[1%] is out of range",
      message(ops.bincount, tide.tensor({ largest }, { dtype = "int64" }), { base = smallest }))
    for _, k in ipairs { largest, smallest } do
      assert.same({ 0 }, ops.diagonal(x, { offset = k }).shape)
      assert.matches("too many elements", message(ops.diag, tide.tensor { 1, 2 }, { k = k }))
      assert.is_true(ops.tril(x, { k = k }):sum():item() == (k > 0 and 11 or 0))
      assert.matches("lies outside of axis 1", message(ops.slice, x, { k, 1 }, { 1, 1 }))
    end
    assert.matches("too many elements", message(ops.pad, x, { { largest, 0 }, { 0, 0 } }))
    assert.matches("can only be padded with a constant",
      message(ops.pad, tide.zeros { 0 }, { { largest, largest } }, { mode = "edge" }))
    assert.matches("too many elements", message(ops.tile, x, { largest, largest }))
    assert.same({ 0, 0 }, ops.round(tide.tensor { 2.5, 7 }, smallest):tolist())
    assert.same({ 2.5, 7 }, ops.round(tide.tensor { 2.5, 7 }, largest):tolist())
  end)

  it("bounds the extents of views and those beside an axis of length 0", function()
    local big = 1 << 31
    assert.matches("too many elements", message(ops.broadcast_to, tide.zeros { 1 },
      { big, big, big }))
    assert.matches("too many elements", message(tide.zeros, { big, big, 0 }))
    assert.matches("too many elements", message(tide.zeros, { 0, big, big }))
    assert.matches("too many elements", message(function()
      return tide.zeros({ 0 }):reshape { 0, big, big }
    end))
    local wide = tide.zeros { 0, big }
    assert.matches("too many elements", message(ops.take, wide,
      tide.zeros({ 0, big }, { dtype = "int32" }), { axis = 1 }))
    assert.same({ big, 0 }, wide:transpose().shape)
    assert.equal(0, wide:sum():item())
    assert.same({ {}, {} }, tide.zeros({ 2, 0 }):tolist())
  end)

  it("say what a slip should have been", function()
    local x = tide.ones { 2, 3 }
    assert.matches("reshape: newshape is one list %(got 2 numbers%); write { 3, 2 }",
      message(x.reshape, x, 3, 2))
    assert.matches("transpose: axes is one list %(got 2 numbers%); write { 2, 1 }",
      message(x.transpose, x, 2, 1))
    assert.matches("exp: too many arguments %(expected at most 1, got 2%)", message(x.exp, x, 1))
    assert.matches("sum: is a method .*got a number.*x:sum", message(x.sum, 1))
    assert.matches("exp: is a method .*got nothing", message(x.exp))
    assert.matches("item: takes a tensor %(got nothing%); methods are called with a colon",
      message(x.item))
    assert.matches("clip: a list of data holds a tensor of %[2, 3%] .*without braces",
      message(ops.clip, { x }))
    assert.matches("write x.shape without", message(function() return x:shape() end))
    assert.equal(1, ops.sum(1):item())
  end)

  it("takes any step beside one element", function()
    assert.same({ { 0, 0 } }, tide.zeros({ 3, 2 })[{ { 1, 3, math.maxinteger } }]:tolist())
  end)
end)

describe("assignment by a tensor of indices", function()
  it("takes indices of several axes, with the shape that reading gives", function()
    local ids = core.tensor({ { 1, 2 }, { 3, 4 } }, { dtype = "int64" })
    local t = core.zeros { 5 }
    t[ids] = 7
    assert.same({ 7, 7, 7, 7, 0 }, t:tolist())
    local rows = core.zeros { 5, 2 }
    rows[ids] = core.tensor { { { 0, 1 }, { 2, 3 } }, { { 4, 5 }, { 6, 7 } } }
    assert.same({ { 0, 1 }, { 2, 3 }, { 4, 5 }, { 6, 7 }, { 0, 0 } }, rows:tolist())
    rows[ids] = core.tensor { 8, 9 }
    assert.same({ { 8, 9 }, { 8, 9 }, { 8, 9 }, { 8, 9 }, { 0, 0 } }, rows:tolist())
  end)

  it("is not kept by having been read", function()
    collectgarbage()
    collectgarbage "stop"
    local _ <close> = setmetatable({}, { __close = function() collectgarbage "restart" end })
    local x = tide.ones { 4 }
    local before = core.memory().live_tensors
    for _, read in ipairs { "tobytes", "tolist" } do
      local y = x * 1
      y[read](y)
      core.release(y)
      assert.equal(before, core.memory().live_tensors, read)
    end
  end)
end)
