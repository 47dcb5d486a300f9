-- What help shows of every public class and of the functions that are used daily: a text, its
-- options, and an example that gives what it says. Examples are the indented lines of a doc
-- comment; `-->` names the result.
local expect = require "spec.support.expect"
local help = require "tide.help"
local look = require "tide.help.look"
local tide = require "tide"

local spaces = { "layers", "losses", "metrics", "optimizers", "optimizers.schedules", "callbacks",
  "initializers", "regularizers", "constraints" }
-- Bases to inherit from, and what is no class.
local skipped = { Layer = true, Loss = true, LossFunctionWrapper = true, Metric = true,
  Optimizer = true, Callback = true, CallbackList = true, LearningRateSchedule = true,
    Initializer = true, Regularizer = true, Constraint = true,
  schedules = true, InputLayer = true, ProgbarLogger = true }

local function run(example)
  local left, right = example:match "^(.-)%s+%-%->%s+(.+)$"
  local env = setmetatable({ tide = tide }, { __index = _G })
  if not left then
    assert(load(example, "=" .. example, "t", env))()
    return
  end
  local got = assert(load("return " .. left, "=" .. left, "t", env))()
  if type(got) == "table" and got.totable then
    got = got:totable()
  end
  expect.close(got, assert(load("return " .. right))(), 1e-6, 1e-4, left)
end

for _, space in ipairs(spaces) do
  local names = tide
  for part in space:gmatch "%a+" do
    names = names[part]
  end
  describe("help of tide." .. space, function()
    for _, name in ipairs(debug.getmetatable(names).__names(names)) do
      local value = names[name]
      if not skipped[name] then
        it(name .. " says what it does, and its example gives what it says", function()
          local text = help.text(value, name)
          local body = text:match "^[^\n]*\n\n(.+)$"
          assert.is_truthy(body, "no text")
          local comment = body:match "^(.-)\n\noptions, in order:" or body
          assert.is_truthy(comment:match "%a%a", "no text")
          local examples = help.examples(comment)
          assert.is_true(#examples > 0, "no example in: " .. comment)
          for _, example in ipairs(examples) do
            run(example)
          end
        end)
      end
    end
  end)
end

-- The gate: whatever a person can name has a text. What is no function, class or namespace is left
-- out.
describe("every public name", function()
  local plain = { ["tide.none"] = true, ["tide.activations.names"] = true,
    ["tide.saving.formats"] = true, ["tide.callbacks.CallbackList"] = true,
    ["tide.tree.MAP_TO_NONE"] = true,
    ["tide.data.AUTOTUNE"] = true, ["tide.data.INFINITE_CARDINALITY"] = true,
    ["tide.data.UNKNOWN_CARDINALITY"] = true }

  it("has a text with more than its signature", function()
    local missing, seen = {}, 0
    for _, name in ipairs(help.names()) do
      local value = look.value(name, { tide = tide })
      local text = help.text(value, name) or ""
      seen = seen + 1
      if not plain[name] and not (text:match "^[^\n]*\n\n(.+)$" or ""):find "%a%a" then
        missing[#missing + 1] = name
      end
    end
    assert.equal("", table.concat(missing, " "))
    assert.is_true(seen > 700)
  end)

  it("has a first sentence where it is listed", function()
    local missing = {}
    for _, name in ipairs(help.names()) do
      local value = look.value(name, { tide = tide })
      if not plain[name] and help.brief(value, name) == "" then
        missing[#missing + 1] = name
      end
    end
    assert.equal("", table.concat(missing, " "))
  end)

  it("that is a function or class has an example, and the example runs", function()
    -- What the examples may name beside tide.
    tide.seed(1)
    local model = tide.Sequential { tide.layers.Dense { 3, activation = "softmax",
      input_shape = { 4 } } }
    model:compile { optimizer = "sgd", loss = "sparse_categorical_crossentropy" }
    local env = setmetatable({ tide = tide, model = model, x = tide.random.normal { 6, 4 },
      y = tide.tensor({ 1, 2, 3, 1, 2, 3 }, { dtype = "int32" }),
      w = tide.ones({ 2 }, { requires_grad = true }), print = tostring,
      bytes = tide.image.encode(tide.zeros({ 2, 2, 3 }, { dtype = "uint8" }), "png"),
    }, { __index = _G })
    env.x_test, env.y_test = env.x, env.y
    -- Examples that read or write files, or print: these are compiled only.
    local compiled = { "^tide%.datasets%.", "^tide%.saving%.", "^tide%.load", "^tide%.save",
      "load_model$", "save_model$", "load_img$", "save_img$", "img_to_array$", "plot_model$",
      "_from_directory$", "^tide%.image%.load$", "^tide%.image%.save$", "^tide%.image%.show$",
      "^tide%.audio%.load$", "^tide%.audio%.save$",
      "ProgbarLogger$", "^tide%.plot%.weights$", "^tide%.plot%.precision_recall$",
      "^tide%.tokenizers%.load$", "^tide%.profile$", "^tide%.help$", "_vocabulary_file$" }
    local function only_compiled(name)
      for _, pattern in ipairs(compiled) do
        if name:find(pattern) then
          return true
        end
      end
    end
    local missing, seen, done = {}, 0, {}
    for _, name in ipairs(help.names()) do
      local value = look.value(name, { tide = tide })
      local kind = help.kind(value)
      if not plain[name] and (kind == "function" or kind == "class") and not done[value] then
        done[value], seen = true, seen + 1
        local examples = help.examples(help.text(value, name))
        local own = setmetatable({}, { __index = env })
        missing[#missing + 1] = #examples == 0 and name or nil
        for _, example in ipairs(examples) do
          local code = example:gsub("^local ([%a_][%w_, ]*=)", "%1") -- later lines use it
          local left, right = code:match "^(.-)%s+%-%->%s+(.+)$"
          local f, e = load(left and "return " .. left or code, "=" .. example, "t", own)
          local ok, got = f ~= nil, e
          if ok and not only_compiled(name) then
            ok, got = pcall(f)
          end
          if not ok then
            missing[#missing + 1] = name .. ": " .. tostring(got) .. "\n"
          elseif left and not only_compiled(name) then
            expect.close(type(got) == "table" and got.totable and got:totable() or got,
              assert(load("return " .. right))(), 1e-6, 1e-4, left)
          end
        end
      end
    end
    assert.equal("", table.concat(missing, " "))
    assert.is_true(seen > 500)
  end)

  it("that is a method has a text", function()
    local missing = {}
    for _, c in ipairs { tide.Model, tide.Sequential, tide.Layer, tide.optimizers.Optimizer,
      tide.optimizers.schedules.LearningRateSchedule, tide.losses.Loss, tide.metrics.Metric,
      tide.callbacks.Callback } do
      for _, method in ipairs(help.methods(c)) do
        missing[#missing + 1] = method[2] == "" and c.__name .. ":" .. method[1] or nil
      end
    end
    for name, f in pairs(getmetatable(tide.ones { 1 }).methods) do
      local text = help.text(f, "x:" .. name)
      if not text:match("^[^\n]*\n\n(.+)$") then
        missing[#missing + 1] = "tensor:" .. name
      end
    end
    assert.equal("", table.concat(missing, " "))
  end)

  it("that is written in C has an example that gives what it says", function()
    local native = require "tide.help.native"
    local seen = 0
    for name, entry in pairs(native.functions) do
      local examples = help.examples(entry[2])
      assert.is_true(#examples > 0, name)
      for _, example in ipairs(examples) do
        run(example)
        seen = seen + 1
      end
    end
    assert.is_true(seen >= 15)
  end)
end)

describe("tide.ops", function()
  for _, name in ipairs(tide.ops.names()) do
    it(name .. " has an example that gives what it says", function()
      local examples = help.examples(help.text(tide.ops[name], "tide.ops." .. name))
      assert.is_true(#examples > 0, "no example")
      for _, example in ipairs(examples) do
        run(example)
      end
    end)
  end
end)

describe("help", function()
  it("finds what a bare name means, before it was ever used", function()
    assert.equal("tide.layers.Dropout", help.find("Dropout")[1][1])
    assert.equal("tide.ops.eye", help.find("eye")[1][1])
    assert.equal("Model:fit", help.find("fit")[1][1])
    assert.equal("tide.layers.Dense", help.find("dense")[1][1])
    assert.equal("tide.random.normal", help.find("random.normal")[1][1])
    assert.equal("tensor:backward", help.find("backward")[1][1])
    assert.same({}, help.find "nothing_of_the_kind")
  end)

  it("knows the public name of a value", function()
    assert.equal("tide.grad", help.name_of(tide.grad))
    assert.equal("tide.layers.Dense", help.name_of(tide.layers.Dense))
    assert.equal("tide.layers", help.name_of(tide.layers))
    assert.is_nil(help.name_of(print))
  end)

  it("of a namespace lists its members with a line each", function()
    local text = help.text(tide.random, "tide.random")
    assert.matches("\n  normal +Normal numbers", text)
    assert.matches("\n  SeedGenerator +A reproducible sequence of seeds", text)
    text = help.text(tide, "tide")
    assert.matches("\n  layers +Layers, by Keras' names%.", text)
  end)

  it("of a class lists its methods with a line each, and its options", function()
    local text = help.text(tide.Model, "tide.Model")
    assert.matches("\n  fit +Trains the model%.", text)
    assert.matches("\nmethods of every Layer:\n", text)
  end)

  it("of a method names its options with their defaults", function()
    assert.matches("^Model:fit%(x, y, batch_size, epochs.*\n  epochs = 1 ",
      (help.text(tide.Model.fit, "Model:fit")))
    assert.matches("^m%.fit%(x, y, batch_size", (help.text(tide.Model.fit, "m.fit")))
    assert.matches("\n  stddev +float = 1", (help.text(tide.random.normal, "tide.random.normal")))
  end)

  it("of a tensor says what it is and what it answers to", function()
    local text = help.text(tide.ones { 2, 3 }, "x")
    assert.matches("^x: a float32 tensor of shape %[2, 3%] on cpu\n", text)
    assert.matches("\n  ndim +number of axes", text)
    assert.matches("\n  :backward%(", text)
    assert.matches("softmax", text)
  end)

  it("of an op in place says so", function()
    assert.matches("^x:exp_%(%)\n\nWrites the result of ops%.exp into x itself",
      (help.text(tide.ones({ 1 }).exp_, "exp_")))
  end)

  it("lists the options of a class with their defaults", function()
    assert.matches("\n  delta = 1", (help.text(tide.losses.Huber, "Huber")))
    assert.matches("\n  learning_rate = 0.001 ", (help.text(tide.optimizers.Adam, "Adam")))
    assert.matches("\n  patience = 0 ", (help.text(tide.callbacks.EarlyStopping, "EarlyStopping")))
  end)

  it("shows the options of a function of a loss", function()
    assert.matches("\n  y_true = required.*\n  delta = 1", (help.text(tide.losses.huber, "huber")))
  end)
end)
