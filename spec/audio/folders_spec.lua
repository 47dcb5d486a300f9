local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local reference = dofile "spec/ref/keras_sounds.lua"

local ops, utils = tide.ops, tide.utils

local function flat(x)
  return ops.reshape(x, { x.size }):tolist()
end

-- The folder of spec/ref without the file of two channels.
local function mono_folder()
  local folder = expect.folder()
  for _, path in ipairs { "cat/one", "cat/two", "cat/deep/three", "dog/one" } do
    core.mkdirs(folder .. "/" .. path:match "^(.*)/")
    expect.write(("%s/%s.wav"):format(folder, path),
      expect.read(("spec/ref/sounds/%s.wav"):format(path)))
  end
  return folder
end

describe("audio_dataset_from_directory", function()
  local mono
  setup(function() mono = mono_folder() end)

  for i, case in ipairs(reference) do
    it("gives Keras' batches: " .. i, function()
      local o = { shuffle = false, verbose = false }
      for k, v in pairs(case.options) do
        o[k] = v
      end
      local ds = utils.audio_dataset_from_directory(case.mono and mono or "spec/ref/sounds", o)
      local names = case.names
      if type(o.labels) == "table" then -- names are the labels, which count from 1
        for k, name in ipairs(names) do
          names[k] = tostring(math.tointeger(name) + 1)
        end
      end
      assert.same(names, ds.class_names and ds.class_names:totable() or tide.none)
      local n = 0
      for x, y in ds:iter() do
        n = n + 1
        local want = case.batches[n]
        if want.lengths then
          assert.same(want.lengths, x.lengths:tolist())
          x = x.values
        end
        assert.same(want.shape, x.shape:totable())
        expect.close(flat(x), want.x, 1e-7, 1e-6)
        local labels = want.y
        if labels and (o.label_mode == nil or o.label_mode == "int") then
          labels = {}
          for k, label in ipairs(want.y) do
            labels[k] = label + 1
          end
        end
        if labels == nil then
          assert.is_nil(y)
        else
          assert.same(labels, type(y) == "userdata" and y:tolist() or y)
        end
      end
      assert.equal(#case.batches, n)
    end)
  end

  it("shuffles by a seed, goes on from any batch and cuts parts that do not meet", function()
    local function make(more)
      local o = { seed = 5, batch_size = 1, verbose = false }
      for k, v in pairs(more or {}) do
        o[k] = v
      end
      return utils.audio_dataset_from_directory(mono, o)
    end
    local first, sum = {}, 0
    for x in make():iter() do
      first[#first + 1] = x.shape[2]
      sum = sum + x.shape[2]
    end
    assert.equal(22, sum)
    local ds, other = make(), make()
    ds:next()
    other:restore(ds:state())
    local rest = {}
    for x in other:iter() do
      rest[#rest + 1] = x.shape[2]
    end
    assert.same(table.move(first, 2, 4, 1, {}), rest)
    local train, val = make { validation_split = 0.25, subset = "both" }
    assert.same({ 3, 1 }, { #train.file_paths, #val.file_paths })
  end)

  it("makes another rate behind the cut, as Keras", function()
    if not select(2, core.sound.libraries()):find "^libsamplerate" then
      return pending "libsamplerate is not installed"
    end
    local ds = utils.audio_dataset_from_directory(mono, { sampling_rate = 16000, shuffle = false,
      output_sequence_length = 6, verbose = false })
    local x = ds:next()
    assert.same({ 4, 12, 1 }, x.shape:totable())
    local one = tide.audio.load(mono .. "/cat/one.wav")
    one = ops.pad(one, { { 0, 1 }, { 0, 0 } })
    expect.close(flat(x[1]), flat(tide.audio.resample(one, 8000, 16000)), 0, 0)
  end)

  it("reads other formats if asked, and trains a model", function()
    local folder = expect.folder()
    for class = 1, 2 do
      core.mkdirs(folder .. "/" .. class)
      for i = 1, 6 do
        local tone = ops.sin(tide.arange(400) * (class * 0.2 + i * 0.001)) * 0.8
        local ok = core.sound.libraries():find "^lib" and i % 2 == 0
        local path = ("%s/%d/%d.%s"):format(folder, class, i, ok and "flac" or "wav")
        tide.audio.save(path, tone, 8000)
      end
    end
    local ds = utils.audio_dataset_from_directory(folder, { formats = { ".wav", ".flac" },
      seed = 1, verbose = false, batch_size = 4 })
    assert.equal(12, #ds.file_paths)
    local layers = tide.layers
    tide.seed(1)
    local model = tide.Sequential { tide.Input { 400, 1 },
      layers.STFTSpectrogram { "magnitude", 64, trainable = false },
      layers.GlobalAveragePooling1D(), layers.Dense { 2, activation = "softmax" } }
    model:compile { optimizer = { "adam", learning_rate = 0.1 },
      loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
    model:fit(ds, { epochs = 12, verbose = 0 })
    assert.equal(1, (select(2, model:evaluate(ds, { verbose = 0 }))))
  end)

  it("leaves out and counts files that cannot be read, or names them", function()
    local folder = expect.folder()
    core.mkdirs(folder .. "/a")
    local whole = tide.audio.encode(ops.sin(tide.arange(300) * 0.1), 8000)
    for i = 1, 9 do -- of every third file the end, the beginning or all is missing
      local bad = i % 3 == 0 and ({ whole:sub(1, 99), whole:sub(20), "" })[i // 3]
      expect.write(("%s/a/%d.wav"):format(folder, i), bad or whole)
    end
    local function make(on_error, batch_size)
      return utils.audio_dataset_from_directory(folder, { shuffle = false, verbose = false,
        batch_size = batch_size, on_error = on_error, sampling_rate = 8000 })
    end
    for _, size in ipairs { 1, 4, 32 } do
      local ds, n = make("skip", size), 0
      for x, y in ds:iter() do
        assert.same({ y.shape[1], 300, 1 }, x.shape:totable())
        n = n + y.shape[1]
      end
      assert.equal(6, n)
      assert.equal(3, ds.skipped)
      local why = ds.bad_files[folder .. "/a/3.wav"]
      assert.matches("a/3.wav: the file ends inside its samples", why, 1, true)
      assert.is_true(ds.bad_files[folder .. "/a/9.wav"] ~= nil)
    end
    local ds = make("raise", 1)
    local seen = 0
    expect.raises("a/3.wav: the file ends inside its samples", function()
      for _ in ds:iter() do
        seen = seen + 1
      end
    end)
    assert.equal(2, seen)
    local left = make("skip", 1) -- a pass that is left while files are read
    left:next()
    left:close()
  end)

  it("names what is wrong, and the file", function()
    expect.raises("ragged and output_sequence_length exclude each other", function()
      utils.audio_dataset_from_directory(mono, { ragged = true, output_sequence_length = 4,
        verbose = false })
    end)
    expect.raises("formats must hold endings", function()
      utils.audio_dataset_from_directory(mono, { formats = { "wav" }, verbose = false })
    end)
    expect.raises("no sounds found in", function()
      utils.audio_dataset_from_directory(mono, { formats = { ".ogg" }, verbose = false })
    end)
    local folder = expect.folder()
    core.mkdirs(folder .. "/a")
    expect.write(folder .. "/a/bad.wav", "RIFF\4\0\0\0WAVE")
    expect.raises("a/bad.wav: the chunk 'fmt ' is missing", function()
      utils.audio_dataset_from_directory(folder, { verbose = false }):next()
    end)
  end)
end)
