-- What help shows of every public class and of the functions that are used daily: a text, its
-- options, and an example that gives what it says. Examples are the indented lines of a doc
-- comment; `-->` names the result.
local expect = require "spec.support.expect"
local help = require "tide.repl.help"
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
  if type(got) == "table" then
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

describe("help", function()
  it("lists the options of a class with their defaults", function()
    assert.matches("\n  delta = 1", (help.text(tide.losses.Huber, "Huber")))
    assert.matches("\n  learning_rate = 0.001 ", (help.text(tide.optimizers.Adam, "Adam")))
    assert.matches("\n  patience = 0 ", (help.text(tide.callbacks.EarlyStopping, "EarlyStopping")))
  end)

  it("shows the options of a function of a loss", function()
    assert.matches("\n  y_true = required.*\n  delta = 1", (help.text(tide.losses.huber, "huber")))
  end)
end)
