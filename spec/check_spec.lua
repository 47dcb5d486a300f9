local expect = require "spec.support.expect"
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local names = require "tide.names"
local namespace = require "tide.namespace"
local registry = require "tide.registry"

local message = expect.message

describe("check.args", function()
  local args = check.args("Dense", {
    { "units", "int", check.required, "width", min = 1 },
    { "activation", "string", nil, "function" },
    { "use_bias", "bool", true, "bias" },
    { "padding", "enum", "valid", "rule", of = "valid|same" },
    { "size", "ints", 2, "size", n = 2 },
  })

  it("takes Keras' positional order and names from one table", function()
    local o = args:construct { 64, "relu", padding = "same" }
    assert.equal(64, o.units)
    assert.equal("relu", o.activation)
    assert.equal("same", o.padding)
    assert.is_true(o.use_bias)
    assert.equal("[2, 2]", tostring(o.size))
  end)

  it("takes values and a last table of options", function()
    local o = args:construct(2 ^ 7, "relu", { use_bias = false })
    assert.equal("integer", math.type(o.units))
    assert.is_false(o.use_bias)
  end)

  it("refuses an unknown option and suggests", function()
    local m = message(args.construct, args, { 64, activaton = "relu" })
    assert.truthy(m:find("Dense: unknown option 'activaton'; did you mean 'activation'?", 1, true))
  end)

  it("names the same one of several mistakes every time", function()
    local rows = {}
    for i = 1, 20 do
      rows[i] = { "option_" .. i, "int" }
    end
    for n = 1, 20 do -- tables of other keys, so that their order differs
      local o, unknown = {}, {}
      for i = n, 20 do
        o["option_" .. i], unknown["nothing_" .. i + 10] = "x", 1
      end
      local many = check.args("Many" .. n, rows)
      assert.truthy(message(many.complete, many, o):find("option_" .. n .. " must be", 1, true))
      assert.truthy(message(many.complete, many, unknown):find("'nothing_" .. n + 10 .. "'", 1,
        true))
    end
  end)

  it("converts a default once, but makes what may be changed anew for each call", function()
    local made = 0
    check.types.counted_for_spec = function(v)
      made = made + 1
      return v
    end
    local own = check.args("CountedForSpec", { { "n", "counted_for_spec", 3 },
      { "sizes", "ints", { 1, 2 } } })
    local a, b = own:construct(), own:construct()
    assert.same({ 3, 3, 1 }, { a.n, b.n, made })
    a.sizes[1] = 7
    assert.equal(1, b.sizes[1])
    own.rows[1][3] = 4 -- a default that is set anew
    assert.equal(4, own:construct().n)
    check.types.counted_for_spec = nil
  end)

  it("names the function and the key when a value is wrong", function()
    assert.truthy(message(args.construct, args,
      { 1.5 }):find("Dense: units must be an integer (got 1.5)", 1, true))
    assert.truthy(message(args.construct, args,
      { 0 }):find("units must be an integer at least 1 (got 0)", 1, true))
    assert.truthy(message(args.construct, args, {}):find("units is missing", 1, true))
    assert.truthy(message(args.construct, args, { 1, padding = "sam" }):find("did you mean 'same'",
      1, true))
    assert.truthy(message(args.construct, args, { 1, units = 2 }):find("given twice", 1, true))
    assert.truthy(message(args.construct, args,
      { 1, nil, true, "same", 2, 6 }):find("at most 5 positional", 1, true))
  end)

  it("takes tide.none and false where the default is none", function()
    assert.is_nil(args:construct({ 3, activation = none }).activation)
    assert.is_nil(args:construct({ 3, activation = false }).activation)
  end)

  it("takes an array part as the first argument where that can only be a list", function()
    local reshape = check.args(
      "Reshape", { { "target_shape", "shape", check.required } },
        { list_first = true, named = { { "name", "string" } } })
    assert.equal("[7, 7, 64]", tostring(reshape:construct({ 7, 7, 64, name = "r" }).target_shape))
    assert.equal("[7, 7]", tostring(reshape:construct({ { 7, 7 }, name = "r" }).target_shape))
    assert.equal("[7, 7]", tostring(reshape:construct({ 7, 7 }).target_shape))
    assert.equal("[none, 7]", tostring(reshape:construct({ none, 7 }).target_shape))
  end)

  it("tells dictionaries from options in calls", function()
    local fit = check.args("fit", { { "x", "any", nil, dict = true },
      { "y", "any", nil, dict = true }, { "epochs", "int", 1 } })
    assert.equal(3, fit:call({ 1, 2, epochs = 3 }).epochs)
    assert.equal(2, fit:call({ a = 1, b = 2 }, 5, { epochs = 2 }).epochs)
    assert.equal(2, fit:call({ a = 1, b = 2 }).x.b)
    assert.equal(7, fit:call({ x = 7 }).x)
    assert.equal(4, fit:call(7, { epochs = 4 }).epochs)
    assert.is_nil(fit:call(7, { epochs = 4 }).y)
    assert.equal(4, fit:call(7, { epochs = 4, other = 1 }).y.epochs)
    assert.equal(1, fit:call(4, 5, {}).epochs)
  end)
end)

describe("names.suggest", function()
  it("finds near names and leaves far ones alone", function()
    assert.equal("activation", names.suggest("activaton", { "units", "activation" }))
    assert.equal("batch_size", names.suggest("batchsize", { "epochs", "batch_size" }))
    assert.is_nil(names.suggest("zebra", { "units", "activation" }))
  end)
end)

describe("list", function()
  it("takes negative indices, prints and compares", function()
    local l = list.new { 2, none, 3 }
    assert.equal(3, l[-1])
    assert.equal("[2, none, 3]", tostring(l))
    assert.is_true(l == list.new { 2, none, 3 })
    assert.is_false(l == list.new { 2, none })
    assert.is_false(list.new {} == none)
  end)
end)

describe("class", function()
  it("inherits methods, metamethods and properties", function()
    local A = class.new("A")
    function A:_init(v)
      rawset(self, "v", v)
    end
    A.__tostring = function(self)
      return "A " .. self.v
    end
    class.properties(A, { double = function(self)
      return self.v * 2
    end })
    local B = class.new("B", A)
    local b = B(4)
    assert.equal("A 4", tostring(b))
    assert.equal(8, b.double)
    assert.is_true(class.is(b, A))
    assert.is_false(class.is(A(1), B))
  end)

  it("writes snake_case as Keras", function()
    assert.equal("conv2d_transpose", class.snake "Conv2DTranspose")
    assert.equal("rms_normalization", class.snake "RMSNormalization")
    assert.equal("max_pooling2d", class.snake "MaxPooling2D")
  end)
end)

describe("errors", function()
  it("are tables with fields that print with the place of the person's code", function()
    local ok, e = pcall(errors.raise, "relu", "bad %d", 3)
    assert.is_false(ok)
    assert.is_true(errors.is(e))
    assert.equal("bad 3", e.message)
    assert.equal("relu", e.op)
    assert.truthy(tostring(e):find("relu: bad 3", 1, true))
  end)
end)

describe("a namespace", function()
  it("loads names on first access, knows aliases, refuses others and suggests", function()
    package.loaded["spec.fake_family"] = {
      Dense = class.new("Dense"), Conv2D = class.new("Conv2D") }
    local ns = namespace.new("tide.fake", { get = print }, { members = { Own = 1 },
      modules = { Dense = "spec.fake_family", Conv2D = "spec.fake_family" },
      hidden = { Model = { "spec.fake_family" } }, aliases = { Convolution2D = "Conv2D" } })
    assert.equal(ns.Conv2D, ns.Convolution2D)
    assert.equal(package.loaded["spec.fake_family"], ns.Model)
    assert.same({ "Conv2D", "Dense", "Own" }, namespace.names(ns))
    local seen = {}
    for name in pairs(ns) do
      seen[#seen + 1] = name
    end
    assert.same(namespace.names(ns), seen)
    assert.equal("tide.fake: Conv2D, Dense, Own", tostring(ns))
    local why = message(function() return ns.Dens end)
    assert.truthy(why:find(
      "unknown name 'Dens'; did you mean 'Dense'? (there are Conv2D, Dense, Own)", 1, true), why)
    package.loaded["spec.fake_family"] = nil
  end)
end)

describe("registry", function()
  it("finds in any of Keras' spellings, and suggests", function()
    local tide = require "tide"
    assert.equal(tide.layers.Conv2D, registry.find("layer", "conv2d"))
    assert.equal(tide.layers.Conv2D, registry.find("layer", "Convolution2D"))
    assert.truthy(message(registry.find, "layer", "dens"):find("did you mean 'dense'", 1, true))
  end)
  it("knows one object from several", function()
    local ones = { "adam", print, { "adam", learning_rate = 1 }, { class_name = "Adam" } }
    for _, one in ipairs(ones) do
      assert.is_true(registry.is_one(one))
    end
    for _, several in ipairs { { "mse", "mae" }, { out = "mse" }, {}, { { "mse", axis = 1 } } } do
      assert.is_false(registry.is_one(several))
    end
    assert.same({ "MSE", { a = "MAE" }, false }, registry.map({ "mse", { a = "mae" }, false },
      string.upper))
  end)
end)

describe("tide", function()
  it("suggests for unknown names", function()
    local tide = require "tide"
    assert.truthy(message(function()
      return tide.Sequental
    end):find("did you mean 'Sequential'", 1, true))
  end)
end)

describe("a name with options", function()
  it("means the class, also where a function has the name", function()
    local losses = require("tide").losses
    local loss = registry.resolve("loss", { "sparse_categorical_crossentropy", from_logits = true })
    assert.is_true(class.is(loss, losses.SparseCategoricalCrossentropy))
  end)
end)
