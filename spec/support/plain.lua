-- A busted output handler for people and for CI: a dot line per file, every failure with its place,
-- and as the very last line `N passed, N failed`. The exit status is nonzero when anything failed
-- and when nothing ran at all: a suite that finds no specs has not passed.
local differences = require "spec.support.differences"
local path = require "pl.path"

return function(options)
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()
  local quiet = os.getenv "SPEC_QUIET" == "1"
  local slow = {}
  local started = os.time()

  local function out(...)
    io.write(...)
    io.flush()
  end

  local function place(element)
    local trace = element and element.trace
    if not trace then
      return "?"
    end
    local file = trace.short_src or trace.source or "?"
    local cwd = path.currentdir() .. "/"
    if file:sub(1, #cwd) == cwd then
      file = file:sub(#cwd + 1)
    end
    return file .. ":" .. (trace.currentline or 0)
  end

  local function text(failure)
    local message = failure.message
    if message == nil then
      message = "no message"
    end
    if type(message) ~= "string" then
      message = (getmetatable(message) or {}).__tostring and tostring(message)
        or require("pl.pretty").write(message)
    end
    return message
  end

  local function report(kind, failure)
    out("\n", kind, " ", failure.name or "?", "\n  at ", place(failure.element), "\n")
    out("  ", (text(failure):gsub("\n", "\n  ")), "\n")
    local traceback = failure.trace and failure.trace.traceback
    if traceback and (options.verbose or kind == "ERROR") then
      out("  ", (traceback:gsub("^\n", ""):gsub("\n", "\n  ")), "\n")
    end
  end

  handler.fileStart = function(file)
    local name = place({ trace = { short_src = file.name } }):gsub(":0$", "")
    if not quiet then
      out(name, " ")
    end
    if differences.on then
      differences.of(name)
    end
    return nil, true
  end

  -- What a file has run is let go: busted keeps its functions, and with them all that they have
  -- loaded, to the end, and every full collection of a later file would walk over it.
  local function let_go(element)
    for key, list in pairs(element) do
      if type(list) == "table" and type(list[1]) == "table" and list[1].run then
        for _, part in ipairs(list) do
          let_go(part)
          part.run, part.env = nil, nil
        end
        element[key] = nil
      end
    end
  end

  handler.fileEnd = function(file)
    if not quiet then
      out "\n"
    end
    let_go(file)
    local run = file.run
    file.run, file.env = { getTrace = run.getTrace, rewriteMessage = run.rewriteMessage }, nil
    return nil, true
  end

  handler.testEnd = function(element, _, status)
    if not quiet then
      out(status == "success" and "." or status == "pending" and "p" or status == "failure" and "F"
        or "E")
    end
    if element.duration and element.duration > 5 then
      slow[#slow + 1] = { element.duration, handler.getFullName(element), place(element) }
    end
    return nil, true
  end

  handler.suiteEnd = function()
    for _, failure in ipairs(handler.failures) do
      report("FAILED", failure)
    end
    for _, failure in ipairs(handler.errors) do
      report("ERROR", failure)
    end
    for _, pending in ipairs(handler.pendings) do
      out("\nPENDING ", pending.name or "?", "\n  at ", place(pending.element), "\n")
    end
    differences.print()
    table.sort(slow, function(a, b)
      return a[1] > b[1]
    end)
    for i = 1, math.min(#slow, 10) do
      out(("\nslow: %5.1f s  %s  (%s)"):format(slow[i][1], slow[i][2], slow[i][3]),
        i == math.min(#slow, 10) and "\n" or "")
    end
    local passed = handler.successesCount
    local failed = handler.failuresCount + handler.errorsCount
    if passed + failed == 0 then
      out "\nno spec ran: a suite without specs has not passed\n"
      failed = 1
    end
    out(("\n%d pending, %d s\n%d passed, %d failed\n"):format(handler.pendingsCount,
      os.time() - started, passed, failed))
    if failed > 0 then
      -- not left to busted: it counts no error when nothing ran, and its status is the count modulo
      -- 256
      io.flush()
      os.exit(1, false)
    end
    return nil, true
  end

  busted.subscribe({ "suite", "end" }, handler.suiteEnd)
  busted.subscribe({ "file", "start" }, handler.fileStart)
  busted.subscribe({ "file", "end" }, handler.fileEnd)
  busted.subscribe({ "test", "end" }, handler.testEnd, { predicate = handler.cancelOnPending })
  return handler
end
