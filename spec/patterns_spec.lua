-- Patterns of paths: what Python's re says (spec/ref/patterns.py), and Lua's own.
local expect = require "spec.support.expect"
local patterns = require "tide.patterns"
local rows = require "spec.ref.patterns"

describe("tide.patterns", function()
  it("finds what Python's re finds", function()
    local refused, fits, wrong = 0, 0, {}
    for _, row in ipairs(rows) do
      local source, text, some, whole = table.unpack(row)
      local ok, f = pcall(patterns.compile, "spec", source)
      if text == nil then
        refused = refused + 1
        if ok then
          wrong[#wrong + 1] = source .. " is refused there"
        end
      elseif not ok then
        wrong[#wrong + 1] = tostring(f)
      elseif f(text) ~= some or f(text, true) ~= whole then
        wrong[#wrong + 1] = ("%s in %q: %s and %s"):format(source, text, some, whole)
      else
        fits = fits + 1
      end
    end
    assert.same({}, table.move(wrong, 1, 20, 1, {}))
    assert.is_true(fits > 1200 and refused > 5)
  end)

  it("takes those with a percent sign for Lua patterns", function()
    local f = patterns.compile("spec", "layer_%d+/")
    assert.is_true(f "a/layer_12/kernel")
    assert.is_false(f("a/layer_12/kernel", true))
    assert.is_true(patterns.compile("spec", "^%a+$")("abc", true))
  end)

  it("takes no longer than its size times the text's", function()
    local began = os.clock()
    assert.is_false(patterns.compile("spec", "((a*)*)*b")(("a"):rep(2000)))
    assert.is_true(os.clock() - began < 2)
  end)

  it("says what it does not read", function()
    for source, part in pairs { ["a{3,2}"] = "a count ends before it begins",
      ["(a)\\1"] = "refers back to a group", ["a++"] = "possessive", ["("] = "no ')'",
      ["[a"] = "no ']'", ["%"] = "is no Lua pattern", ["((){9999}){9999}"] = "too large",
      ["((a{200}){200}){9}"] = "too large", [("("):rep(200)] = "too deep",
      ["\\q"] = "unknown escape" } do
      expect.raises(part, patterns.compile, "spec", source)
    end
    expect.raises("a pattern must be a string", patterns.compile, "spec", 3)
  end)
end)
