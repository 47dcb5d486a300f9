--- The program that runs a graph in Lua: a flat list of steps over numbered slots, made once per
--- model. (A plan, src/plan.c, is what a whole step of training or predicting becomes in C.)
--
-- Most steps are `slots[to] = fn(slots[from])`; merges give a list of slots, operators of two
-- tensors two; others carry a template of their arguments.
local symbolic = require "tide.graph.symbolic"

local program = {}

local ONE, LIST, TWO, ANY = 1, 2, 3, 4

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

-- The slots of a list of symbolic tensors and nothing else; nil for anything else.
local function list_of_slots(v, slot_of)
  if type(v) ~= "table" or symbolic.is(v) or getmetatable(v) ~= nil then
    return nil
  end
  local out, n = {}, 0
  for i, x in ipairs(v) do
    out[i] = symbolic.is(x) and slot_of[x] or nil
  end
  for _ in pairs(v) do
    n = n + 1
  end
  return n > 0 and #out == n and out or nil
end

local function step_of(call, slot_of)
  local args, results = call.args, call.results
  local to = results.n == 1 and slot_of[results[1]]
  local first = args[1]
  if to and args.n == 1 and symbolic.is(first) then
    return { kind = ONE, fn = call.fn, from = slot_of[first], to = to }
  elseif to and args.n == 1 and list_of_slots(first, slot_of) then
    return { kind = LIST, fn = call.fn, from = list_of_slots(first, slot_of), to = to }
  elseif to and args.n == 2 and symbolic.is(first) and symbolic.is(args[2]) then
    return { kind = TWO, fn = call.fn, from = slot_of[first], second = slot_of[args[2]], to = to }
  end
  local fillers = {}
  for i = 1, args.n do
    fillers[i] = filler(args[i], slot_of)
  end
  return { kind = ANY, fn = call.fn, args = fillers, n = args.n, results = results,
    slot_of = slot_of }
end

--- Makes the program of a graph.
--- @param inputs table list of symbolic tensors
--- @param outputs table list of symbolic tensors
--- @param calls table as tide.graph.fuse gives them
--- @return table { steps, from: slots of the inputs, to: slots of the outputs, slot_of, chain: the
---   functions alone where each step takes what the one before made }
function program.make(inputs, outputs, calls)
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
  for i, call in ipairs(calls) do
    for _, x in ipairs(call.inputs) do
      last[slot(x)] = i
    end
    for _, x in ipairs(call.outputs) do
      last[slot(x)] = i
    end
  end
  for i, x in ipairs(outputs) do
    to[i] = slot(x)
    last[to[i]] = nil
  end
  local steps = {}
  for i, call in ipairs(calls) do
    steps[i] = step_of(call, slot_of)
    steps[i].release = {}
  end
  for k, i in pairs(last) do
    local release = steps[i].release
    release[#release + 1] = k
  end
  local chain, at = #inputs == 1 and #outputs == 1 and {} or nil, from[1]
  for i, step in ipairs(steps) do
    step.released = #step.release
    if chain and step.kind == ONE and step.from == at then
      chain[i] = step.fn
      at = step.to
    else
      chain = nil
    end
  end
  if chain and at ~= to[1] then
    chain = nil
  end
  return { steps = steps, from = from, to = to, slot_of = slot_of, chain = chain }
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

local function run_any(step, slots)
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

--- Runs a plan's steps on filled slots.
function program.run(steps, slots)
  for i = 1, #steps do
    local step = steps[i]
    local kind = step.kind
    if kind == ONE then
      slots[step.to] = step.fn(slots[step.from])
    elseif kind == TWO then
      slots[step.to] = step.fn(slots[step.from], slots[step.second])
    elseif kind == LIST then
      local from, values = step.from, {}
      for k = 1, #from do
        values[k] = slots[from[k]]
      end
      slots[step.to] = step.fn(values)
    else
      run_any(step, slots)
    end
    local release = step.release
    for k = 1, step.released do
      slots[release[k]] = nil
    end
  end
end

return program
