--- Where the time of a program goes, by op and by layer: `tide.profile`, `fit { profile = path }`
--- and TensorBoard's `profile_batch`.
---
--- The core times each launch (src/launch.c) and counts it for the part of the program that is
--- entered; what a part recorded counts for it, too, when its gradient is computed. Layers enter
--- themselves when they are called, losses, metrics and optimizers likewise; while a profile runs
--- the core sends each call of a layer the long way, where they do, and steps run eagerly.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local parts = require "tide.parts"

local profiler = {}

local MOST_SPANS = 200000 -- launches that a trace holds

-- ---- sessions ----

local Session = { __name = "profile" }
Session.__index = Session

-- One that an error left behind.
function Session:__gc()
  if self.running then
    self.running = nil
    parts.leave()
    core.profile_stop()
  end
end

--- Begins a profile; one that is dropped ends with it.
--- @param most integer how many launches are kept one by one
--- @raise where one runs already
function profiler.begin(most)
  core.profile_start(most, true)
  return setmetatable({ running = true, began = core.now(), parts = parts.follow() }, Session)
end

local function sum(a, b, key)
  return (a and a[key] or 0) + (b and b[key] or 0)
end

--- Ends it and returns the rows of the ops, the longest first; `layers`: those of the parts, as
--- they were entered; `spans`: the launches that were kept.
function Session:finish()
  if not self.running then
    return nil
  end
  self.running = nil
  parts.leave()
  local rows = core.profile_stop()
  table.sort(rows, function(a, b)
    return a.seconds > b.seconds
  end)
  local layers = {}
  for i, part in ipairs(self.parts) do
    local forward, backward = rows.parts[2 * i + 1], rows.parts[2 * i + 2]
    if forward or backward then
      layers[#layers + 1] = { name = part.name, class = part.class, calls = part.calls,
        forward = forward and forward.seconds or 0, backward = backward and backward.seconds or 0,
        seconds = sum(forward, backward, "seconds"), bytes = sum(forward, backward, "bytes"),
        flops = sum(forward, backward, "flops") }
    end
  end
  rows.layers, rows.parts = layers, nil
  for _, list in ipairs { rows, layers } do
    for _, r in ipairs(list) do
      r.gflops = r.flops > 0 and r.seconds > 0 and r.flops / r.seconds / 1e9 or nil
    end
  end
  return rows
end

local SPAN = 6 -- values of a launch in `spans`

--- The lines of a trace (tide.utils.traces): of launches, and of the parts that they belong to.
--- @param spans table of finish
function Session:lines(spans)
  local ops, layers = {}, {}
  local last, last_part
  for i = 1, spans and #spans or 0, SPAN do
    local name, start, seconds, bytes, flops, place = table.unpack(spans, i, i + SPAN - 1)
    ops[#ops + 1] = { (name:gsub("_+$", "")), start, seconds, bytes, flops }
    local part = self.parts[(place - 1) // 2]
    if part and place == last_part then
      last[3] = start + seconds - last[2]
    elseif part then
      last = { part.name .. (place % 2 == 0 and " (gradient)" or ""), start, seconds }
      layers[#layers + 1] = last
    end
    last_part = place
  end
  return { name = "ops", spans = ops }, { name = "layers", spans = layers }
end

--- Whether it keeps no further launches one by one.
function Session.full()
  return select(2, core.profile_work()) >= MOST_SPANS
end
profiler.MOST_SPANS = MOST_SPANS

-- ---- what the machine can do ----

local PRODUCT, SUM = 1024, 1 << 22 -- sides of a matrix, elements of a vector: beyond the caches
local ROUNDS = 3

local function best_of(f)
  local best = math.huge
  for _ = 1, ROUNDS do
    local t = core.now()
    local _ = f()
    best = math.min(best, core.now() - t)
  end
  return best
end

local peaks = {} -- by number of threads

--- What this machine reaches with the threads that compute now: a float32 product of matrices of
--- 1024 rows in GFLOP/s, and a sum of vectors of 16 MiB in GB/s; measured once, in about 0.1 s.
--- @return table { gflops, gbytes }; nil where there is no memory for it
function profiler.peak()
  local n = core.get_threads()
  if not peaks[n] then
    local ok, found = pcall(function()
      local _ <close> = core.recording(false)
      local ones = core.ones
      local a, x = ones { PRODUCT, PRODUCT }, ones { SUM }
      return { gflops = 2 * PRODUCT ^ 3 / best_of(function() return a:matmul(a) end) / 1e9,
        gbytes = 3 * 4 * SUM / best_of(function() return x + x end) / 1e9 }
    end)
    if not ok and not errors.is(found) then -- Ctrl-C
      error(found, 0)
    end
    peaks[n] = ok and found or nil
  end
  return peaks[n]
end

-- ---- tide.profile ----

local function rate(v)
  return v and ("%.1f"):format(v) or "-"
end

local function print_rows(rows, wall)
  local _ <close> = core.decimal_point()
  local width = 32
  for _, r in ipairs(rows.layers) do
    width = math.max(width, #r.name)
  end
  local function line(name, ...)
    print(name .. (" "):rep(width - #name) .. (...))
  end
  local function row(r, times)
    line(r.name, ("%10d%s%8.1f%11s%10s"):format(r.calls, times, 100 * r.seconds / wall,
      r.seconds > 0 and ("%.2f"):format(r.bytes / r.seconds / 1e9) or "-", rate(r.gflops)))
  end
  line("op", ("%10s%12s%8s%11s%10s"):format("calls", "ms", "%", "GB/s", "GFLOP/s"))
  for _, r in ipairs(rows) do
    row(r, ("%12.3f"):format(r.seconds * 1e3))
  end
  local outside = wall - rows.in_ops
  line("outside of ops", ("%22.3f%8.1f"):format(outside * 1e3, 100 * outside / wall))
  local peak = #rows > 0 and profiler.peak()
  if peak then
    line("this machine, at most", ("%41.2f%10s"):format(peak.gbytes, rate(peak.gflops)))
  end
  if #rows.layers > 0 then
    print()
    line("layer", ("%10s%12s%12s%8s%11s%10s"):format("calls", "forward ms", "gradient ms", "%",
      "GB/s", "GFLOP/s"))
    for _, r in ipairs(rows.layers) do
      row(r, ("%12.3f%12.3f"):format(r.forward * 1e3, r.backward * 1e3))
    end
  end
end

local function write(path, lines)
  core.write_file(path, require("tide.utils.traces").json(lines))
end

--- Runs `f()` and prints, per op: calls, time, share of the time, bytes moved and GFLOP/s, beside
--- what this machine reaches; then the same per layer, forward and in the gradient. Steps of models
--- run eagerly meanwhile, op by op (see `model:explain_plan`).
---
--- Options: `print = false` keeps silent; `trace = path` writes what ran when, ops and layers, as
--- JSON that https://ui.perfetto.dev and chrome://tracing open (the first 200,000 launches).
---
--- Returns the rows, then what `f` returned: `{ name, calls, seconds, bytes, flops, gflops }` of
--- each op, and under `layers` `{ name, class, calls, forward, backward, seconds, bytes, flops,
--- gflops }` of each layer, times in seconds; a launch counts for the innermost layer.
--- @usage tide.profile(function() model:fit(x, y, { epochs = 1, verbose = 0 }) end)
--- @param f function
--- @param options table|nil
function profiler.profile(f, options)
  if type(f) ~= "function" then
    errors.raise("profile", "takes a function (got %s)", type(f))
  end
  options = options or {}
  check.refuse_unknown("profile", options, { "print", "trace" })
  local trace = options.trace
  if trace ~= nil and (type(trace) ~= "string" or trace == "") then
    errors.raise("profile", "trace must be a path (got %s)", check.show(trace))
  end
  if trace then
    core.write_file(trace, "{}") -- what cannot be written is said before `f` runs
  end
  local session = profiler.begin(trace and MOST_SPANS or 0)
  local results = table.pack(pcall(f))
  local wall = core.now() - session.began
  local rows = session:finish()
  if not results[1] then
    error(results[2], 0)
  end
  local spans = 0
  for _, r in ipairs(rows) do
    spans = spans + r.seconds
  end
  rows.wall, rows.in_ops = wall, spans
  if trace then
    local ops, layers = session:lines(rows.spans)
    write(trace, { layers, ops })
    rows.spans = nil
  end
  if options.print ~= false then
    print_rows(rows, wall)
  end
  return rows, table.unpack(results, 2, results.n)
end

-- ---- fit { profile = path } ----

-- A callback that listens only.
local Tracer = { __name = "tracer", lazy_logs = true }
Tracer.__index = Tracer

function Tracer.set_params() end

function Tracer.set_model() end

local function span(self, list, name, began)
  list[#list + 1] = { name, began - self.session.began, core.now() - began }
end

function Tracer:on_epoch_begin(epoch)
  self.epoch, self.epoch_began = epoch, core.now()
end

function Tracer:on_train_batch_begin()
  self.batch_began = core.now()
end

function Tracer:on_train_batch_end(batch)
  if self.session then
    span(self, self.batches, ("batch %d"):format(batch), self.batch_began)
    if Session.full() then
      errors.warn("fit: the profile ends after %d launches, in epoch %d", MOST_SPANS, self.epoch)
      self:finish()
    end
  end
end

function Tracer:on_epoch_end()
  if self.session then
    span(self, self.epochs, ("epoch %d"):format(self.epoch), self.epoch_began)
  end
end

--- Ends the profile and writes the file, once.
function Tracer:finish()
  local session = self.session
  local rows = session and session:finish()
  self.session = nil
  if rows then
    local ops, layers = session:lines(rows.spans)
    write(self.path, { { name = "epochs", spans = self.epochs },
      { name = "batches", spans = self.batches }, layers, ops })
  end
end

-- After an error what ran until then is written; that this fails, too, would hide it.
function Tracer:__close(e)
  if e ~= nil then
    pcall(self.finish, self)
  else
    self:finish()
  end
end

--- A profile as callback that ends when it is closed; its file is there from the beginning, so that
--- a path that cannot be written is refused before training.
--- @param path string
function profiler.tracer(path)
  core.write_file(path, "{}")
  local session = profiler.begin(MOST_SPANS)
  return setmetatable({ path = path, session = session, epochs = {}, batches = {} }, Tracer)
end

return profiler
