-- What a file that is refused may take: at most twice its size and 64 MB, seen from outside as the
-- most that a process of its own had in memory.
local expect = require "spec.support.expect"

describe("a model file that is refused", function()
  local folder

  setup(function()
    folder = expect.folder()
  end)
  teardown(function()
    os.execute("rm -r " .. folder)
  end)

  -- Loads the file in a process of its own: its message; raises where it took more than allowed.
  local function refused(path)
    local script = expect.write(folder .. "/load.lua", [[
      local tide = require "tide"
      local ok, e = pcall(tide.load_model, arg[1])
      assert(not ok, "the file was not refused")
      local status = assert(io.open "/proc/self/status"):read "a"
      print(status:match "VmHWM:%s*(%d+) kB", tostring(e))
    ]])
    local pipe = io.popen(("%s %s %s 2>&1"):format(expect.command, script, path))
    local text = pipe:read "a"
    pipe:close()
    local most, message = text:match "^(%d+)\t(.*)"
    assert(most, text)
    local file = assert(io.open(path))
    local allowed = 2 * file:seek "end" // 1024 + 64 * 1024
    file:close()
    assert(tonumber(most) <= allowed, ("%s kB, %d allowed: %s"):format(most, allowed, message))
    return message
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
