-- The prompt knows Tide: completion and help of its tensors, namespaces, classes and options.
local tide = require "tide"
local complete = require "tide.repl.complete"
local help = require "tide.repl.help"

local env = { tide = tide, layers = tide.layers, t = tide.tensor { 1, 2 }, dense = tide.layers.Dense { 4 } }

local function words(word, before)
  return " " .. table.concat(complete.words(word, before or "", env), " ") .. " "
end

describe("completion of Tide", function()
  it("offers names of namespaces that are not loaded yet", function()
    assert.matches(" tide%.layers ", words "tide.la")
    assert.matches(" layers%.Dense.* layers%.DepthwiseConv2D ", words "layers.De")
  end)

  it("offers methods and fields of tensors", function()
    assert.matches(" t:softmax%( ", words "t:so")
    assert.equal(" t.shape ", words "t.shap")
    assert.equal("  ", words "t:shap")
  end)

  it("offers methods and fields of layers", function()
    assert.matches(" dense%.units ", words "dense.un")
    assert.matches(" dense:get_weights%( ", words "dense:get_w")
  end)

  it("offers the options of the class that is called", function()
    assert.equal(" activation =  activity_regularizer =  ", words("acti", "x = layers.Dense { 64, "))
    assert.equal(" use_bias =  ", words("use_b", "x = layers.Dense(64, {"))
    assert.equal("  ", words("units", "x = layers.Flatten { "))
  end)
end)

describe("help of Tide", function()
  it("shows a class with its comment and options", function()
    local text = help.text(tide.layers.Dense, "layers.Dense")
    assert.matches("^Dense { … }\n\nA fully connected layer", text)
    assert.matches("units = required    width of the output", text)
  end)

  it("shows an op from its descriptor", function()
    local text = help.text(tide.ops.softmax, "softmax")
    assert.matches("^ops%.softmax%(x, %[axis%]%)\n", text)
    assert.matches("axis %= %-1", text)
  end)

  it("shows the class of an object, and its source", function()
    assert.matches("^Dense { … }", help.text(env.dense, "dense"))
    assert.matches("lua/tide/layers/core%.lua:%d+\n", help.source(env.dense))
  end)

  it("knows what kind of thing a value is", function()
    assert.equal("tensor", help.kind(env.t))
    assert.equal("Dense", help.kind(env.dense))
    assert.equal("class", help.kind(tide.layers.Dense))
    assert.equal("number", help.kind(1))
  end)

  it("finds names across namespaces", function()
    local found = " " .. table.concat(help.search "*batchnorm*", " ") .. " "
    assert.matches(" tide%.layers%.BatchNormalization ", found)
    found = " " .. table.concat(help.search "*soft*max*", " ") .. " "
    assert.matches(" tide%.ops%.softmax ", found)
  end)
end)
