-- Coverage without packages. As a module it counts the lines of lua/tide that run, for TIDE_COVERAGE=PREFIX, and writes
-- PREFIX.<pid-like>.cov when the state closes. As a program, `coverage.lua DIR` sums what a run left in DIR: the C side by
-- gcov, in lines and branches, the Lua side by the counts.
local coverage = {}

-- Lines that hold code: those that the debugger could stop at, in the chunk and in every function inside it.
local function active_lines(path)
  local chunk = assert(loadfile(path))
  local lines = {}
  local function add(list)
    for line in list:gmatch "%[(%d+)%]" do
      lines[tonumber(line)] = true
    end
  end
  -- `luac -l` lists every function; where there is no luac, the chunk's own lines are what is known
  local pipe = io.popen(("luac5.4 -l -l -p '%s' 2>/dev/null"):format(path))
  local listing = pipe and pipe:read "a" or ""
  if pipe then
    pipe:close()
  end
  add(listing)
  if not next(lines) then
    for line in pairs(debug.getinfo(chunk, "L").activelines) do
      lines[line] = true
    end
  end
  return lines
end

--- Starts counting in this coroutine and in those made later; the counts are written when the state closes.
function coverage.start(prefix)
  local hits = {}
  local names = {}
  local function hook(_, line)
    local source = debug.getinfo(2, "S").source
    local file = names[source]
    if file == nil then
      file = source:match "^@%.?/?(lua/tide/.*)$" or source:match "^@.*/(lua/tide/.*)$" or false
      names[source] = file
    end
    if file then
      local lines = hits[file]
      if not lines then
        lines = {}
        hits[file] = lines
      end
      lines[line] = (lines[line] or 0) + 1
    end
  end
  debug.sethook(hook, "l")
  local create, wrap = coroutine.create, coroutine.wrap
  -- hooks belong to a coroutine: new ones get it too
  coroutine.create = function(f) -- luacheck: ignore 122
    local co = create(f)
    debug.sethook(co, hook, "l")
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
  coverage.restore = function()
    coroutine.create, coroutine.wrap = create, wrap -- luacheck: ignore 122
    debug.sethook()
  end
  coverage.write = function()
    local out = assert(io.open(("%s.%s.cov"):format(prefix, tostring(hits):match "0x(%x+)"), "w"))
    for file, lines in pairs(hits) do
      for line, n in pairs(lines) do
        out:write(file, "\t", line, "\t", n, "\n")
      end
    end
    out:close()
  end
end

local function percent(part, whole)
  return whole == 0 and "    -" or ("%5.1f"):format(100 * part / whole)
end

local function lua_table(dir)
  local hits = {}
  local pipe = io.popen(("find %s -maxdepth 1 -name 'lua.*.cov'"):format(dir))
  for name in pipe:lines() do
    for line in io.lines(name) do
      local file, at = line:match "^(.-)\t(%d+)\t"
      hits[file] = hits[file] or {}
      hits[file][tonumber(at)] = true
    end
  end
  pipe:close()
  local rows, all, seen = {}, 0, 0
  for file in io.popen("find lua/tide -name '*.lua' | sort"):lines() do
    local total, hit = 0, 0
    for line in pairs(active_lines(file)) do
      total = total + 1
      hit = hit + ((hits[file] or {})[line] and 1 or 0)
    end
    rows[#rows + 1] = ("%s %6d lines             %s"):format(percent(hit, total), total, file)
    all, seen = all + total, seen + hit
  end
  rows[#rows + 1] = ("%s %6d lines             Lua, all"):format(percent(seen, all), all)
  return rows
end

local function c_table(dir)
  local files = {} -- file -> the best-covered of its objects (kernels are compiled once per level)
  local pipe = io.popen(("find %s -name '*.gcda' -exec gcov -n -b -r {} + 2>/dev/null"):format(dir))
  local current
  for line in pipe:lines() do
    local name = line:match "^File '(.-)'"
    if name then
      current = { branches = 0, taken = 0 }
      current.name = name
    elseif current then
      local p, n = line:match "^Lines executed:([%d.]+)%% of (%d+)"
      if p then
        current.lines = tonumber(n)
        current.hit = math.floor(tonumber(p) * n / 100 + 0.5)
      end
      p, n = line:match "^Taken at least once:([%d.]+)%% of (%d+)"
      if p then
        current.branches = tonumber(n)
        current.taken = math.floor(tonumber(p) * n / 100 + 0.5)
      end
      local old = files[current.name]
      if current.lines and (not old or current.hit > old.hit or (current.hit == old.hit and current.taken >= old.taken)) then
        files[current.name] = current
      end
    end
  end
  pipe:close()
  local names, rows = {}, {}
  for name in pairs(files) do
    names[#names + 1] = name
  end
  table.sort(names)
  local sum = { lines = 0, hit = 0, branches = 0, taken = 0 }
  for _, name in ipairs(names) do
    local f = files[name]
    local row = "%s %6d lines %s %% branches %s"
    rows[#rows + 1] = row:format(percent(f.hit, f.lines), f.lines, percent(f.taken, f.branches), name)
    for k in pairs(sum) do
      sum[k] = sum[k] + f[k]
    end
  end
  rows[#rows + 1] = ("%s %6d lines %s %% branches C, all"):format(
    percent(sum.hit, sum.lines),
    sum.lines,
    percent(sum.taken, sum.branches)
  )
  return rows
end

if arg and arg[0] and arg[0]:match "coverage%.lua$" and arg[1] then
  for _, rows in ipairs { c_table(arg[1]), lua_table(arg[1]) } do
    print(table.concat(rows, "\n"))
  end
end

return coverage
