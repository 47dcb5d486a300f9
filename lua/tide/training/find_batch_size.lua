--- model:find_batch_size: the largest batch whose training, or prediction, fits into memory, found
--- by real steps under a limit.
local S = require "tide.private"
local adapter = require "tide.data.adapter"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local ops = require "tide.ops"
local pass = require "tide.training.pass"
local photo = require "tide.training.photo"
local steps = require "tide.training.steps"
local strings = require "tide.strings"
local structure = require "tide.data.structure"

local args = check.args("find_batch_size", {
  pass.data_rows[1], pass.data_rows[2],
  { "memory", "number", nil, "bytes that tensors may take in all; tide.memory_limit's, else what \z
    is free", above = 0 },
  { "max", "int", nil, "the largest batch to try; the number of samples by default", min = 1 },
  { "sample_weight", "any", nil, "weight of each sample", dict = true },
}, { named = {
  { "min", "int", 1, "the smallest batch to try", min = 1 },
  { "steps", "int", 3, "steps that must fit, one after the other", min = 1 },
  { "training", "bool", true, "false: of predictions" },
  { "verbose", "bool", false, "say what each trial took" },
} })

-- ---- batches of any size ----

-- Rows 1..n of a leaf, from the beginning again where it has fewer.
local function rows(v, n)
  local have = structure.samples(v)
  local at = {}
  for i = 1, n do
    at[i] = (i - 1) % have + 1
  end
  if strings.is(v) then
    return strings.rows(v, 1, n, at)
  elseif n <= have then
    return v[{ { 1, n } }]
  end
  return ops.take(v, core.tensor(at, { dtype = "int64" }), { axis = 1 })
end

-- What gives batches of n samples made of these.
local function batcher(parts)
  local groups = {}
  for i = 1, 3 do
    groups[i] = { structure.flatten(parts[i], "x") }
  end
  return function(n)
    local out = {}
    for i, g in ipairs(groups) do
      local leaves = {}
      for k, leaf in ipairs(g[1]) do
        leaves[k] = leaf and rows(leaf, n)
      end
      out[i] = structure.pack(leaves, g[2])
    end
    return out[1], out[2], out[3]
  end
end

-- Samples, targets and weights to make batches of, and how many there are: what was given, or the
-- first batch of a source.
local function samples_of(self, T, o)
  local x, y, w = pass.as_leaf(o.x), pass.as_leaf(o.y), pass.as_leaf(o.sample_weight)
  local source = adapter.new { x = x, y = y, sample_weight = w, batch_size = 1, shuffle = false,
    input_names = pass.input_names(self), output_names = T and T.names or {},
    owner = "find_batch_size" }
  local n = source.n
  if not n then
    source:begin(1)
    x, y, w = source:next()
    if x == nil then
      errors.raise("find_batch_size", "the data gave no batch")
    end
  elseif n == 0 then
    errors.raise("find_batch_size", "there are no samples")
  end
  return batcher { x, y, w }, n
end

-- ---- trials ----

local function limit_of(given)
  local m = core.memory()
  if given then
    return given
  elseif m.limit_bytes > 0 then
    return m.limit_bytes
  end
  local free = core.device_info(core.default_device()).free_bytes
  if free < 0 then
    errors.raise("find_batch_size", "the system does not say how much memory is free; give \z
      memory, in bytes")
  end
  return m.live_bytes + m.cached_bytes + free
end

local function no_memory(e)
  return errors.is(e) and e.status == "memory"
    or type(e) == "string" and e:find("not enough memory", 1, true) ~= nil
end

-- Gives the limit back that there was.
local function limited(bytes)
  local was = core.memory().limit_bytes
  core.memory_limit(bytes)
  return setmetatable({}, { __close = function() core.memory_limit(was) end })
end

-- Whether `o.steps` steps with n samples fit, and the most that tensors took, without what the
-- trial itself keeps.
local function try(run, batch, n, o, limit, own)
  collectgarbage()
  collectgarbage()
  core.memory_trim()
  core.memory_reset_peak()
  local _ <close> = limited(math.floor(limit) + own)
  local ok, e = pcall(function()
    for _ = 1, o.steps do
      run(batch(n))
      core.step_end()
    end
  end)
  local peak = core.memory().peak_bytes - own
  if not ok and not no_memory(e) then
    error(e, 0)
  end
  return ok, peak
end

local function megabytes(n)
  return ("%.1f MB"):format(n / 2 ^ 20)
end

-- The largest batch from `min` to `max` that fits, nil if none does: doubled, then halved between.
local function search(fits, min, max)
  local lo, hi, at = nil, nil, min
  while not hi and at <= max do
    if fits(at) then
      lo, at = at, at < max and math.min(2 * at, max) or max + 1
    else
      hi = at
    end
  end
  while lo and hi and hi - lo > 1 do
    local middle = (lo + hi) // 2
    if fits(middle) then
      lo = middle
    else
      hi = middle
    end
  end
  return lo
end

--- Finds the largest batch with which training fits into memory, by real steps: of 1, 2, 4, ...
--- samples, then between the last that fits and the first that does not. The limit is `memory`,
--- else `tide.memory_limit`'s, else what the system has free; it counts all tensors that are there,
--- weights, the optimizer's state and the data among them. Samples are used several times where a
--- batch takes more than there are. Afterwards the model, its optimizer and the random generator
--- are as before, bit for bit.
---
---     local n, report = model:find_batch_size(x, y, { memory = 2^30, max = 8 })
---     print(n, report.tried[1].batch)   --> 8  1
--- @return integer batch, table report `limit`, `peak` (bytes, with that batch) and `tried`, a list
---   of { batch, peak, fits }
return function(self, ...)
  local o = args:call(...)
  local T = self[S].training
  if o.training then
    T = steps.of(self, "find_batch_size")
    steps.settle(T)
  end
  if T and T.running and T.running[1] and coroutine.status(T.running[1]) ~= "dead" then
    errors.raise("find_batch_size", "%s is being trained; call it before or after fit",
      self:_label())
  end
  local limit = limit_of(o.memory)
  local before = core.memory().live_bytes
  local kept <close> = photo.take(self) -- luacheck: ignore
  local own = core.memory().live_bytes - before
  if o.training then
    pass.refresh(self, T, "find_batch_size")
  end
  local batch, n = samples_of(self, T, o)
  local max = o.max or n or 1 << 20
  if max < o.min then
    errors.raise("find_batch_size", "max must be at least min (got %d and %d)", max, o.min)
  end
  local _ <close> = core.scope_pause()
  local _ <close> = core.recording(o.training)
  local guard <close> = T and pass.guard(T, nil) or nil -- luacheck: ignore
  local step = o.training and pass.stepper(self, T, "train_step")
    or function(x) return self(x, { training = false }) end
  local report = { limit = limit, tried = {} }
  local function fits(size)
    if T then
      T.bad = true -- losses that are not finite are no news here
      T.y_list, T.p_list, T.w_list = {}, {}, {} -- they hold the graph of the trial before
    end
    local ok, peak = try(step, batch, size, o, limit, own)
    report.tried[#report.tried + 1] = { batch = size, peak = peak, fits = ok }
    if ok then
      report.peak = peak
    end
    if o.verbose then
      print(("batch %d: %s%s"):format(size, ok and megabytes(peak) or "does not fit into ",
        ok and "" or megabytes(limit)))
    end
    return ok
  end
  local found = search(fits, o.min, max)
  if not found then
    errors.raise("find_batch_size", "not even a batch of %d fits (the limit is %s, tensors take \z
      %s before it)", o.min, megabytes(limit), megabytes(before))
  end
  return found, report
end
