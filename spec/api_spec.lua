-- Every public name of Keras, with its options, their order and defaults, is Tide's too, or stands
-- among the exceptions with a reason. `make api-report` prints the table.
local api = require "spec.support.api"
local none = require "tide.none"
local tide = require "tide"

local function lines(differences)
  local out = {}
  for i, d in ipairs(differences) do
    out[i] = type(d) == "table" and d[1] .. ": " .. d[2] or d
  end
  return table.concat(out, "\n")
end

describe("Keras' interface", function()
  local found
  setup(function()
    found = api.compare(api.reference(), require "spec.support.api_exceptions")
  end)

  it("is there, name by name and option by option, but for exceptions with a reason", function()
    assert.equal("", lines(found.open))
  end)

  it("has no exception for what is there", function()
    assert.equal("", lines(found.stale))
  end)

  it("was read whole", function()
    local sizes = {}
    for _, family in ipairs(found.families) do
      sizes[family.name] = family.names
    end
    for name, least in pairs { layers = 200, losses = 45, metrics = 70, optimizers = 40,
      ops = 330, callbacks = 40, models = 50, initializers = 40 } do
      assert.is_true(sizes[name] >= least, name)
    end
  end)
end)

describe("the comparison", function()
  local function differs(space, ...)
    local found = api.compare({ { space, ... } }, {})
    return lines(found.open)
  end

  it("finds what is missing, of another default, or in another order", function()
    assert.equal("layers.Dance: missing", differs("layers", { "Dance", "class" }))
    assert.equal("", differs("layers", { "Dense", "class", { "units" }, { "activation", none } }))
    assert.equal("layers.Dense.units: default 3 there, required here",
      differs("layers", { "Dense", "class", { "units", 3 } }))
    assert.equal("layers.Dense.use_bias: default false there, true here",
      differs("layers", { "Dense", "class", { "units" }, { "use_bias", false } }))
    assert.equal("layers.Dense.unit: no such option",
      differs("layers", { "Dense", "class", { "unit" } }))
    assert.equal("layers.Dense.units: stands elsewhere in the order",
      differs("layers", { "Dense", "class", { "activation", none }, { "units" } }))
    assert.equal("models.Model:fat: missing", differs("models", { "Model:fat", "method" }))
    assert.equal("models.Model:fit.epochs: default 2 there, 1 here",
      differs("models", { "Model:fit", "method", { "epochs", 2 } }))
  end)

  it("knows how the same is spelt in Lua", function()
    assert.equal("", differs("constraints", { "MaxNorm", "class", { "max_value", 2 },
      { "axis", 0 } }))
    assert.equal("", differs("layers", { "Conv2D", "class", { "filters" }, { "kernel_size" },
      { "strides", { 1, 1 } } }))
    assert.equal("", differs("layers", { "Lambda", "class", { "function" } }))
    assert.equal("layers.Conv2D.strides: default [1, 2] there, 1 here", differs("layers",
      { "Conv2D", "class", { "filters" }, { "kernel_size" }, { "strides", { 1, 2 } } }))
  end)

  it("takes exceptions by name and by pattern, and tells which cover nothing", function()
    local reference = { { "layers", { "Dance", "class" }, { "Dense", "class", { "unit" } } } }
    local found = api.compare(reference, { reason = "layers.Dance layers.*.unit layers.Conv2D" })
    assert.equal("", lines(found.open))
    assert.same({ "layers.Conv2D" }, found.stale)
    assert.same({ reason = 2 }, found.reasons)
  end)

  it("sees fields that a layer gets as it is built", function()
    assert.equal("", differs("layers", { "Dense:kernel", "field" }, { "Layer:name", "field" }))
    assert.equal("layers.Dense:kernels: missing", differs("layers", { "Dense:kernels", "field" }))
    assert.truthy(tide.layers.Dense)
  end)
end)
