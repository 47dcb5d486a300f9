--- Learning curves that grow in the terminal while `fit` runs: `model:fit(x, y, { plot = true })`.
--- The curves stand above the progress bar and are drawn anew in their place, twice a second at
--- most. Where the output is no terminal that can move its cursor, there is one line per epoch as
--- ever, and the curves come once, at the end. What other callbacks print is drawn over.
local core = require "tide.core"
local object = require "tide.object"

local ProgbarLogger = require("tide.callbacks.progbar_logger").ProgbarLogger
local terminal = require "tide.plot.terminal"

local live = {}

--- The callback behind `plot = true`.
local LivePlot = object.class("LivePlot", ProgbarLogger, {
  rows = { { "seconds", "number", 0.5, "time between two drawings, at least", min = 0 } },
})
live.LivePlot = LivePlot
LivePlot.lazy_logs = true

local function finite(v)
  if type(v) == "userdata" then
    v = v.size == 1 and v:item() or nil
  end
  return type(v) == "number" and v - v == 0 and v or nil
end

function LivePlot:set_params(params)
  ProgbarLogger.set_params(self, params)
  self._moves = self._verbose == 1 and self._terminal and os.getenv "TERM" ~= "dumb"
  self._one_line = self._moves
  self._points, self._now, self._drawn_at, self._above, self._heading = {}, {}, -math.huge, 0, ""
end

-- The curve of a name: { name =, points }.
local function curve(self, name)
  local c = self._points[name]
  if not c then
    c = { name = name }
    self._points[name] = c
  end
  return c
end

-- Panels: the loss, and the first other quantity by name; training and validation together.
local function panels(self)
  local others = {}
  for name in pairs(self._points) do
    if name ~= "loss" and name ~= "learning_rate" and not name:find "^val_" then
      others[#others + 1] = name
    end
  end
  table.sort(others)
  local out = {}
  for _, name in ipairs { "loss", others[1] } do
    local lines = {}
    for _, key in ipairs { name, "val_" .. name } do
      local whole, part = self._points[key], self._now[key]
      if whole then
        local line = table.move(whole, 1, #whole, 1, { name = key })
        table.move(part or {}, 1, #(part or {}), #line + 1, line)
        lines[#lines + 1] = #line > 0 and line or nil
      end
    end
    if #lines > 0 then
      out[#out + 1] = { title = name, xlabel = "epoch", lines = lines }
    end
  end
  return out
end

local function text(self)
  local fig = { panels = panels(self) }
  if #fig.panels == 0 then
    return nil
  end
  local _, columns, rows = core.terminal(1)
  return terminal.render(fig, { side_by_side = true, columns = columns,
    height = math.max(4, math.min(12, rows - 10)) })
end

-- With the cursor on the line of the bar: draws the curves and the epoch's line above it anew.
local function draw(self)
  local curves = text(self)
  if not curves then
    return
  end
  local up = self._above > 0 and ("\27[%dA"):format(self._above) or ""
  io.stdout:write(up, "\r\27[J", curves, "\n", self._heading)
  io.stdout:flush()
  self._above = select(2, (curves .. self._heading):gsub("\n", "")) + 1
  self._bar.width = 0 -- the bar that stood there is gone
  self._drawn_at, self._stale = core.now(), false
end

-- Notes the running values of an epoch at place x.
local function note(self, x, logs)
  for name, v in pairs(logs) do
    v = finite(v)
    if v and not name:find "^val_" then
      curve(self, name)
      self._now[name] = self._now[name] or {}
      local points = self._now[name]
      points[#points + 1] = { x, v }
    end
  end
end

function LivePlot:on_epoch_begin(epoch, logs, from)
  self._now = {}
  if not self._moves then
    return ProgbarLogger.on_epoch_begin(self, epoch, logs, from)
  end
  if self._ended then -- the cursor stands below the last epoch's bar: the new one takes its place
    io.stdout:write(self._heading ~= "" and "\27[2A" or "\27[1A", "\r\27[J")
    self._above = self._above - (self._heading ~= "" and 1 or 0)
  end
  self._heading = (self.params.epochs or 1) > 1
    and ("Epoch %d/%d\n"):format(epoch, self.params.epochs) or ""
  io.stdout:write(self._heading)
  io.stdout:flush()
  self._above = self._above + (self._heading ~= "" and 1 or 0)
  self._epoch, self._ended = epoch, false
  self:_begin(nil, from)
  self._bar.seen = from or 0
end

function LivePlot:on_train_batch_end(batch, logs)
  if not self._moves then
    return ProgbarLogger.on_train_batch_end(self, batch, logs)
  end
  if self._bar:due(batch) then
    if self._bar.last - self._drawn_at >= self.seconds then
      local steps = self._bar.target
      note(self, self._epoch - 1 + (steps and batch / steps or 0.5), logs)
      draw(self)
    end
    self._bar:update(logs, self._epoch == 1 and "   ^C to stop" or nil)
  end
end

function LivePlot:on_epoch_end(epoch, logs)
  for name, v in pairs(logs) do
    v = finite(v)
    if v then
      local c = curve(self, name)
      c[#c + 1] = { epoch, v }
    end
  end
  self._now, self._stale, self._ended, self._last = {}, true, true, logs
  if self._moves and core.now() - self._drawn_at >= self.seconds then
    draw(self)
  end
  ProgbarLogger.on_epoch_end(self, epoch, logs)
end

function LivePlot:on_train_resume(place)
  local history = self.model.history
  for name, l in pairs(history and history.history or {}) do
    for i, v in ipairs(l) do
      v = finite(v)
      if v then
        local c = curve(self, name)
        c[#c + 1] = { history.epoch[i] or i, v }
      end
    end
  end
  ProgbarLogger.on_train_resume(self, place)
end

function LivePlot:on_train_end()
  if self._moves and self._stale then
    io.stdout:write "\27[1A"
    draw(self)
    ProgbarLogger.on_epoch_end(self, nil, self._last)
  elseif not self._moves then
    local curves = text(self)
    if curves then
      io.stdout:write(curves, "\n")
      io.stdout:flush()
    end
  end
end

return live
