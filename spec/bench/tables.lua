-- CSV files as tables beside pandas, on one thread, in seconds of the processor: tide
-- spec/bench/tables.lua --python PY [--rounds 2]. Each is the best of three readings a round, both
-- by turns, since other programs of the machine take what they take from both.
local tide = require "tide"

local o = {}
for i = 1, #arg, 2 do
  o[arg[i]:sub(3)] = arg[i + 1]
end
if not o.python then
  io.stderr:write "spec/bench/tables.lua: --python names an interpreter that has pandas\n"
  os.exit(1)
end
local folder = os.tmpname()
os.remove(folder)
assert(os.execute("mkdir " .. folder))
local peer = ("OMP_NUM_THREADS=1 %s spec/bench/tables_peer.py %%s %s"):format(o.python, folder)
assert(os.execute(peer:format "make"))
tide.set_threads(1)

local names, best = {}, {}
local function note(name, who, seconds)
  if not best[name] then
    names[#names + 1], best[name] = name, {}
  end
  best[name][who] = math.min(best[name][who] or math.huge, seconds)
end

for _ = 1, tonumber(o.rounds) or 2 do
  for line in io.popen(peer:format "time"):lines() do
    local name, seconds = line:match "(%S+) (%S+)"
    note(name, "pandas", tonumber(seconds))
  end
  for _, name in ipairs(names) do
    for _ = 1, 3 do
      collectgarbage()
      local begun = os.clock()
      local t = tide.data.table(("%s/%s.csv"):format(folder, name))
      note(name, "tide", os.clock() - begun)
      assert(#t >= 400000)
    end
  end
end
print(("%-12s %10s %10s %8s"):format("file", "tide s", "pandas s", "ratio"))
for _, name in ipairs(names) do
  local b = best[name]
  print(("%-12s %10.3f %10.3f %8.2f"):format(name, b.tide, b.pandas, b.pandas / b.tide))
end
os.execute("rm -r " .. folder)
