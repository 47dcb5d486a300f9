--- Which files are opened, and which programs started, by loading each format and by the prompt's
--- start: strace says so, and everything that is not Tide's own, the system's libraries or the file
--- named is a complaint. Where strace is missing or may not
--- trace, that is said and nothing is checked.
package.path = "./?.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path
local common = require "spec.soak.common"
common.arguments()
local program = os.getenv "TIDE_PROGRAM"

local function run(command)
  local pipe = assert(io.popen(command))
  local out = pipe:read "a"
  return pipe:close(), out
end

if not run "strace -f -e trace=none true 2>/dev/null" then
  print "strace is missing or may not trace here: what loading opens was not looked at"
  os.exit(0)
end

local root = select(2, run "pwd -P"):gsub("\n", "")
local folder = common.folder()

-- Read by the C library, the loader and the libraries that Tide opens, whatever Tide does.
local of_system = { "^/lib", "^/usr/lib", "^/usr/local/lib", "^/etc/ld%.so", "^/proc/", "^/sys/",
  "^/dev/null$", "^/dev/tty$", "^/etc/localtime$", "^/usr/share/zoneinfo", "^/usr/share/locale",
  "^/usr/share/terminfo", "^/lib/terminfo", "^/etc/terminfo", "^/usr/share/i18n", "^/dev/urandom$",
  "^/etc/inputrc$", "^/etc/editrc$", "^/usr/share/lua/5%.4/tide", "^/usr/share/gconv",
  "^/etc/libibverbs", "^pipe:", "^/etc/passwd$", "^/etc/nsswitch" }
local of_tide = { root .. "/lua/tide/", root .. "/lua/tide.lua", root .. "/" .. "build" }

local function known(path, named)
  for _, prefix in ipairs(of_tide) do
    if path:sub(1, #prefix) == prefix then
      return true
    end
  end
  for _, name in ipairs(named) do
    if path == name or path == name:match "^(.*)/[^/]*$" then
      return true
    end
  end
  for _, pattern in ipairs(of_system) do
    if path:find(pattern) then
      return true
    end
  end
end

-- Traces a command; checks what it opened with success, and what it started.
local function traced(what, command, named, programs)
  local log = os.tmpname()
  local ok, said = run(("cd %s && strace -f -qq -o %s -e trace=open,openat,creat,execve,socket,\z
    connect,unlink,rename %s 2>&1 </dev/null"):format(folder, log, command))
  common.check(ok, what .. ": " .. said:sub(-300))
  local started = {}
  for line in io.lines(log) do
    local call, rest = line:match "^%d*%s*(%w+)%((.*)"
    local fine = line:match "= (%-?%d+)"
    local path = rest and rest:match '"([^"]*)"'
    if call == "execve" and fine == "0" then
      started[#started + 1] = path
    elseif (call == "socket" or call == "connect") and not line:find "AF_UNIX" then
      common.check(false, what .. " opens a socket: " .. line)
    elseif (call == "unlink" or call == "rename" or call == "creat") and fine == "0" then
      common.check(false, what .. " changes the disk: " .. line)
    elseif path and fine and tonumber(fine) >= 0 then
      if path:sub(1, 1) ~= "/" then
        path = folder .. "/" .. path
      end
      common.check(not line:find "O_WRONLY" and not line:find "O_RDWR" or path:find "^/dev/"
        or path:find "^/proc", what .. " opens for writing: " .. line)
      common.check(known(path, named), what .. " opens " .. path)
    end
  end
  os.remove(log)
  local names = {}
  for i = 2, #started do -- the first is the program itself
    local name = started[i]:match "[^/]*$"
    names[#names + 1] = name
    common.check((" " .. programs .. " "):find(" " .. name .. " ", 1, true),
      what .. " starts " .. started[i])
  end
  print(("%-18s starts %s"):format(what, #names > 0 and table.concat(names, " ") or "nothing"))
end

-- The files, made by a process that is not looked at; what would be run if names led to code lies
-- beside them.
local make = [[
  local tide = require "tide"
  local L = tide.layers
  local m = tide.Sequential { L.Dense { 3, input_shape = { 4 } }, L.Dense { 2 } }
  m:compile { optimizer = "adam", loss = "mse" }
  for _, name in ipairs { "m.keras", "m.h5", "m.safetensors" } do m:save(name) end
  m:save_weights "w.weights.h5"
  m:save_weights "w.safetensors"
  m:save_weights("s.weights.json")
  m:save("folder", { zipped = false })
  tide.save({ a = tide.ones { 2 } }, "t.safetensors")
  local idx = assert(io.open("x-idx1-ubyte", "wb"))
  idx:write((">BBBBI4BBB"):pack(0, 0, 8, 1, 3, 1, 2, 3))
  idx:close()
  tide.saving.save_torch(m, "state.safetensors")
  tide.save({ a = tide.ones { 2 } }, "a.npz")
  tide.save(tide.ones { 2 }, "a.npy")
  tide.image.save("p.png", tide.ones { 4, 4, 3 } * 9)
  tide.image.save("p.jpg", tide.ones { 4, 4, 3 } * 9)
  tide.audio.save("s.wav", tide.ones { 20, 1 } / 2, 8000)
  tide.audio.save("s.flac", tide.ones { 20, 1 } / 2, 8000)
  local t = tide.tokenizers.BPE():train({ "a cat", "a mat" }, { vocab_size = 8 })
  t:save "tokenizer.json"
  local file = assert(io.open("c.csv", "w"))
  file:write "a,b\n1,x\n2,y\n"
  file:close()
]]
local f = assert(io.open(folder .. "/make.lua", "w"))
f:write(make)
f:close()
assert(run(("cd %s && %s make.lua && rm make.lua"):format(folder, program)))
assert(run(("cd %s && gzip -k x-idx1-ubyte && mkdir pictures && cp p.png p.jpg pictures"):format(
  folder)))
local given = {}
for name, from in pairs { ["p.gif"] = "pictures/gif_plain.gif", ["p.bmp"] = "pictures/bmp_8.bmp",
  ["p.tga"] = "formats/rgb24_rle.tga", ["p.psd"] = "formats/rgb.psd", ["p.hdr"] = "formats/rle.hdr",
  ["state.pt"] = "../fixtures/torch/mlp.pt" } do
  assert(run(("cp spec/ref/%s %s/%s"):format(from, folder, name)))
  given[#given + 1] = name
end
table.sort(given)
os.execute(("mkdir -p %s/tide/cli && echo 'os.exit(7)' | tee %s/tide/core.lua %s/tide/init.lua \z
  %s/tide.lua %s/Dense.lua >/dev/null"):format(folder, folder, folder, folder, folder))

local weights = "local L = require('tide').layers; local m = require('tide').Sequential { \z
  L.Dense { 3, input_shape = { 4 } }, L.Dense { 2 } }; \z
  m:compile { optimizer = 'adam', loss = 'mse' } m:load_weights '%s'"
local rows = {
  { "m.keras", "require('tide').load_model '%s'", "tide-hdf5" },
  { "m.h5", "require('tide').load_model '%s'", "tide-hdf5" },
  { "m.safetensors", "require('tide').load_model '%s'", "" },
  { "w.weights.h5", weights, "tide-hdf5" }, { "w.safetensors", weights, "" },
  { "a.npz", "require('tide').load '%s'", "" }, { "a.npy", "require('tide').load '%s'", "" },
  { "p.png", "require('tide').image.load '%s'", "" },
  { "p.jpg", "require('tide').image.load '%s'", "" },
  { "s.wav", "require('tide').audio.load '%s'", "" },
  { "s.flac", "require('tide').audio.load '%s'", "" },
  { "tokenizer.json", "require('tide').tokenizers.load '%s'", "" },
  { "c.csv", "local d = require('tide').data.make_csv_dataset('%s', { batch_size = 2, \z
    num_epochs = 1 }); for _ in d:iter() do end", "" },
  { "s.weights.json", weights, "tide-hdf5", "s_00000.weights.h5" },
  { "folder", "require('tide').load_model '%s'", "tide-hdf5", "folder/config.json",
    "folder/metadata.json", "folder/model.weights.h5" },
  { "t.safetensors", "require('tide').load '%s'", "" },
  { "x-idx1-ubyte", "require('tide.core').idx_read '%s'", "" },
  { "x-idx1-ubyte.gz", "require('tide.core').idx_read '%s'", "" },
  { "state.safetensors", "local L = require('tide').layers; \z
    local m = require('tide').Sequential { L.Dense { 3, input_shape = { 4 } }, L.Dense { 2 } }; \z
    require('tide').saving.load_torch(m, '%s')", "" },
  { "pictures", "local d = require('tide').utils.image_dataset_from_directory { '%s', \z
    labels = false, image_size = { 4, 4 } }; local x = d:next(); assert(x.shape[1] == 2)", "",
    "pictures/p.png", "pictures/p.jpg" },
}
for _, name in ipairs(given) do
  rows[#rows + 1] = { name, name:find "pt$" and "require('tide.saving.torch.pickle').open '%s'"
    or "require('tide').image.load '%s'", "" }
end
for _, row in ipairs(rows) do
  local named = { folder .. "/" .. row[1] }
  for i = 4, #row do
    named[#named + 1] = folder .. "/" .. row[i]
  end
  traced(row[1], ('%s -e "%s"'):format(program, row[2]:format(row[1])), named, row[3])
end
traced("tide inspect", program .. " inspect m.keras", { folder .. "/m.keras" }, "tide-hdf5")
traced("the prompt", ("env HOME=%s XDG_STATE_HOME=%s XDG_CONFIG_HOME=%s %s -i -e 1"):format(folder,
  folder, folder, program), { folder .. "/tide/init.lua", folder .. "/tide/history" }, "tide")
os.execute("rm -rf " .. folder)
common.finish()
