-- The language part of the prompt: chunks, printing, completion.
local chunk = require "tide.repl.chunk"
local complete = require "tide.repl.complete"
local show = require "tide.repl.show"

describe("repl.chunk.keep_locals", function()
  local cases = {
    { "local x = 1", " x = 1", "x" },
    { "local x, y", " x, y = nil;", "x y" },
    { "local a <const>, b = 1, 2", " a , b = 1, 2", "a b" },
    { "local f <close> = g()", "local f <close> = g()", "" },
    { "local function f() local q = 1 return q end", " function f() local q = 1 return q end",
      "f" },
    { "do local x = 1 end", "do local x = 1 end", "" },
    { "if x then local y = 1 else local z = 2 end local w = 3",
      "if x then local y = 1 else local z = 2 end  w = 3", "w" },
    { "for i = 1, 2 do local a = i end local b = 1", "for i = 1, 2 do local a = i end  b = 1",
      "b" },
    { "repeat local a = 1 until a local b = 1", "repeat local a = 1 until a  b = 1", "b" },
    { "x = 'local y = 1' -- local z = 2", "x = 'local y = 1' -- local z = 2", "" },
    { "x = [[\nlocal y = 1]] local z = [==[ ]] end ]==]",
      "x = [[\nlocal y = 1]]  z = [==[ ]] end ]==]", "z" },
    { "--[[ local a ]] local b = '\\' local c'", "--[[ local a ]]  b = '\\' local c'", "b" },
  }
  for _, case in ipairs(cases) do
    it("rewrites " .. case[1]:gsub("\n", " "), function()
      local text, names = chunk.keep_locals(case[1])
      assert.equal(case[2], text)
      assert.equal(case[3], table.concat(names, " "))
    end)
  end
end)

describe("repl.chunk.compile", function()
  it("tells an unfinished chunk from a wrong one", function()
    for _, text in ipairs { "for i = 1, 2 do", "f(", "1 +", "x = {", "[[abc", "function f()",
      "local x =" } do
      local f, _, incomplete = chunk.compile(text, "=t", {})
      assert.is_nil(f, text)
      assert.is_true(incomplete, text)
    end
    for _, text in ipairs { "1 + * 2", "x x", "'abc", "end", "local 1" } do
      local f, message, incomplete = chunk.compile(text, "=t", {})
      assert.is_nil(f, text)
      assert.is_false(incomplete, text)
      assert.matches("^t:1: ", message)
    end
  end)

  it("writes globals to the globals and locals to the session", function()
    local globals = {}
    local env, declare = chunk.session(globals)
    chunk.compile("local a = 1 b = 2", "=t", env, declare)()
    assert.is_nil(globals.a)
    assert.equal(1, env.a)
    assert.equal(2, globals.b)
    assert.is_nil(rawget(env, "b"))
  end)
end)

describe("repl.show", function()
  it("sorts keys and quotes what is inside tables", function()
    local t = { 1, "a\n", b = { c = 1 }, ["d e"] = 2, [true] = 3 }
    assert.equal('{ 1, "a\\n", b = { c = 1 }, ["d e"] = 2, [true] = 3 }', show.value(t))
  end)

  it("marks cycles, depth and length", function()
    local t = {}
    t.self = t
    assert.equal("{ self = { ...cycle } }", show.value(t))
    assert.equal("{ { { { ... } } } }", show.value { { { { { 1 } } } } })
    local long = {}
    for i = 1, 25 do
      long[i] = i
    end
    assert.matches("19, 20, %.%.%. 5 more\n}$", (show.value(long):gsub("\n  ", " ")))
  end)

  it("breaks what does not fit a line", function()
    assert.equal("{\n  aaaa = 1,\n  bbbb = 2\n}",
      show.value({ aaaa = 1, bbbb = 2 }, { width = 10 }))
  end)

  it("leaves an object to its own __tostring", function()
    assert.equal("object", show.value(setmetatable({}, { __tostring = function()
      return "object"
    end })))
  end)
end)

describe("repl.show.duration", function()
  it("says seconds, minutes, hours", function()
    assert.equal("0.25 s", show.duration(0.25))
    assert.equal("1 min 0 s", show.duration(60.4))
    assert.equal("2 min 5 s", show.duration(125.9))
    assert.equal("1 h 1 min", show.duration(3661.5))
  end)
end)

describe("repl.complete", function()
  local env = { model = { layers = { 1 }, fit = function() end, _private = 1 }, string = string,
    other = 1 }
  local function words(text)
    return table.concat(complete.words(text, "", env), " ")
  end

  it("offers variables, keywords and fields", function()
    assert.equal("model", words "mo")
    assert.equal("return", words "retu")
    assert.equal("model.fit( model.layers", words "model.")
    assert.equal("model:fit(", words "model:")
    assert.equal("model._private", words "model._")
    assert.equal("string.format(", words "string.form")
    assert.equal("", words "nothing.at")
  end)

  it("follows __index tables and lists of names, and calls nothing of the user's", function()
    local called = 0
    local base = setmetatable(
      { zap = function() end }, { __index = function() called = called + 1 end })
    env.object = setmetatable({ zoom = 1 }, { __index = base })
    assert.equal("object.zap( object.zoom", words "object.z")
    env.lazy = setmetatable({}, { __names = function() return { "Dense", "Dropout" } end })
    assert.equal("lazy.Dense lazy.Dropout", words "lazy.D")
    assert.equal("", words "object.missing.x")
    assert.equal(0, called)
  end)

  it("offers the options of what is called with a table", function()
    local tide = require "tide"
    local here = { tide = tide, layers = tide.layers, net = tide.Sequential() }
    local function options(before, word)
      return table.concat(complete.words(word, before, here), " ")
    end
    assert.equal("use_bias = ", options("layers.Dense { 64, ", "use"))
    assert.equal("epochs = ", options("net:fit(x, y, { batch_size = 3, ", "ep"))
    assert.equal("keepdims = ", options("tide.ops.sum(x, { ", "k"))
    assert.equal("stddev = ", options("tide.random.normal({ 2 }, { ", "std"))
    assert.equal("metrics = ", options("unknown:compile { ", "metr"))
    assert.equal("from_logits = ", options("tide.losses.BinaryCrossentropy{", "from"))
    assert.matches("^units =  activation =  use_bias = ", options("layers.Dense { ", ""))
    assert.equal("", options("layers.Dense(64, ", "use_bi"))
  end)

  it("shows the signature of what is being called", function()
    local here = { tide = require "tide", net = require("tide").Sequential(),
      f = function(a, b, ...) return a, b, ... end }
    local function shown(before)
      return complete.words("", before, here)
    end
    assert.same({ "f(a, b, ...)", "" }, shown "f(")
    assert.matches("^net:fit%(x, y, batch_size, epochs, ", shown("net:fit(")[1])
    assert.same({ "tide.ops.softmax(x, axis)", "" }, shown "x = tide.ops.softmax(")
    assert.matches("^net:compile%(optimizer, loss, ", shown("net:compile(")[1])
    here.x = here.tide.ones { 2 }
    here.tide.Layer:extend("sum", { args = { "other" } }) -- a class of that name changes nothing
    assert.same({ "x:sum(axis, keepdims, dtype)", "" }, shown "x:sum(")
    assert.is_nil(complete.signature("print(", here))
    assert.is_nil(complete.signature("nothing(", here))
  end)

  it("offers names inside strings, by the key before them", function()
    local here = { tide = require "tide", layers = require("tide").layers }
    local function names(before, word)
      return table.concat(complete.words(word, before, here), " ")
    end
    assert.equal("adabelief adadelta adafactor adagrad adam adamax adamw",
      names('net:compile { optimizer = "', "ada"))
    assert.equal("softmax softplus softsign",
      (names("layers.Dense { 3, activation = '", "soft"):gsub("soft_%S+ ", "")))
    assert.equal("mean_absolute_error", names('net:compile { loss = "', "mean_absolute_e"))
    assert.equal("glorot_normal glorot_uniform",
      names('layers.Dense { 3, kernel_initializer = "', "glo"))
    assert.equal("accuracy", names('net:compile { metrics = { "', "accu"))
    assert.equal("EarlyStopping", names('net:fit(x, y, { callbacks = { "', "Ea"))
    assert.equal("same", names('layers.Conv2D { 3, 3, padding = "', "s"))
    assert.equal("float16 float32 float64", names('tide.ones({ 3 }, { dtype = "', "float"))
    assert.equal("BatchNormalization", names('layers.get("', "BatchN"))
  end)

  it("offers the files that an open string begins", function()
    local found = complete.words("spec/support/pl", 'dofile("', env)
    assert.same({ "spec/support/plain.lua" }, found)
    assert.same({ "support/plain.lua" }, complete.words("support/pl", 'dofile("spec/', env))
  end)
end)

describe("completion of what changes and tries models", function()
  it("knows methods, options and both names of tensors", function()
    local tide = require "tide"
    local model = tide.Sequential { tide.layers.Dense { 2, input_shape = { 3 } } }
    local env = { m = model, tide = tide, ops = tide.ops }
    local function has(list, word)
      return (" " .. table.concat(list, " ") .. " "):find(" " .. word .. " ", 1, true) ~= nil
    end
    local names = require("tide.help.look").names(model)
    for name in ([[find_lr find_batch_size rename replace sub_model freeze
      unfreeze]]):gmatch "%S+" do
      assert.is_true(has(names, name), name)
    end
    for before, option in pairs { ["m:summary { "] = "batch", ["m:find_lr(x, y, { "] = "max_lr",
      ["m:find_batch_size { "] = "memory", ["m:sub_model { "] = "from",
      ["m:add(layer, { "] = "rebuild", ["tide.models.clone_model(m, { "] = "call_function",
      ["tide.utils.model_to_dot(m, { "] = "rankdir", ["ops.conv { "] = "inputs",
      ["ops.bitwise_and { "] = "y", ["tide.utils.clear_session { "] = "free_memory" } do
      assert.is_true(has(complete.options("", before, env), option), before)
    end
    assert.equal("m:count_params()", complete.signature("m:count_params(", env))
  end)
end)
