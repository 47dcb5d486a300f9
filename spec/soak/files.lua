--- What is on the disk when saving fails or is killed.
--
--   files.lua --what faults|kills [--seconds S] [--runs N] [--seed N]
--
-- faults: at the n-th call of write, fsync, rename, close, open, ftruncate, fchmod and memfd_create
-- a save meets an error, a short write, or an interrupted call, in this process and in tide-hdf5,
-- for every format that is written. The file is the old one or the new one, the error is one of
-- Tide's, nothing else is left in the folder.
-- kills: a process that saves again and again is killed at random moments. The file loads, all its
-- weights come from one save, and it is not older than the last save that was told of; the next
-- save clears what the killed one left.
package.path = "./?.lua;" .. package.path
local common = require "spec.soak.common"
local o = common.arguments()
local faults, tide, core = common.faults(), require "tide", require "tide.core"
local errors = require "tide.errors"
local L = tide.layers

local folder = common.folder()

local function model()
  local m = tide.Sequential { L.Dense { 12, input_shape = { 6 } }, L.Dense { 3 } }
  m:compile { optimizer = "adam", loss = "mse" }
  return m
end

local net = model()
local function set(value)
  for _, w in ipairs(net.weights) do
    w:assign(tide.ops.full_like(w, value))
  end
end

-- The one value of all weights, or nil and what is there.
local function value_of(weights)
  local value
  for _, w in ipairs(weights) do
    local low, high = tide.ops.min(w):item(), tide.ops.max(w):item()
    if low ~= high or value and low ~= value then
      return nil, ("weights of %g, %g and %g"):format(value or low, low, high)
    end
    value = low
  end
  return value
end

local function of_model(path)
  return value_of(tide.load_model(path).weights)
end
local function whole(path)
  net:save(path)
end
local function of_weights(path)
  local other = model()
  other:load_weights(path)
  return value_of(other.weights)
end
local function weights(path)
  net:save_weights(path)
end
local function tensors(path)
  tide.save({ a = net.weights[1], b = net.weights[2] }, path)
end
local function of_tensors(path)
  local t = tide.load(path)
  return value_of { t.a, t.b }
end

-- How files are written and read.
local formats = {
  { "m.safetensors", whole, of_model }, { "m.keras", whole, of_model },
  { "m.h5", whole, of_model }, { "m.weights.h5", weights, of_weights },
  { "w.safetensors", weights, of_weights }, { "a.npz", tensors, of_tensors },
  { "a.safetensors", tensors, of_tensors },
  { "a.npy", function(path) tide.save(net.weights[1], path) end,
    function(path) return value_of { tide.load(path) } end },
}

-- Only the file itself is in the folder.
local function alone(name)
  local names = common.names(folder)
  return #names == 1 and names[1] == name, table.concat(names, " ")
end

local calls = { "write", "fsync", "rename", "close", "open", "ftruncate", "fchmod",
  "memfd_create" }
local kinds = {
  write = { "ENOSPC", "EIO", "EDQUOT", "EINTR", "half" }, fsync = { "EIO", "ENOSPC", "EINTR" },
  rename = { "EACCES", "EIO", "ENOSPC" }, close = { "EIO", "ENOSPC", "EINTR" },
  open = { "EACCES", "EROFS", "EMFILE", "EINTR" }, ftruncate = { "ENOSPC", "EIO" },
  fchmod = { "EIO" }, memfd_create = { "EMFILE" },
}

-- One save with a fault: "over" when nothing failed, else "new" or "old".
local function with_fault(format, call, kind, n, helper)
  local name, save, held = table.unpack(format)
  local path = folder .. "/" .. name
  local what = ("%s, %s %d of %s%s"):format(name, kind, n, call, helper and " in tide-hdf5" or "")
  set(1)
  save(path)
  set(2)
  if helper then
    faults.setenv("TIDE_FAULT", ("%s %d %s"):format(call, n, kind))
  else
    faults.call(call, n, kind)
  end
  local ok, e = pcall(save, path)
  local struck = faults.calm()
  if helper then
    faults.setenv("TIDE_FAULT", nil)
    struck = not ok
  end
  local fine, value, odd = pcall(held, path)
  local lonely, names = alone(name)
  common.check(lonely, ("%s: there are %s"):format(what, names))
  if ok then
    common.check(fine and value == 2, ("%s: saved, but %s"):format(what, odd or value))
  else
    -- what fails behind the rename (fsync of the folder, a close) has replaced the file
    local right = value == 1 or value == 2 and (call == "fsync" or call == "close"
      or call == "open")
    common.check(fine and right, ("%s: %s"):format(what, odd or tostring(value)))
    common.check(errors.is(e) and #tostring(e) > 10 and not tostring(e):find "attempt to",
      ("%s: %s"):format(what, tostring(e)))
    common.check(kind ~= "EINTR" and kind ~= "half",
      ("%s is no failure: %s"):format(what, tostring(e)))
  end
  return not struck and "over" or ok and "new" or "old"
end

local function all_faults()
  local finish = o.seconds and core.now() + o.seconds
  local runs, hits, skipped = 0, 0, 0
  for _, format in ipairs(formats) do
    for _, helper in ipairs(format[1]:find "h5$" and { false, true } or { false }) do
      for _, call in ipairs(calls) do
        for _, kind in ipairs(kinds[call]) do
          for n = 1, 40 do
            if finish and core.now() > finish then
              skipped = skipped + 1
              break
            end
            local how = with_fault(format, call, kind, n, helper)
            runs = runs + 1
            hits = hits + (how ~= "over" and 1 or 0)
            if how == "over" and (not helper or n > 2) then
              break
            end
          end
        end
      end
    end
    os.execute("rm -rf " .. folder .. "/*")
  end
  print(("%d saves with a fault, %d of them met it; %d kinds of fault not reached in time"):format(
    runs, hits, skipped))
  common.check(hits > 20, "no fault was met")
end

-- ---- kills ----

local function saver(format, path, told)
  for k = 1, math.maxinteger do
    set(k)
    format[2](path)
    local f = io.open(told, "w")
    f:write(k, "\n")
    f:close()
  end
end

local function all_kills()
  local finish = o.seconds and core.now() + o.seconds
  local told, runs, stale = os.tmpname(), 0, 0
  local limit = o.runs or (o.seconds and math.huge or 1000)
  while runs < limit and not (finish and core.now() > finish) do
    local format = formats[runs % #formats + 1]
    local path = folder .. "/" .. format[1]
    set(0)
    format[2](path)
    io.open(told, "w"):write "0\n":close()
    local moment = math.random() ^ 2 * 0.06
    local pid = faults.fork()
    if pid == 0 then
      saver(format, path, told)
    end
    faults.sleep(moment)
    faults.kill(pid)
    faults.wait(pid)
    runs = runs + 1
    local what = ("%s killed after %.4f s"):format(format[1], moment)
    local fine, value, odd = pcall(format[3], path)
    local last = tonumber(common.read(told)) or 0 -- empty where it was killed while it told
    common.check(fine and value and value >= last and value == math.floor(value),
      ("%s: %s, told of %d"):format(what, tostring(odd or value), last))
    stale = stale + (alone(format[1]) and 0 or 1)
    set(7)
    format[2](path)
    local lonely, names = alone(format[1])
    common.check(lonely, ("%s: the next save leaves %s"):format(what, names))
    os.execute("rm -rf " .. folder .. "/*")
  end
  os.remove(told)
  print(("%d kills, %d of them left a temporary file, which the next save cleared"):format(runs,
    stale))
end

print(("%s, seed %d"):format(o.what, o.seed))
if o.what == "kills" then
  all_kills()
else
  all_faults()
end
os.execute("rm -rf " .. folder)
common.finish()
