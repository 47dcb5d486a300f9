-- Coverage without packages. Run before a program (LUA_INIT=@.../coverage.lua,
-- TIDE_COVERAGE=PREFIX) it counts which lines of lua/tide run, and from which line each was
-- reached, and writes PREFIX.<n>.cov when the state closes. As a program, `coverage.lua DIR` sums
-- what such runs left in DIR: the C side by gcov, in lines and branches; the Lua side in lines, and
-- in branches where the arms of a decision lie on lines of their own (Lua tells lines, not
-- instructions); last the largest regions that nothing reached.
local coverage = {}

-- ---- counting ----

--- Starts counting in this coroutine and in those made later.
function coverage.start(prefix)
  local edges = {} -- file -> from << 20 | to -> true
  local files = setmetatable({}, { __mode = "k" }) -- function -> its edges, or false
  local last = setmetatable({}, { __mode = "k" }) -- function -> the line before
  local getinfo = debug.getinfo
  local function hook(_, line)
    local f = getinfo(2, "f").func
    local mine = files[f]
    if mine == nil then
      local source = getinfo(2, "S").source
      local file = source:match "^@%.?/?(lua/tide/.*)$" or source:match "^@.*/(lua/tide/.*)$"
      mine = file and (edges[file] or {}) or false
      if file then
        edges[file] = mine
      end
      files[f] = mine
    end
    if mine then
      mine[(last[f] or 0) << 20 | line] = true
      last[f] = line
    end
  end
  debug.sethook(hook, "l")
  local create, wrap, exit = coroutine.create, coroutine.wrap, os.exit
  coroutine.create = function(f) -- luacheck: ignore 122
    local co = create(f)
    debug.sethook(co, hook, "l") -- hooks belong to a coroutine: new ones get it too
    return co
  end
  coroutine.wrap = function(f) -- luacheck: ignore 122
    local co = coroutine.create(f)
    return function(...)
      local r = table.pack(coroutine.resume(co, ...))
      if not r[1] then
        error(r[2], 0)
      end
      return table.unpack(r, 2, r.n)
    end
  end
  local written
  local function write()
    if written then
      return
    end
    written = true
    debug.sethook()
    coroutine.create, coroutine.wrap = create, wrap -- luacheck: ignore 122
    local pid = io.open("/proc/self/stat"):read "n"
    local name = ("%s.%d.%s.cov"):format(prefix, pid, tostring(edges):match "0x(%x+)")
    local out = assert(io.open(name, "w"))
    for file, seen in pairs(edges) do
      for edge in pairs(seen) do
        out:write(file, "\t", edge >> 20, "\t", edge & 0xfffff, "\n")
      end
    end
    out:close()
  end
  os.exit = function(...) -- luacheck: ignore 122
    write()
    exit(...)
  end
  -- collected when the state closes
  debug.getregistry()["spec.support.coverage"] = setmetatable({}, { __gc = write })
end

-- ---- sums ----

local function percent(part, whole)
  return whole == 0 and "    -" or ("%5.1f"):format(100 * part / whole)
end

local function lines_of(command)
  local pipe = assert(io.popen(command))
  local out = {}
  for line in pipe:lines() do
    out[#out + 1] = line
  end
  pipe:close()
  return out
end

local function print_row(s, name)
  local lines, branches = percent(s.hit, s.lines), percent(s.taken, s.branches)
  local row = "%s %% of %6d lines, %s %% of %6d branches  %s"
  print(row:format(lines, s.lines, branches, s.branches, name))
end

-- Prints a row per file and the sum; adds runs of lines that nothing reached to `regions`.
local function report(files, title, regions)
  local names, sum = {}, { lines = 0, hit = 0, branches = 0, taken = 0 }
  for name in pairs(files) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local f = files[name]
    local s = { lines = 0, hit = 0, branches = 0, taken = 0 }
    local numbers = {}
    for line in pairs(f.lines) do
      numbers[#numbers + 1] = line
    end
    table.sort(numbers)
    local first, run
    for i = 1, #numbers + 1 do
      local line = numbers[i]
      if line and f.lines[line] == 0 then
        first, run = first or line, (run or 0) + 1
      elseif first then
        regions[#regions + 1] = { run, ("%s:%d-%d"):format(name, first, numbers[i - 1]) }
        first, run = nil, nil
      end
      if line then
        s.lines = s.lines + 1
        s.hit = s.hit + (f.lines[line] > 0 and 1 or 0)
      end
    end
    for _, taken in pairs(f.branches) do
      s.branches = s.branches + 1
      s.taken = s.taken + (taken and 1 or 0)
    end
    print_row(s, name)
    for k, v in pairs(s) do
      sum[k] = sum[k] + v
    end
  end
  print_row(sum, title)
end

-- gcov's text of every object: a line or a branch counts where any object reached it (kernels have
-- one per level and type).
local function of_c(dir)
  local files, file, line = {}, nil, nil
  local gcov = "find %s -name '*.gcda' -exec gcov -b -c -t -r {} + 2>/dev/null"
  for _, text in ipairs(lines_of(gcov:format(dir))) do
    local count, number = text:match "^%s*([^%s:]+):%s*(%d+):"
    local source = number == "0" and text:match "^%s*%-:%s*0:Source:(.*)$"
    if source then
      file = files[source] or { lines = {}, branches = {} }
      files[source] = file
    elseif number then
      line = tonumber(number)
      if count ~= "-" and line > 0 then
        file.lines[line] = math.max(file.lines[line] or 0, tonumber(count:match "%d+" or 0))
      end
    else
      local which, taken = text:match "^branch%s+(%d+) (.*)$"
      if which then
        local key = line << 12 | tonumber(which)
        file.branches[key] = file.branches[key] or (taken:match "^taken (%d+)" or "0") ~= "0"
      end
    end
  end
  return files
end

local conditional = {}
for name in ("EQ LT LE EQK EQI LTI LEI GTI GEI TEST TESTSET"):gmatch "%S+" do
  conditional[name] = true
end

-- Lines that hold code, and for lines with a decision the other lines that it leads to, by luac.
local function of_listing(path)
  local active, exits = {}, {}
  local code
  local function decide()
    for pc, at in pairs(code or {}) do
      if conditional[at.op] then
        local from, seen = at.line, {}
        local function walk(k)
          local to = code[k]
          if not to or seen[k] then
            return
          end
          seen[k] = true
          if to.op == "JMP" then
            walk(to.target)
          elseif to.line ~= from then
            exits[from] = exits[from] or {}
            exits[from][to.line] = true
          elseif conditional[to.op] then
            walk(k + 1)
            walk(k + 2)
          elseif not to.op:find "^RETURN" and to.op ~= "TAILCALL" then
            walk(k + 1)
          end
        end
        walk(pc + 1)
        walk(pc + 2)
      end
    end
    code = {}
  end
  for _, text in ipairs(lines_of(("luac5.4 -l -p '%s'"):format(path))) do
    local pc, line, op, rest = text:match "^%s+(%d+)%s+%[(%d+)%]%s+(%S+)%s*(.*)$"
    if pc then
      local target = tonumber(rest:match "to (%d+)")
      code[tonumber(pc)] = { line = tonumber(line), op = op, target = target }
      if op ~= "VARARGPREP" then
        active[tonumber(line)] = true
      end
    elseif text:find "^function" or text:find "^main" then
      decide()
    end
  end
  decide()
  return active, exits
end

local function of_lua(dir)
  local seen = {}
  for _, name in ipairs(lines_of(("find %s -maxdepth 1 -name 'lua.*.cov'"):format(dir))) do
    for text in io.lines(name) do
      local file, from, to = text:match "^(.-)\t(%d+)\t(%d+)$"
      seen[file] = seen[file] or {}
      seen[file][tonumber(from) << 20 | tonumber(to)] = true
    end
  end
  local files = {}
  for _, path in ipairs(lines_of "find lua/tide -name '*.lua'") do
    local active, exits = of_listing(path)
    local f, reached = { lines = {}, branches = {} }, {}
    for edge in pairs(seen[path] or {}) do
      reached[edge & 0xfffff] = true
    end
    for line in pairs(active) do
      f.lines[line] = reached[line] and 1 or 0
    end
    for from, tos in pairs(exits) do
      local one = next(tos)
      if next(tos, one) then -- one exit alone: the other arm lies on the line itself
        for to in pairs(tos) do
          f.branches[from << 20 | to] = (seen[path] or {})[from << 20 | to] or false
        end
      end
    end
    files[path] = f
  end
  return files
end

if os.getenv "TIDE_COVERAGE" then
  coverage.start(os.getenv "TIDE_COVERAGE")
elseif arg and arg[1] then
  local regions = {}
  report(of_c(arg[1]), "C, all", regions)
  report(of_lua(arg[1]), "Lua, all", regions)
  table.sort(regions, function(a, b)
    return a[1] > b[1] or a[1] == b[1] and a[2] < b[2]
  end)
  print "\nlines in a row that nothing reached:"
  for i = 1, math.min(#regions, 60) do
    print(("%5d  %s"):format(regions[i][1], regions[i][2]))
  end
end

return coverage
