-- Layers of categories and text beside Keras: spec/ref/category.py writes what they give.
local tide = require "tide"
local L, none = tide.layers, tide.none

local cases = require "spec.ref.category"(function(v)
  return tide.tensor(v, { dtype = "int64" })
end, function(v)
  return tide.tensor(v)
end, none)

local function plain(v)
  if type(v) == "userdata" then
    v = v:tolist()
  end
  return v
end

local function near(expected, got, at)
  if type(expected) == "table" then
    assert.equal(#expected, #got, at .. ": length")
    for i, v in ipairs(expected) do
      near(v, got[i], at .. "[" .. i .. "]")
    end
  elseif type(expected) == "number" then
    assert.is_true(math.abs(expected - got) <= 1e-5 * (1 + math.abs(expected)),
      ("%s: %s for %s"):format(at, got, expected))
  else
    assert.equal(expected, got, at)
  end
end

-- Numbers of a case in Tide's counting, from those of Keras; nil where the form has no numbers.
local function counted(layer, class, v)
  if type(v) == "table" then
    local out = {}
    for i, x in ipairs(v) do
      out[i] = counted(layer, class, x)
    end
    return out
  end
  local masks = class == "TextVectorization" or layer.mask_token ~= nil or layer.mask_value ~= nil
  return masks and v or v + 1
end

local function copy(t)
  local out = {}
  for k, v in pairs(t) do
    out[k] = v
  end
  return out
end

local function made(class, options, data)
  local layer = L[class](options)
  if data then
    local i = 0
    layer:adapt(#data == 1 and data[1] or function()
      i = i + 1
      return data[i]
    end)
  end
  return layer
end

describe("layers of categories and text", function()
  for i, c in ipairs(cases) do
    local class, options, data, x, y, learnt = table.unpack(c, 1, 6)
    local title = ("%d %s %s"):format(i, class, options.output_mode or "int")
    it("give Keras' numbers and columns with zero_based: " .. title, function()
      local o = copy(options)
      o.zero_based = true
      local layer = made(class, o, data)
      local input = x
      if options.invert then
        input = x
      end
      near(y, plain(layer(input)), class)
      if class == "Discretization" and learnt then
        near(learnt, layer.bin_boundaries, "boundaries")
      elseif learnt then
        local special = layer.mask_token ~= nil and layer.output_mode == "int" and 1 or 0
        assert.same(table.move(learnt, 1 + special, #learnt, 1, {}),
          layer:get_vocabulary():totable())
      end
    end)

    if (options.output_mode or "int") == "int" and not options.invert
      and class ~= "CategoryEncoding" then
      it("count from 1 otherwise, vocabulary[number] being the value: " .. title, function()
        local layer = made(class, copy(options), data)
        near(counted(layer, class, y), plain(layer(x)), class)
      end)
    end

    it("are the same again by their configuration: " .. title, function()
      local o = copy(options)
      o.zero_based = true
      local layer = made(class, o, data)
      near(y, plain(L[class].from_config(layer:get_config())(x)), class)
    end)
  end
end)
