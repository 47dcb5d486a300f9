--- map in worker processes: elements are handed out in turn and taken back in order, so that the
--- result does not depend on how many there are. Each call draws from a seed of its own.
---
--- What is under way is kept as elements, which a restored pass hands out again.
local core = require "tide.core"
local elements = require "tide.data.elements"
local encode = require "tide.data.encode"
local env = require "tide.env"
local errors = require "tide.errors"
local send = require "tide.data.send"
local stage = require "tide.data.stage"

local AHEAD = 2 -- elements per worker that are under way

local Parallel = stage.iterator "parallel_map"

function Parallel:start()
  self.input = stage.open(self.node._inputs[1], self.pass)
  self.inputs = { self.input }
  local n = self.o.num_parallel_calls
  self.size = n < 1 and math.max(1, core.get_threads()) or n
  self.waiting, self.read, self.dtypes = {}, 0, {}
end

local function answer_of(worker)
  local text = core.process_receive(worker)
  if text:sub(1, 1) ~= "y" then
    errors.raise(nil, "%s", text:sub(2))
  end
  return text:sub(2)
end

-- The folder of Tide's modules and the program of a worker in it.
local function places()
  local file = debug.getinfo(1, "S").source
  local folder = file:match "^@(.*)tide[/\\]data[/\\]stages[/\\]parallel%.lua$"
  if not folder then
    errors.raise("map", "the folder of Tide's modules is not known, so no worker can be started")
  end
  return folder, folder .. "tide/data/worker.lua"
end

local function begin(self)
  local text = send.pack(self.o.map_func, "map")
  local folder, program = places()
  local paths = string.pack("<s8s8", ("%s?.lua;%s?/init.lua;%s"):format(folder, folder,
    env.package.path), env.package.cpath)
  self.workers = {}
  for i = 1, self.size do
    local worker = core.process_start("map", { program })
    self.workers[i] = worker
    core.process_send(worker, paths)
    core.process_send(worker, text)
  end
  for _, worker in ipairs(self.workers) do
    answer_of(worker)
  end
end

local function packed(first, ...)
  if first ~= nil then
    return elements.pack(first, ...)
  end
end

-- Hands out an element, the i-th that was read.
local function hand_out(self, v, i)
  local seed = stage.mix(self.node.seed, stage.mix(self.pass, i)) & math.maxinteger
  core.process_send(self.workers[(i - 1) % self.size + 1],
    string.pack("<i8", seed) .. encode.element(elements.parts(v)))
  self.waiting[#self.waiting + 1] = v
end

local function results(self, ...)
  local out = { ... }
  for k = 1, #out do
    out[k], self.dtypes[k] = elements.clean(out[k], "map")
  end
  return table.unpack(out)
end

function Parallel:next()
  if not self.workers then
    begin(self)
  end
  while not self.over and #self.waiting < AHEAD * self.size do
    local v = packed(self.input:next())
    if v == nil then
      self.over = true
    else
      self.read = self.read + 1
      hand_out(self, v, self.read)
    end
  end
  if #self.waiting == 0 then
    return nil
  end
  local i = self.read - #self.waiting + 1
  table.remove(self.waiting, 1)
  local text = answer_of(self.workers[(i - 1) % self.size + 1])
  self.n = self.n + 1
  return results(self, encode.parts(text, "map"))
end

function Parallel:_label()
  return ("map, element %d"):format(self.read - #self.waiting)
end

function Parallel:dtype(k)
  return self.dtypes[k]
end

function Parallel:save()
  return { read = self.read, over = self.over or false,
    waiting = elements.freeze(self.waiting, #self.waiting) }
end

function Parallel:load(s)
  begin(self)
  self.over = s.over
  local waiting = elements.thaw(s.waiting)
  self.read = s.read
  for k, v in ipairs(waiting) do
    hand_out(self, v, s.read - #waiting + k)
  end
end

function Parallel:close()
  for _, worker in ipairs(self.workers or {}) do
    core.process_close(worker)
  end
  self.workers, self.waiting, self.over = nil, {}, true
  stage.Iterator.close(self)
end

return Parallel
