-- What the process is and does: tide.config, tide.profile, tide.help, memory, and `tide doctor`.
local core = require "tide.core"
local expect = require "spec.support.expect"
local json = require "tide.utils.json"
local tide = require "tide"

-- What a function prints, and what it returns.
local function printed(f, ...)
  local old, lines = print, {}
  _G.print = function(...)
    local words = table.pack(...)
    for i = 1, words.n do
      words[i] = tostring(words[i])
    end
    lines[#lines + 1] = table.concat(words, "\t")
  end
  local results = table.pack(pcall(f, ...))
  _G.print = old
  assert(results[1], results[2])
  return table.concat(lines, "\n"), table.unpack(results, 2, results.n)
end

describe("tide.config", function()
  it("says what runs: version, level, threads, engines, libraries", function()
    local config = tide.config()
    assert.equal(tide.version, config.version)
    assert.equal(core.cpu_level, config.cpu)
    assert.is_true(config.bfloat16 == "AVX-512 BF16" or config.bfloat16 == "as float32")
    assert.equal(core.get_threads(), config.threads)
    assert.equal(table.concat(core.engines(), ", "), config.engines)
    assert.is_nil(config.nothing)
    for _, key in ipairs { "version", "cpu", "threads", "engines", "blas", "onednn" } do
      expect.has("\n" .. tostring(config), ("\n%-10s %s"):format(key, config[key]))
    end
  end)
end)

describe("tide.profile", function()
  it("counts calls, bytes and arithmetic of every op, and passes results on", function()
    local x, w = tide.ones { 8, 16 }, tide.ones { 16, 4 }
    local text, rows, a, b = printed(tide.profile, function()
      for _ = 1, 3 do
        x:matmul(w):exp()
      end
      return "a", nil
    end)
    assert.equal("a", a)
    assert.is_nil(b)
    local by = {}
    for _, r in ipairs(rows) do
      by[r.name] = r
    end
    assert.equal(3, by.matmul.calls)
    assert.equal(3 * 4 * (8 * 16 + 16 * 4 + 8 * 4), by.matmul.bytes)
    assert.equal(3 * 2 * 8 * 16 * 4, by.matmul.flops)
    assert.equal(3, by.exp.calls)
    assert.equal(3 * 4 * 2 * 8 * 4, by.exp.bytes)
    assert.is_true(rows.in_ops > 0 and rows.in_ops <= rows.wall)
    for i = 2, #rows do
      assert.is_true(rows[i - 1].seconds >= rows[i].seconds)
    end
    assert.matches("^op +calls +ms +%% +GB/s +GFLOP/s\n", text)
    assert.matches("\nmatmul +3 +[%d.]+ +[%d.]+ +[%d.]+ +[%d.]+\n", text)
    assert.matches("\noutside of ops +[%d.]+ +[%d.]+\n", text)
    assert.matches("\nthis machine, at most +[%d.]+ +[%d.]+$", text)
    assert.same({}, rows.layers)
  end)

  it("counts launches and their gradients for the innermost layer, loss or optimizer", function()
    local L = tide.layers
    local block = tide.Sequential { L.Dense { 8, activation = "relu", name = "inner" },
      name = "block" }
    local m = tide.Sequential { tide.Input { 4 }, block, L.Dense { 2, name = "last" },
      name = "net" }
    m:compile { optimizer = "sgd", loss = "mse", metrics = { "mae" } }
    local x, y = tide.ones { 6, 4 }, tide.ones { 6, 2 }
    for _ = 1, 4 do
      m:train_on_batch(x, y) -- a plan is there: it gives way to the profile, and comes back
    end
    local text, rows = printed(tide.profile, function()
      m:train_on_batch(x, y)
      m(x)
    end)
    local by, order, seconds = {}, {}, 0
    for i, r in ipairs(rows.layers) do
      by[r.name], order[i] = r, r.name
      seconds = seconds + r.seconds
      assert.is_true(math.abs(r.seconds - r.forward - r.backward) < 1e-12)
    end
    assert.same({ "net/block/inner", "net/last", "loss", "metrics", "optimizer" }, order)
    local inner, last = by["net/block/inner"], by["net/last"]
    assert.equal(2, inner.calls)
    assert.equal("Dense", inner.class)
    -- forward twice, then the kernel's gradient; the last one's input has one, too
    assert.equal(2 * 6 * 4 * 8 * 3, inner.flops)
    assert.equal(2 * 6 * 8 * 2 * 4, last.flops)
    assert.is_true(inner.backward > 0 and last.backward > 0 and by.loss.backward > 0)
    assert.equal(0, by.optimizer.backward)
    assert.is_true(seconds <= rows.in_ops)
    assert.matches("\n\nlayer +calls +forward ms +gradient ms +%% +GB/s +GFLOP/s\n", text)
    assert.matches("\nnet/block/inner +2 +[%d.]+ +[%d.]+ +[%d.]+ +[%d.]+ +[%d.]+\n", text)
  end)

  it("writes traces that Perfetto opens", function()
    local path = os.tmpname()
    local layer = tide.layers.Dense { 3, name = "d" }
    local x = tide.ones { 2, 3 }
    layer(x)
    local rows = tide.profile(function()
      tide.grad(function() return (layer(x):exp():sum()) end, layer.trainable_weights:totable())
    end, { trace = path, print = false })
    assert.is_nil(rows.spans)
    local lines, found = {}, {}
    for _, e in ipairs(json.decode(expect.read(path)).traceEvents) do
      if e.ph == "M" then
        lines[e.tid] = e.args.name
      else
        assert.is_true(e.ts >= 0 and e.dur >= 0)
        found[lines[e.tid] .. " " .. e.name] = e
      end
    end
    assert.same({ "layers", "ops" }, lines)
    assert.is_truthy(found["layers d"] and found["layers d (gradient)"])
    local product = found["ops linear"]
    assert.equal(2 * 2 * 3 * 3, product.args.flops)
    assert.is_true(found["layers d"].ts <= product.ts)
    assert.is_true(found["ops exp"].ts > product.ts)
    os.remove(path)
    for _, wrong in ipairs { 3, "" } do
      expect.raises("trace must be a path", tide.profile, print, { trace = wrong })
    end
    local ran
    expect.raises("/nowhere/x: cannot write", tide.profile, function() ran = true end, {
      trace = "/nowhere/x" })
    assert.is_nil(ran)
  end)

  it("keeps silent when told to, and ends after an error", function()
    local text, rows = printed(tide.profile, function() end, { print = false })
    assert.equal("", text)
    assert.equal(0, #rows)
    expect.raises("boom", tide.profile, function() error "boom" end)
    expect.raises("is running already", tide.profile, function() tide.profile(print) end)
    assert.equal(0, #tide.profile(function() end, { print = false }))
    expect.raises("takes a function (got nil)", tide.profile)
  end)
end)

describe("tide.help", function()
  it("prints what the prompt prints, by value or by name", function()
    expect.has(printed(tide.help, "layers.Dense"), "units")
    assert.equal(printed(tide.help, "tide.layers.Dense"), printed(tide.help, "layers.Dense"))
    expect.has(printed(tide.help, tide.losses.Huber), "delta = 1")
    expect.has(printed(tide.help, "ops.softmax"), "axes that sum to one")
    expect.raises("nothing is known of 'layers.Nothing'", tide.help, "layers.Nothing")
    expect.raises("nothing is known of 'Dropuot'; did you mean 'Dropout'?", tide.help, "Dropuot")
    expect.has(printed(tide.help, "Dropout"), "rate = required")
    expect.has(printed(tide.help, "fit"), "Model:fit(x, y, batch_size, epochs")
    expect.has(printed(tide.help, tide.grad), "tide.grad(f, vars, options)")
    expect.has(printed(tide.help), "layers        ")
  end)
end)

describe("memory", function()
  it("gives its cache back and forgets its peak when asked", function()
    do
      local big <close> = tide.scope()
      big:keep(nil)
      tide.zeros { 1 << 20 }:exp()
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(core.memory().cached_bytes > 0)
    assert.is_true(core.memory().peak_bytes >= 2 * 4 << 20)
    core.memory_trim()
    core.memory_reset_peak()
    local m = core.memory()
    assert.equal(0, m.cached_bytes)
    assert.equal(m.live_bytes, m.peak_bytes)
  end)
end)

describe("tide doctor", function()
  local function run(arguments, env)
    local pipe = io.popen(("env %s %s doctor %s 2>&1 </dev/null"):format(env or "", expect.command,
      arguments))
    local text = pipe:read "a"
    return text, pipe:close() == true
  end

  it("prints the configuration, and what holds Tide back", function()
    local text, ok = run("", "TIDE_CPU=c TIDE_ENGINE=plain OMP_NUM_THREADS=1")
    assert.is_true(ok, text)
    assert.matches("\ncpu +c\n", text)
    assert.matches("\nengines +plain\n", text)
    assert.matches("\nmodule +/[^\n]+core%.so\n", text)
    expect.has(text, "TIDE_CPU=c holds the kernels at that level")
    expect.has(text, "TIDE_ENGINE=plain limits the engines; unset it to use all")
  end)

  it("finds what is missing", function()
    local text, ok = run("", "TIDE_ONEDNN=/nowhere/libdnnl.so.2 TIDE_BLAS=none \z
      TIDE_SNDFILE=none TIDE_SAMPLERATE=/nowhere/x.so")
    assert.is_true(ok, text)
    expect.has(text, "onednn does not run: no library found (/nowhere/libdnnl.so.2); apt-get")
    assert.matches("blas does not run: [^\n]+; apt%-get install libopenblas", text)
    assert.matches("\nhdf5 +runs\n", text)
    expect.has(text, "sndfile does not run: none (TIDE_SNDFILE); apt-get install libsndfile1 (FLAC")
    expect.has(text, "samplerate does not run: no library found (/nowhere/x.so); apt-get install")
  end)

  it("refuses variables that mean nothing, as everything does", function()
    for variable, says in pairs { ["TIDE_CPU=zzz"] = "TIDE_CPU=zzz means nothing (expected c, v2",
      ["TIDE_ENGINE=foo"] = "TIDE_ENGINE=foo means nothing (expected onednn",
      ["TIDE_ENGINE=blas,onednm"] = "TIDE_ENGINE=blas,onednm means nothing",
      ["TIDE_THREADS=many"] = "TIDE_THREADS=many means nothing (expected 1" } do
      local text, ok = run("", variable)
      assert.is_false(ok)
      expect.has(text, says)
    end
    local text, ok = run("", "TIDE_ENGINE=blas,plain TIDE_CPU=v2 TIDE_THREADS=2")
    assert.is_true(ok, text)
  end)

  it("has help, and takes no argument", function()
    local text, ok = run "--help"
    assert.is_true(ok)
    assert.matches("^usage: tide doctor\n", text)
    text, ok = run "all"
    assert.is_false(ok)
    assert.matches("^tide doctor: unexpected argument 'all'\nusage: tide doctor\n", text)
  end)
end)
