-- tide.plot and tide.image.show: numbers, layout, and what each backend writes.
local expect = require "spec.support.expect"
local curves = require "tide.plot.curves"
local layout = require "tide.plot.layers"
local picture = require "tide.plot.picture"
local sound = require "tide.plot.sound"
local tide = require "tide"

local layers, ops, plot = tide.layers, tide.ops, tide.plot

local message = expect.message

local function written(extension, f)
  local name = expect.name("." .. extension)
  f(name)
  local bytes = expect.read(name)
  os.remove(name)
  return bytes
end

local function near(want, got)
  assert.is_true(math.abs(want - got) < 1e-12, ("%g, expected %g"):format(got, want))
end

local function branched()
  local input = tide.Input { 8, 8, 3 }
  local a = layers.Conv2D { 4, 3, padding = "same", name = "a" }(input)
  local b = layers.Conv2D { 4, 1, padding = "same", name = "b" }(input)
  local sum = layers.Add { name = "sum" }({ a, b })
  local flat = { layers.Flatten { name = "f" }(sum), layers.Flatten { name = "g" }(input) }
  local joined = layers.Concatenate { name = "joined" }(flat)
  return tide.Model { inputs = input, outputs = layers.Dense { 2, name = "out" }(joined) }
end

describe("ROC and precision over recall", function()
  -- numbers of scikit-learn's documentation
  local y, s = { 0, 0, 1, 1 }, { 0.1, 0.4, 0.35, 0.8 }

  it("say what they expect", function()
    local model = tide.Sequential { layers.Dense { 1, input_shape = { 2 } } }
    local cases = {
      ["history: takes what fit returned"] = { plot.history, 3 },
      ["history: 'loss' must be a list of numbers"] = { plot.history, { loss = 3 } },
      ["weights: takes a model (got nil)"] = { plot.weights },
      ["gradients: takes a model (got 1)"] = { plot.gradients, 1 },
      ["gradients: x is missing"] = { plot.gradients, model },
      ["images: takes pictures, a tensor or nested lists (got nil)"] = { plot.images },
      ["picture: takes a picture, a tensor or nested lists (got nil)"] = { plot.picture },
    }
    for text, call in pairs(cases) do
      expect.has(message(table.unpack(call)), text)
    end
  end)

  it("label no negative zero", function()
    local figure = require "tide.plot.figure"
    assert.equal("0.0", figure.label(-0.04, 0.1))
    assert.equal("-0.1", figure.label(-0.06, 0.1))
    assert.equal("0", figure.label(-0.4, 1))
  end)

  it("have scikit-learn's points and areas", function()
    local roc = curves.roc(y, s)[1]
    near(0.75, roc.auc)
    assert.same({ { 0, 0 }, { 0, 0.5 }, { 0.5, 0.5 }, { 0.5, 1 }, { 1, 1 } }, { table.unpack(roc) })
    assert.same({ math.huge, 0.8, 0.4, 0.35, 0.1 }, roc.thresholds)
    local pr = curves.precision_recall(y, s)[1]
    near(0.5 + 0.5 * 2 / 3, pr.average_precision)
    assert.same({ { 0, 1 }, { 0.5, 1 }, { 0.5, 0.5 }, { 1, 2 / 3 }, { 1, 0.5 } },
      { table.unpack(pr) })
  end)

  it("take equal scores as one threshold", function()
    near(0.5, curves.roc({ 0, 1, 0, 1 }, { 0.5, 0.5, 0.5, 0.5 })[1].auc)
    assert.equal(2, #curves.roc({ 0, 1 }, { 0.5, 0.5 })[1])
  end)

  it("take labels from 1 or one-hot rows for several classes", function()
    local scores = { { 0.8, 0.1, 0.1 }, { 0.2, 0.5, 0.3 }, { 0.1, 0.2, 0.7 }, { 0.3, 0.4, 0.3 } }
    local by_label = curves.roc(tide.tensor { 1, 2, 3, 1 }, tide.tensor(scores), { "x", "y", "z" })
    local by_row = curves.roc({ { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 }, { 1, 0, 0 } }, scores)
    for c = 1, 3 do
      near(by_label[c].auc, by_row[c].auc)
    end
    assert.equal("y", by_label[2].name)
    near(1, by_label[2].auc)
  end)

  it("refuse what has no positives, lengths that differ, and scores that are no numbers", function()
    assert.truthy(message(plot.roc, { 1, 1 },
      { 0.5, 0.6 }):find("needs positives and negatives (got 2 positives of 2)", 1, true))
    assert.truthy(message(plot.roc, { 1, 0 }, { 0.5 }):find("same length (got 2 and 1)", 1, true))
    assert.truthy(message(plot.precision_recall, { 1, 0 },
      { 0.5, 0 / 0 }):find("y_score must hold numbers, row 2", 1, true))
  end)

  it("draw themselves with their areas", function()
    assert.truthy(plot.roc(y, s, { color = false }):find("AUC 0.750", 1, true))
    assert.truthy(plot.precision_recall(y, s, { color = false }):find("AP 0.833", 1, true))
    local svg = written("svg", function(name) plot.roc(y, s, { file = name }) end)
    assert.truthy(svg:find("AUC 0.750", 1, true))
    assert.truthy(svg:find("false positive rate", 1, true))
  end)
end)

describe("histograms of weights and gradients", function()
  it("show every weight by its path", function()
    local model = branched()
    local svg = written("svg", function(name) plot.weights(model, { file = name }) end)
    for _, path in ipairs { "a/kernel", "a/bias", "b/kernel", "b/bias", "out/kernel",
      "out/bias" } do
      assert.truthy(svg:find(">" .. path .. "<", 1, true), path)
    end
    local text = plot.weights(model, { layer = "out", color = false })
    assert.truthy(text:find("out/kernel", 1, true))
    assert.is_nil(text:find("a/kernel", 1, true))
    assert.truthy(message(plot.weights, model,
      { layer = "nowhere" }):find("no weights in layers named like 'nowhere'", 1, true))
  end)

  it("count the gradients of the loss and leave the weights alone", function()
    local model = tide.Sequential {
      tide.Input { 1 }, layers.Dense { 1, kernel_initializer = "ones", name = "line" } }
    model:compile { optimizer = "sgd", loss = "mse" }
    local text = plot.gradients(
      model, { { 1 }, { 3 } }, { { 0 }, { 0 } }, { color = false, layer = "kernel" })
    -- d/dw mean((w x)^2) = 2 mean(x^2) w = 10
    assert.truthy(text:find("9%.50*%s") and text:find("10%.50*"), text)
    assert.equal(1, model.weights[1]:sum():item())
    assert.is_nil(model.weights[1].grad)
  end)
end)

describe("the layered layout", function()
  it("puts nodes behind those before them, without overlaps", function()
    local state = 7
    local function random(n)
      state = (state * 1103515245 + 12345) % 2147483648
      return state // 65536 % n + 1
    end
    for _ = 1, 20 do
      local widths, edges = {}, {}
      for i = 1, 5 + random(20) do
        widths[i] = 10 + random(60)
        for _ = 1, i > 1 and random(3) or 0 do
          edges[#edges + 1] = { random(i - 1), i }
        end
      end
      local rank, x, chains, count, width = layout.layout(widths, edges, 5)
      local rows = {}
      for v = 1, #rank do
        rows[rank[v]] = rows[rank[v]] or {}
        table.insert(rows[rank[v]], v)
        local w = widths[v] or 5
        assert.is_true(x[v] - w / 2 >= -1e-9 and x[v] + w / 2 <= width + 1e-9)
      end
      assert.equal(count, #rows)
      for _, row in ipairs(rows) do
        table.sort(row, function(a, b) return x[a] < x[b] end)
        for i = 2, #row do
          local a, b = row[i - 1], row[i]
          assert.is_true(x[b] - x[a] >= ((widths[a] or 5) + (widths[b] or 5)) / 2 + 5 - 1e-6)
        end
      end
      for k, chain in ipairs(chains) do
        assert.same(edges[k], { chain[1], chain[#chain] })
        for i = 2, #chain do
          assert.equal(rank[chain[i - 1]] + 1, rank[chain[i]])
        end
      end
    end
  end)

  it("draws a chain straight and a crossing apart", function()
    local _, x = layout.layout({ 30, 10, 20 }, { { 1, 2 }, { 2, 3 } }, 5)
    near(x[1], x[2])
    near(x[2], x[3])
    -- 1 and 2 lead to 4 and 3: the order of the second layer turns
    local _, y = layout.layout({ 10, 10, 10, 10 }, { { 1, 4 }, { 2, 3 } }, 5)
    assert.is_true((y[1] < y[2]) == (y[4] < y[3]))
  end)
end)

describe("the model's graph", function()
  it("shows every layer with its class and shape, in the terminal and in files", function()
    local model = branched()
    local svg = written("svg", function(name)
      plot.model(model, { file = name, show_shapes = true })
    end)
    local text = plot.model(model, { show_shapes = true, color = false })
    for _, part in ipairs { "a (Conv2D)", "b (Conv2D)", "sum (Add)", "joined (Concatenate)",
      "out (Dense)", "[none, 8, 8, 4]" } do
      assert.truthy(svg:find(part, 1, true), part)
      assert.truthy(text:find(part, 1, true), part)
    end
    local png = tide.image.decode(written("png", function(name)
      plot.model(model, { file = name })
    end))
    assert.equal(3, png.shape[3])
    local _, boxes = svg:gsub("<rect x", "")
    assert.equal(8, boxes)
  end)

  it("shows sequential models, and operators of functional ones", function()
    local chain = tide.Sequential {
      tide.Input { 4 }, layers.Dense { 3, name = "first" }, layers.Dense { 2, name = "second" } }
    local text = plot.model(chain, { color = false })
    assert.is_true(text:find("first (Dense)", 1, true) < text:find("second (Dense)", 1, true))
    local x = tide.Input { 4 }
    assert.truthy(plot.model(tide.Model { inputs = x, outputs = ops.relu(x) * 2 },
      { color = false }):find("relu", 1, true))
    local file = written("svg", function(name) tide.utils.plot_model(chain, { to_file = name }) end)
    assert.truthy(file:find(">Dense<", 1, true))
    assert.truthy(message(plot.model, 3):find("takes a model", 1, true))
  end)

  it("shows what a model of one's own calls, and the row of an unbuilt Sequential", function()
    local Skip = tide.Model:extend("SpecPlotSkip", {
      init = function(self) self.a, self.b = layers.Dense { 3 }, layers.Dense { 3 } end,
      call = function(self, x)
        local y = self.a(x)
        return self.b(y) + y
      end,
    })
    local skip = Skip()
    skip(tide.ones { 1, 3 })
    local lines = plot.model(skip, { show_shapes = true, color = false })
    assert.truthy(lines:find("add", 1, true) and lines:find("[none, 3]", 1, true))
    local svg = written("svg", function(name) plot.model(skip, { file = name }) end)
    local _, boxes = svg:gsub("<rect x", "")
    assert.equal(4, boxes)
    local row = plot.model(tide.Sequential { layers.Dense { 3 }, layers.Dense { 2 } },
      { color = false })
    assert.truthy(row:find("▼", 1, true) or row:find("v", 1, true), row)
  end)
end)

describe("confusion_matrix", function()
  it("writes counts, names and the share that was right", function()
    local m = tide.tensor({ { 8, 2 }, { 0, 5 } }, { dtype = "int64" })
    local text = plot.confusion_matrix(m, { names = { "cat", "dog" }, color = false })
    assert.truthy(text:find("cat%s+8%s+2%s+80.0%%"))
    assert.truthy(text:find("dog%s+%.%s+5%s+100.0%%"))
    assert.truthy(plot.confusion_matrix(m, { color = true }):find("\27[48;2;", 1, true))
    assert.truthy(written("svg", function(name)
      plot.confusion_matrix(m, { file = name })
    end):find(">8<", 1, true))
  end)
end)

describe("images", function()
  it("lays pictures of any sizes in a grid on white", function()
    local p, places, columns = picture.grid("x",
      { ops.zeros { 2, 3, 3 }, ops.ones { 4, 1, 1 }, ops.zeros { 1, 1 } }, nil, nil, 1)
    assert.equal(2, columns)
    assert.equal("[9, 7, 3]", tostring(p.shape))
    assert.same({ { 0, 0 }, { 4, 0 }, { 0, 5 } }, places)
    assert.equal(0, p[1][1][1])
    assert.equal(255, p[3][1][1]) -- below the first
    assert.equal(0, p[6][1][1])
  end)

  it("draws the same figure as text, SVG and PNG", function()
    local x = ops.reshape(ops.arange(0, 48), { 4, 2, 2, 3 }) / 48
    local svg = written("svg", function(name)
      plot.images(x, { file = name, titles = { "one", "two" } })
    end)
    assert.equal(svg, written("svg", function(name)
      plot.images(x, { file = name, titles = { "one", "two" } })
    end))
    local data = svg:match "base64,([%w+/=]+)"
    assert.truthy(data and svg:find(">two<", 1, true))
    assert.equal(3, tide.image.decode(written("png", function(name)
      plot.images(x, { file = name })
    end)).shape[3])
    assert.equal("string", type(plot.images(x, { color = false })))
  end)

  it("refuses other file names", function()
    assert.truthy(message(plot.images, ops.ones { 1, 2, 2 },
      { file = "x.gif" }):find("ends in .svg or .png", 1, true))
  end)
end)

-- ---- tide.image.show ----

local function shown(x, o)
  local out = {}
  o.out = { write = function(_, ...)
    out[#out + 1] = table.concat { ... }
  end, flush = function() end }
  tide.image.show(x, o)
  return table.concat(out)
end

-- The picture that a sixel text draws: colour registers by place.
local function from_sixel(text)
  local w, h, body = text:match '^\27Pq"1;1;(%d+);(%d+)(.*)\27\\\n$'
  w, h = tonumber(w), tonumber(h)
  local colors, pixels, x, y, c, at = {}, {}, 0, 0, nil, 1
  while at <= #body do
    local s, e, register, r, g, b = body:find("^#(%d+);2;(%d+);(%d+);(%d+)", at)
    if s then
      colors[register] = { tonumber(r), tonumber(g), tonumber(b) }
    else
      s, e, register = body:find("^#(%d+)", at)
      c = s and register or c
    end
    if not s then
      local count, sign
      s, e, count, sign = body:find("^!(%d+)([?-~])", at)
      if not s then
        s, e, sign = body:find("^([?-~])", at)
        count = 1
      end
      if s then
        for _ = 1, tonumber(count) do
          for k = 0, 5 do
            if sign:byte() - 63 >> k & 1 == 1 then
              pixels[(y + k) * w + x] = colors[c]
            end
          end
          x = x + 1
        end
      elseif body:sub(at, at) == "$" then
        e, x = at, 0
      else
        assert(body:sub(at, at) == "-", body:sub(at, at + 5))
        e, x, y = at, 0, y + 6
      end
    end
    at = e + 1
  end
  return w, h, pixels
end

describe("tide.image.show", function()
  it("draws sixels of the picture's colours", function()
    local x = tide.image.load "spec/ref/images/rgb.png"
    -- 32 pixels wide: made smaller
    local w, h, pixels = from_sixel(shown(x, { mode = "sixel", width = 4 }))
    assert.equal(32, w)
    local small = picture.within(picture.rgb("x", x), 32, 1200)
    assert.equal(small.shape[1], h)
    local bytes, sum = small:tobytes(), 0
    for i = 0, w * h - 1 do
      for k = 1, 3 do
        local d = math.abs(pixels[i][k] * 2.55 - bytes:byte(i * 3 + k))
        assert.is_true(d <= 52) -- one of six levels, by dithering
        sum = sum + pixels[i][k] * 2.55 - bytes:byte(i * 3 + k)
      end
    end
    assert.is_true(math.abs(sum / (w * h * 3)) < 3) -- right on the whole
  end)

  it("sends kitty a PNG in pieces of at most 4096 bytes", function()
    tide.seed(3)
    local x = tide.random.uniform { 60, 70, 3 }
    local text, data, pieces = shown(x, { mode = "kitty", width = 9 }), "", 0
    for head, piece in text:gmatch "\27_G([^;]*);([^\27]*)\27\\" do
      pieces = pieces + 1
      assert.is_true(#piece <= 4096)
      assert.equal(pieces == 1 and "a=T,f=100," or "", head:match "^(.-)m=[01]$")
      data = data .. piece
    end
    assert.is_true(pieces > 1)
    assert.truthy(text:find("m=0;[^\27]*\27\\\n$"))
    local png = {} -- base64 undone
    local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for a, b, c, d in data:gmatch "(.)(.)(.)(.)" do
      local function v(s) return s == "=" and 0 or digits:find(s, 1, true) - 1 end
      local n = v(a) << 18 | v(b) << 12 | v(c) << 6 | v(d)
      png[#png + 1] = string.char(n >> 16, n >> 8 & 255, n & 255):sub(
        1, d ~= "=" and 3 or c ~= "=" and 2 or 1)
    end
    assert.is_true(tide.image.decode(table.concat(png)):tobytes() == picture.rgb("x", x):tobytes())
  end)

  it("draws two pixels per character in half blocks, and shades without colour", function()
    local x = tide.tensor({ { { 255, 0, 0 }, { 0, 0, 255 } }, { { 0, 255, 0 }, { 0, 0, 255 } } },
      { dtype = "uint8" })
    assert.equal("\27[38;2;255;0;0;48;2;0;255;0m▀\27[38;2;0;0;255;48;2;0;0;255m▀\27[0m\n",
      shown(x, { mode = "blocks" }))
    assert.equal(" @\n", shown({ { 0, 255 }, { 0, 255 } }, { mode = "plain" }))
    assert.equal(" @\n", shown(tide.tensor { { 0, 1 }, { 0, 1 } }, { mode = "plain" }))
    assert.equal(" @\n", shown(tide.tensor { { 3, 4 }, { 3, 4 } },
      { mode = "plain", scale = true }))
  end)

  it("shows batches as grids and makes wide pictures fit", function()
    assert.equal("  @  @  \n", (shown(ops.zeros { 3, 1, 2, 1 },
      { mode = "plain", columns = 3 }):gsub("@@", "@")))
    local lines = shown(ops.zeros { 100, 300 }, { mode = "plain", width = 30 })
    assert.equal(("%s\n"):format((" "):rep(30)):rep(5), lines)
    assert.truthy(message(tide.image.show, ops.zeros { 2 }):find("image.show", 1, true))
    assert.truthy(message(tide.image.show, ops.zeros { 2, 2 }, { mode = "braille" }):find("mode", 1,
      true))
  end)

  it("chooses by the environment, then by what the terminal answers", function()
    local function choose(env, reply)
      return picture.choose(function(k) return env[k] end, reply and function() return reply end)
    end
    assert.equal("kitty", choose { TERM = "xterm-kitty" })
    assert.equal("kitty", choose { TERM = "xterm-256color", KITTY_WINDOW_ID = "1" })
    assert.equal("sixel", choose { TERM = "foot", LANG = "C.UTF-8" })
    assert.equal("sixel", choose { TERM = "xterm-256color", TERM_PROGRAM = "iTerm.app" })
    assert.equal("blocks", choose { TERM = "tmux-256color", TMUX = "/tmp/x", KITTY_WINDOW_ID = "1",
      LANG = "de_DE.UTF-8" })
    assert.equal("plain", choose { TERM = "dumb", LANG = "C.UTF-8" })
    assert.equal("plain", choose { TERM = "xterm", LANG = "C" })
    assert.equal("plain", choose { TERM = "xterm", LANG = "C.UTF-8", NO_COLOR = "1" })
    assert.equal("kitty", choose({ TERM = "xterm", LANG = "C.UTF-8" },
      "\27_Gi=31;OK\27\\\27[?62;c"))
    assert.equal("sixel", choose({ TERM = "xterm", LANG = "C.UTF-8" }, "\27[?62;4;22c"))
    assert.equal("blocks", choose({ TERM = "xterm", LANG = "C.UTF-8" }, "\27[?62;22c"))
    assert.equal("blocks", choose({ TERM = "xterm", LANG = "C.UTF-8" }, ""))
  end)
end)

describe("wave and spectrogram", function()
  local t = tide.arange(8000) / 8000
  local chirp = tide.ops.sin(t * t * 6283)

  it("draw over seconds, long sounds by their extremes", function()
    local text = plot.wave(chirp, { sample_rate = 8000, title = "chirp" })
    assert.matches("chirp", text)
    local panel = sound.wave("wave", chirp, { sample_rate = 8000 })
    assert.equal(2000, #panel.lines[1]) -- two of each of 1000 stretches
    assert.equal("seconds", panel.xlabel)
    local far = 0
    for _, p in ipairs(panel.lines[1]) do
      far = math.max(far, math.abs(p[2]))
    end
    assert.is_true(far > 0.999)
    panel = sound.wave("wave", tide.tensor { { 0, 1 }, { 0 / 0, 3 }, { 4, 5 } }, {})
    assert.same({ { { 0, 0 }, { 2, 4 }, name = "channel 1" },
      { { 0, 1 }, { 1, 3 }, { 2, 5 }, name = "channel 2" } }, panel.lines)
    assert.equal("samples", panel.xlabel)
  end)

  it("show where the energy is: low frequencies below, later ones to the right", function()
    local path = expect.name ".png"
    local panel = sound.spectrogram("spectrogram", chirp, { sample_rate = 8000, fft_length = 256,
      file = path })
    local p = panel.picture -- the sine runs from 0 to 2000 of 4000 hertz
    local rows, columns = p.shape[1], p.shape[2]
    assert.equal(129, rows)
    assert.same({ 0, 1, 0, 4000 }, panel.extent)
    for _, share in ipairs { 0.25, 0.5, 0.75 } do
      local column = p[{ {}, math.floor(share * columns), 1 }]
      local at = rows - tide.ops.cast(column, "float32"):argmax() + 1
      assert.is_true(math.abs(at - share * 2000 / 4000 * rows) < 5, at)
    end
    for _, ending in ipairs { ".png", ".svg" } do
      local file = expect.name(ending)
      assert.equal(file, plot.spectrogram(chirp, { sample_rate = 8000, file = file }))
      assert.is_true(#expect.read(file) > 2000)
      os.remove(file)
    end
  end)

  it("take matrices as layers give them, silence, and what is not finite", function()
    local mel = tide.layers.MelSpectrogram { 256, 64, num_mel_bins = 40 }(chirp)
    expect.has(plot.spectrogram(mel, { color = false }), "126 frames, 40 bins from below")
    assert.is_string(plot.spectrogram(tide.zeros { 600 }, { color = false }))
    assert.is_string(plot.spectrogram(tide.zeros { 3 }, { color = false }))
    assert.is_string(plot.spectrogram({ { 0 / 0, 1 }, { math.huge, 2 } }, { color = false }))
    assert.is_string(plot.wave { 0 / 0 })
    expect.raises("takes (bins, frames), or samples", function()
      plot.spectrogram(tide.zeros { 2, 2, 2 })
    end)
    expect.raises("takes samples of one channel or more", function()
      plot.wave(tide.zeros { 2, 2, 2 })
    end)
    expect.raises("there is nothing to show", function() plot.wave(tide.zeros { 0 }) end)
  end)
end)

describe("arguments of plots", function()
  it("have types", function()
    expect.raises("histogram: bins must be an integer (got '3')", plot.histogram, { 1, 2 },
      { bins = "3" })
    expect.raises("unknown option 'bin'; did you mean 'bins'?", plot.histogram, { 1, 2 },
      { bin = 3 })
    expect.raises("roc: names must be a list", plot.roc, { 1, 0 }, { 0.5, 0.2 }, { names = 3 })
    for _, m in ipairs { { 1, 2 }, { { 1, 2 } }, { { "a" } }, {}, 3 } do
      expect.raises("confusion_matrix: takes a square matrix of counts", plot.confusion_matrix,
        m)
      expect.raises("confusion_table: takes a square matrix of counts", plot.confusion_table, m)
    end
  end)

  it("may be shares in confusion matrices, and the numbers of one line", function()
    local m = { { 0.5, 0.5 }, { 0.1, 0.9 } }
    expect.has(tostring(plot.confusion_matrix(m, { color = false })), "0.90")
    expect.has(plot.confusion_table(m), "0.10")
    local line = tostring(plot.lines({ 3, 2, 1 }, { color = false }))
    assert.equal(line, tostring(plot.lines(tide.tensor { 3, 2, 1 }, { color = false })))
    expect.raises("series 2 must be { name, ys }", plot.lines, { { "a", { 1 } }, 4 })
  end)
end)
