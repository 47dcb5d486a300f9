--- `tide doctor`: what is installed, which kernels and engines run here, and what would make it
--- faster.
local usage = [[
usage: tide doctor
Prints what Tide computes with on this machine, which of the packages that it can use are missing,
and what to do about it.]]

local function command(line)
  local pipe = io.popen(line .. " 2>/dev/null")
  local out = pipe and pipe:read "l"
  if pipe then
    pipe:close()
  end
  return out
end

-- Whether the program that reads and writes HDF5 runs: "runs", or why not.
local function hdf5(core)
  local ok, why = pcall(core.hdf5_encode, { { "/x", core.tensor(0) } }, "{}", "hdf5")
  return ok and "runs" or (tostring(why):gsub("^.-hdf5: ", ""))
end

-- What each finding costs, and how to mend it.
local function advice(config, core)
  local out = {}
  local function say(...)
    out[#out + 1] = string.format(...)
  end
  local limited = os.getenv "TIDE_ENGINE"
  if limited then
    say("TIDE_ENGINE=%s limits the engines; unset it to use all", limited)
  end
  for name, package in pairs { onednn = "libdnnl-dev", blas = "libopenblas-openmp-dev" } do
    local state = tostring(config[name])
    if not limited and (state:find("no library", 1, true) or state:find "^none") then
      say("%s does not run: %s; apt-get install %s", name, state, package)
    end
  end
  for name, package in pairs { sndfile = "libsndfile1", samplerate = "libsamplerate0" } do
    local state = tostring(config[name])
    if not state:find "^lib" then
      say("%s does not run: %s; apt-get install %s (%s)", name, state, package, name == "sndfile"
        and "FLAC, Ogg, AIFF and MP3 sound" or "sound at other sampling rates")
    end
  end
  if config.hdf5 ~= "runs" then
    say("Keras' .keras and .h5 files cannot be read or written: %s", config.hdf5)
  end
  if os.getenv "TIDE_CPU" then
    say("TIDE_CPU=%s holds the kernels at that level", os.getenv "TIDE_CPU")
  end
  local threads, cores = core.get_threads(), tonumber(command "nproc")
  if cores and threads < cores then
    say("%d of %d cores are used; see TIDE_THREADS and tide.set_threads", threads, cores)
  end
  if tostring(config.blas):find("Prescott", 1, true) then
    say "OpenBLAS does not know this CPU and runs its slowest kernels; set \z
      OPENBLAS_CORETYPE=Haswell or SkylakeX"
  end
  table.sort(out)
  return out
end

return function(...)
  if (...) == "--help" or (...) == "-h" then
    print(usage)
    return true
  elseif ... then
    io.stderr:write("tide doctor: unexpected argument '", tostring((...)), "'\n", usage, "\n")
    return false
  end
  local tide, core = require "tide", require "tide.core"
  local ones = tide.ones { 64, 64 } -- a product opens the engines
  ones:matmul(ones)
  local config = tide.config()
  config.rows[#config.rows + 1] = { "hdf5", hdf5(core) }
  print(config)
  print(string.format("%-10s %s", "lua", _VERSION))
  print(string.format("%-10s %s", "module", select(2, package.searchers.tide "tide.core")))
  local found = advice(config, core)
  print(#found == 0 and "nothing to mend" or "\n" .. table.concat(found, "\n"))
  return true
end
