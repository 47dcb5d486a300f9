-- Hosts take functions away from their scripts after loading Tide, as games and editors do. What
-- was loaded goes on working, and so does what loads later.
local expect = require "spec.support.expect"

local program = [[
local tide = require "tide"
local print, pcall, tostring = print, pcall, tostring
require, io, os, package, debug, load, loadfile, dofile, collectgarbage = nil
local L = tide.layers
local model = tide.Sequential { L.Dense { 4, activation = "relu", input_shape = { 3 } },
  L.BatchNormalization(), L.Dropout { 0.1 }, L.Dense { 2, activation = "softmax" } }
model:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy",
  metrics = { "accuracy" } }
local x = tide.random.normal { 40, 3 }
local y = tide.random.randint({ 40 }, 1, 3)
local history = model:fit(x, y, { epochs = 2, verbose = 2, validation_split = 0.2,
  callbacks = { tide.callbacks.EarlyStopping { patience = 3 },
    tide.callbacks.ModelCheckpoint { "best.keras" }, tide.callbacks.CSVLogger { "log.csv" } } })
for _, path in ipairs { "m.keras", "m.safetensors", "m.h5" } do
  model:save(path)
  print(path, tide.load_model(path):predict(x, { verbose = 0 }).shape)
end
print(model:evaluate(x, y, { verbose = 0 }))
print(tide.ops.einsum("ij,jk->ik", x, tide.ones { 3, 2 }).shape, tide.ops.linalg.norm(x) ~= nil)
print(x[x:greater(0)].ndim, tide.ones({ 2 }))
print(select(2, pcall(function() return x:resahpe { 3, 40 } end)))
print(select(2, pcall(function() return model:complie {} end)))
local i = tide.Input { 3 }
print(tide.Model { inputs = i, outputs = L.Dense { 1 } (i) }(x).shape)
print(tide.grad(function(v) return (v * v):sum() end)(tide.tensor { 3 }))
tide.save(x, "x.npy")
print(tide.load "x.npy".shape, tide.plot.lines({ 1, 2, 3 }) ~= nil)
print(model)
print "done"
]]

describe("a sandbox without require, io, os, package, debug and load", function()
  it("trains, saves, loads, prints and reports", function()
    local folder = expect.folder()
    expect.write(folder .. "/program.lua", program)
    local pipe = assert(io.popen(("cd %s && %s program.lua 2>&1 </dev/null"):format(folder,
      expect.command)))
    local text = pipe:read "a"
    local _, _, status = pipe:close()
    os.execute("rm -r " .. folder)
    assert.equal(0, status, text)
    assert.matches("\ndone\n$", text)
    assert.matches("did you mean 'reshape'", text)
    assert.matches("did you mean 'compile'", text)
  end)
end)
