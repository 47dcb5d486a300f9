-- `tide train CONFIG.lua`: a file that describes a model and its training.
local expect = require "spec.support.expect"
local tide = require "tide"
local train = require "tide.cli.train"

local program = expect.command

local folder
setup(function()
  folder = expect.folder()
end)
teardown(function()
  os.execute("rm -r " .. folder)
end)

-- A configuration whose fields are `more` over the usual ones, as a file.
local function config(more, head, tail)
  local path = folder .. "/config.lua"
  local f = assert(io.open(path, "w"))
  f:write([[local tide = require "tide"
local layers = tide.layers
]], head or "return {", [[
  seed = 3,
  model = function()
    return tide.Sequential { layers.Dense { 2, activation = "softmax", input_shape = { 3 } } }
  end,
  data = { train = { tide.ones { 8, 3 }, tide.ones({ 8 }, { dtype = "int32" }) },
    test = { tide.ones { 4, 3 }, tide.ones({ 4 }, { dtype = "int32" }) } },
  compile = { optimizer = "adam", loss = "sparse_categorical_crossentropy",
    metrics = { "accuracy" } },
  fit = { epochs = 2, verbose = 0 },
]], more or "", tail or "}\n")
  f:close()
  return path
end

-- Runs the command: whether it succeeded, and all that it printed.
local function run(arguments)
  local pipe = io.popen(("%s train %s 2>&1 </dev/null"):format(program, arguments))
  local out = pipe:read "a"
  return pipe:close() or false, out
end

describe("tide train", function()
  it("trains, evaluates and saves what the file describes", function()
    local saved = folder .. "/trained.keras"
    local ok, out = run(config(("save = { %q, %q },"):format(saved,
      folder .. "/trained.safetensors")))
    assert.is_true(ok, out)
    assert.matches("test accuracy [01]%.%d+  test loss %d+%.%d+\n", out)
    assert.matches("saved " .. saved, out, 1, true)
    local model = tide.load_model(saved)
    assert.equal(2, model.optimizer.iterations)
    assert.equal(2, tide.load_model(folder .. "/trained.safetensors").optimizer.iterations)
  end)

  it("takes settings, and goes on from a model file", function()
    local first, second = folder .. "/first.keras", folder .. "/second.keras"
    local path = config()
    assert.is_true((run(("%s fit.epochs=3 compile.optimizer=sgd save=%s"):format(path, first))))
    local model = tide.load_model(first)
    assert.equal("SGD", model.optimizer:_class_name())
    assert.equal(3, model.optimizer.iterations)
    path = config "compile = false,"
    assert.is_true((run(("%s model=%s save=%s"):format(path, first, second))))
    assert.equal(5, tide.load_model(second).optimizer.iterations)
  end)

  it("gives the settings that are not its own to a function", function()
    local path = config(
      "", "return function(s) assert(s.width == 5 and s.on == true and s.name == 'x') return {",
      "} end")
    local ok, out = run(path .. " width=5 on=true name=x")
    assert.is_true(ok, out)
    path = config()
    ok, out = run(path .. " widht=5")
    assert.is_false(ok)
    assert.matches("has no setting 'widht'", out, 1, true)
  end)

  it("checks without training or saving", function()
    local saved = folder .. "/unsaved.keras"
    local ok, out = run("--check " .. config(("save = %q,"):format(saved)))
    assert.is_true(ok, out)
    assert.matches("nothing is wrong with it", out, 1, true)
    assert.is_nil(io.open(saved))
  end)

  it("says in one line what is wrong", function()
    for more, words in pairs {
      ["modle = 1,"] = "unknown option 'modle'",
      ["data = { 1 },"] = "data",
      ["fit = { epochs = 1, x = 1 },"] = "fit.x: the data stand in data",
      ["save = 'model.txt',"] = "the name must end in one of",
      ["model = 3,"] = "model must be a model",
      ["compile = { optimizer = 'adm' },"] = "unknown optimizer 'adm'",
    } do
      local ok, out = run(config(more))
      assert.is_false(ok, more)
      assert.matches(words, out, 1, true)
      assert.equal(1, select(2, out:gsub("\n", "")), out)
    end
    local ok, out = run "/no/such/file.lua"
    assert.is_false(ok)
    assert.equal("tide train: cannot open /no/such/file.lua\n", out)
    ok, out = run "--nonsense"
    assert.is_false(ok)
    assert.matches("usage: tide train", out, 1, true)
  end)

  it("has help", function()
    local ok, out = run "--help"
    assert.is_true(ok)
    assert.matches("^usage: tide train .*fit%.epochs=3", out)
    assert.equal("function", type(train))
  end)
end)
