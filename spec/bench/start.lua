--- What it costs to have Tide: `start.lua [TIMES]` starts lua5.4 so often (50) and prints medians
--- as one JSON line: milliseconds of `require "tide"`, and until there is a first tensor, by the
--- clock and by the processor; the resident set then, beside that of Lua alone.
local core = require "tide.core"

local times = tonumber(arg[1]) or 50
local resident = [[for l in io.lines '/proc/self/status' do
  local k = l:match '^VmRSS:%s*(%d+)' if k then print(k) end end]]

local function run(code)
  local begun = core.now()
  local timed = 'lua5.4 -e "local t = os.clock() %s print(os.clock() - t) %s"'
  local pipe = io.popen(timed:format(code, resident))
  local cpu, kilobytes = pipe:read("n", "n")
  pipe:close()
  return { ms = (core.now() - begun) * 1000, cpu = cpu * 1000, mb = kilobytes / 1024 }
end

local codes = { "", "require 'tide'", "require 'tide'.ones { 2 }" }
local runs = { {}, {}, {} }
for i = 1, times do
  for k, code in ipairs(codes) do
    runs[k][i] = run(code)
  end
end

local function median(k, key)
  table.sort(runs[k], function(a, b)
    return a[key] < b[key]
  end)
  return runs[k][times // 2 + 1][key]
end

local row = '{"workload": "start", "times": %d, "lua_mb": %.1f, "require_ms": %.2f, '
  .. '"require_cpu_ms": %.2f, "require_mb": %.1f, "tensor_ms": %.2f, "tensor_cpu_ms": %.2f, '
  .. '"tensor_mb": %.1f}'
local alone = median(1, "ms")
print(row:format(times, median(1, "mb"), median(2, "ms") - alone, median(2, "cpu"), median(2, "mb"),
  median(3, "ms") - alone, median(3, "cpu"), median(3, "mb")))
