-- Names out of files, folders and tables reach the terminal without what moves its cursor, sets its
-- title or turns the direction of writing.
local core = require "tide.core"
local expect = require "spec.support.expect"
local printable = require "tide.printable"
local tide = require "tide"

local EVIL = "a\27]0;x\7\u{9b}2J\u{202e}\u{2066}\rb"

-- The first thing in a text that is no text, or nil.
local function odd(text)
  for _, pattern in ipairs { "[\0-\8\11-\31\127]", "\xC2[\x80-\x9F]", "\xE2\x80[\xAA-\xAE]",
    "\xE2\x81[\xA6-\xA9]" } do
    local at = text:find(pattern)
    if at then
      return ("%q"):format(text:sub(math.max(1, at - 20), at + 5))
    end
  end
end

local function clean(text)
  assert.equal("string", type(text))
  assert.is_nil(odd(text))
  return text
end

describe("printable", function()
  it("shows control characters as Lua writes them, and leaves text alone", function()
    assert.equal("\\x1b[2J\\x00\\x7f\\x0d", printable.text "\27[2J\0\127\r")
    assert.equal("a\tb\nc", printable.text "a\tb\nc")
    assert.equal("a\\x09b\\x0ac", printable.name "a\tb\nc")
    assert.equal("\\u{9b}é漢\\u{202e}\\u{2066}\\u{feff}\\u{e0041}\\u{2028}",
      printable.text "\u{9b}é漢\u{202e}\u{2066}\u{feff}\u{e0041}\u{2028}")
    assert.equal("é\\x9b\\xff漢\\xe2\\x80", printable.text "é\x9b\xff漢\xe2\x80")
    local plain = "model 'dense_1' [2, 3]: 20 °C, ∂x, 日本語, ‘quoted’ – …"
    assert.equal(plain, printable.text(plain))
  end)
end)

describe("a hostile name", function()
  local folder
  setup(function()
    folder = expect.folder()
  end)
  teardown(function()
    os.execute("rm -rf " .. folder)
  end)

  local function model(name)
    local m = tide.Sequential { name = name .. "m",
      tide.layers.Dense { 2, input_shape = { 3 }, name = name },
      tide.layers.Dense { 1, name = name .. "2" } }
    m:compile { optimizer = "sgd", loss = "mse",
      metrics = { tide.metrics.MeanSquaredError { name = name .. "metric" } } }
    return m
  end

  -- What `f` writes to standard output and to standard error in a process of its own.
  local function said(f)
    local script = folder .. "/script.lua"
    expect.write(script, ("local EVIL = %q\nlocal folder = %q\nlocal tide = require 'tide'\n%s")
      :format(EVIL, folder, f))
    local pipe = io.popen(expect.lua .. " " .. script .. " 2>&1")
    local text = pipe:read "a"
    pipe:close()
    return text
  end

  it("does no harm in summaries, labels and texts of objects", function()
    local m = model(EVIL)
    expect.has(clean(tostring(m)), "a\\x1b]0;x")
    clean(tostring(m.layers[1]))
    clean(tostring(m.layers[1].weights[1]))
    clean(tostring(tide.metrics.MeanSquaredError { name = EVIL }))
    clean(tostring(m:graph()))
    clean(tostring(tide.Input { 3, name = EVIL }))
    local lines = {}
    m:summary { print_fn = function(line)
      lines[#lines + 1] = line
    end }
    clean(table.concat(lines, "\n"))
    clean(tostring(require("tide.list").new { EVIL }))
  end)

  it("does no harm in errors", function()
    local m = model(EVIL)
    clean(expect.message(m, tide.ones { 2, 5 }))
    clean(expect.message(m.get_layer, m, EVIL .. "?"))
    clean(expect.message(tide.load_model, folder .. "/" .. EVIL .. ".keras"))
    clean(expect.message(tide.load_model, EVIL))
    clean(expect.message(core.read_file, EVIL))
    core.safetensors_write(folder .. "/evil.safetensors", { { EVIL, tide.ones { 2 } } }, {})
    clean(expect.message(m.load_weights, m, folder .. "/evil.safetensors"))
    model "plain":save_weights(folder .. "/p.weights.h5")
    core.zip_write(folder .. "/z.keras", { { "config.json", core.json_encode { [EVIL] = EVIL,
      class_name = EVIL } } })
    clean(expect.message(tide.load_model, folder .. "/z.keras"))
    m:save_weights(folder .. "/e.h5")
    local other = tide.Sequential { tide.layers.Dense { 4, input_shape = { 3 }, name = EVIL },
      tide.layers.Dense { 1 } }
    clean(expect.message(other.load_weights, other, folder .. "/e.h5"))
  end)

  it("does no harm in what training says", function()
    local text = said [[
      local m = tide.Sequential { tide.layers.Dense { 1, input_shape = { 3 }, name = EVIL } }
      m:compile { optimizer = "sgd", loss = "mse",
        metrics = { tide.metrics.MeanSquaredError { name = EVIL } } }
      m:fit(tide.ones { 4, 3 }, tide.ones { 4, 1 }, { verbose = 2, epochs = 2, callbacks = {
        tide.callbacks.ModelCheckpoint { folder .. "/" .. EVIL .. ".safetensors", verbose = 1 },
        tide.callbacks.EarlyStopping { monitor = EVIL .. "no", mode = "min" },
        tide.callbacks.ReduceLROnPlateau { monitor = EVIL .. "no", mode = "min" } } })
      m:load_weights(folder .. "/" .. EVIL .. ".safetensors", { skip_mismatch = true })
      local n = tide.Sequential { tide.layers.Dense { 1, input_shape = { 4 }, name = EVIL } }
      n:load_weights(folder .. "/" .. EVIL .. ".safetensors", { skip_mismatch = true })
    ]]
    expect.has(text, "a\\x1b]0;x")
    expect.has(text, "is not logged")
    expect.has(text, "left out")
    clean(text)
  end)

  it("does no harm in plots", function()
    local m = model(EVIL)
    local path = folder .. "/p.svg"
    for _, file in ipairs { false, path } do
      local plots = {
        tide.plot.lines({ { EVIL, { 3, 2, 1 } }, { EVIL .. "2", { 1, 2, 3 } } }, { title = EVIL,
          file = file or nil }),
        file and expect.read(path),
        tide.plot.confusion_matrix({ { 1, 2 }, { 3, 4 } }, { names = { EVIL, EVIL },
          file = file or nil }),
        file and expect.read(path),
        tide.plot.model(m, { show_layer_names = true, file = file or nil }),
        file and expect.read(path),
      }
      for i = file and 2 or 1, #plots, 2 do
        expect.has(clean(plots[i]), "a\\x1b")
      end
    end
  end)

  it("does no harm in tide inspect", function()
    for _, name in ipairs { "i.keras", "i.h5", "i.safetensors", "i.weights.h5" } do
      local path = folder .. "/" .. name
      local m = model(EVIL)
      if name:find "weights" then
        m:save_weights(path)
      else
        m:save(path)
      end
      local pipe = io.popen(expect.command .. " inspect " .. path .. " 2>&1")
      clean(pipe:read "a")
      pipe:close()
    end
  end)

  it("does no harm at the prompt", function()
    local show = require "tide.repl.show"
    clean(show.value(EVIL))
    clean(show.value({ EVIL, [EVIL] = EVIL }))
    clean(show.value(model(EVIL)))
    assert.equal("two\nlines\t", show.value "two\nlines\t")
    assert.equal("\27[31mred\27[0m \\x1b[2J", show.value "\27[31mred\27[0m \27[2J")
    local drawn = tide.plot.images(tide.ones { 4, 4, 3 }, { mode = "kitty" })
    assert.equal(drawn, show.value(drawn))
    clean(require("tide.repl.explain").message(EVIL))
  end)
end)

describe("what is written to standard error", function()
  it("goes through errors.warn, but for what the programs say of their arguments", function()
    local pipe = io.popen "grep -rln 'io.stderr:write' lua | sort"
    assert.equal("lua/tide/cli/doctor.lua\nlua/tide/cli/inspect.lua\nlua/tide/cli/train.lua\n"
      .. "lua/tide/errors.lua\n", pipe:read "a")
    pipe:close()
  end)
end)
