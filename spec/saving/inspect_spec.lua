-- What `tide inspect` shows of a file.
local expect = require "spec.support.expect"
local inspect = require "tide.cli.inspect"

local function lines(path)
  local out = {}
  inspect.file(path, function(s) out[#out + 1] = s end)
  return table.concat(out, "\n")
end

describe("tide inspect", function()
  local folder = "spec/fixtures/keras/"

  it("shows layers, compilation and weights of an archive", function()
    local text = lines(folder .. "cnn.keras")
    for _, words in ipairs { "Keras archive", "Sequential 'cnn'",
      "Conv2D 'conv2d'  filters 4, kernel_size [3, 3]", "optimizer  Adam (learning rate 0.001)",
        "loss       sparse_categorical_crossentropy", "/layers/dense/vars/0 ", "[64, 5]",
      "28 tensors" } do
      assert.truthy(text:find(words, 1, true), words)
    end
  end)

  it("takes no safetensors file for JSON, whatever the length of its header", function()
    local header = '{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    local path = expect.name ".safetensors"
    expect.write(path, ("<I8"):pack(0x7b20) .. header .. (" "):rep(0x7b20 - #header)
      .. ("<f"):pack(1))
    assert.truthy(lines(path):find(": safetensors", 1, true))
    os.remove(path)
  end)

  it("shows models whose classes Tide does not have, nested ones indented", function()
    local text = lines(folder .. "fn.keras")
    assert.truthy(text:find("Bidirectional 'bi'", 1, true))
    assert.truthy(text:find("      Dense 'inner_dense'", 1, true))
    assert.truthy(lines(folder .. "sub.keras"):find("MyM", 1, true))
    assert.truthy(lines(folder .. "evil_lambda.keras"):find("Lambda 'l'", 1, true))
  end)

  it("shows legacy models, weights and shards", function()
    assert.truthy(lines(folder .. "cnn.h5"):find("whole model in HDF5 (legacy)", 1, true))
    assert.truthy(lines(folder .. "min_legacy_weights_fixedstr.h5"):find("weights in HDF5 (legacy)",
      1, true))
    assert.truthy(lines(folder .. "cnn.weights.h5"):find("weights in HDF5\n", 1, true))
    assert.truthy(lines(folder .. "fnshard.weights.json"):find("weights over 8 files", 1, true))
  end)

  it("shows safetensors", function()
    local core = require "tide.core"
    local path = os.tmpname()
    core.safetensors_write(path, { { "a/kernel", core.tensor { { 1, 2 } } } }, { format = "mine" })
    local text = lines(path)
    os.remove(path)
    assert.truthy(text:find("format = mine", 1, true))
    assert.truthy(text:find("a/kernel  float32  [1, 2]", 1, true))
  end)

  it("ends with one error for a file that is none of these", function()
    assert.is_false(pcall(inspect.file, "spec/fixtures/hdf5/cycle.h5"))
    assert.is_false(pcall(inspect.file, "Makefile"))
    assert.is_false(pcall(inspect.file, "/no/such/file"))
  end)

  it("is a command of the program", function()
    local pipe = io.popen(expect.command .. " inspect " .. folder .. "min_sequential.keras 2>&1")
    local text = pipe:read "a"
    assert.is_true(pipe:close())
    assert.truthy(text:find("Dense 'a'  units 3, activation relu", 1, true))
    pipe = io.popen(expect.command .. " inspect /no/such/file 2>&1")
    text = pipe:read "a"
    assert.is_falsy(pipe:close())
    assert.truthy(text:find("/no/such/file", 1, true))
  end)
end)
