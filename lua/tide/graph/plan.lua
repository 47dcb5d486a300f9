--- From symbolic outputs back to inputs: the nodes in order of execution, and the flat plan that
--- runs them.
--
-- The plan is a list of steps over numbered slots, made once per model. A step with one input and
-- one result, the usual case, is `slots[to] = fn(slots[from])`; others carry a template of their
-- arguments.
local errors = require "tide.errors"
local Layer = require "tide.layers.base"
local symbolic = require "tide.graph.symbolic"

local graph = {}

--- Nodes between inputs and outputs, each after those it needs, in order of creation where there is
--- a choice. Works with an explicit stack: graphs may be deep.
function graph.order(inputs, outputs, name)
  local given, done, order = {}, {}, {}
  for _, x in ipairs(inputs) do
    given[x] = true
  end
  for _, output in ipairs(outputs) do
    local stack = { { output } }
    while #stack > 0 do
      local entry = stack[#stack]
      local x, node = entry[1], entry[1]._node
      if given[x] or not node or done[node] then
        if not given[x] and not node then
          errors.raise(name, "the tensor '%s' is made by no layer", x.name)
        end
        stack[#stack] = nil
      elseif node.layer and #node.inputs == 0 then
        errors.raise(
          name, "the graph is not connected: '%s' is needed but is no input of the model", x.name)
      else
        entry[2] = (entry[2] or 0) + 1
        local need = node.inputs[entry[2]]
        if need then
          stack[#stack + 1] = { need }
        else
          done[node] = true
          order[#order + 1] = node
          stack[#stack] = nil
        end
      end
    end
  end
  return order
end

-- A function that fills a template of arguments from the slots.
local function filler(template, slot_of)
  if symbolic.is(template) then
    local k = slot_of[template]
    return function(slots) return slots[k] end
  elseif type(template) == "table" and symbolic.has(template) then
    local parts = {}
    for key, v in pairs(template) do
      parts[#parts + 1] = { key, filler(v, slot_of) }
    end
    return function(slots)
      local out = {}
      for i = 1, #parts do
        out[parts[i][1]] = parts[i][2](slots)
      end
      return out
    end
  end
  return function() return template end
end

-- Steps that run a node with several or structured arguments or results.
local function general(node, slot_of, release)
  local args, n = {}, node.args.n
  for i = 1, n do
    args[i] = filler(node.args[i], slot_of)
  end
  local results = node.results
  local plain = true
  for i = 1, results.n do
    plain = plain and symbolic.is(results[i])
  end
  return { kind = 2, fn = node.fn, args = args, n = n, results = results, plain = plain,
    release = release, node = node }
end

--- Makes the plan of a model.
--- @return table steps, integer number of slots, table slots of the inputs, table slots of the
---   outputs
function graph.plan(inputs, outputs, order)
  local slot_of, n = {}, 0
  local function slot(x)
    if not slot_of[x] then
      n = n + 1
      slot_of[x] = n
    end
    return slot_of[x]
  end
  local from, to, last = {}, {}, {}
  for i, x in ipairs(inputs) do
    from[i] = slot(x)
  end
  for i, node in ipairs(order) do
    for _, x in ipairs(node.inputs) do
      slot(x)
      last[x] = i
    end
    for _, x in ipairs(node.outputs) do
      slot(x)
      last[x] = last[x] or i
    end
  end
  for i, x in ipairs(outputs) do
    to[i] = slot(x)
    last[x] = nil
  end
  local steps = {}
  for i, node in ipairs(order) do
    local release = {}
    for x, at in pairs(last) do
      if at == i then
        release[#release + 1] = slot_of[x]
      end
    end
    local simple = node.args.n == 1 and symbolic.is(node.args[1]) and node.results.n == 1
      and symbolic.is(node.results[1])
      and slot_of[node.results[1]] ~= slot_of[node.args[1]]
    if simple then
      steps[i] = { kind = 1, fn = node.fn, from = slot_of[node.args[1]],
        to = slot_of[node.results[1]], release = release, node = node }
    else
      steps[i] = general(node, slot_of, release)
    end
    steps[i].slot_of = slot_of
    steps[i].released = #release
  end
  return steps, n, from, to
end

-- Whether a step is a plain relu: an activation layer without options of its own.
local function is_relu(step)
  local layer = step.node.layer
  local class = layer and getmetatable(layer).__name
  if class == "ReLU" then
    return not layer.max_value and (layer.negative_slope or 0) == 0 and (layer.threshold or 0) == 0
      and not layer.activity_regularizer
  end
  return false
end

--- Joins a batch normalization or an addition with the relu that alone reads it: one step, not two.
--- Returns the shorter plan.
--- @param steps table as graph.plan made them
--- @param outputs table symbolic outputs of the model
function graph.fuse(steps, outputs)
  local readers = {}
  for _, step in ipairs(steps) do
    for _, x in ipairs(step.node.inputs) do
      readers[x] = (readers[x] or 0) + 1
    end
  end
  for _, x in ipairs(outputs) do
    readers[x] = 2
  end
  local by_slot, out = {}, {}
  for _, step in ipairs(steps) do
    -- its step, where this one alone reads what it makes
    local before = step.kind == 1 and by_slot[step.from]
    if before and is_relu(step) then
      local layer, first, second = before.node.layer, before.fn, step.fn
      before.fn = function(x)
        if Layer.masks_in_use() then
          return second(first(x))
        end
        return layer:_call_relu(x)
      end
      before.to, before.results = step.to, step.node.results
      for _, slot in ipairs(step.release) do
        before.release[#before.release + 1] = slot ~= step.from and slot or nil
      end
      before.released = #before.release
      by_slot[step.from] = nil
    else
      out[#out + 1] = step
      local layer = step.node.layer
      local result = step.node.results[1]
      local one = step.kind == 1 or step.n == 1 and step.plain and step.node.results.n == 1
      if one and readers[result] == 1 and layer and layer._call_relu
        and not layer.activity_regularizer then
        by_slot[step.slot_of[result]] = step
      end
    end
  end
  return out
end

local function put(spec, value, slots, slot_of)
  if symbolic.is(spec) then
    slots[slot_of[spec]] = value
  elseif type(spec) == "table" and getmetatable(spec) == nil then
    for k, s in pairs(spec) do
      put(s, value[k], slots, slot_of)
    end
  end
end

local function run_general(step, slots)
  local args = {}
  for i = 1, step.n do
    args[i] = step.args[i](slots)
  end
  local results = step.results
  if results.n == 1 then
    put(results[1], step.fn(table.unpack(args, 1, step.n)), slots, step.slot_of)
  else
    local values = table.pack(step.fn(table.unpack(args, 1, step.n)))
    for i = 1, results.n do
      put(results[i], values[i], slots, step.slot_of)
    end
  end
end

--- Runs a plan on filled slots.
function graph.run(steps, slots)
  for i = 1, #steps do
    local step = steps[i]
    if step.kind == 1 then
      slots[step.to] = step.fn(slots[step.from])
    else
      run_general(step, slots)
    end
    local release = step.release
    for k = 1, step.released do
      slots[release[k]] = nil
    end
  end
end

return graph
