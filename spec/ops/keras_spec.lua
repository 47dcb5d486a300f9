-- Every function of keras.ops with its arguments (spec/ref/keras_ops.lua, from the real Keras)
-- beside tide.ops.
local core = require "tide.core"
local tide = require "tide"
local ops = tide.ops
local theirs = dofile "spec/ref/keras_ops.lua"

-- Arguments of another name or form: function -> their name -> why, or the name under which it is
-- taken.
local other = {
  einsum = { subscripts = "equation", operands = "...",
    kwargs = "the order of the products is Tide's affair" },
  layer_normalization = { kwargs = "old options of Keras" },
  meshgrid = { x = "...", indexing = "an option at the end" },
  multi_hot = { kwargs = "old options of Keras" },
  rearrange = { axes_lengths = "axes_lengths" },
  switch = { operands = "..." },
}
-- What every function of the core answers to, beside its own names.
local everywhere = { inputs = "x", variable = "x", x = "x1", y = "x2" }

local names = {}
for name in pairs(theirs) do
  names[#names + 1] = name
end
table.sort(names)
local has = {}
for _, name in ipairs(ops.names()) do
  has[name] = true
end

describe("keras.ops", function()
  for _, name in ipairs(names) do
    it(name .. " has its arguments", function()
      assert.is_true(has[name], "no such function in tide.ops")
      local own = ops.arguments(name)
      -- zeros, ones, full, empty and their likes are the core's functions of creation
      if not own then
        assert.is_function(core[name])
        return
      end
      local set, lacks = {}, {}
      for _, a in ipairs(own) do
        set[a] = true
      end
      for _, text in ipairs(theirs[name]) do
        local a = text:match "[%w_]+"
        local alias = everywhere[a]
        if not (set[a] or alias and set[alias] or other[name] and other[name][a]) then
          lacks[#lacks + 1] = text
        end
      end
      assert.are.equal("", table.concat(lacks, ", "))
    end)
  end

  it("calls some arguments otherwise, which Tide takes too", function()
    assert.are.same({ 2 }, ops.bitwise_and({ x = { 3 }, y = { 2 } }):tolist())
    assert.are.same({ 1, 2 }, ops.stop_gradient({ variable = { 1, 2 } }):tolist())
  end)
end)
