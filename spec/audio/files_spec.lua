local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local reference = dofile "spec/ref/sound_files.lua"

local audio, ops = tide.audio, tide.ops
local says = expect.raises

local function flat(x)
  return ops.reshape(x, { x.size }):tolist()
end

-- A little-endian file of chunks.
local function chunk(name, data)
  return name .. string.pack("<I4", #data) .. data .. (#data % 2 == 1 and "\0" or "")
end
local function riff(...)
  local body = "WAVE" .. table.concat { ... }
  return "RIFF" .. string.pack("<I4", #body) .. body
end
local function fmt(kind, channels, bits, block, rate)
  block = block or channels * (bits + 7) // 8
  return chunk("fmt ",
    string.pack("<I2I2I4I4I2I2", kind, channels, rate or 8000, 8000, block, bits))
end
local DATA = chunk("data", "\1\0\2\0\3\0\4\0")

describe("a WAV file", function()
  for _, file in ipairs(reference.files) do
    it("holds what other programs read: " .. file.name, function()
      local x, rate = audio.decode(file.bytes)
      assert.equal(reference.rate, rate)
      assert.equal("float32", x.dtype)
      assert.same({ #file.samples // file.channels, file.channels }, x.shape:totable())
      if #file.samples > 0 then
        expect.close(flat(x), file.samples, 3e-8, 6e-8)
        expect.close(flat((audio.decode(file.bytes, { dtype = "float64" }))), file.samples, 0, 0)
      end
      local info = audio.info(file.bytes .. "\0")
      assert.equal(file.encoding, info.encoding)
      assert.equal("wav", info.format)
      assert.equal(file.channels, info.channels)
      assert.equal(#file.samples // file.channels, info.samples)
      if file.whole then
        assert.same(file.whole, flat((audio.decode(file.bytes, { dtype = "int32" }))))
      elseif file.encoding:find "float" then
        says("dtype int32 is for whole numbers", function()
          audio.decode(file.bytes, { dtype = "int32" })
        end)
      end
    end)
  end

  it("of 16 bits is written as TensorFlow writes it, byte by byte", function()
    local x = ops.reshape(tide.tensor(reference.x, { dtype = "float64" }), { 7, 2 })
    assert.equal(reference.files[2].bytes, audio.encode(x, reference.rate))
    assert.equal(reference.files[2].bytes, audio.encode(ops.cast(x, "float32"), reference.rate))
  end)

  it("comes back from each encoding as it was stored", function()
    for _, file in ipairs(reference.files) do
      local shape = { #file.samples // file.channels, file.channels }
      local x = ops.reshape(tide.tensor(file.samples, { dtype = "float64" }), shape)
      local bytes = audio.encode(x, 22050, { encoding = file.encoding })
      local y, rate = audio.decode(bytes, { dtype = "float64" })
      assert.equal(22050, rate)
      assert.same(x:tolist(), y:tolist(), file.name)
      if file.whole and file.encoding ~= "pcm_u8" and file.name ~= "20 bits in 24" then
        local whole = ops.reshape(tide.tensor(file.whole, { dtype = "int32" }), shape)
        assert.equal(bytes, audio.encode(whole, 22050, { encoding = file.encoding }))
      end
    end
  end)

  it("knows every byte of A-law and mu-law, and takes the nearest for each number", function()
    for law, kind in pairs { a_law = 6, mu_law = 7 } do
      local all = {}
      for i = 0, 255 do
        all[i + 1] = string.char(i)
      end
      local x = audio.decode(riff(fmt(kind, 1, 8), chunk("data", table.concat(all))),
        { dtype = "int32" })
      local levels = reference.levels[law]
      assert.same(levels, flat(x))
      local whole = {}
      for v = -32768, 32767, 37 do
        whole[#whole + 1] = v
      end
      local back = flat((audio.decode(audio.encode(tide.tensor(whole, { dtype = "int32" }), 8000,
        { encoding = law }), { dtype = "int32" })))
      for i, v in ipairs(whole) do
        local least = math.huge
        for _, level in ipairs(levels) do
          least = math.min(least, math.abs(level - v))
        end
        -- the sign is stored on its own: -1 is not rounded up to 0
        assert(math.abs(back[i] - v) <= least + (math.abs(v) < 16 and 16 or 0), v)
      end
    end
  end)

  it("is read in part, as one channel, in whole numbers", function()
    local x = {}
    for i = 1, 1000 do
      x[i] = { i / 2000, -i / 1000 }
    end
    local bytes = audio.encode(tide.tensor(x), 100, { encoding = "float_32" })
    local y = audio.decode(bytes, { offset = 2.5, duration = 0.25 })
    assert.same({ 25, 2 }, y.shape:totable())
    expect.close(y:tolist()[1], { 251 / 2000, -251 / 1000 })
    assert.same({ 0, 2 }, audio.decode(bytes, { offset = 10 }).shape:totable())
    assert.same({ 100, 2 }, audio.decode(bytes, { offset = 9, duration = 1e300 }).shape:totable())
    says("has 1000 samples (expected to begin at 1001)", function()
      audio.decode(bytes, { offset = 10.01 })
    end)
    local one = audio.decode(bytes, { mono = true })
    assert.same({ 1000, 1 }, one.shape:totable())
    expect.close(one:tolist()[1000], { -0.25 })
    says("mono needs floats", function() audio.decode(bytes, { mono = true, dtype = "int32" }) end)
  end)

  it("is a file too, written whole or not at all", function()
    local path = os.tmpname()
    audio.save(path .. ".wav", { 0, 0.5, -2 }, 8000)
    local x, rate = audio.load(path .. ".wav")
    expect.close(x, { { 0 }, { 0.5 }, { -1 } })
    assert.equal(8000, rate)
    assert.equal(3 / 8000, audio.info(path .. ".wav").duration)
    says("sample 2 is not a number", function() audio.save(path .. ".wav", { 1, 0 / 0 }, 8000) end)
    expect.close((audio.load(path .. ".wav")), { { 0 }, { 0.5 }, { -1 } })
    os.remove(path .. ".wav")
    os.remove(path)
  end)

  it("refuses to be made of what does not fit", function()
    says("sample 2 does not fit 16 bits (got 40000)", function()
      audio.encode(tide.tensor({ 1, 40000 }, { dtype = "int32" }), 8000)
    end)
    says("x holds whole numbers, float_32 stores floats", function()
      audio.encode(tide.tensor({ 1 }, { dtype = "int32" }), 8000, { encoding = "float_32" })
    end)
    says("x holds whole numbers beyond 32 bits", function()
      audio.encode(tide.tensor({ 1 << 40 }, { dtype = "int64" }), 8000)
    end)
    says("WAV files do not hold vorbis", function()
      audio.encode({ 1 }, 8000, { encoding = "vorbis" })
    end)
    says("(samples, channels)", function() audio.encode(tide.zeros { 1, 1, 1 }, 8000) end)
    says("cannot write 'x.xyz'", function() audio.save("x.xyz", { 1 }, 8000) end)
  end)

  it("that is damaged is refused by one sentence", function()
    for text, bytes in pairs {
      ["the file is empty"] = "",
      ["the chunk 'fmt ' is missing"] = riff(),
      ["the chunk 'data' is missing"] = riff(fmt(1, 1, 16)),
      ["is too short (expected 16 bytes or more, got 4)"] = riff(chunk("fmt ", "\1\0\1\0"), DATA),
      ["ends inside the chunk 'fmt '"] = riff(fmt(1, 1, 16)):sub(1, 30),
      ["0 channels"] = riff(fmt(1, 0, 16, 2), DATA),
      ["0 samples per second"] = riff(fmt(1, 1, 16, 2, 0), DATA),
      ["the chunk 'fmt ' comes twice"] = riff(fmt(1, 1, 16), fmt(1, 1, 16), DATA),
      ["the file ends inside its samples (expected 8 bytes, got 7)"] =
        riff(fmt(1, 1, 16), DATA):sub(1, -2),
      ["ends inside the chunk 'ds64'"] = "RF64\xff\xff\xff\xffWAVE" .. chunk("ds64", "abcd"),
      ["expected 1152921504606846976 bytes"] = "RF64\xff\xff\xff\xffWAVE"
        .. chunk("ds64", string.pack("<I8I8I8I4", 1, 1 << 60, 1, 0)) .. fmt(1, 1, 16)
        .. "data\xff\xff\xff\xff",
    } do
      says(text, function() audio.decode(bytes) end)
      says("audio.decode: ", function() audio.decode(bytes) end)
    end
    for _, bad in ipairs { { 1, 2, 16, 7 }, { 1, 1, 16, 1 }, { 1, 1, 40, 5 }, { 3, 1, 16, 2 },
      { 6, 1, 4, 1 }, { 1, 1, 0, 2 }, { 1, 1, 16, 0 }, { 1, 65535, 16, 65534 } } do
      says("the chunk 'fmt ' contradicts itself", function()
        audio.decode(riff(fmt(table.unpack(bad)), DATA))
      end)
    end
  end)

  it("is refused as a folder, a pipe, a name that is not there or no sound", function()
    says("nowhere.wav: cannot open: No such file", function() audio.load "/tmp/nowhere.wav" end)
    says("is a folder", function() audio.load "/tmp" end)
    says("source must be a path", function() audio.load(tide.zeros { 1 }) end)
    says("audio.info: ", function() audio.info "/etc/hostname" end)
  end)

  it("takes no memory for samples that are not there", function()
    core.memory_reset_peak "cpu"
    local before = tide.memory().peak_bytes
    says("the file ends inside its samples", function()
      audio.decode(riff(fmt(1, 1, 16), "data\xff\xff\xff\x7f"))
    end)
    assert(tide.memory().peak_bytes - before < 1 << 20)
  end)
end)

local sndfile, samplerate = core.sound.libraries()

describe("libsndfile", function()
  it("reads other formats, values as its own", function()
    if not sndfile:find "^libsndfile" then
      return pending "libsndfile is not installed"
    end
    for _, file in ipairs(reference.packed) do
      local x, rate = audio.decode(file.bytes)
      assert.equal(reference.rate, rate)
      local info = audio.info(file.bytes .. "\0")
      assert.equal(file.name, info.format)
      assert.equal(file.encoding, info.encoding)
      expect.close(flat(x), file.samples, 1e-7, 1e-6, file.name .. file.encoding)
      local part = audio.decode(file.bytes, { offset = 2 / reference.rate,
        duration = 3 / reference.rate })
      local want = table.move(file.samples, 5, 10, 1, {})
      if file.encoding ~= "vorbis" then -- which has no exact places in so short a file
        expect.close(flat(part), want, 1e-7, 1e-6)
      end
    end
  end)

  it("writes them: whole numbers come back as they were, packed ones nearly", function()
    if not sndfile:find "^libsndfile" then
      return pending "libsndfile is not installed"
    end
    local whole = tide.tensor({ { -32768, 32767 }, { 12, -13 }, { 0, 1 } }, { dtype = "int32" })
    for _, format in ipairs { "flac", "aiff", "au", "caf" } do
      local bytes = audio.encode(whole, 8000, { format = format })
      local x, rate = audio.decode(bytes, { dtype = "int32" })
      assert.equal(8000, rate)
      assert.same(whole:tolist(), x:tolist())
      assert.equal(format, audio.info(bytes).format)
    end
    local wave = tide.ops.sin(tide.arange(16000) * 0.2) * 0.5
    for _, format in ipairs { "ogg", "mp3" } do
      local ok, bytes = pcall(audio.encode, wave, 16000, { format = format })
      if ok then -- MP3 is a choice of who built the library
        local x = audio.decode(bytes)
        assert.equal(16000, x.shape[1])
        assert(#bytes < 16000)
        local loud = ops.sqrt(ops.mean(ops.square(x))):item()
        assert(math.abs(loud - 0.5 / math.sqrt(2)) < 0.02)
      end
    end
    says("libsndfile writes no flac without a sample", function()
      audio.encode(tide.zeros { 0, 1 }, 8000, { format = "flac" })
    end)
    says("libsndfile does not write flac with float_32", function()
      audio.encode(wave, 8000, { format = "flac", encoding = "float_32" })
    end)
  end)

  it("is asked for by its package where it is missing", function()
    local program = [[local tide = require "tide"
      print(select(2, pcall(tide.audio.decode, "fLaC\0\0\0\0")))
      print(select(2, pcall(tide.audio.resample, tide.zeros { 4 }, 1, 2)))
      print(tide.audio.decode(tide.audio.encode({ 0.5 }, 8000)))]]
    local path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write(program)
    f:close()
    local build = os.getenv "TIDE_BUILD" or "build"
    local pipe = assert(io.popen(("TIDE_SNDFILE=none TIDE_SAMPLERATE=none %s/tide %s 2>&1"):format(
      build, path)))
    local out = pipe:read "a"
    pipe:close()
    os.remove(path)
    assert(out:find("apt-get install libsndfile1", 1, true), out)
    assert(out:find("apt-get install libsamplerate0", 1, true), out)
    assert(out:find("0.5", 1, true), out)
  end)
end)

describe("another sampling rate", function()
  local names = { [0] = "best", "medium", "fastest", "hold", "linear" }
  local function wave(n)
    local t = tide.arange(n, { dtype = "float64" })
    return ops.cast(ops.stack({ ops.sin(t * 0.05), ops.cos(t * 0.021) * 0.5 }, { axis = 2 }),
      "float32")
  end

  it("is libsamplerate's, value by value", function()
    if not samplerate:find "^libsamplerate" then
      return pending "libsamplerate is not installed"
    end
    for _, case in ipairs(reference.rates) do
      local y = audio.resample(wave(case.n), case.from, case.to, { quality = names[case.quality] })
      expect.close(flat(y), case.samples, 1e-6, 1e-6, names[case.quality])
    end
    for _, case in ipairs(reference.far) do
      local y = audio.resample(wave(case.n), case.from, case.to, { quality = names[case.quality] })
      assert.same({ case.count, 2 }, y.shape:totable())
      expect.close(flat(y[{ tide.tensor(case.at, { dtype = "int32" }) }]), case.samples, 1e-6, 1e-6)
      expect.close(ops.sum(ops.abs(ops.cast(y, "float64"))):item(), case.sum, 0, 1e-6)
    end
  end)

  it("keeps axes and dtype, and is what load gives by sample_rate", function()
    if not samplerate:find "^libsamplerate" then
      return pending "libsamplerate is not installed"
    end
    local x = wave(100)
    assert.same({ 50 }, audio.resample(ops.reshape(x[{ {}, 1 }], { 100 }), 2, 1).shape:totable())
    assert.equal("float64", audio.resample(ops.cast(x, "float64"), 2, 1).dtype)
    assert.same({ 0, 2 }, audio.resample(tide.zeros { 0, 2 }, 2, 1).shape:totable())
    local y, rate = audio.decode(audio.encode(x, 8000, { encoding = "float_32" }),
      { sample_rate = 16000 })
    assert.equal(16000, rate)
    assert.same(audio.resample(x, 8000, 16000):tolist(), y:tolist())
    says("more than a factor of 256", function() audio.resample(x, 1, 257) end)
    says("x must hold floats", function()
      audio.resample(tide.zeros({ 3 }, { dtype = "int32" }), 1, 2)
    end)
  end)
end)
