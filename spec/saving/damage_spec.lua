-- Files of HDF5 that Tide wrote, with one byte changed: refused, or they load as what was saved.
-- TIDE_DAMAGE=1 changes every byte in turn.
local core = require "tide.core"
local read_h5 = require "spec.support.h5"
local expect = require "spec.support.expect"
local tide = require "tide"

local folder
before_each(function()
  folder = expect.folder()
end)
after_each(function()
  os.execute("rm -rf " .. folder)
end)

local function model()
  tide.seed(5)
  local m = tide.Sequential { name = "m",
    tide.layers.Dense { 5, activation = "relu", input_shape = { 3 }, name = "first" },
    tide.layers.Dropout { 0.25, name = "drop" },
    tide.layers.Dense { 2, name = "second" } }
  m:compile { optimizer = "adam", loss = "mse" }
  m:fit(tide.ones { 4, 3 }, tide.ones { 4, 2 }, { verbose = 0 })
  return m
end

-- All that a model is, as plain tables.
local function state(m)
  local out = { m:to_json(), m.optimizer.iterations }
  for _, list in ipairs { m.weights, m.optimizer.variables } do
    for _, w in ipairs(list) do
      out[#out + 1] = w:detach():tolist()
    end
  end
  return out
end

local formats = {
  ["model.h5"] = { function(m, path)
    m:save(path)
  end, tide.load_model },
  ["m.weights.h5"] = { function(m, path)
    m:save_weights(path)
  end, function(path)
    local m = model()
    m.weights[1]:assign(tide.zeros { 3, 5 })
    m:load_weights(path)
    return m
  end },
  ["w.h5"] = { function(m, path)
    m:save_weights(path)
  end, function(path)
    local m = model()
    m:load_weights(path)
    return m
  end },
}

for name, format in pairs(formats) do
  describe("a changed byte of " .. name, function()
    local write, read = format[1], format[2]

    it("is told by the checksums", function()
      local path = folder .. "/" .. name
      write(model(), path)
      local whole, want = expect.read(path), state(read(path))
      local refused, tried = 0, 0
      local step = os.getenv "TIDE_DAMAGE" and 1 or #whole // 90
      for at = 1, #whole, step do
        local byte = whole:byte(at)
        expect.write(path, whole:sub(1, at - 1) .. string.char(byte ~ (1 << at % 8))
          .. whole:sub(at + 1))
        local ok, got = pcall(read, path)
        tried = tried + 1
        if ok then
          assert.same(want, state(got), "byte " .. at)
        else
          refused = refused + 1
          assert.is_true(require("tide.errors").is(got), tostring(got))
        end
      end
      assert.is_true(refused > 0 and refused < tried)
    end)

    it("is told wherever a weight's elements stand", function()
      local path = folder .. "/" .. name
      local m = model()
      write(m, path)
      local whole = expect.read(path)
      for _, w in ipairs(m.weights) do
        local from, to = whole:find(w:detach():tobytes(), 1, true)
        for _, at in ipairs { from, to } do
          expect.write(path, whole:sub(1, at - 1) .. string.char(whole:byte(at) ~ 1)
            .. whole:sub(at + 1))
          local e = expect.message(read, path)
          expect.has(e, "the data are damaged (their checksum is wrong)")
          expect.has(e, path)
        end
      end
    end)
  end)
end

describe("checksums of HDF5 files", function()
  it("do not show in what is read, and files without any open", function()
    local entries, attributes = read_h5 "spec/fixtures/tide/tide_cnn.weights.h5"
    assert.is_true(#entries > 0)
    assert.is_nil(attributes:find("crc32", 1, true))
    core.blob_write(folder .. "/x.h5", core.hdf5_encode({ { "/a", core.tensor { 1, 2 } } },
      '{"/":{"x":"y"},"/a":{"n":3}}'))
    local one, text = read_h5(folder .. "/x.h5")
    assert.same({ 1, 2 }, one[1].tensor:tolist())
    assert.equal('{"/":{"x":"y"},"/a":{"n":3}}', text)
    assert.is_truthy(expect.read(folder .. "/x.h5"):find("tide_crc32", 1, true))
  end)
end)
