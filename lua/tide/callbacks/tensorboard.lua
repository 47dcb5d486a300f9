--- TensorBoard: event files that TensorBoard opens.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local none = require "tide.none"
local object = require "tide.object"
local profiler = require "tide.profiler"
local ops = require "tide.ops"
local tensors = require "tide.training.tensors"

local base = require "tide.callbacks.base"
local events = require "tide.utils.events"
local projector = require "tide.callbacks.projector"
local traces = require "tide.utils.traces"


-- The first and the last batch that are traced.
local function traced(v)
  local first, last = v, v
  if type(v) == "string" then
    first, last = v:match "^%s*(%d+)%s*,%s*(%d+)%s*$"
    first = math.tointeger(tonumber(first or v))
    last = math.tointeger(tonumber(last or v))
  elseif type(v) == "table" then
    first, last = v[1], v[2]
    if #v ~= 2 then
      first = nil
    end
  end
  if math.type(first) ~= "integer" or math.type(last) ~= "integer" or first < 0 or last < first
    or first == 0 and last > 0 then
    errors.raise("TensorBoard", "profile_batch must be 0, a batch, or the first and the last of \z
      some (got %s)", check.show(v))
  end
  return first, last
end

--- Writes event files for TensorBoard (`tensorboard --logdir logs`) into the folders `train` and
--- `validation` of `log_dir`: logs of epochs (`epoch_loss`), of batches with `update_freq`
--- (`batch_loss`), validations over iterations (`evaluation_loss_vs_iterations`), every
--- `histogram_freq` epochs the weights as histograms and, with `write_images`, as pictures, and the
--- graph of the layers. Epochs count from 1. No other program takes part in writing.
---
--- `profile_batch`, a batch or a pair of batches, counted from the first of training, traces each
--- launch of an op in them: `train/plugins/profile` holds it for TensorBoard's profile plugin
--- (`.xplane.pb`) and for Perfetto (`.trace.json`). Every `embeddings_freq` epochs the tables of
--- embedding layers go into `embeddings/` for the projector; `embeddings_metadata`, a path or paths
--- by name of layer, names the labels of their rows, seen from `log_dir`.
--     local c = tide.callbacks.TensorBoard { "logs", histogram_freq = 1, update_freq = 100 }
local Board = object.class("TensorBoard", base.Callback, {
  rows = {
    { "log_dir", "string", "logs", "folder of the run" },
    { "histogram_freq", "int", 0, "epochs between histograms of weights; 0: none", min = 0 },
    { "write_graph", "bool", true, "the graph of the layers" },
    { "write_images", "bool", false, "weights as pictures, with the histograms" },
    { "write_steps_per_second", "bool", false, "speed by epoch, and by batch with update_freq" },
    { "update_freq", { "string", "int" }, "epoch", "'epoch', 'batch', or a number of batches" },
    { "profile_batch", { "int", "string", "list" }, 0, "batches that are traced: 5, { 5, 8 } or \z
      '5,8'; 0: none" },
    { "embeddings_freq", "int", 0, "epochs between embeddings for the projector; 0: none",
      min = 0 },
    { "embeddings_metadata", { "string", "table" }, nil, "labels of the embeddings' rows",
      dict = true },
  },
  init = function(self)
    local freq = self.update_freq
    if self.log_dir == "" then
      errors.raise("TensorBoard", "log_dir must be the name of a folder (got '')")
    elseif freq ~= "epoch" and freq ~= "batch" and (math.type(freq) ~= "integer" or freq < 1) then
      errors.raise("TensorBoard", "update_freq must be 'epoch', 'batch' or a number of batches \z
        (got %s)", check.show(freq))
    end
    self._first_traced, self._last_traced = traced(self.profile_batch)
  end,
})
Board.lazy_logs = true
Board._keeps = { _batches = "count", _drawn = "flag", _epoch_batches = "count?" }

-- The event file of a folder, made at its first event. A file belongs to one run of fit.
local function writer(self, name)
  local w = self._writers[name]
  if not w then
    w = events.writer(self.log_dir .. "/" .. name)
    self._writers[name] = w
  end
  return w
end

local function put(self, where, step, prefix, logs, suffix)
  local out = {}
  for _, name in ipairs(check.sorted_keys(logs)) do
    local v = logs[name]
    if type(v) == "number" or type(v) == "userdata" and v.size == 1 then
      out[#out + 1] = events.scalar(prefix .. name .. (suffix or ""), tensors.number(v))
    end
  end
  if #out > 0 then
    writer(self, where):add(step, table.concat(out))
  end
end

local function start(self)
  -- objects, which no checkpoint holds
  self._writers = setmetatable({}, { __name = "writers" })
  self._last = nil
end

-- Writes by f; what cannot be written ends no training.
local function attempt(what, f, ...)
  local ok, e = pcall(f, ...)
  if not ok and not errors.is(e) then -- Ctrl-C
    error(e, 0)
  elseif not ok then
    errors.warn("TensorBoard: %s; training goes on without %s", tostring(e.message or e), what)
  end
end

-- ---- traces ----

local function forget_trace(self)
  if self._trace then
    self._trace.session:finish()
  end
  self._trace = nil
end

local function begin_trace(self)
  local ok, session = pcall(profiler.begin, profiler.MOST_SPANS)
  if not ok then
    errors.warn("TensorBoard: %s; the batches are not traced", tostring(session.message or session))
    return
  end
  -- an object, which no checkpoint holds
  self._trace = setmetatable({ session = session, began = session.began, time = os.time(),
    steps = {} }, { __name = "trace" })
end

local function end_trace(self)
  local trace = self._trace
  self._trace = nil
  local rows = trace.session:finish()
  if not rows then
    return
  end
  local launches, layers = trace.session:lines(rows.spans)
  local lines = { { name = "batches", spans = trace.steps }, launches, layers }
  local folder = ("%s/train/plugins/profile/%s"):format(self.log_dir,
    os.date("%Y_%m_%d_%H_%M_%S", trace.time))
  local host = events.host()
  attempt("the trace", function()
    core.mkdirs(folder)
    core.write_file(("%s/%s.xplane.pb"):format(folder, host),
      traces.xspace(lines, trace.time * 1000000000, host))
    core.write_file(("%s/%s.trace.json"):format(folder, host), traces.json(lines))
  end)
  if #launches.spans >= profiler.MOST_SPANS then
    errors.warn("TensorBoard: the trace ends after %d launches", profiler.MOST_SPANS)
  end
end

function Board:on_train_begin()
  projector.check(self.model, self.embeddings_metadata)
  forget_trace(self)
  self._batches, self._drawn = 0, false
  start(self)
end

function Board:on_train_resume()
  start(self)
end

function Board:on_epoch_begin()
  self._last, self._epoch_batches = core.now(), self._batches
end

-- Sizes of a list of shapes for the graph.
local function sizes(outputs)
  local out = {}
  for i, v in ipairs(outputs) do
    out[i] = {}
    for k, n in ipairs(v.shape) do
      out[i][k] = n == none and -1 or n
    end
  end
  return out
end

local function draw(self)
  self._drawn = true
  local ok, g = pcall(self.model.graph, self.model)
  if not ok then
    errors.warn("TensorBoard: there is no graph of %s: %s", self.model:_label(), tostring(g))
    return
  end
  local nodes = {}
  for i, node in ipairs(g.nodes) do
    local inputs = {}
    for k, v in ipairs(node.inputs) do
      inputs[k] = v.output > 1 and ("%s:%d"):format(v.node, v.output - 1) or v.node
    end
    nodes[i] = { name = node.name, op = node.class or node.op, inputs = inputs,
      shapes = sizes(node.outputs) }
  end
  writer(self, "train"):add_graph(events.graph(nodes))
end

function Board:on_train_batch_begin()
  self._batch_began = core.now()
  if self._batches + 1 == self._first_traced then
    begin_trace(self)
    self._batch_began = core.now()
  end
end

function Board:on_train_batch_end(_, logs)
  self._batches = self._batches + 1
  local trace = self._trace
  if trace then
    table.insert(trace.steps, { ("batch %d"):format(self._batches),
      self._batch_began - trace.began, core.now() - self._batch_began })
    if self._batches >= self._last_traced then
      end_trace(self)
    end
  end
  if self.write_graph and not self._drawn then
    draw(self)
  end
  local freq = self.update_freq
  if freq == "epoch" or type(freq) == "number" and self._batches % freq ~= 0 then
    return
  end
  local now = {}
  for k, v in pairs(logs or {}) do
    now[k] = v
  end
  if self.write_steps_per_second then
    now.steps_per_second = 1 / math.max(core.now() - self._batch_began, 1e-9)
  end
  put(self, "train", self._batches, "batch_", now)
end

function Board:on_test_end(logs)
  if not self._writers then -- evaluate, outside of fit
    start(self)
  end
  put(self, "validation", self.model.optimizer and self.model.optimizer.iterations or 0,
    "evaluation_", logs or {}, "_vs_iterations")
  writer(self, "validation"):flush()
end

-- ---- weights ----

local BINS = 30

local function histogram(tag, t)
  local counts, edges = ops.histogram(t, { bins = BINS })
  counts, edges = counts:tolist(), edges:tolist()
  local bins = {}
  for i = 1, BINS do
    bins[i] = { edges[i], edges[i + 1], counts[i] }
  end
  return events.histogram(tag, bins)
end

-- A weight as grey pictures (n, h, w, 1), or colour ones; nil where it has too many axes.
local function pictures(t)
  local shape = {}
  for _, n in ipairs(t.shape) do
    shape[#shape + 1] = n ~= 1 and n or nil
  end
  if #shape == 0 then
    return t:reshape { 1, 1, 1, 1 }
  elseif #shape == 1 then
    return t:reshape { 1, shape[1], 1, 1 }
  elseif #shape == 2 then
    local flat = t:reshape(shape)
    if shape[1] > shape[2] then
      flat, shape = ops.transpose(flat), { shape[2], shape[1] }
    end
    return flat:reshape { 1, shape[1], shape[2], 1 }
  elseif #shape == 3 then
    local flat = ops.transpose(t:reshape(shape), { 3, 1, 2 })
    return flat:reshape { shape[3], shape[1], shape[2], 1 }
  elseif #shape == 4 and (shape[4] == 3 or shape[4] == 4) then
    return t:reshape(shape)
  end
end

local SHOWN = 3 -- pictures of a weight, as tf.summary.image has them

local function image(tag, t)
  local x = pictures(t)
  if not x then
    return ""
  end
  x = ops.cast(ops.multiply(ops.clip(ops.cast(x, "float32"), 0, 1), 255), "uint8")
  local pngs, encode = {}, require("tide.preprocessing.image.files").encode
  for i = 1, math.min(SHOWN, x.shape[1]) do
    pngs[i] = encode(x[i], "png")
  end
  return events.images(tag, x.shape[3], x.shape[2], pngs)
end

local function weights(self, epoch)
  for _, r in ipairs(self.model:_records()) do
    local t = ops.cast(r.tensor:detach(), "float64")
    if t.size > 0 and ops.all(ops.isfinite(t)) then
      local path = r.tensor.path or r.path
      local text = histogram(path .. "/histogram", t)
      if self.write_images then
        text = text .. image(path .. "/image", t)
      end
      writer(self, "train"):add(epoch, text)
    end
  end
end

-- The learning rate of an optimizer, or those of several by their names.
local function rates(optimizer, out)
  local inside = optimizer and optimizer._inners or {}
  if #inside > 1 then
    for _, o in ipairs(inside) do
      out["learning_rate_" .. o.name] = o.learning_rate
    end
  elseif optimizer then
    out.learning_rate = (inside[1] or optimizer).learning_rate
  end
end

function Board:on_epoch_end(epoch, logs)
  local train, validation = {}, {}
  for k, v in pairs(logs or {}) do
    if k:sub(1, 4) == "val_" then
      validation[k:sub(5)] = v
    else
      train[k] = v
    end
  end
  rates(self.model.optimizer, train)
  if self.write_steps_per_second and self._last then
    train.steps_per_second = (self._batches - self._epoch_batches)
      / math.max(core.now() - self._last, 1e-9)
  end
  put(self, "train", epoch, "epoch_", train)
  put(self, "validation", epoch, "epoch_", validation)
  if self.histogram_freq > 0 and epoch % self.histogram_freq == 0 then
    weights(self, epoch)
  end
  if self.embeddings_freq > 0 and epoch % self.embeddings_freq == 0 then
    attempt("the embeddings", projector.write, self.model, self.log_dir, self.embeddings_metadata)
  end
  for _, w in pairs(self._writers) do
    w:flush()
  end
end

function Board:on_train_end()
  if self._trace then
    end_trace(self)
  end
  for _, w in pairs(self._writers) do
    w:flush()
  end
  self._writers = nil
end

return { TensorBoard = Board }
