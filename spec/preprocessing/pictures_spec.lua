-- Every case of spec/ref/pictures.lua: decoding, resizing and transforming beside Pillow,
-- TensorFlow, SciPy and Keras.
local compare = require "spec.ref.pictures"

describe("pictures beside their peers", function()
  for _, group in ipairs(compare.groups) do
    it(group.name, function()
      local cases = group.cases()
      assert.is_true(#cases > 0)
      for _, c in ipairs(cases) do
        assert.is_true(c[2] <= group.allowed,
          ("%s: differs by %g, at most %g allowed"):format(c[1], c[2], group.allowed))
      end
    end)
  end
end)
