--- The progress bar of fit, evaluate and predict, after Keras' Progbar: redrawn in place at most
--- every 0.05 s on a terminal, one line at the end elsewhere. The clock is looked at first; text is
--- made only when it is due.
local core = require "tide.core"
local printable = require "tide.printable"
local screen = require "tide.screen"

local Progbar = {}
Progbar.__index = Progbar

local INTERVAL = 0.05
local WIDTHS = { 20, 12, 6 } -- of the bar, the first that leaves room for the values

--- @param o table `target` (steps, nil: unknown), `verbose` (1: bar, 2: one line), `out` (file),
---   `terminal`, `unit`, `delay`
---   (seconds before anything is shown), `from` (steps that were done before),
---   `columns` of the terminal, `one_line` (the last line is cut to them too)
function Progbar.new(o)
  local now = core.now()
  return setmetatable({
    target = o.target,
    verbose = o.verbose or 1,
    out = o.out or io.stdout,
    color = o.terminal and os.getenv "NO_COLOR" == nil,
    utf8 = screen.utf8(),
    unit = o.unit or "step",
    delay = o.delay or 0,
    from = o.from or 0,
    columns = o.columns,
    one_line = o.one_line,
    start = now,
    last = 0,
    width = 0,
    seen = 0,
    drawn = false,
  }, Progbar)
end

--- Seconds per step as Keras writes them.
function Progbar.format_time(seconds, unit)
  if seconds >= 1 or seconds == 0 then
    return (" %.0fs/%s"):format(seconds, unit)
  elseif seconds >= 1e-3 then
    return (" %.0fms/%s"):format(seconds * 1e3, unit)
  end
  return (" %.0fus/%s"):format(seconds * 1e6, unit)
end

--- A duration as Keras writes it: 12s, 1:05, 1:02:03.
function Progbar.format_eta(seconds)
  local s = math.floor(seconds)
  if seconds > 3600 then
    return ("%d:%02d:%02d"):format(s // 3600, s % 3600 // 60, s % 60)
  elseif seconds > 60 then
    return ("%d:%02d"):format(s // 60, s % 60)
  end
  return s .. "s"
end

--- A logged value: 4 decimals, or scientific when at most 1e-3.
function Progbar.format_value(v)
  local _ <close> = core.decimal_point()
  if type(v) == "userdata" then
    if v.size ~= 1 then
      return tostring(v)
    end
    v = v:item()
  end
  if type(v) ~= "number" then
    return tostring(v)
  elseif math.abs(v) > 1e-3 then
    return ("%.4f"):format(v)
  elseif v ~= v then
    return "nan"
  end
  return ("%.4e"):format(v)
end

local function metrics_text(logs)
  local names, out = {}, {}
  for name in pairs(logs or {}) do
    names[#names + 1] = name
  end
  -- Keras' order: training values by name, then validation values by name
  table.sort(names, function(a, b)
    local va, vb = a:sub(1, 4) == "val_", b:sub(1, 4) == "val_"
    if va ~= vb then
      return vb
    end
    return a < b
  end)
  for i, name in ipairs(names) do
    out[i] = (" - %s: %s"):format(printable.name(name), Progbar.format_value(logs[name]))
  end
  return table.concat(out)
end
Progbar.metrics_text = metrics_text

function Progbar:_per_step(now)
  local n = self.seen - self.from
  if n <= 0 then
    return 0
  elseif self.after_first and n > 1 then -- the first step, which builds and warms up, is left out
    return (now - self.after_first) / (n - 1)
  end
  return (now - self.start) / n
end

local function bold(self, s)
  return self.color and "\27[1m" .. s .. "\27[0m" or s
end

-- The count of steps and the bar of so many cells, and a plain text of the same width.
function Progbar:_bar(cells)
  if not self.target or self.target <= 0 then
    return ("%7d/Unknown"):format(self.seen), ("%7d/Unknown"):format(self.seen)
  end
  local digits = #tostring(self.target)
  local count = ("%" .. digits .. "d/%d"):format(self.seen, self.target)
  local done = math.min(cells, math.floor(cells * self.seen / self.target))
  local plain = count .. " " .. ("x"):rep(cells)
  if self.color and self.utf8 then
    local bar = ""
    if done > 0 then
      bar = "\27[32m" .. ("━"):rep(done) .. "\27[0m"
    end
    return bold(self, count) .. " " .. bar .. "\27[37m" .. ("━"):rep(cells - done) .. "\27[0m",
      plain
  elseif self.utf8 then
    return count .. " " .. ("━"):rep(done) .. (" "):rep(cells - done), plain
  end
  local arrow = done > 0 and ("="):rep(done - 1) .. (done < cells and ">" or "=") or ""
  return bold(self, count) .. " " .. arrow .. ("."):rep(cells - done), plain
end

function Progbar:_draw(now, logs, final, hint)
  local per_step = self:_per_step(now)
  local time
  if self.target and self.target > 0 and not final then
    time = Progbar.format_eta(per_step * (self.target - self.seen))
  else
    time = ("%.0fs"):format(now - self.start)
  end
  local tail = Progbar.format_time(per_step, self.unit) .. metrics_text(logs) .. (hint or "")
  local bar, plain = self:_bar(WIDTHS[1])
  -- a line that wraps cannot be drawn in its place again
  if self.columns and (self.one_line or not final) then
    local room = self.columns - 2 - #plain - #time
    for i = 2, #WIDTHS do
      if #tail > room then
        bar, plain = self:_bar(WIDTHS[i])
        room = self.columns - 2 - #plain - #time
      end
    end
    while #tail > room do -- whole values go, from the end
      tail = tail:match "^(.+) %- .-$" or tail:sub(1, math.max(0, room))
    end
  end
  local width = #plain + 1 + #time + #tail
  local pad = self.width > width and (" "):rep(self.width - width) or ""
  self.out:write("\r", bar, " ", bold(self, time), tail, pad, final and "\n" or "")
  self.out:flush()
  self.width = width
  self.drawn = true
end

--- Whether a redraw is due; cheap, called every batch. Counts the step.
--- @param seen integer steps done
function Progbar:due(seen)
  self.seen = seen
  local now = core.now()
  if seen == self.from + 1 then
    self.after_first = now
  end
  if self.verbose ~= 1 or now - self.last < INTERVAL or now - self.start < self.delay then
    return false
  end
  self.last = now
  return true
end

--- Draws the bar now.
function Progbar:update(logs, hint)
  if self.verbose == 1 then
    self:_draw(core.now(), logs, false, hint)
  end
end

--- The last line of an epoch.
function Progbar:finish(logs)
  local now = core.now()
  if self.verbose == 1 then
    if now - self.start >= self.delay or self.drawn then
      self:_draw(now, logs, true)
    end
  elseif self.verbose == 2 then
    local target = self.target or self.seen
    local digits = #tostring(target)
    self.out:write((("%" .. digits .. "d/%d - %.0fs -%s%s\n"):format(self.seen, target,
      now - self.start, Progbar.format_time(self:_per_step(now), self.unit), metrics_text(logs))))
    self.out:flush()
  end
end

return Progbar
