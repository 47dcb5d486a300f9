-- What an op's entry declares holds for every caller: the defaults of its attributes, channels that
-- stand first, a dtype to work in, an initial value.
local core = require "tide.core"
local tide = require "tide"
local ops = tide.ops

describe("A caller in C", function()
  -- spec/support/caller.c
  it("gets what entries declare", function()
    local build = os.getenv "TIDE_BUILD" or "build"
    local flags = { build = "", ["build/asan"] = "-fsanitize=address,undefined" }
    if not (flags[build] and os.execute "command -v ${CC:-cc} >/dev/null") then
      return pending "needs a compiler, and the archive of this build"
    end
    local made = os.tmpname()
    local cc = ("${CC:-cc} -std=gnu11 -O1 -fopenmp %s -Isrc -Ikernels spec/support/caller.c"
      .. " %s/tide-core.a -o %s -lm -ldl -lpthread"):format(flags[build], build, made)
    local with_vectors = ("unset LD_PRELOAD; %s -lmvec 2>/dev/null || %s"):format(cc, cc)
    assert(os.execute(with_vectors)) -- machines without a vector library link without
    local pipe = assert(io.popen(("env -u LD_PRELOAD %s 2>&1"):format(made)))
    local text = pipe:read "a"
    pipe:close()
    os.remove(made)
    assert.equal("ok\n", text)
  end)
end)

describe("Channels that stand first", function()
  it("are said to where a message speaks of shapes", function()
    local x, w = tide.ones { 1, 3, 8, 8 }, tide.ones { 3, 3, 4, 2 }
    local ok, message = pcall(ops.conv, x, w, { data_format = "channels_first" })
    assert.is_false(ok)
    assert.truthy(tostring(message):find("(input [1, 8, 8, 3], kernel [3, 3, 4, 2]); shapes here "
      .. "have channels last (x is given as [1, 3, 8, 8], channels first)", 1, true),
      tostring(message))
  end)
end)

describe("A dtype to work in", function()
  it("is that of sums and products, their elements and their result", function()
    local x = tide.tensor({ 2, 100, 3 }, { dtype = "uint8", requires_grad = false })
    for name, want in pairs {
      sum = 105, prod = 600, mean = 35, cumsum = { 2, 102, 105 }, cumprod = { 2, 200, 600 },
    } do
      local y = ops[name](x, { dtype = "float64" })
      assert.equal("float64", y.dtype)
      assert.same(want, type(want) == "table" and y:tolist() or y:item())
      local z = ops[name](x, { dtype = "int64" }) -- one whole number is Lua's
      assert.same(want, type(want) == "table" and z:tolist() or z)
    end
  end)
end)

describe("Kept steps", function()
  it("see channels first, dtypes and initial values again", function()
    local x = tide.tensor { { { { 1, 2 } }, { { 3, 4 } } } }
    local w = tide.tensor { { { { 10 }, { 100 } } } }
    local i = tide.tensor({ 1, 2 }, { dtype = "int64" })
    local y, s, m
    local kept = core.keep_steps(function()
      y = ops.conv(x, w, { data_format = "channels_first" })
      s = ops.sum(i, { axis = 1, keepdims = true, dtype = "float64" })
      m = ops.max(i, { axis = 1, keepdims = true, initial = 2 ^ 53 | 1 })
    end)
    assert.same({ { { { 310, 420 } } } }, y:tolist())
    assert.same({ 3 }, s:tolist())
    assert.same({ 2 ^ 53 | 1 }, m:tolist())
    x:copy_(x * 2)
    i:copy_(tide.tensor({ 5, 2 ^ 53 | 3 }, { dtype = "int64" }))
    core.run_steps(kept)
    assert.same({ { { { 620, 840 } } } }, y:tolist())
    assert.same({ 2 ^ 53 + 8 }, s:tolist())
    assert.same({ 2 ^ 53 | 3 }, m:tolist())
  end)
end)

describe("An initial value", function()
  it("is a whole number to the last digit, and one of the dtype", function()
    local function int(list, dtype)
      return tide.tensor(list, { dtype = dtype })
    end
    assert.equal(2 ^ 53 | 1, ops.max(int({ 1, 2 }, "int64"), { initial = 2 ^ 53 | 1 }))
    assert.equal(-(2 ^ 53 | 1), ops.min(int({ 1, 2 }, "int64"), { initial = -(2 ^ 53 | 1) }))
    for value, words in pairs {
      [300] = "initial is 300, which no uint8 is",
      [2.5] = "initial is 2.5, which no uint8 is",
      [math.huge] = "initial is inf, which no uint8 is",
    } do
      local ok, message = pcall(ops.max, int({ 1, 2 }, "uint8"), { initial = value })
      assert.is_false(ok)
      assert.matches(words, tostring(message), 1, true)
    end
    local ok, message = pcall(ops.max, int({ 1, 2 }, "int64"), { initial = 2.0 ^ 63 })
    assert.is_false(ok)
    assert.matches("initial is 9.2233720368548e+18, which no int64 is", tostring(message), 1, true)
    assert.equal(1, ops.max(int({ 1 }, "int64"), { initial = -2.0 ^ 63 }))
  end)
end)

describe("A tensor filled with one value", function()
  it("holds a whole number to the last digit", function()
    for _, n in ipairs { 2 ^ 53 | 1, math.mininteger, math.maxinteger } do
      assert.same({ n }, tide.full({ 1 }, n, { dtype = "int64" }):tolist())
      assert.same({ n }, core.ops.fill_({ 1 }, n, { dtype = "int64" }):tolist())
    end
    assert.same({ 2 ^ 53 + 4 }, tide.full({ 1 }, 2 ^ 53 | 3, { dtype = "float64" }):tolist())
  end)
end)

describe("A constant margin", function()
  it("is a whole number to the last digit", function()
    local x = tide.tensor({ 1 }, { dtype = "int64" })
    assert.same({ 2 ^ 53 | 1, 1 },
      ops.pad(x, { { 1, 0 } }, { constant_values = 2 ^ 53 | 1 }):tolist())
  end)
end)

describe("A program whose numbers have a decimal comma", function()
  it("starts from the same defaults", function()
    local folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. folder)
    local f = assert(io.open(folder .. "/comma", "w"))
    f:write [[
LC_NUMERIC
decimal_point "<U002C>"
thousands_sep ""
grouping -1
END LC_NUMERIC
]]
    f:close()
    os.execute(("localedef -c -i %s/comma -f UTF-8 %s/comma.UTF-8 >/dev/null 2>&1"):format(
      folder, folder)) -- fails for want of the other categories
    if not io.open(folder .. "/comma.UTF-8/LC_NUMERIC") then
      os.execute("rm -rf " .. folder)
      return pending "needs localedef"
    end
    local run = "LOCPATH=%s LC_ALL= LUA_PATH='%s' LUA_CPATH='%s' lua5.4 -e '%s' 2>&1"
    local program = [[
      assert(os.setlocale("comma.UTF-8", "numeric"))
      local tide = require "tide"
      print(tide.ops.leaky_relu(tide.tensor { -10 }):item() * 1000 // 1)]]
    local pipe = assert(io.popen(run:format(folder, package.path, package.cpath, program)))
    local text = pipe:read "a"
    pipe:close()
    os.execute("rm -rf " .. folder)
    assert.equal("-2000,0\n", text)
  end)
end)
