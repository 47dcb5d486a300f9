-- Names that Keras, TensorFlow and torch have and Tide spells otherwise or has not.
local expect = require "spec.support.expect"
local foreign = require "tide.foreign"
local namespace = require "tide.namespace"
local tide = require "tide"

describe("names from elsewhere", function()
  for space, names in pairs(foreign.names) do
    it("of " .. space .. " are none of Tide's, and say what to use", function()
      for name in pairs(names) do
        if space == "tensor" then
          expect.raises(("no method or field '%s'; "):format(name), function()
            return tide.ones({ 1 })[name]
          end)
        else
          local t = tide
          for part in space:gmatch "%.(%w+)" do
            t = t[part]
          end
          assert.is_false(namespace.has(t, name), name)
          expect.raises(("unknown name '%s'; "):format(name), function()
            return t[name]
          end)
        end
      end
    end)
  end

  it("name Tide's own way", function()
    local function says(what, f)
      expect.raises(what, f)
    end
    says("in Tide: tide.value_and_grad(f, vars)", function() return tide.GradientTape end)
    says("it is tide.ops.eye", function() return tide.eye end)
    says("Tide does not have it yet", function() return tide.layers.RandomHeight end)
    says("in Tide: Huber", function() return tide.losses.SmoothL1Loss end)
    says("did you mean 'Dense'?", function() return tide.layers.Linear end)
    says("did you mean 'zero_'?", function() return tide.ones({ 1 }):zreo_() end)
  end)
end)

describe("x:fill_ and x:zero_", function()
  it("write one number into every element, in any dtype and through views", function()
    local x = tide.tensor { { 1, 2 }, { 3, 4 } }
    x[{ {}, { 1 } }]:fill_(7)
    assert.same({ { 7, 2 }, { 7, 4 } }, x:tolist())
    assert.same({ { 0, 0 }, { 0, 0 } }, x:zero_():tolist())
    assert.same({ 9007199254740993 },
      tide.tensor({ 1 }, { dtype = "int64" }):fill_(9007199254740993):tolist())
    assert.same({ true }, tide.tensor({ false }):fill_(true):tolist())
  end)

  it("refuse tables, and leaves whose writing is recorded", function()
    expect.raises("must be a number or a boolean (got a table)", function()
      tide.ones({ 2 }):fill_ { 1 }
    end)
    local w = tide.ones({ 2 }, { requires_grad = true })
    expect.raises("cannot be written in place while gradients are recorded", function()
      w:zero_()
    end)
    tide.no_grad(w.zero_, w)
    assert.same({ 0, 0 }, w:tolist())
  end)
end)

describe("tide.utils.clip_by_global_norm", function()
  it("scales all by one factor, and leaves small ones and holes", function()
    local clipped, norm = tide.utils.clip_by_global_norm({ tide.tensor { 3 }, false,
      tide.tensor { { 4 } } }, 1)
    expect.close(clipped[1]:tolist(), { 0.6 }, 1e-6, 1e-6)
    assert.is_false(clipped[2])
    expect.close(clipped[3]:tolist(), { { 0.8 } }, 1e-6, 1e-6)
    assert.equal(5, norm:item())
    assert.same({ 3 }, tide.utils.clip_by_global_norm({ tide.tensor { 3 } }, 10)[1]:tolist())
  end)
end)

describe("pairs", function()
  it("goes over the rows of a tensor as ipairs does", function()
    local keys, rows = {}, {}
    for i, row in pairs(tide.tensor { { 1, 2 }, { 3, 4 } }) do
      keys[#keys + 1], rows[#rows + 1] = i, row:tolist()
    end
    assert.same({ 1, 2 }, keys)
    assert.same({ { 1, 2 }, { 3, 4 } }, rows)
    for _ in pairs(tide.zeros { 0, 2 }) do
      error "a row of none"
    end
  end)
end)

describe("the methods of tf.data", function()
  it("make a Dataset of the batches of pictures", function()
    local data = tide.preprocessing.image.ImageDataGenerator():flow(tide.ones { 4, 8, 8, 3 },
      { batch_size = 2 })
    assert.equal(2, #data:map(function(x) return x * 2 end):prefetch(2):cache():as_list())
    assert.same({ 4, 8, 8, 3 }, data:unbatch():batch(4):next().shape:totable())
    assert.equal(3, #data["repeat"](data):take(3):as_list())
    assert.is_nil(data.something_else)
    assert.equal(2, #data)
  end)
end)

describe("another Lua", function()
  it("is told which one Tide needs", function()
    local path = assert(package.searchpath("tide", package.path))
    local other = setmetatable({ _VERSION = "Lua 5.1" }, { __index = _G })
    local ok, message = pcall(assert(loadfile(path, "t", other)), "tide")
    assert.is_false(ok)
    assert.matches("^tide: needs Lua 5%.4 %(got Lua 5%.1%)", message)
  end)
end)
