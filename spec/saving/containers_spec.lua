local expect = require "spec.support.expect"
local core = require "tide.core"
local none = require "tide.none"
local read_h5 = require "spec.support.h5"

local folder = "spec/fixtures/hdf5/"

local message = expect.message

local function temporary(text, mode)
  local path = os.tmpname()
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  if mode then
    os.execute("chmod " .. mode .. " " .. path)
  end
  return path
end

local function by_name(entries)
  local out = {}
  for _, e in ipairs(entries) do
    out[e.name:sub(2)] = e.tensor
  end
  return out
end

describe("core.hdf5_open", function()
  it("reads every type that tensors have, of either byte order and packed", function()
    local t = by_name((read_h5(folder .. "types.h5")))
    for name, want in pairs {
      f16 = { "float16", { 1.5, -2 } }, f32 = { "float32", { { 1.5, -2 } } },
        f64_big_endian = { "float64", { 1.5, -2 } },
      i8 = { "int8", { -3 } }, u8 = { "uint8", { 200 } }, i16 = { "int32", { -300 } },
        u16 = { "int32", { 60000 } },
      i32 = { "int32", { -70000 } }, u32 = { "int64", { 4000000000 } },
        i64 = { "int64", { -5000000000 } },
      bool = { "bool", { true, false, true } }, bf16 = { "bfloat16", { 1.5, -2 } },
    } do
      assert.equal(want[1], t[name].dtype, name)
      assert.same(want[2], t[name]:tolist(), name)
    end
    assert.equal(7, t.scalar:tolist())
    assert.equal("[0, 3]", tostring(t.empty.shape))
    local values = t.squeezed:tolist()
    for i = 1, 3200 do
      assert.equal((i - 1) % 64, values[i])
    end
    assert.is_nil(t.text)
  end)

  it("gives attributes of every form, and says what is no tensor", function()
    local _, text = read_h5(folder .. "types.h5")
    local a = core.json_decode(text, none)
    local top = a["/"]
    assert.equal("größer", top.utf8)
    assert.equal("fixed", top.fixed)
    assert.same({ "a", "bc" }, top.list)
    assert.same({ "a", "bc" }, top.fixed_list)
    assert.same({}, top.none)
    assert.equal(1.5, top.number)
    assert.equal(3, top.whole)
    assert.same({ 1.0, 2.0 }, top.numbers)
    assert.truthy(a["/text"]["@unsupported"])
  end)

  it("gives names and shapes alone where no data are asked for", function()
    local _, entries = core.hdf5_open(folder .. "types.h5")
    assert.equal(15, #entries)
    for _, e in ipairs(entries) do
      assert.is_nil(e.tensor)
    end
  end)

  it("gives the data of those datasets that are asked for", function()
    local path, list = temporary "", {}
    for i = 1, 5 do -- more than comes with the names
      list[i] = { "/d" .. i, core.full({ 1000000 }, i) }
    end
    core.blob_write(path, core.hdf5_encode(list, "{}"))
    local file <close>, entries = core.hdf5_open(path)
    assert.equal(5, #entries)
    local before = core.memory().live_bytes
    local some = core.hdf5_fetch(file, { 4, 2 })
    assert.is_true(core.memory().live_bytes - before < 9e6)
    assert.same({ 4, 4000000, 2, 2000000 }, { some[1][1], core.ops.sum(some[1]):tolist(),
      some[2][1], core.ops.sum(some[2]):tolist() })
    assert.same({}, core.hdf5_fetch(file, {}))
    assert.equal(2, core.hdf5_fetch(file, { 2 })[1][7])
    for words, places in pairs { ["no dataset 6"] = { 6 }, ["no dataset 0"] = { "x" },
      ["stands twice"] = { 1, 1 }, ["more positions"] = { 1, 2, 3, 4, 5, 1 } } do
      assert.truthy(message(core.hdf5_fetch, file, places):find(words, 1, true), words)
    end
    local other = assert(io.open(path, "r+b")) -- the same file
    list[1] = { "/x1", list[1][2] }
    local changed = temporary ""
    core.blob_write(changed, core.hdf5_encode(list, "{}"))
    local f = assert(io.open(changed, "rb"))
    other:write(f:read "a")
    other:close()
    f:close()
    assert.truthy(message(core.hdf5_fetch, file, { 1 }):find("changed while it was read", 1, true))
    assert.truthy(message(core.hdf5_fetch, {}, { 1 }):find("takes an open file", 1, true))
    os.remove(path)
    os.remove(changed)
  end)

  for name, words in pairs {
    soft_link = "/b: a soft link", external_link = "/b: an external link",
      external_data = "/b: data outside of the file",
    virtual = "/b: virtual datasets are not followed", filter = "/b: filter 32000",
    huge = "declares 4398046511104 bytes and stores 0",
    bomb = "/b: declares 16777216 bytes and stores", cycle = "linked more than once",
      twice = "linked more than once",
    deep = "nested deeper than 64", cut = "not an HDF5 file, or a damaged one",
  } do
    it("refuses " .. name .. " and names the place", function()
      local e = message(read_h5, folder .. name .. ".h5")
      assert.truthy(e:find(words, 1, true), e)
      assert.truthy(e:find(folder .. name .. ".h5", 1, true), e)
    end)
  end

  -- three bytes of types.h5 were changed, found by damaging it at random
  it("ends on a file whose damage has libhdf5 search for ever", function()
    local e = message(read_h5, folder .. "endless.h5")
    assert.truthy(e:find("exceeded its limit of time", 1, true), e)
  end)

  it("keeps to the bytes allowed", function()
    local e = message(read_h5, folder .. "types.h5", nil, 1000)
    assert.truthy(e:find("more than the 1000 bytes allowed", 1, true))
  end)

  it("refuses what is missing, a folder, or no HDF5", function()
    assert.truthy(message(read_h5, "/no/such/file.h5"):find("cannot open", 1, true))
    assert.truthy(message(read_h5, "/tmp"):find("not a regular file", 1, true))
    local empty = temporary ""
    assert.truthy(message(read_h5, empty):find("not an HDF5 file", 1, true))
    os.remove(empty)
  end)
end)

describe("the separate HDF5 program", function()
  local program

  local function stand_in(script, timeout)
    program = temporary("#!/bin/sh\n" .. script .. "\n", "755")
    core.hdf5_program(program, timeout)
  end

  after_each(function()
    core.hdf5_program()
    if program then
      os.remove(program)
    end
    assert.equal(15, #read_h5(folder .. "types.h5")) -- nothing of it is left
  end)

  local function read()
    return message(read_h5, folder .. "types.h5")
  end

  it("may crash: one error, and the next file is read", function()
    stand_in "kill -SEGV $$"
    assert.truthy(read():find("crashed on it (signal 11", 1, true))
  end)

  it("may crash in the middle of its answer", function()
    stand_in "printf '\\100\\0\\0\\0\\0\\0\\0\\0{\"__meta'; kill -BUS $$"
    assert.truthy(read():find("crashed on it (signal 7", 1, true))
  end)

  it("may exceed its limits", function()
    stand_in "kill -XCPU $$"
    assert.truthy(read():find("exceeded its limit of time or memory", 1, true))
  end)

  it("may fall silent", function()
    stand_in("exec sleep 100", 200)
    assert.truthy(read():find("was silent", 1, true))
  end)

  it("is ended by Ctrl-C, which comes from it here", function()
    local mark = temporary ""
    stand_in("echo $$ >" .. mark .. "; kill -INT $PPID; exec sleep 20")
    local script = temporary(("local tide = require 'tide'; local core = require 'tide.core'\n"
      .. "core.hdf5_program(%q)\n"
      .. "print(pcall(core.hdf5_open, %q))"):format(program, folder .. "types.h5"))
    local pipe = io.popen(expect.command .. " " .. script)
    assert.truthy(pipe:read("a"):find("interrupted!", 1, true))
    pipe:close()
    assert.is_nil(os.execute("kill -0 $(cat " .. mark .. ") 2>/dev/null"))
    os.remove(mark)
    os.remove(script)
  end)

  it("reports a file that may not grow, and a file in memory that may not", function()
    local program_ = ([[
      local core = require "tide.core"
      print(pcall(core.hdf5_encode, { { "/a", core.zeros { 9000 } } }, "{}"))
    ]])
    local script = temporary(program_)
    local pipe = io.popen("sh -c 'ulimit -f 8; " .. expect.lua:gsub("'", '"') .. " " .. script
      .. "' 2>&1")
    local text = pipe:read "a"
    pipe:close()
    os.remove(script)
    assert.truthy(text:find("cannot be written: File too large", 1, true), text)
  end)

  it("is not believed when its answer is damaged or missing", function()
    stand_in "exit 0"
    assert.truthy(read():find("ended without an answer", 1, true))
    os.remove(program)
    stand_in "printf '\\2\\0\\0\\0\\0\\0\\0\\0{}\\1\\2\\3\\4TIDE'"
    assert.truthy(read():find("answer is damaged", 1, true))
    os.remove(program)
    stand_in "printf '\\377\\377\\377\\377\\377\\377\\377\\377'"
    assert.truthy(read():find("answer is damaged", 1, true))
  end)

  it("cannot make tensors of other sizes than it sends, or of no dtype", function()
    local header = '{"/a":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,8]}}'
    stand_in(("printf '\\%o\\0\\0\\0\\0\\0\\0\\0%s12345678'"):format(#header,
      header:gsub("\\", "\\\\")))
    assert.truthy(read():find("data_offsets span 8 bytes", 1, true))
  end)

  it("may be missing", function()
    core.hdf5_program "/no/such/program"
    assert.truthy(read():find("which is not there", 1, true))
  end)

  it("fails alike when writing", function()
    local tensor = core.tensor { 1, 2 }
    stand_in "kill -SEGV $$"
    assert.truthy(message(core.hdf5_encode, { { "/a", tensor } }, "{}"):find("crashed", 1, true))
    os.remove(program)
    stand_in "cat >/dev/null; printf '\\20\\0\\0\\0\\0\\0\\0\\0abcd\\0\\0\\0\\0TIDE'"
    assert.truthy(message(core.hdf5_encode, { { "/a", tensor } }, "{}"):find("damaged", 1, true))
  end)
end)

describe("core.hdf5_encode", function()
  it("writes what hdf5_open reads: dtypes, shapes, attributes", function()
    local list = {}
    for _, d in ipairs { "float32", "float64", "int64", "int32", "uint8", "int8", "bool",
      "float16", "bfloat16" } do
      list[#list + 1] = { "/g/" .. d, core.tensor({ { 1, 0 }, { 1, 1 } }, { dtype = d }) }
    end
    list[#list + 1] = { "/g/scalar", core.tensor(2.5) }
    local attributes =
      '{"/":{"a":"größer","l":["x","yz"],"n":[],"f":1.5,"i":3,"s":{"ascii":"plain"}},"/empty":{}}'
    local path = os.tmpname()
    core.blob_write(path, core.hdf5_encode(list, attributes))
    local entries, text = read_h5(path)
    local bytes = core.read_file(path, 1000000)
    os.remove(path)
    local got = by_name(entries)
    for _, item in ipairs(list) do
      local name = item[1]:sub(2)
      assert.equal(item[2].dtype, got[name].dtype)
      assert.same(item[2]:tolist(), got[name]:tolist())
    end
    local a = core.json_decode(text)
    assert.same({ a = "größer", l = { "x", "yz" }, n = {}, f = 1.5, i = 3, s = "plain" }, a["/"])
    assert.same({}, a["/empty"])
    -- what Keras reads as a bfloat16: two opaque bytes as h5py writes them, and this attribute
    assert.same({ dtype = "bfloat16" }, a["/g/bfloat16"])
    assert.is_nil(bytes:find("NUMPY", 1, true))
  end)

  it("refuses two tensors of one name", function()
    local t = core.tensor(1)
    assert.truthy(message(core.hdf5_encode, { { "/a", t }, { "/a", t } }, "{}"):find("unique", 1,
      true))
  end)

  it("gives the same bytes for the same content", function()
    local paths = { os.tmpname(), os.tmpname() }
    local texts = {}
    for i, path in ipairs(paths) do
      core.blob_write(path, core.hdf5_encode({ { "/a", core.tensor { 1, 2 } } }, '{"/":{"x":"y"}}'))
      local f = io.open(path, "rb")
      texts[i] = f:read "a"
      f:close()
      os.remove(path)
    end
    assert.equal(texts[1], texts[2])
  end)
end)

describe("core.zip_open", function()
  for name, words in pairs {
    dots = "leads out of the archive", absolute = "leads out of the archive",
      backslash = "leads out of the archive",
    long_name = "too long", zip_link = "is a link", doubled = "damaged", claims = "damaged",
  } do
    it("refuses " .. name, function()
      local e = message(core.zip_open, folder .. name .. ".keras")
      assert.truthy(e:find(words, 1, true), e)
    end)
  end

  it("reads stored and deflated members within the bytes allowed", function()
    local z, members = core.zip_open(folder .. "deflated.keras")
    assert.equal("config.json", members[1].name)
    assert.equal(members[1].size, #core.zip_read(z, "config.json"))
    assert.truthy(message(core.zip_read, z, "config.json", 1000):find("1000 are allowed", 1, true))
    assert.truthy(message(core.zip_read, z, "other"):find("no member 'other'", 1, true))
  end)

  it("sees a damaged member by its checksum", function()
    local path = os.tmpname()
    core.zip_write(path, { { "a", ("x"):rep(100) } })
    local f = io.open(path, "rb")
    local text = f:read "a"
    f:close()
    f = io.open(path, "wb")
    f:write((text:gsub("xxxx", "xxyx", 1)))
    f:close()
    assert.truthy(message(core.zip_read, (core.zip_open(path)), "a"):find("damaged", 1, true))
    os.remove(path)
  end)

  it("refuses what is no archive", function()
    assert.truthy(message(core.zip_open, folder .. "types.h5"):find("not a zip archive", 1, true))
    assert.truthy(message(core.zip_open, "/no/such.keras"):find("cannot open", 1, true))
  end)

  it("writes members and reads them again", function()
    local path = os.tmpname()
    core.zip_write(path, { { "a/b.txt", "hello" }, { "empty", "" } })
    local z, members = core.zip_open(path)
    assert.equal(2, #members)
    assert.equal("hello", core.zip_read(z, "a/b.txt"))
    assert.equal("", core.zip_read(z, "empty"))
    os.remove(path)
  end)
end)
