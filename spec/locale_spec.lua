-- Files, logs, plots and printed numbers are the same in every locale. The program runs under one
-- with a decimal comma, which localedef makes from the system's sources where they are installed.
local expect = require "spec.support.expect"

local program = [[
local tide = require "tide"
local dir, locale = ...
if locale then
  assert(os.setlocale(locale))
  assert(tostring(1.5) == "1,5")
end
tide.seed(1)
local x, y = tide.random.normal { 32, 3 }, tide.random.normal { 32, 2 }
local m = tide.Sequential { tide.layers.Dropout { 0.25, input_shape = { 3 } },
  tide.layers.Dense { 2, kernel_regularizer = tide.regularizers.L2 { 0.015 } } }
m:compile { optimizer = { "adam", learning_rate = 0.0125 }, loss = "mse", metrics = { "mae" } }
local h = m:fit(x, y, { epochs = 3, verbose = 2, validation_split = 0.25, callbacks = {
  tide.callbacks.CSVLogger { dir .. "/log.csv" },
  tide.callbacks.ModelCheckpoint { dir .. "/{epoch}-{val_loss:.3f}-{loss}.safetensors" },
  tide.callbacks.ModelCheckpoint { dir .. "/best.keras", save_best_only = true, verbose = 1 },
  tide.callbacks.ReduceLROnPlateau { monitor = "loss", patience = 1, min_delta = 1e9,
    verbose = 1, mode = "min" } } })
for _, name in ipairs { "m.keras", "m.h5", "m.safetensors" } do
  m:save(dir .. "/" .. name)
  local again = tide.load_model(dir .. "/" .. name)
  assert(again.layers[2].kernel_regularizer.l2 == 0.015)
  assert(tide.ops.all(again:predict(x):equal(m:predict(x))))
end
print(m:to_json())
print(m)
print(x[{ { 1, 3 } }], y[{ 1, { 1 } }] .. "", h, tide.tensor { 1.5, 2e9 })
print(tide.plot.history(h, { color = false }))
tide.plot.history(h, { file = dir .. "/h.svg" })
print(tide.plot.histogram(x, { color = false }))
print(tide.plot.confusion_matrix({ { 0.5, 0.5 }, { 3, 1 } }, { color = false }))
print(tide.plot.roc({ 1, 0, 1 }, { 0.5, 0.2, 0.1 }, { color = false }))
print(pcall(tide.layers.Dropout, 1.5))
print(pcall(tide.layers.Dense, 1.5))
print(pcall(m.fit, m, x, y, { validation_split = 1.25 }))
print(pcall(tide.ops.dropout, x, 1.5))
print(pcall(tide.zeros, 1.5))
print(tide.ops.leaky_relu(tide.tensor { -1 }), tide.ops.layer_normalization(x)[1])
print(require("tide.list").new { 1.5, 2.25 })
]]

describe("a locale with a decimal comma", function()
  it("changes no file, no log, no plot and no printed number", function()
    local dir = expect.folder()
    local locale = dir .. "/locales/de_DE.UTF-8"
    os.execute("mkdir " .. dir .. "/locales " .. dir .. "/a " .. dir .. "/b")
    if not os.execute("localedef -i de_DE -f UTF-8 " .. locale .. " >/dev/null 2>&1") then
      pending "localedef or the sources of locales are not installed"
      return
    end
    expect.write(dir .. "/program.lua", program)
    local function run(part, name)
      local command = ("cd %s/%s && env LC_ALL= LANG=C.UTF-8 LOCPATH=%s/locales %s "):format(dir,
        part, dir, expect.command)
      local p = io.popen(command .. "../program.lua . " .. (name or "") .. " 2>&1")
      local out = p:read "a"
      local ok = p:close()
      assert(ok, out)
      return out
    end
    local want = run "a"
    assert.truthy(want:find "\"l2\":0%.0149")
    local got = run("b", "de_DE.UTF-8")
    -- steps take other times
    assert.equal((want:gsub("%d+s %- %d+%a+/step", "")), (got:gsub("%d+s %- %d+%a+/step", "")))
    local p = io.popen(("cd %s/a && ls"):format(dir))
    local files = 0
    for name in p:lines() do
      files = files + 1
      local a, b = expect.read(dir .. "/a/" .. name), expect.read(dir .. "/b/" .. name)
      if name:find "%.safetensors$" or name:find "%.csv$" or name:find "%.svg$" then
        assert.equal(a, b, name)
      end
    end
    p:close()
    assert.is_true(files >= 9)
    os.execute("rm -r " .. dir)
  end)
end)
