--- The rows of `make bench`, each in a process of its own, beside the last run of this processor:
---
---     lua5.4 spec/bench/run.lua [--seconds S] [--threads N] [--store FILE] [--python PY] ROW ...
---     lua5.4 spec/bench/run.lua --levels "c v3" [--rounds R] [--margin 1.05] ROW ...
---
--- What a row measured is appended to FILE (build/bench/rows.jsonl) as a line of JSON, with date,
--- processor, level and threads. The ratio is this time / the last one: below 1 is faster.
---
--- With levels, each row runs at those that the machine has, turn by turn, and the best of R rounds
--- counts. Where a level takes more than `margin` times what a lower one takes, they run so many
--- rounds again, since noise only adds; what is still slower is said, and the exit status is 1.
local o = { store = "build/bench/rows.jsonl", rounds = "3", margin = "1.05",
  program = "build/tide" }
local rows = {}
do
  local i = 1
  while arg[i] do
    local key = arg[i]:match "^%-%-(%a+)$"
    if key then
      o[key] = arg[i + 1]
      i = i + 1
    else
      rows[#rows + 1] = arg[i]
    end
    i = i + 1
  end
end

-- Rows that print tables or texts of their own; nothing of them is stored.
local tables = {}
for _, name in ipairs { "attention", "steps", "products", "convolutions", "growth", "truth",
  "pictures" } do
  tables[name] = ("spec/bench/%s.lua"):format(name)
end

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  return pipe:close() and text
end

local function field(json, key)
  return json:match(('"%s": "([^"]*)"'):format(key))
    or tonumber(json:match(('"%s": ([-%%d.eE+]+)'):format(key)))
end

local function processor()
  local name, family, model
  local f = io.open "/proc/cpuinfo"
  for line in f and f:lines() or function() end do
    name = name or line:match "^model name%s*:%s*(.*)"
    family = family or line:match "^cpu family%s*:%s*(%d+)"
    model = model or line:match "^model%s*:%s*(%d+)"
  end
  if f then
    f:close()
  end
  return ("%s, family %s, model %s"):format((name or "unknown"):gsub('["\\]', ""), family or "?",
    model or "?")
end

local function settings(level)
  return (level and "TIDE_CPU=" .. level .. " " or "")
    .. (o.threads and ("TIDE_THREADS=%s "):format(o.threads) or "")
end

-- The level that runs, and on how many threads.
local function facts(level)
  local text = output(settings(level) .. o.program
    .. [[ -e 'local c = require "tide.core" print(c.cpu_level, c.get_threads())']])
  local is, threads = (text or ""):match "(%S+)%s+(%d+)"
  if not is then
    error(o.program .. " does not run", 0)
  end
  return is, tonumber(threads)
end

local function measured(row, level)
  local command = row == "start" and "lua5.4 spec/bench/start.lua"
    or ("%s spec/bench/peers.lua %s --seconds %s"):format(o.program, row, o.seconds or "10")
  local text = output(settings(level) .. command)
  return text and text:match "%b{}" or error(("the row %s gives nothing"):format(row), 0)
end

local function ms_of(json)
  return field(json, "ms") or field(json, "require_ms")
end

-- ---- the store ----

local cpu = processor()

local function key(row, level, threads)
  return ("%s|%s|%s|%d"):format(cpu, row, level, threads)
end

local last = {}
do
  local f = io.open(o.store)
  for line in f and f:lines() or function() end do
    if field(line, "cpu") == cpu then
      last[key(field(line, "workload"), field(line, "level"), field(line, "threads"))] = line
    end
  end
  if f then
    f:close()
  end
  os.execute(("mkdir -p '%s'"):format(o.store:match "^(.*)/" or "."))
end

local function store(json, level, threads)
  local f = assert(io.open(o.store, "a"))
  f:write(('{"date": "%s", "cpu": "%s", "level": "%s", "threads": %d, %s\n'):format(
    os.date "!%Y-%m-%dT%H:%M:%SZ", cpu, level, threads, json:sub(2)))
  f:close()
end

local function beside_last(row, ms, level, threads)
  local before = last[key(row, level, threads)]
  return before and ("%.2f of %s"):format(ms / ms_of(before), field(before, "date"):sub(1, 16))
    or "first run here"
end

-- ---- one row beside the last run ----

local function run_row(row, level, threads)
  local json = measured(row)
  local ms, mb = ms_of(json), field(json, "peak_mb") or field(json, "tensor_mb")
  print(("  %-16s %10.4f ms %8.0f MB   first %5.2f s   %s"):format(row, ms, mb,
    field(json, "first_s") or ms / 1e3, beside_last(row, ms, level, threads)))
  store(json, level, threads)
end

-- ---- levels beside each other ----

-- The best lines of a row, by level; `best` holds those of earlier rounds.
local function rounds(row, levels, best)
  for _ = 1, tonumber(o.rounds) do
    for _, level in ipairs(levels) do
      local json = measured(row, level.name)
      if not best[level.is] or ms_of(json) < ms_of(best[level.is]) then
        best[level.is] = json
      end
    end
  end
  return best
end

-- What is slower than a lower level, as texts.
local function slower(levels, best)
  local said = {}
  for i, high in ipairs(levels) do
    for k = 1, i - 1 do
      local ratio = ms_of(best[high.is]) / ms_of(best[levels[k].is])
      if ratio > tonumber(o.margin) then
        said[#said + 1] = ("%s takes %.2f of %s"):format(high.is, ratio, levels[k].is)
      end
    end
  end
  return said
end

local function run_levels()
  local levels = {}
  for name in o.levels:gmatch "%S+" do
    local is, threads = facts(name)
    if is == name or is:match "%-([^-]+)$" == name then
      levels[#levels + 1] = { name = name, is = is, threads = threads }
    else
      print(("  this build and machine have no level %s"):format(name))
    end
  end
  local wrong = 0
  for _, row in ipairs(rows) do
    if not tables[row] then
      local best = rounds(row, levels, {})
      local said = slower(levels, best)
      if said[1] then
        said = slower(levels, rounds(row, levels, best))
      end
      local cells = {}
      for i, level in ipairs(levels) do
        cells[i] = ("%s %.4f ms (%s)"):format(level.is, ms_of(best[level.is]),
          beside_last(row, ms_of(best[level.is]), level.is, level.threads))
        store(best[level.is], level.is, level.threads)
      end
      print(("  %-16s %s%s"):format(row, table.concat(cells, "   "),
        said[1] and "   SLOWER: " .. table.concat(said, ", ") or ""))
      wrong = wrong + (said[1] and 1 or 0)
    end
  end
  print(("%d rows slower at a higher level"):format(wrong))
  return wrong == 0
end

-- ---- all ----

local function run_table(row)
  local command = settings() .. o.program .. " " .. tables[row]
  for _, name in ipairs { "seconds", "python", "parts" } do
    command = command .. (o[name] and (" --%s '%s'"):format(name, o[name]) or "")
  end
  return os.execute(command)
end

io.stdout:setvbuf "line"
local good = true
if o.levels then
  good = run_levels()
else
  local level, threads = facts()
  print(("%s; %s, threads: %d"):format(cpu, level, threads))
  for _, row in ipairs(rows) do
    if tables[row] then
      good = run_table(row) and good
    else
      run_row(row, level, threads)
    end
  end
end
os.exit(good)
