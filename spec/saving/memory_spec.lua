-- What a file that is refused may take: at most twice its size and 64 MB, seen from outside as the
-- most that a process of its own had in memory.
local expect = require "spec.support.expect"

local core = require "tide.core"

describe("a file that is refused", function()
  local folder

  setup(function()
    folder = expect.folder()
  end)
  teardown(function()
    os.execute("rm -r " .. folder)
  end)

  -- Loads files in a process of their own, by the function that is the value of the text `load`:
  -- their messages; raises where one took more than allowed.
  local function all_refused(paths, load)
    local script = expect.write(folder .. "/load.lua", ([[
      local tide, core = require "tide", require "tide.core"
      local load = %s
      for _, path in ipairs(arg) do
        local reset = io.open("/proc/self/clear_refs", "w") -- of the most that was in memory
        if reset then
          reset:write "5"
          reset:close()
        end
        local ok, e = pcall(load, path)
        assert(not ok, path .. " was not refused")
        local status = assert(io.open "/proc/self/status"):read "a"
        print(status:match "VmHWM:%%s*(%%d+) kB", path, (tostring(e):gsub("\n", " ")))
        core.memory_trim()
        collectgarbage()
      end
    ]]):format(load))
    local pipe = io.popen(("%s %s %s 2>&1"):format(expect.command, script,
      table.concat(paths, " ")))
    local messages, seen = {}, 0
    for line in pipe:lines() do
      local most, path, message = line:match "^(%d+)\t([^\t]*)\t(.*)"
      assert(most, line)
      local file = assert(io.open(path))
      local allowed = 2 * file:seek "end" // 1024 + 64 * 1024
      file:close()
      assert(tonumber(most) <= allowed, ("%s: %s kB, %d allowed: %s"):format(path, most, allowed,
        message))
      messages[path], seen = message, seen + 1
    end
    pipe:close()
    assert.equal(#paths, seen)
    return messages
  end

  local function refused(path, load)
    return all_refused({ path }, load or "tide.load_model")[path]
  end

  local function archive(members)
    local path = folder .. "/m.keras"
    os.remove(path)
    local names = {}
    for name, text in pairs(members) do
      expect.write(folder .. "/" .. name, text)
      names[#names + 1] = name
    end
    assert(os.execute(("cd %s && zip -q -9 m.keras %s"):format(folder, table.concat(names, " "))))
    return path
  end

  it("takes little of what the suite has of damaged and hostile ones", function()
    local paths = {}
    for _, name in ipairs(core.listdir "spec/fixtures/hdf5") do
      paths[#paths + 1] = name ~= "types.h5" and name ~= "deflated.keras"
        and "spec/fixtures/hdf5/" .. name or nil
    end
    assert.is_true(#paths > 20)
    all_refused(paths, "tide.load_model")
  end)

  -- 1.2 kB declare 160 MB, which the model has no place for
  it("takes little where it declares data of many zeros", function()
    local zeros = "spec/fixtures/hdf5/zeros.keras"
    expect.has(refused(zeros), "the weights do not fit")
    expect.has(refused(zeros, [[function(path)
      local m = tide.Sequential { tide.layers.Dense { 4, input_shape = { 3 } } }
      m:load_weights(path)
    end]]), "do not fit")
    -- nor may they explain a model that is as large
    local path = folder .. "/explained.keras"
    local z = core.zip_open(zeros)
    local config = core.zip_read(z, "config.json"):gsub('"units": 4', '"units": 13000000')
    expect.write(folder .. "/config.json", config)
    assert(os.execute(("cp %s %s && cd %s && zip -q -9 explained.keras config.json"):format(zeros,
      path, folder)))
    expect.has(refused(path), "do not fit")
    -- beside skip_mismatch the model is one that the file has nothing for
    expect.has(refused(path, [[function(path)
      require("tide.saving.keras").load_model(path, { skip_mismatch = true })
    end]]),
      "not enough memory")
  end)

  local function deflated(name, member, text)
    expect.write(folder .. "/" .. member, text)
    os.remove(folder .. "/" .. name)
    assert(os.execute(("cd %s && zip -q -9 %s %s"):format(folder, name, member)))
    return folder .. "/" .. name
  end

  local npy = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"
  npy = npy .. (" "):rep(-(11 + #npy) % 64) .. "\n"

  it("takes little where a compressed array ends early or is none", function()
    local zeros = ("\0"):rep(100000000)
    for words, text in pairs { ["holds 100000000 bytes of elements (expected 12)"] = "\x93NUMPY\1\0"
      .. ("<s2"):pack(npy) .. zeros, ["is no .npy file"] = zeros } do
      expect.has(refused(deflated("a.npz", "a.npy", text), "tide.load"), words)
    end
    local idx = expect.write(folder .. "/x-idx1-ubyte",
      (">BBBBI4"):pack(0, 0, 8, 1, 100000001) .. zeros)
    assert(os.execute("gzip -9 -f " .. idx))
    expect.has(refused(idx .. ".gz", "core.idx_read"), "1 bytes are missing")
  end)

  it("takes little where a compressed pickle holds much", function()
    local load = [[function(path)
      local m = tide.Sequential { tide.layers.Dense { 4, input_shape = { 3 } } }
      tide.saving.load_torch(m, path)
    end]]
    assert(os.execute("mkdir -p " .. folder .. "/m"))
    local function pickled(text)
      return deflated("a.pt", "m/data.pkl", "\x80\2" .. text .. ".")
    end
    expect.has(refused(pickled(("]"):rep(40000000)), load), "16777216 are allowed")
    expect.has(refused(pickled(("]"):rep(16000000)), load), "describes more values")
    expect.has(refused(pickled(("<c1I4"):pack("X", 16000000) .. ("a"):rep(16000000)), load),
      "holds no dictionary")
  end)

  it("takes little where an archive's member is a pattern", function()
    expect.write(folder .. "/config.json", "{}")
    local path = deflated("p.keras", "model.weights.h5", ("0123456789abcdef"):rep(6000000))
    assert(os.execute(("cd %s && zip -q p.keras config.json"):format(folder)))
    expect.has(refused(path), "too well compressed")
  end)

  local function bomb(n)
    return '{"a":[' .. ("[],"):rep(n) .. "[]]}"
  end

  it("takes little where a member is larger than a configuration may be", function()
    expect.has(refused(archive { ["config.json"] = bomb(33000000) }), "16777216 are allowed")
  end)

  it("takes little where a member holds many values", function()
    local config = '{"class_name":"Sequential","config":{"layers":[]}}'
    expect.has(refused(archive { ["config.json"] = bomb(5500000) }),
      "values of the JSON take more than")
    expect.has(refused(archive { ["config.json"] = config, ["metadata.json"] = bomb(5500000) }),
      "values of the JSON take more than")
    local keys = {}
    for i = 1, 900000 do
      keys[i] = ('"%x":{"":0}'):format(i)
    end
    expect.has(refused(archive { ["config.json"] = "{" .. table.concat(keys, ",") .. "}" }),
      "values of the JSON take more than")
  end)

  local function safetensors(header, data)
    return expect.write(folder .. "/m.safetensors", ("<I8"):pack(#header) .. header .. (data or ""))
  end

  it("takes little where a safetensors header is large", function()
    expect.has(refused(safetensors(bomb(33000000))), "malformed")
    local entries = {}
    for i = 1, 100000 do
      entries[i] = ('"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'):format(i)
    end
    expect.has(refused(safetensors("{" .. table.concat(entries, ",") .. "}")), "no model")
  end)

  it("takes little where Tide's own description asks for large tensors", function()
    local tide = require "tide"
    local json = require "tide.utils.json"
    local model = tide.Sequential { tide.layers.Dense { 4, input_shape = { 3 } } }
    model:save(folder .. "/good.safetensors")
    local bytes = expect.read(folder .. "/good.safetensors")
    local n = ("<I8"):unpack(bytes)
    local header = json.decode(bytes:sub(9, 8 + n))
    for key in pairs(header.__metadata__) do -- checksums may be left out
      header.__metadata__[key] = key == "tide" and header.__metadata__[key] or nil
    end
    local good = header.__metadata__.tide
    for from, to in pairs {
      ['"units":4'] = '"units":400000000', ['"units":4,'] = '"units":12000000,',
      ['input_shape":%[null,3%]'] = 'input_shape":[null,900000000]',
      ['build_shape":%[null,3%]'] = 'build_shape":[null,2147483647]',
    } do
      local changed, count = good:gsub(from, to)
      assert(count > 0, from)
      header.__metadata__.tide = changed
      local path = safetensors(json.encode(header), bytes:sub(9 + n))
      if not from:find "^build" then
        refused(path)
      end
    end
  end)
end)
