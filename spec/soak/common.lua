--- What the harnesses of this folder share: their arguments, the module of faults, the sum.
local common = {}

--- `--seconds 60 --seed 7` as a table of numbers and words.
function common.arguments()
  local o = {}
  for i = 1, #arg do
    local name = arg[i]:match "^%-%-(%w+)$"
    if name then
      o[name] = math.tointeger(tonumber(arg[i + 1])) or arg[i + 1] or true
    end
  end
  o.seed = o.seed or math.tointeger(tonumber(os.getenv "TIDE_FUZZ_SEED" or os.time()))
  math.randomseed(o.seed)
  return o
end

--- The module of faults.c, which the process must have been started with (LD_PRELOAD).
function common.faults()
  local path = assert(os.getenv "TIDE_FAULTS", "TIDE_FAULTS names the library of faults.c")
  return assert(package.loadlib(path, "luaopen_faults"))()
end

--- An empty folder.
function common.folder()
  local path = os.tmpname()
  os.remove(path)
  assert(os.execute("mkdir -p " .. path))
  return path
end

--- The names in a folder, sorted.
function common.names(folder)
  local out = {}
  local pipe = assert(io.popen("ls -A " .. folder))
  for name in pipe:lines() do
    out[#out + 1] = name
  end
  pipe:close()
  return out
end

function common.read(path)
  local f <close> = assert(io.open(path, "rb"))
  return f:read "a"
end

local passed, failed = 0, 0
--- Counts a check; says what failed.
function common.check(ok, what)
  if ok then
    passed = passed + 1
  else
    failed = failed + 1
    if failed <= 100 then
      print("FAILED " .. what)
    end
  end
  return ok
end

--- The last line, and the end of the process.
function common.finish()
  print(("%d passed, %d failed"):format(passed, failed))
  io.stdout:flush()
  os.exit(failed == 0 and passed > 0 and 0 or 1, true)
end

return common
