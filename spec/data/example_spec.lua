-- tf.train.Examples: what TensorFlow reads of the same bytes (spec/ref/tf_examples.py), round
-- trips, and what is said of damaged ones.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"
local ref = require "spec.ref.tf_examples"

local data = tide.data

local function bytes(hex)
  return (hex:gsub("..", function(x)
    return string.char(tonumber(x, 16))
  end))
end

local function hex(v)
  if type(v) == "table" then
    local out = {}
    for k, x in ipairs(v) do
      out[k] = hex(x)
    end
    return out
  end
  return type(v) == "string" and v:gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end) or v
end

local serialized = {}
for i, s in ipairs(ref.serialized) do
  serialized[i] = bytes(s)
end

-- Numbers rounded to what singles tell apart.
local function rounded(v)
  if type(v) == "table" then
    local out = {}
    for k, x in ipairs(v) do
      out[k] = rounded(x)
    end
    return out
  end
  return math.type(v) == "float" and ("%.6g"):format(v) or v
end

describe("parse_example", function()
  for i, c in ipairs(ref.cases) do
    it("reads what TensorFlow reads: " .. i, function()
      local spec = {}
      for name, s in pairs(c.spec) do
        spec[name] = { dtype = s.dtype, shape = s.shape or nil,
          default_value = s.default or nil }
      end
      local out = data.parse_example(serialized, spec)
      for name, want in pairs(c.values) do
        local v = out[name]
        if c.spec[name].shape then
          v = core.is_tensor(v) and v:tolist() or hex(v)
        else
          local lengths, rows = v.lengths:tolist(), {}
          local values = core.is_tensor(v.values) and v.values:tolist() or hex(v.values)
          for k, n in ipairs(lengths) do
            rows[k] = table.move(values[k], 1, n, 1, {})
          end
          v = rows
        end
        assert.same(rounded(want), rounded(v), name)
      end
    end)
  end

  it("reads what example wrote, one by one and as a batch from a file", function()
    local path = expect.name()
    local writer <close> = data.TFRecordWriter(path)
    for i = 1, 7 do
      writer:write(data.example { x = tide.tensor { i, i + 0.5 }, y = i, s = "row " .. i,
        n = tide.tensor({ i, -i }, { dtype = "int64" }), empty = {} })
    end
    writer:close()
    local spec = { x = { dtype = "float32", shape = { 2 } }, y = { dtype = "int64", shape = {} },
      s = { dtype = "string", shape = {} }, n = "int64", empty = "float32" }
    local one = data.parse_example(data.TFRecordDataset(path):next(), spec)
    assert.same({ 1, 1.5 }, one.x:tolist())
    assert.equal(1, one.y)
    assert.equal("row 1", one.s)
    assert.same({ 1, -1 }, one.n:tolist())
    local ds = data.TFRecordDataset(path):batch(3):map(function(texts)
      return data.parse_example(texts, spec)
    end)
    ds:next()
    local second = ds:next()
    assert.same({ { 4, 4.5 }, { 5, 5.5 }, { 6, 6.5 } }, second.x:tolist())
    assert.same({ "row 4", "row 5", "row 6" }, second.s)
    assert.same({ 2, 2, 2 }, second.n.lengths:tolist())
    assert.same({ 3, 0 }, second.empty.values.shape)
  end)

  it("says what does not fit", function()
    local function says(part, ...)
      expect.has(expect.message(data.parse_example, ...), part)
    end
    says("example 1: has no feature 'missing'; default_value", { serialized[1], serialized[1] },
      { missing = { dtype = "int64", shape = {} } })
    says("feature 'x' holds float32 numbers (expected int64 numbers)", serialized[1],
      { x = { dtype = "int64", shape = { 4 } } })
    says("another number of values (expected 3, got 4)", serialized[1],
      { x = { dtype = "float32", shape = { 3 } } })
    says("needs dtype \"string\", \"float32\" or \"int64\" (got 'int32')", serialized[1],
      { x = "int32" })
    says("takes a text or a list of texts", 5, { x = "int64" })
    says("features must be a table", serialized[1], 5)
    expect.raises("features have names", data.example, { 1, 2 })
    expect.raises("feature 'x': must be texts, or numbers (got {})", data.example, { x = { {} } })
  end)

  it("raises one of Tide's errors for any damaged bytes", function()
    math.randomseed(4)
    local spec = { x = "float32", ids = "int64", words = "string", name = "string" }
    for _ = 1, 3000 do
      local s = serialized[math.random(#serialized)]
      for _ = 1, math.random(3) do
        local at = math.random(#s)
        s = s:sub(1, at - 1) .. string.char(math.random(0, 255)) .. s:sub(at + math.random(0, 1))
      end
      s = s:sub(1, math.random(2) == 1 and #s or math.random(#s))
      local ok, e = pcall(data.parse_example, s, spec)
      assert(ok or tostring(e):find "parse_example: ", tostring(e))
    end
  end)
end)
