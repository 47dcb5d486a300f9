--- Everything that training changes, kept for a trial and put back bit for bit: the fields of the
--- model, of its layers, optimizers, metrics and seed generators and of the tables in them, the
--- elements of the tensors there, and the random generator.
--
-- It knows no class: it walks what hangs on the model and notes every field as it stands. So a
-- model or optimizer that the trial builds is unbuilt again afterwards. Data sources and what
-- functions hold in upvalues are a person's.
local S = require "tide.private"
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local list = require "tide.list"

local photo = {}

-- Whether the fields of a table are noted: plain tables, lists, objects of Tide's classes.
local function is_open(v)
  local m = getmetatable(v)
  return m == nil or m == list.meta or rawget(v, S) ~= nil or class.is_class(m)
end

local Photo = {}
Photo.__index = Photo

local function note_tensor(self, t)
  local grad = t.is_leaf and t.grad or nil
  self.tensors[#self.tensors + 1] = { t, t:detach():copy(), t:version(), t.requires_grad, grad }
end

--- The state of a model now.
--- @param model table
--- @param fields_alone boolean|nil fields alone: a trial that writes into no tensor
--- @return table what `restore` puts back
function photo.take(model, fields_alone)
  local self = setmetatable({ tables = {}, tensors = {}, generator = { core.generator() } }, Photo)
  local T = model[S].training
  local seen, stack = {}, { model }
  for _, part in ipairs(T and { T, T.loss or false, T.metrics or false } or {}) do
    stack[#stack + 1] = part or nil
  end
  for _, entry in ipairs(T and T.metrics and T.metrics.entries or {}) do
    stack[#stack + 1] = entry
  end
  for _, t in ipairs(stack) do
    seen[t] = true
  end
  while #stack > 0 do
    local t = table.remove(stack)
    local fields = {}
    for k, v in next, t do
      fields[k] = v
      local kind = type(v)
      if (kind == "table" or kind == "userdata") and not seen[v] then
        if kind == "userdata" and core.is_tensor(v) then
          seen[v] = true
          if not fields_alone then
            note_tensor(self, v)
          end
        elseif kind == "table" and not class.is_class(v) and v ~= check.none and is_open(v) then
          seen[v] = true
          stack[#stack + 1] = v
        end
      end
    end
    self.tables[#self.tables + 1] = { t, fields }
  end
  return self
end

--- Puts all back.
function Photo:restore()
  local _ <close> = core.recording(false)
  for _, entry in ipairs(self.tables) do
    local t, fields = entry[1], entry[2]
    for k in next, t do
      if fields[k] == nil then
        rawset(t, k, nil)
      end
    end
    for k, v in next, fields do
      if not rawequal(rawget(t, k), v) then
        rawset(t, k, v)
      end
    end
  end
  for _, entry in ipairs(self.tensors) do
    local t, value, version, requires_grad, grad = table.unpack(entry, 1, 5)
    if t:version() ~= version then
      t:assign(value)
    end
    if t.is_leaf and t.requires_grad ~= requires_grad then
      t:requires_grad_(requires_grad)
    end
    if t.is_leaf and t.grad ~= grad then
      t.grad = grad
    end
  end
  core.generator(table.unpack(self.generator))
end

Photo.__close = Photo.restore

return photo
