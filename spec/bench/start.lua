--- What it costs to have Tide: `start.lua [TIMES]` starts lua5.4 so often (50) and prints medians as one JSON line: milliseconds
--- of `require "tide"` by the clock and by the processor, and the resident set after it, beside that of Lua alone.
local core = require "tide.core"

local times = tonumber(arg[1]) or 50
local resident = [[for l in io.lines '/proc/self/status' do local k = l:match '^VmRSS:%s*(%d+)' if k then print(k) end end]]

local function run(code)
  local begun = core.now()
  local pipe = io.popen(('lua5.4 -e "%s"'):format(code))
  local cpu, kilobytes = pipe:read("n", "n")
  pipe:close()
  return { wall = (core.now() - begun) * 1000, cpu = cpu * 1000, kilobytes = kilobytes }
end

local function median(list, key)
  table.sort(list, function(a, b)
    return a[key] < b[key]
  end)
  return list[#list // 2 + 1][key]
end

local with, without = {}, {}
for i = 1, times do
  with[i] = run("local t = os.clock() require 'tide' print(os.clock() - t) " .. resident)
  without[i] = run("local t = os.clock() print(os.clock() - t) " .. resident)
end
print(('{"workload": "start", "times": %d, "require_ms": %.2f, "cpu_ms": %.2f, "resident_mb": %.1f, "lua_resident_mb": %.1f}')
  :format(times, median(with, "wall") - median(without, "wall"), median(with, "cpu"), median(with, "kilobytes") / 1024,
    median(without, "kilobytes") / 1024))
