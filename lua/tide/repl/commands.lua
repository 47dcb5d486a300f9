--- The commands of the prompt that are not Lua: `%name …`, `!shell`, `? name`. Each is one entry of
--- a table: { arguments, what it does, function(session, text) }.
local check = require "tide.check"
local complete = require "tide.repl.complete"
local foreign = require "tide.foreign"
local frames = require "tide.repl.frames"
local help = require "tide.help"
local list = require "tide.list"
local spelling = require "tide.names"
local show = require "tide.repl.show"

local commands = {}

local function compiled(session, text, what)
  local chunk = require "tide.repl.chunk"
  local f, message = chunk.compile(text, "=" .. what, session.env, session.declare)
  if not f then
    error(message, 0)
  end
  return f
end

local function need(text, what)
  if text == "" then
    error("say " .. what, 0)
  end
  return text
end

local function seconds(s)
  if s >= 1 then
    return list.number("%.3g", s) .. " s"
  elseif s >= 1e-3 then
    return list.number("%.3g", s * 1e3) .. " ms"
  elseif s >= 1e-6 then
    return list.number("%.3g", s * 1e6) .. " us"
  end
  return list.number("%.3g", s * 1e9) .. " ns"
end

local function bytes(n)
  local units = { "B", "KB", "MB", "GB", "TB" }
  local i = 1
  while n >= 1024 and i < #units do
    n, i = n / 1024, i + 1
  end
  return (i == 1 and ("%d"):format(n) or list.number("%.1f", n)) .. " " .. units[i]
end

-- Keeps what a command did, as Lua that does the same, for %save.
local function worked(session, source)
  session.worked[#session.worked + 1] = source
end

local function run_file(session, path)
  local f, message = loadfile(path, "t", session.env)
  if not f then
    error(message, 0)
  end
  return f
end

-- The session's own names with their values, sorted.
local function own_names(session)
  local names = {}
  for k in next, session.env do
    if not k:find "^_%d*$" then
      names[#names + 1] = k
    end
  end
  for k in next, _G do
    if not session.known[k] and rawget(session.env, k) == nil then
      names[#names + 1] = k
    end
  end
  table.sort(names)
  return names
end

local function one_line(v)
  local kind = type(v)
  if kind == "userdata" then
    local ok, text = pcall(function()
      return ("%s %s"):format(v.dtype, tostring(v.shape))
    end)
    return ok and text or tostring(v)
  end
  local text = show.value(v, { depth = 1, items = 4 }):match "^[^\n]*"
  return #text > 60 and text:sub(1, 60) .. "…" or text
end

commands.list = {
  time = {
    "CODE",
    "runs CODE once and says how long it took",
    function(session, text)
      local f = compiled(session, need(text, "what to time"), "%time")
      local clock = session.terminal.clock
      local started = clock()
      local values = table.pack(f())
      local took = clock() - started
      session:results(values)
      session.out:write(seconds(took), "\n")
      worked(session, text)
    end,
  },
  timeit = {
    "CODE",
    "runs CODE many times: best and mean time of one run",
    function(session, text)
      local f = compiled(session, need(text, "what to time"), "%timeit")
      local clock = session.terminal.clock
      local n = 1
      local function loop(count)
        local started = clock()
        for _ = 1, count do
          f()
        end
        return clock() - started
      end
      local took = loop(n)
      while took < 0.05 do
        n = n * 2
        took = loop(n)
      end
      local best, sum, squares, rounds = math.huge, 0, 0, 7
      for _ = 1, rounds do
        local t = loop(n) / n
        best, sum, squares = math.min(best, t), sum + t, squares + t * t
      end
      local mean = sum / rounds
      local deviation = math.sqrt(math.max(0, squares / rounds - mean * mean))
      session.out:write(
        ("%s ± %s a run, best %s (%d rounds of %d)\n"):format(
          seconds(mean), seconds(deviation), seconds(best), rounds, n)
      )
    end,
  },
  prof = {
    "CODE",
    "runs CODE and prints where the time went: ops, and lines of Lua by sampling",
    function(session, text)
      local f = compiled(session, need(text, "what to profile"), "%prof")
      local hits, samples = {}, 0
      local before, mask, count = debug.gethook()
      debug.sethook(function()
        local info = debug.getinfo(2, "Sl")
        if info and info.currentline > 0 then
          local at = info.short_src .. ":" .. info.currentline
          hits[at] = (hits[at] or 0) + 1
          samples = samples + 1
        end
      end, "", 1000)
      local ok, e = pcall(_G.tide.profile, f)
      debug.sethook(before, mask, count)
      if not ok then
        error(e, 0)
      end
      local places = {}
      for at in next, hits do
        places[#places + 1] = at
      end
      table.sort(places, function(a, b)
        return hits[a] > hits[b] or (hits[a] == hits[b] and a < b)
      end)
      for i = 1, math.min(10, #places) do
        local share = list.number("%.1f", 100 * hits[places[i]] / samples)
        session.out:write(("%5s %%  %s\n"):format(share, places[i]))
      end
    end,
  },
  plot = {
    "[VALUE]",
    "draws a history, or a tensor or list of numbers, in the terminal; `_` if left out",
    function(session, text)
      text = text ~= "" and text or "_"
      local value = compiled(session, text, "%plot")()
      if value == nil then
        error("say what to draw", 0)
      end
      local plot = _G.tide.plot
      if type(value) == "table" and type(value.history) == "table" then
        session.out:write(tostring(plot.history(value)), "\n")
      else
        session.out:write(tostring(plot.lines { { text, value } }), "\n")
      end
    end,
  },
  resume = {
    "[MODEL]",
    "goes on with the fit that Ctrl-C ended",
    function(session, text)
      local model
      if text ~= "" then
        model = compiled(session, text, "%resume")()
      else
        model = require("tide.training.pause").last() or error("no fit was ended by Ctrl-C", 0)
      end
      session:results(table.pack(model:fit { resume = true }))
    end,
  },
  who = {
    "",
    "lists what this session made",
    function(session)
      for _, name in ipairs(own_names(session)) do
        local value = session.env[name]
        session.out:write(("%-16s %-10s %s\n"):format(name, help.kind(value), one_line(value)))
      end
    end,
  },
  mem = {
    "",
    "memory of tensors, of Lua, and how much it changed since the last %mem",
    function(session)
      local m = require("tide.core").memory()
      local lua = math.floor(collectgarbage "count" * 1024)
      local last = session.last_memory or { live_bytes = m.live_bytes, lua = lua }
      local function row(what, now, before)
        local change = now - before
        session.out:write(("%-18s %10s  %s%s\n"):format(what, bytes(now), change < 0 and "-" or "+",
          bytes(math.abs(change))))
      end
      row(("tensors (%d)"):format(m.live_tensors), m.live_bytes, last.live_bytes)
      row("Lua", lua, last.lua)
      session.out:write(("%-18s %10s\n"):format("cached", bytes(m.cached_bytes)))
      session.out:write(("%-18s %10s\n"):format("peak of tensors", bytes(m.peak_bytes)))
      session.last_memory = { live_bytes = m.live_bytes, lua = lua }
    end,
  },
  run = {
    "FILE [args]",
    "runs a script in this session; its globals stay",
    function(session, text)
      local words = {}
      for word in need(text, "which file"):gmatch "%S+" do
        words[#words + 1] = word
      end
      run_file(session, words[1])(table.unpack(words, 2))
      for i, word in ipairs(words) do
        words[i] = ("%q"):format(word)
      end
      worked(session, ("assert(loadfile(%s, 't', _ENV))(%s)"):format(words[1],
        table.concat(words, ", ", 2)))
    end,
  },
  load = {
    "FILE",
    "runs the inputs that %save kept",
    function(session, text)
      run_file(session, need(text, "which file"))()
      worked(session, ("assert(loadfile(%q, 't', _ENV))()"):format(text))
    end,
  },
  save = {
    "FILE",
    "writes this session's inputs that worked, and files that were run, into a file",
    function(session, text)
      local lines = {}
      for i, source in ipairs(session.worked) do
        lines[i] = require("tide.repl.chunk").keep_locals(source) .. "\n"
      end
      require("tide.core").write_file(need(text, "which file"), table.concat(lines))
    end,
  },
  edit = {
    "[FILE]",
    "opens $EDITOR on the last input or a file, then runs it",
    function(session, text)
      local core, path = require "tide.core", text
      if path == "" then
        path = os.tmpname()
        core.write_file(path, (session.worked[#session.worked] or "") .. "\n")
      end
      local editor = os.getenv "VISUAL" or os.getenv "EDITOR" or "editor"
      local ok = os.execute(editor .. " '" .. path:gsub("'", "'\\''") .. "'")
      local source = core.file_exists(path) and core.read_file(path) or ""
      if text == "" then
        os.remove(path)
      end
      if ok and source:find "%S" then
        session:results(table.pack(compiled(session, source, "%edit")()))
        worked(session, source)
      end
    end,
  },
  reload = {
    "MODULE",
    "loads a module anew and puts it where the old one was",
    function(session, text)
      local name = need(text, "which module")
      local old = package.loaded[name]
      package.loaded[name] = nil
      local ok, new = pcall(require, name)
      if not ok then
        package.loaded[name] = old
        error(new, 0)
      end
      for _, place in ipairs { session.env, _G } do
        for k, v in next, place do
          if v == old and old ~= nil and old ~= true then
            rawset(place, k, new)
          end
        end
      end
    end,
  },
  device = {
    "",
    "what Tide computes with",
    function(session)
      session:results(table.pack(_G.tide.config()))
    end,
  },
  threads = {
    "[N]",
    "how many threads the kernels use; sets it",
    function(session, text)
      local core = require "tide.core"
      if text ~= "" then
        require("tide.runtime").set_threads(math.tointeger(tonumber(text))
          or error("say a whole number of threads", 0))
      end
      session.out:write(core.get_threads(), "\n")
    end,
  },
  seed = {
    "N",
    "restarts the random generator",
    function(session, text)
      local n = math.tointeger(tonumber(text)) or error("say a whole number", 0)
      require("tide").seed(n)
      worked(session, ("tide.seed(%d)"):format(n))
    end,
  },
  bt = {
    "[all]",
    "the traceback of the last error; `all` with Tide's own frames",
    function(session, text)
      local last = session.last_traceback
      session.out:write(not last and "no error yet" or text == "all" and last
        or frames.folded(last, "%bt all shows them"), "\n")
    end,
  },
  help = {
    "",
    "this list",
    function(session)
      session.out:write(commands.overview(), "\n")
    end,
  },
}

--- The text of %help.
function commands.overview()
  local names, out = {}, {}
  for name in pairs(commands.list) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    local entry = commands.list[name]
    out[i] = ("  %-18s %s"):format("%" .. name .. " " .. entry[1], entry[2])
  end
  return table.concat({
    "Lua, line by line: an expression prints its values, `_` is the last one, a final `;` hushes.",
    "Top-level locals stay (they are fields of the session). Ctrl-C stops what runs, Ctrl-D \z
      leaves.",
    "  ? name, name?      what it is; name?? shows its source; ? *norm* finds names",
    "  !command           runs a shell command",
    table.concat(out, "\n"),
  }, "\n")
end

--- The global `help` of a session that has none of its own.
function commands.help(x)
  return _G.tide.help(x)
end

-- What to do for a line that is one word which every prompt is told: help, exit, quit. A session's
-- own variable of that name is meant where there is one.
local function plain_word(line, env)
  local word, call = line:match "^%s*(%a+)%s*(%(?%s*%)?)%s*$"
  local value = word and env and complete.value(word, env)
  if word == "help" and call == "" and value == commands.help then
    return commands.list.help[3]
  elseif (word == "exit" or word == "quit") and env and value == nil then
    return function(session)
      session.leaving = true
    end
  end
end

-- What stands in Tide for a name of another library, or that it is not there yet; "" for others.
local function elsewhere(name)
  local last = name:match "[%w_]+$"
  for space in pairs(foreign.names) do
    local says = foreign.hint(space, last, {})
    if says ~= "" then
      return says
    end
  end
  return check.did_you_mean(name, help.last_names())
end

local function ask(session, name, source)
  if name:find "[*?]" then
    local found = help.search(name)
    session.out:write(#found > 0 and table.concat(found, "\n") or "no name matches " .. name, "\n")
    return
  end
  local found = source and help.find(name, session.env)[1]
  local text = found and help.source(found[2]) or help.of_name(name, session.env)
  if not text then
    error(("nothing is known of '%s'%s (? *%s* searches)"):format(name, elsewhere(name), name), 0)
  end
  session.out:write(source and session.colour and help.painted(text) or text, "\n")
end

-- The names of the commands, sorted.
local function command_names()
  local out = {}
  for name in pairs(commands.list) do
    out[#out + 1] = name
  end
  table.sort(out)
  return out
end

--- What to do for a line that is a command; nil for one that is Lua.
---@param line string
---@param env? table the session's environment
---@return fun(session: table)|nil
function commands.parse(line, env)
  local told = plain_word(line, env)
  if told then
    return told
  end
  local name, text = line:match "^%s*%%(%a+)%s*(.-)%s*$"
  if name then
    local entry = commands.list[name]
    return function(session)
      if not entry then
        local near = spelling.suggest(name, command_names())
        error(("no command %%%s; %s%%help lists them"):format(name,
          near and ("did you mean %%%s? "):format(near) or ""), 0)
      end
      entry[3](session, text)
    end
  end
  local shell = line:match "^%s*!%s*(.+)$"
  if shell then
    return function(session)
      session.out:flush()
      local ok, how, status = os.execute(shell)
      if not ok then
        error(("the command ended with %s %d"):format(how == "signal" and "signal" or "status",
          status), 0)
      end
    end
  end
  if line:find "^%s*%?%s*$" then
    return commands.list.help[3]
  end
  local asked = line:match "^%s*%?%s*([%w_.:*?]+)%s*$"
  local before, marks = line:match "^%s*([%a_][%w_.:]*)(%?%??)%s*$"
  if asked or before then
    return function(session)
      ask(session, asked or before, marks == "??")
    end
  end
  return nil
end

return commands
