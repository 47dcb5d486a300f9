-- fit { profile = path }: a trace of the training for Perfetto.
local core = require "tide.core"
local expect = require "spec.support.expect"
local json = require "tide.utils.json"
local tide = require "tide"

local L = tide.layers

local function model()
  tide.seed(3)
  local m = tide.Sequential { tide.Input { 4 }, L.Dense { 8, activation = "relu", name = "a" },
    L.Dense { 1, name = "b" }, name = "m" }
  m:compile { optimizer = "adam", loss = "mse" }
  return m
end

local function data()
  local x = tide.ops.reshape(tide.arange(96, { dtype = "float32" }), { 24, 4 }) / 96
  return x, tide.ones { 24, 1 }
end

-- Names on the lines of a trace, and its spans by line.
local function lines_of(path)
  local names, spans = {}, {}
  for _, e in ipairs(json.decode(expect.read(path)).traceEvents) do
    if e.ph == "M" then
      names[e.tid], spans[e.args.name] = e.args.name, {}
    else
      table.insert(spans[names[e.tid]], e)
    end
  end
  return names, spans
end

describe("fit { profile }", function()
  local path
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  it("writes epochs, batches, layers and ops, and changes no number", function()
    local x, y = data()
    local plain, traced = model(), model()
    local expected = plain:fit(x, y, { epochs = 3, verbose = 0, shuffle = false })
    local got = traced:fit(x, y, { epochs = 3, verbose = 0, shuffle = false,
      profile = path })
    assert.same(expected.loss, got.loss)
    local names, spans = lines_of(path)
    assert.same({ "epochs", "batches", "layers", "ops" }, names)
    assert.equal(3, #spans.epochs)
    assert.equal(3, #spans.batches)
    assert.equal("epoch 2", spans.epochs[2].name)
    local batch, inside = spans.batches[2], {}
    assert.is_true(spans.epochs[2].ts <= batch.ts
      and batch.ts + batch.dur <= spans.epochs[2].ts + spans.epochs[2].dur)
    for _, e in ipairs(spans.layers) do
      if e.ts >= batch.ts and #inside < 7 then
        inside[#inside + 1] = e.name
      end
    end
    assert.same({ "m/a", "m/b", "loss", "loss (gradient)", "m/b (gradient)", "m/a (gradient)",
      "optimizer" }, inside)
    assert.is_true(#spans.ops > #spans.layers)
  end)

  it("ends with training, however that ends, and what ran is written", function()
    local x, y = data()
    local crash = { on_train_batch_end = function(batch)
      if batch == 2 then
        error("crash", 0)
      end
    end }
    expect.raises("crash", function()
      model():fit(x, y, { batch_size = 8, verbose = 0, profile = path, callbacks = { crash } })
    end)
    local _, spans = lines_of(path)
    assert.equal(1, #spans.batches)
    assert.equal(0, #tide.profile(function() end, { print = false })) -- none runs any more
    assert.is_nil(core.profile_stop().parts)
  end)

  it("is refused before training where it cannot be written or another profile runs", function()
    local x, y = data()
    local m = model()
    local before = m:get_weights()[1]:tolist()
    expect.raises("/nowhere/trace", function()
      m:fit(x, y, { verbose = 0, profile = "/nowhere/trace" })
    end)
    tide.profile(function()
      expect.raises("is running already", function()
        m:fit(x, y, { verbose = 0, profile = path })
      end)
    end, { print = false })
    expect.raises("profile must be", function() m:fit(x, y, { profile = true }) end)
    assert.same(before, m:get_weights()[1]:tolist())
  end)
end)
