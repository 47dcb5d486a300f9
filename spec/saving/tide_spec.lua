local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local layers = tide.layers

local dir
local function path(name)
  return dir .. "/" .. name
end
local X = tide.tensor { { 1, 2, 3 }, { 4, 5, 6 }, { 0, 1, 0 } }
local Y = tide.tensor({ 1, 2, 1 }, { dtype = "int32" })

local function model(o)
  local m = tide.Sequential {
    layers.Dense { 4, name = "first", activation = "relu", input_shape = { 3 },
      kernel_regularizer = { "l2", l2 = 0.01 } },
    layers.BatchNormalization(),
    layers.Dense { 2, activation = "softmax" },
  }
  m:compile(o or { optimizer = { "adam", learning_rate = 0.01 },
    loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } })
  return m
end

local raises = expect.raises

local read_all = expect.read
local write_all = expect.write

setup(function()
  dir = expect.folder()
  core.mkdirs(dir .. "/sub")
end)
teardown(function()
  os.execute("rm -r " .. dir)
end)

describe("model:save and load_model", function()
  it("give a model that predicts the same bits and trains on as if never interrupted", function()
    local a = model()
    a:fit(X, Y, { epochs = 3, shuffle = false, verbose = 0 })
    a:save(path "m.safetensors")
    local b = tide.load_model(path "m.safetensors")
    assert.equal(a:predict(X):tobytes(), b:predict(X):tobytes())
    assert.equal(a.optimizer.iterations, b.optimizer.iterations)
    for _, m in ipairs { a, b } do
      m:fit(X, Y, { epochs = 3, shuffle = false, verbose = 0 })
    end
    assert.equal(a:predict(X):tobytes(), b:predict(X):tobytes())
    assert.same({ a:evaluate(X, Y, { verbose = 0 }) }, { b:evaluate(X, Y, { verbose = 0 }) })
  end)

  it("work for every optimizer", function()
    for _, name in ipairs(tide.optimizers.class_names) do
      local a = model { optimizer = { name, learning_rate = 0.05 },
        loss = "sparse_categorical_crossentropy" }
      a:fit(X, Y, { epochs = 2, shuffle = false, verbose = 0 })
      a:save(path "o.safetensors")
      local b = tide.load_model(path "o.safetensors")
      for _, m in ipairs { a, b } do
        m:fit(X, Y, { epochs = 2, shuffle = false, verbose = 0 })
      end
      assert.equal(a:predict(X):tobytes(), b:predict(X):tobytes(), name)
    end
  end)

  it("work for own models whose layers name themselves, with the optimizer's state", function()
    local Own = tide.Model:extend("SavedNumbers", {
      init = function(self)
        self.body = tide.Sequential { layers.Dense(4), layers.Dense(2) }
      end,
      call = function(self, x) return self.body(x) end,
    })
    local a, y = Own(), tide.ones { X.shape[1], 2 }
    a:compile { optimizer = { "adam", 0.05 }, loss = "mse" }
    a:fit(X, y, { epochs = 2, shuffle = false, verbose = 0 })
    a:save(path "own.safetensors")
    local b = tide.load_model(path "own.safetensors") -- its layers have other numbers
    for _, m in ipairs { a, b } do
      m:fit(X, y, { epochs = 2, shuffle = false, verbose = 0 })
    end
    assert.equal(a:predict(X):tobytes(), b:predict(X):tobytes())
  end)

  it("work for functional models and for classes of one's own", function()
    local a, b = tide.Input { 3, name = "a" }, tide.Input { 2, name = "b" }
    local y = layers.Dense { 2, name = "out" }(layers.Concatenate()({ a, b }))
    local m = tide.Model { inputs = { a, b }, outputs = y }
    m:save(path "f.safetensors")
    local inputs = { X, tide.ones { 3, 2 } }
    expect.close(tide.load_model(path "f.safetensors")(inputs), m(inputs), 0, 0)

    local Own = tide.Model:extend("SavedOwn", {
      args = { "width" },
      init = function(self)
        self.first, self.second = layers.Dense { self.width, activation = "tanh" },
          layers.Dense { 1 }
      end,
      call = function(self, x)
        return self.second(self.first(x))
      end,
    })
    local own = Own { 5 }
    own(X)
    own:save(path "own.safetensors")
    expect.close(tide.load_model(path "own.safetensors")(X), own(X), 0, 0)
  end)

  it("keep schedules, options of optimizers, and losses by object", function()
    local rate = tide.optimizers.schedules.CosineDecay { 0.1, 10, alpha = 0.5 }
    local a = model { optimizer = tide.optimizers.SGD { rate, momentum = 0.9, clipnorm = 1.0 },
      loss = tide.losses.SparseCategoricalCrossentropy { reduction = "sum" } }
    a:fit(X, Y, { verbose = 0 })
    a:save(path "s.safetensors")
    local b = tide.load_model(path "s.safetensors")
    expect.close(b.optimizer.learning_rate, a.optimizer.learning_rate)
    assert.equal(0.9, b.optimizer.momentum)
    assert.equal(1.0, b.optimizer.clipnorm)
    expect.close(b:evaluate(X, Y, { verbose = 0 }), a:evaluate(X, Y, { verbose = 0 }))
  end)

  it("leave the compile state out when asked, or when a function stands in it", function()
    local a = model()
    a:save(path "c.safetensors")
    raises("is not compiled", function()
      tide.load_model(path "c.safetensors", { compile = false }):evaluate(X, Y)
    end)
    a = model { optimizer = "sgd", loss = function(t, p) return (p[{ {}, 1 }] - t) ^ 2 end }
    a:save(path "c.safetensors")
    raises("is not compiled", function() tide.load_model(path "c.safetensors"):evaluate(X, Y) end)
  end)

  it("refuse unknown classes, paths and files of another kind with one clear error", function()
    local Gone = tide.Layer:extend("GoneLayer", { call = function(_, x) return x end })
    local m = tide.Sequential { layers.Dense { 1, input_shape = { 3 } }, Gone() }
    m:save(path "gone.safetensors")
    require("tide.registry").custom("layer").GoneLayer = nil
    raises("unknown layer 'GoneLayer'", tide.load_model, path "gone.safetensors")
    expect.close(tide.load_model(path "gone.safetensors",
      { custom_objects = { GoneLayer = Gone } })(X), m(X), 0, 0)
    raises("the name must end in one of", function() m:save(path "m.txt") end)
    raises("cannot open", tide.load_model, path "nothing.safetensors")
    raises("there is no folder", function() m:save(path "no/where.safetensors") end)
    m:save_weights(path "w.safetensors")
    raises("holds tensors but no model", tide.load_model, path "w.safetensors")
    raises("exists already", function() m:save(path "w.safetensors", { overwrite = false }) end)
    raises("weights only", function() m:save(path "w.weights.h5") end)
    raises("has no weights yet", function()
      tide.Sequential({ layers.Dense { 1 } }):save(path "u.safetensors")
    end)
  end)
end)

describe("seed generators of layers", function()
  local function dropping()
    return tide.Sequential { layers.Dropout { 0.5, seed = 3, input_shape = { 64 } },
      layers.GaussianNoise { 1, seed = 4 } }
  end
  local x = tide.ones { 1, 64 }

  it("go on after loading where they stood, in models and in weights", function()
    local m = dropping()
    m(x, { training = true })
    m:save(path "seeds.safetensors")
    m:save_weights(path "seeds_weights.safetensors")
    local loaded = tide.load_model(path "seeds.safetensors")
    local other = dropping()
    other:load_weights(path "seeds_weights.safetensors")
    local want = m(x, { training = true }):tolist()
    assert.same(want, loaded(x, { training = true }):tolist())
    assert.same(want, other(x, { training = true }):tolist())
    assert.not_same(want, dropping()(x, { training = true }):tolist())
  end)
end)

describe("save_weights and load_weights", function()
  it("carry weights by path", function()
    local a, b = model(), model()
    a:save_weights(path "w.safetensors")
    b:load_weights(path "w.safetensors")
    assert.equal(a:predict(X):tobytes(), b:predict(X):tobytes())
  end)

  it("change nothing unless all fits, unless told to skip", function()
    local a = model()
    a:save_weights(path "w.safetensors")
    local function other(width)
      return tide.Sequential {
        layers.Dense { width, name = "first", input_shape = { 3 } }, layers.BatchNormalization(),
          layers.Dense { 2 } }
    end
    local b = other(5)
    local before = b:get_weights()
    raises("skip_mismatch = true leaves it out", function()
      b:load_weights(path "w.safetensors")
    end)
    for i, w in ipairs(b:get_weights()) do
      assert.equal(before[i]:tobytes(), w:tobytes())
    end
    b:load_weights(path "w.safetensors", { skip_mismatch = true })
    assert.equal(a:get_weights()[-1]:tobytes(), b:get_weights()[-1]:tobytes())
    local shorter = tide.Sequential { layers.Dense { 4, name = "first", input_shape = { 3 } } }
    raises("not in the model", function() shorter:load_weights(path "w.safetensors") end)
    shorter:load_weights(path "w.safetensors", { by_name = true })
    assert.equal(a:get_weights()[1]:tobytes(), shorter:get_weights()[1]:tobytes())
  end)
end)

describe("a safetensors file", function()
  local function header(json, data)
    write_all(path "h.safetensors", string.pack("<I8", #json) .. json .. (data or ""))
    return core.safetensors_open(path "h.safetensors")
  end
  local function entry(dtype, shape, from, to)
    return ('{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}'):format(dtype, shape, from, to)
  end

  it("holds every dtype, scalars and empty tensors, and gives them back", function()
    local list = {}
    for i, dtype in ipairs { "float32", "float64", "int64", "int32", "uint8", "int8", "bool",
      "float16", "bfloat16" } do
      list[i] = { dtype, tide.ops.cast(tide.tensor { { 0, 1, 1 } }, dtype) }
    end
    list[#list + 1] = { "scalar", tide.tensor(2.5) }
    list[#list + 1] = { "empty", tide.zeros { 0, 3 } }
    core.safetensors_write(path "a.safetensors", list, { note = "ä \"quoted\"" })
    local file, entries, meta = core.safetensors_open(path "a.safetensors")
    assert.equal(#list, #entries)
    assert.equal("ä \"quoted\"", meta.note)
    local by = {}
    for _, e in ipairs(list) do
      by[e[1]] = e[2]
    end
    for i, e in ipairs(entries) do
      local t = core.safetensors_read(file, i)
      assert.equal(by[e.name].dtype, t.dtype)
      assert.equal(by[e.name]:tobytes(), t:tobytes())
      assert.equal(tostring(by[e.name].shape), tostring(t.shape))
    end
    assert.equal(0, #read_all(path "a.safetensors"):sub(9, 16) % 8)
  end)

  it("is read where another writer made it", function()
    local file, entries = header('{"b":' .. entry("I32", "[2]", 4, 12) .. ',"a":' .. entry("F32",
      "[1]", 0, 4) .. "}  ", string.pack("<fi4i4", 1.5, 7, -1))
    assert.equal("a", entries[1].name)
    assert.same({ 7, -1 }, core.safetensors_read(file, 2):tolist())
  end)

  it("is refused when it is hostile", function()
    local ok = entry("F32", "[1]", 0, 4)
    local four = ("\0"):rep(4)
    local cases = {
      { "[]", "", "does not begin with '{'" },
      { "{", "", "2 to 100000000 are allowed" },
      { '{"a":' .. ok .. "}\n", four, "does not end with '}'" },
      { '{"a":' .. ok .. ',"a":' .. ok .. "}", four, "duplicate" },
      { '{"a":' .. ok, four, "not valid JSON" },
      { '{"a":' .. ok .. ",}", four, "not valid JSON" },
      { '{"\xff":' .. ok .. "}", four, "not valid JSON" },
      { '{"a":' .. entry("F32", "[1]", 0, 4) .. "}", four .. "x", "cover 4 bytes, the file has 5" },
      { '{"a":' .. entry("F32", "[1]", 4, 8) .. "}", four .. four, "(expected 0, got 4)" },
      { '{"a":' .. ok .. ',"b":' .. ok .. "}", four, "(expected 4, got 0)" },
      { '{"a":' .. entry("F32", "[1]", 4, 0) .. "}", four, "not a range" },
      { '{"a":' .. entry("F32", "[2]", 0, 4) .. "}", four, "span 4 bytes, dtype and shape need 8" },
      { '{"a":' .. entry("F32", "[-1]", 0, 4) .. "}", four, "axis 1 of the shape is not a size" },
      { '{"a":' .. entry("F32", "[1.5]", 0, 4) .. "}", four, "axis 1 of the shape is not a size" },
      { '{"a":' .. entry("F32", "[4611686018427387904,4]", 0, 4) .. "}", four, "overflows" },
      { '{"a":' .. entry("F32", "[" .. ("1,"):rep(20) .. "1]", 0, 4) .. "}", four, "rank 21" },
      { '{"a":' .. entry("F4", "[8]", 0, 4) .. "}", four, "unknown dtype 'F4'" },
      { '{"a":{"dtype":"F32","shape":[1]}}', four, "(expected dtype, shape and data_offsets" },
      { '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}', four,
        "(expected dtype, shape and data_offsets" },
      { '{"a":' .. ok .. ',"__metadata__":{"k":1}}', four, "is not a string" },
      { '{"a":' .. ok .. ',"__metadata__":[]}', four, "not an object" },
      { ("["):rep(70), "", "does not begin" },
      { "{" .. ('"a":{'):rep(70) .. ("}"):rep(71), "", "(expected dtype, shape and data_offsets" },
      { '{"a":' .. ok .. ',"__metadata__":{"k":"1","k":"2"}}', four, "duplicate" },
      { '{"__metadata__":{},"a":' .. ok .. ',"__metadata__":{}}', four, "duplicate" },
      { '{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', four,
        "(expected dtype, shape and data_offsets" },
      { '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}}', four,
        "(expected dtype, shape and data_offsets" },
      { '{"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}}', four,
        "(expected dtype, shape and data_offsets" },
    }
    for i, c in ipairs(cases) do
      local good, e = pcall(header, c[1], c[2])
      assert(not good, "case " .. i .. " was accepted")
      assert(tostring(e):find(c[3], 1, true), ("case %d: %s"):format(i, tostring(e)))
    end
    write_all(path "h.safetensors", "1234")
    raises("too few", core.safetensors_open, path "h.safetensors")
    write_all(path "h.safetensors", string.pack("<I8", 2 ^ 40 // 1 | 0) .. "{}")
    raises("2 to 100000000", core.safetensors_open, path "h.safetensors")
    write_all(path "h.safetensors", string.pack("<I8", 1000) .. "{}")
    raises("truncated", core.safetensors_open, path "h.safetensors")
    raises("not a regular file", core.safetensors_open, dir)
    local file = header('{"a":' .. entry("BOOL", "[1]", 0, 1) .. "}", "\2")
    raises("a bool is neither 0 nor 1", core.safetensors_read, file, 1)
    file = header('{"a":' .. entry("U16", "[1]", 0, 2) .. "}", "\2\0")
    raises("which Tide does not have", core.safetensors_read, file, 1)
    raises("no tensor 2", core.safetensors_read, file, 2)
  end)

  it("of Tide's shows every flipped bit", function()
    core.safetensors_write(path "x.safetensors",
      { { "w", tide.tensor { 1, 2, 3 } }, { "v", tide.tensor { 4 } } }, { note = "hello" })
    local bytes = read_all(path "x.safetensors")
    for i = 1, #bytes do
      for _, mask in ipairs { 1, 0x20, 0x80 } do
        write_all(path "y.safetensors", bytes:sub(1,
          i - 1) .. string.char(bytes:byte(i) ~ mask) .. bytes:sub(i + 1))
        local ok = pcall(function()
          local file, entries = core.safetensors_open(path "y.safetensors")
          for k = 1, #entries do
            core.safetensors_read(file, k)
          end
        end)
        assert(not ok, ("byte %d ^ %d was not noticed"):format(i, mask))
      end
    end
    for cut = 0, #bytes - 1 do
      write_all(path "y.safetensors", bytes:sub(1, cut))
      assert.is_false((pcall(core.safetensors_open, path "y.safetensors")))
    end
  end)

  it("refuses names twice, and text that is not UTF-8", function()
    local t = tide.tensor { 1 }
    raises("two tensors are named 'a'", core.safetensors_write, path "z.safetensors",
      { { "a", t }, { "a", t } })
    raises("cannot be named __metadata__", core.safetensors_write, path "z.safetensors",
      { { "__metadata__", t } })
    raises("not valid UTF-8", core.safetensors_write, path "z.safetensors", { { "\xff", t } })
    assert.is_false(core.file_exists(path "z.safetensors"))
  end)
end)

describe("writing a file", function()
  local function listing()
    local p = io.popen("ls " .. dir .. "/sub")
    local s = p:read "a"
    p:close()
    return s
  end

  it("leaves the old file whole and nothing beside it when any step fails", function()
    local target = path "sub/f"
    for _, point in ipairs { "write", "fsync", "close", "rename", "fsync_dir" } do
      for _, kind in ipairs { "io", "nospace" } do
        core.write_file(target, "old")
        core.io_fault(point, 1, kind)
        raises("sub/f: cannot", core.write_file, target, "new")
        local now = read_all(target)
        assert(now == "old" or (point == "fsync_dir" and now == "new"), point)
        assert.equal("f\n", listing())
      end
    end
    core.io_fault("write", 0)
    core.write_file(target, "new")
    assert.equal("new", read_all(target))
  end)

  it("leaves one of the two whole when the process is killed", function()
    local target = path "sub/f"
    for _, point in ipairs { "write", "fsync", "close", "rename", "fsync_dir" } do
      core.write_file(target, "old")
      local script =
        "package.path=%q package.cpath=%q local c=require'tide.core' c.io_fault(%q,1,'kill') \z
        c.write_file(%q,'new')"
      script = script:format(package.path, package.cpath, point, target)
      os.execute(("lua5.4 -e %q 2>/dev/null"):format(script))
      local now = read_all(target)
      assert(now == "old" or now == "new", point)
      os.execute("rm -f " .. target .. ".tmp*")
    end
  end)

  it("keeps permissions and follows links", function()
    local target = path "sub/f"
    core.write_file(target, "a")
    os.execute("chmod 600 " .. target .. " && ln -sf f " .. path "sub/link")
    core.write_file(path "sub/link", "b")
    local p = io.popen("stat -c %a " .. target)
    assert.equal("600\n", p:read "a")
    p:close()
    assert.equal("b", read_all(target))
    os.remove(path "sub/link")
  end)
end)

describe("JSON", function()
  it("is read strictly", function()
    for text, says in pairs { ['{"a":1,"a":2}'] = "duplicate", ["[1,]"] = "not valid JSON",
      ["[NaN]"] = "not valid JSON", ["{'a':1}"] = "not valid JSON", ["[1] 2"] = "not valid JSON",
        [""] = "not valid JSON", ["\"\xff\""] = "not valid JSON",
      ["[1e999]"] = "not valid JSON", ["[99999999999999999999]"] = "not valid JSON",
        [("["):rep(65)] = "64 levels" } do
      raises(says, core.json_decode, text)
    end
  end)

  it("comes back as it was written", function()
    local none = tide.none
    local json = require "tide.utils.json"
    local v = { a = { 1, 2.5, "x\n\"\\\1ä" }, b = { c = true, d = none }, e = -3 }
    assert.equal('{"a":[1,2.5,"x\\u000a\\"\\\\\\u0001ä"],"b":{"c":true,"d":null},"e":-3}',
      json.encode(v))
    local back = json.decode(json.encode(v))
    assert.same(v.a, back.a)
    assert.equal(none, back.b.d)
    assert.equal("float", math.type(json.decode(json.encode(2.0))))
    raises("does not have (inf or nan)", json.encode, { 1 / 0 })
    raises("a value that JSON does not have", json.encode, { print })
    raises("keys that are neither", json.encode, { [2.5] = 1 })
    local cycle = {}
    cycle[1] = cycle
    raises("nested deeper", json.encode, cycle)
  end)

  -- what compile is given, in a model of two outputs
  local two_targets = { tide.ones { 4, 2 }, tide.zeros { 4, 1 } }
  it("leaves out the state of an optimizer that does not know all that is trained", function()
    for name, change in pairs {
      lora = function(m) m.layers[1]:enable_lora(2) end,
      freed = function(m) m.layers[1].trainable = true end,
    } do
      local m, said = model(), nil
      m.layers[1].trainable = name == "lora"
      m:fit(X, Y, { verbose = 0 })
      change(m)
      local errors = require "tide.errors"
      local warn = errors.warn
      errors.warn = function(...) said = string.format(...) end
      local ok, e = pcall(m.save, m, path "behind.safetensors")
      errors.warn = warn
      assert.is_true(ok, e)
      assert.matches("state was left out: it was made before '.-first/", said)
      local again = tide.load_model(path "behind.safetensors")
      assert.equal(tostring(m:predict(X, { verbose = 0 })),
        tostring(again:predict(X, { verbose = 0 })))
      again:fit(X, Y, { verbose = 0 })
    end
  end)

  for name, o in pairs {
    ["names with options, in lists with places left free"] = { loss = { tide.none, { "huber",
      delta = 0.3 } },
      loss_weights = { 1, 2 }, metrics = { {}, { { "root_mean_squared_error", name = "r" } } } },
    ["names with options, by output"] = { loss = { q = { "huber", delta = 0.3 } },
      metrics = { q = { "mae", { "cosine_similarity", axis = 2 } } } },
    ["Tide's functions"] = { loss = tide.losses.mean_absolute_error,
      metrics = { { tide.metrics.mean_squared_error }, { tide.losses.log_cosh, "logcosh" } } },
  } do
    it("keeps a compilation with " .. name, function()
      local i = tide.Input { 3 }
      local m = tide.Model { i, { layers.Dense { 2, name = "p" }(i), layers.Dense { 1,
        name = "q" }(i) } }
      o.optimizer = "sgd"
      m:compile(o)
      m:fit(tide.ones { 4, 3 }, two_targets, { verbose = 0 })
      local want = m:evaluate(tide.ones { 4, 3 }, two_targets, { verbose = 0, return_dict = true })
      for _, ending in ipairs { ".safetensors", ".keras", ".h5" } do
        m:save(path("compiled" .. ending))
        local again = tide.load_model(path("compiled" .. ending))
        assert.same(want, again:evaluate(tide.ones { 4, 3 }, two_targets, { verbose = 0,
          return_dict = true }))
      end
    end)
  end
end)
