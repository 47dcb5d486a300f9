-- What Lua can reach of the core's ops: those that only gradient rules call, and so check nothing,
-- are bound nowhere; those that Tide's own Lua calls check everything; attributes private to C are
-- no options.
local core = require "tide.core"
local errors = require "tide.errors"
local fuzz = require "spec.fuzz.arguments"
local tide = require "tide"

-- All Lua below some folders, to see which names it speaks of.
local function texts(...)
  local out = {}
  local list = assert(io.popen("find " .. table.concat({ ... }, " ") .. " -name '*.lua'"))
  for path in list:lines() do
    local file = assert(io.open(path))
    out[#out + 1] = file:read "a"
    file:close()
  end
  list:close()
  return table.concat(out, "\n")
end

local function refused(words, f, ...)
  local ok, e = pcall(f, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(e), tostring(e))
  assert.is_truthy(tostring(e):find(words, 1, true), tostring(e))
end

describe("ops that only gradient rules call", function()
  local internal = {}
  for _, name in ipairs(core.op_names()) do
    internal[#internal + 1] = core.op_info(name).internal and name or nil
  end

  it("are bound nowhere: not in core.ops, not in tide.ops, not as methods", function()
    local methods = debug.getmetatable(tide.ones { 1 }).methods
    assert.is_true(#internal > 50)
    for _, name in ipairs(internal) do
      assert.is_nil(rawget(core.ops, name), name)
      assert.is_nil(rawget(tide.ops, name), name)
      local in_place = name:sub(-1) == "_" and core.ops[name:sub(1, -2)] ~= nil
      assert.is_true(methods[name] == nil or in_place, name)
    end
  end)

  it("are not found by any name that led to one", function()
    for _, name in ipairs { "activation_grad", "adam_lag_", "average_pool_grad", "bias_activation",
      "conv_grad_kernel", "conv_grad_x", "linear_grad", "max_pool_grad", "max_pool_pick",
      "relu_grad", "select_", "index_", "clip_" } do
      assert.is_true(core.op_info(name).internal, name)
      assert.is_nil(core.ops[name], name)
      assert.is_nil(rawget(tide.ops, name), name)
    end
  end)
end)

describe("private ops that can be reached", function()
  local hidden = {}
  for name in pairs(core.ops) do
    local info = core.op_info(name)
    hidden[#hidden + 1] = info and info.private and name or nil
  end
  table.sort(hidden)

  it("are those that Tide's Lua calls or a case row shows, and end in an underscore", function()
    local text = texts("lua", "spec/support/op_cases")
    for _, name in ipairs(hidden) do
      assert.equal("_", name:sub(-1), name)
      assert.is_truthy(text:find("%f[%w_]" .. name .. "%f[^%w_]"), name)
    end
  end)

  it("are among what the fuzzer calls", function()
    local called = {}
    for _, name in ipairs(fuzz.targets()) do
      called[name] = true
    end
    for name in pairs(core.ops) do
      assert.is_true(called["ops." .. name] or not core.op_info(name), name)
    end
  end)

  it("refuse what does not fit", function()
    local ops, x = core.ops, tide.ones { 2, 3 }
    refused("sgd_step_: grads[1] does not fit params[1]", ops.sgd_step_, { x },
      { tide.ones { 3, 2 } }, { false }, { false }, { learning_rate = 0.1 })
    local table_ = tide.ones({ 2, 3 }, { requires_grad = true })
    local sparse = core.gradients(ops.embedding(table_, { 1 }):sum(), { table_ }, { sparse = true })
    local none = { false } -- also where a gradient is missing
    refused("adam_step_: m[1] is a sparse gradient", ops.adam_step_, { x }, none, sparse, { x },
      none, none, { learning_rate = 1, step = 1 })
    refused("sgd_step_: params[1] is a sparse gradient", ops.sgd_step_, sparse, none, none, none,
      { learning_rate = 1 })
    local narrow = tide.ones({ 2, 3 }, { dtype = "float16" })
    refused("narrow_step_: masters[1] is missing", ops.narrow_step_, { narrow }, { false })
    refused("widen_step_: params[1] is missing", ops.widen_step_, { x }, { false })
    refused("global_norm_: tensor 2 of the list is missing", ops.global_norm_, { x, false })
  end)
end)

describe("attributes that are private to C", function()
  it("are no options", function()
    local x, picture = tide.ones { 2, 3 }, tide.ones { 1, 4, 4, 1 }
    refused("cumsum: unknown option 'reverse_'", core.ops.cumsum, x, { reverse_ = true })
    refused("cumprod: unknown option 'reverse_'", core.ops.cumprod, x, { 1, reverse_ = true })
    refused("max_pool: unknown option 'output_size_'", core.ops.max_pool, picture, 2,
      { output_size_ = { 3, 3 } })
    refused("average_pool: unknown option 'output_size_'", core.ops.average_pool, picture, 2,
      { output_size_ = { 3, 3 } })
    refused("adam_step_: unknown option 'lag_'", core.ops.adam_step_, { x }, { x }, { x }, { x },
      { false }, { false }, { learning_rate = 1, step = 1, lag_ = 3 })
  end)

  it("are shown by nobody", function()
    for _, name in ipairs(core.op_names()) do
      for _, a in ipairs(core.op_info(name).args) do
        assert.is_falsy(a.name:find "_$", name .. "." .. a.name)
      end
    end
  end)
end)

describe("data_format channels_first", function()
  it("is refused by name where x is a number or has no channels to move", function()
    local kernel = tide.ones { 1, 1, 1, 1 }
    local first = { data_format = "channels_first" }
    refused("conv: x has the wrong number of axes", core.ops.conv, 5, kernel, first)
    refused("conv: x has the wrong number of axes", core.ops.conv, { 5 }, kernel, first)
    refused("max_pool: x has the wrong number of axes", core.ops.max_pool, 5, 2, first)
  end)

  it("serves literals as channels_last does", function()
    local picture = { { { { 1, 2 }, { 3, 4 } } } } -- (1, 1, 2, 2)
    local y = core.ops.max_pool(picture, 2, { data_format = "channels_first" })
    assert.same({ 1, 1, 1, 1 }, { table.unpack(y.shape) })
    assert.equal(4, y:item())
  end)
end)

describe("dtypes of composed ops", function()
  it("are made one as those of kernels are", function()
    local bytes = tide.ones({ 1, 3, 3, 2 }, { dtype = "uint8" })
    local kernel = tide.ones { 2, 2, 2, 1 }
    local y = core.ops.depthwise_conv(bytes, kernel)
    assert.equal("float32", y.dtype)
    assert.equal(4, y[1][1][1][1])
    local z = core.ops.conv_transpose(bytes, tide.ones { 2, 2, 1, 2 })
    assert.equal("float32", z.dtype)
    assert.equal(8, z[1][2][2][1])
    local s = core.ops.separable_conv(bytes, kernel, tide.ones { 1, 1, 2, 1 })
    assert.equal("float32", s.dtype)
    assert.equal(8, s[1][1][1][1])
    local i = core.ops.inner(tide.ones({ 3 }, { dtype = "uint8" }), tide.ones { 3 })
    assert.equal("float32", i.dtype)
    assert.equal(3, i:item())
  end)
end)
