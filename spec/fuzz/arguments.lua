--- Calls everything that Tide exports with arguments that nobody should give: `arguments.lua
--- [--seconds S] [--seed N]`.
--
-- After every call: the process lives, the answer is a value or an error with a clear message (not
-- one of Lua's own, which would mean that something was used unchecked), grad mode is what it was,
-- and no tensor is left behind. The suite runs a fixed number of calls through `fuzz.run`; `make
-- fuzz` runs for long under the sanitizers.
local fuzz = {}

local tide, core = require "tide", require "tide.core"

local random = math.random

local function pick(list)
  return list[random(#list)]
end

-- ---- values ----

local dtypes = { "float32", "float64", "int64", "int32", "uint8", "int8", "bool", "float16",
  "bfloat16" }
local shapes = { {}, { 0 }, { 1 }, { 3 }, { 2, 3 }, { 3, 2 }, { 0, 4 }, { 2, 0, 3 }, { 4, 4, 1 },
  { 1, 5, 5, 2 }, { 2, 2, 2, 2, 2 },
  { 1, 1, 1, 1, 1, 1, 1, 2 } }
local integers = { 0, 1, 2, 3, -1, -2, 7, 100, -100, 1 << 31, (1 << 31) - 1, -(1 << 31), 1 << 32,
  math.maxinteger, math.mininteger }
local floats = { 0.0, -0.0, 0.5, -0.5, 1e-30, 1e30, 1e308, -1e308, 1 / 0, -1 / 0, 0 / 0, 2.0, 1e15 }
local words = { "", "valid", "same", "float32", "int64", "nonsense", "relu", "axis", "sum", "...",
  "\0\1", ("x"):rep(5000), "ij,jk->ik", "%s%n" }

local function tensor()
  local shape, dtype = pick(shapes), pick(dtypes)
  local t = core.zeros(shape, { dtype = dtype })
  if random(3) == 1 and #shape > 1 then
    t = t:transpose()
  end
  if random(8) == 1 and dtype:find "^float%d" and dtype ~= "float16" then
    t.requires_grad = true
  end
  if random(12) == 1 then
    core.release(t)
  end
  return t
end

local names = {}
local value

local makers = {
  tensor, tensor, tensor, tensor,
  function() return pick(integers) end,
  function() return pick(integers) end,
  function() return pick(floats) end,
  function() return pick(words) end,
  function() return random(2) == 1 end,
  function() return nil end,
  function() return tide.none end,
  function() return {} end,
  function() return { pick(integers) } end,
  function() return { pick(integers), pick(integers) } end,
  function() return { random(4), random(4), random(3) - 2 } end,
  function() return { { pick(integers), 2 }, { 3 } } end,
  function() return { value(), value() } end,
  function()
    local t = {}
    for _ = 1, random(2) do
      t[pick(names)] = value()
    end
    return t
  end,
  function()
    local t = { 1 }
    t[2] = t
    return t
  end,
  function() return print end,
  function() return coroutine.create(print) end,
  function() return io.stdout end,
  function()
    return setmetatable({}, { __index = function()
      error "asked"
    end, __len = function() error "asked" end })
  end,
}

local depth = 0
function value()
  depth = depth + 1
  local v
  if depth < 4 then
    v = pick(makers)()
  end
  depth = depth - 1
  return v
end

-- ---- targets ----

local targets = {}

local function add(name, f)
  targets[#targets + 1] = { name = name, f = f }
end

for _, op in ipairs(core.op_names()) do
  local info = core.op_info(op)
  if core.ops[op] then
    add("ops." .. op, core.ops[op])
    for _, a in ipairs(info.args) do
      names[#names + 1] = a.name
    end
  end
end
names[#names + 1] = "dtype"
names[#names + 1] = "no_such_option"
for _, name in ipairs { "tensor", "zeros", "ones", "full", "empty", "zeros_like", "ones_like",
  "full_like", "from_bytes" } do
  add("core." .. name, core[name])
end
do
  local methods = debug.getmetatable(core.zeros { 1 }).methods
  local sorted = {}
  for name in pairs(methods) do
    sorted[#sorted + 1] = name
  end
  table.sort(sorted)
  for _, name in ipairs(sorted) do
    add("tensor:" .. name, methods[name])
  end
end
add("index", function(t, k) return core.is_tensor(t) and t[k] end)
add("set", function(t, k, v)
  if core.is_tensor(t) then
    t[k] = v
  end
end)
for sign, f in pairs {
  add = function(a, b) return a + b end,
  div = function(a, b) return a // b end,
  pow = function(a, b) return a ^ b end,
  band = function(a, b) return a & b end,
  shift = function(a, b) return a << b end,
} do
  add("operator " .. sign, function(a, b)
    -- Lua's own words are right where no tensor takes part
    if core.is_tensor(a) or core.is_tensor(b) then
      return f(a, b)
    end
  end)
end
-- Constructors and functions of the namespaces; those that read or write files are not called with
-- names of files.
for _, space in ipairs { "layers", "activations", "initializers", "regularizers", "constraints",
  "losses", "metrics", "optimizers",
  "callbacks", "random", "utils", "ops" } do
  local home = tide[space]
  local meta = debug.getmetatable(home)
  local list = type(meta) == "table" and meta.__names and meta.__names(home) or {}
  if #list == 0 then
    for name in pairs(home) do
      list[#list + 1] = type(name) == "string" and name or nil
    end
  end
  for _, name in ipairs(list) do
    local f = home[name]
    local callable = type(f) == "function"
      or type((debug.getmetatable(f) or {}).__call) == "function"
    if callable and not name:find "^_" and not core.ops[name] then
      add(space .. "." .. name, f)
    end
  end
end
table.sort(targets, function(a, b) return a.name < b.name end)

-- ---- a call ----

local function shown(v)
  if type(v) == "string" then
    return ("%q"):format(#v > 40 and v:sub(1, 40) .. "…" or v)
  elseif core.is_tensor(v) then
    local ok, text = pcall(function()
      return ("tensor(%s %s)"):format(v.dtype, tostring(v.shape))
    end)
    return ok and text or "tensor(released)"
  elseif type(v) == "table" and v ~= tide.none and not getmetatable(v) then
    local out, seen = {}, 0
    for k, x in pairs(v) do
      seen = seen + 1
      out[#out + 1] = (type(k) == "string" and k .. " = " or "")
        .. (x == v and "cycle" or seen > 6 and "…" or shown(x))
    end
    return "{" .. table.concat(out, ", ") .. "}"
  end
  return tostring(v)
end

-- Messages of Lua itself: something was used that nobody had checked. Iterators that are not told
-- what they got, too.
local unclear = { "attempt to ", "bad argument #", "stack overflow",
  "number has no integer representation", "error in error" }

-- Why the answer of a call is not as it should be; nil if it is.
local function complaint(ok, e, mode)
  if core.grad_mode() ~= mode then
    return "grad mode was changed"
  end
  if ok then
    return nil
  end
  local message = tostring(e)
  if message == "" then
    return "an empty message"
  elseif message:find("asked", 1, true) then
    return nil -- the argument's own error
  end
  for _, words_of_lua in ipairs(unclear) do
    if message:find(words_of_lua, 1, true) then
      return "an unclear error: " .. message:sub(1, 300)
    end
  end
end

--- Calls targets with random arguments until `calls` are made or `seconds` are over.
---@param o { calls?: integer, seconds?: number, seed?: integer, only?: string, trace?: string }
---   only: a pattern of target names; trace: a file that holds the call being made, for when the
---   process dies
---@return integer calls made
---@return string[] complaints at most one per target
function fuzz.run(o)
  math.randomseed(o.seed or 1)
  local chosen = {}
  for _, target in ipairs(targets) do
    if not o.only or target.name:find(o.only) then
      chosen[#chosen + 1] = target
    end
  end
  assert(#chosen > 0, "no target of that name")
  core.memory_limit(64 << 20)
  local trace = o.trace and assert(io.open(o.trace, "w"))
  local finish = o.seconds and core.now() + o.seconds
  local complaints, known, made = {}, {}, 0
  while (not o.calls or made < o.calls) and (not finish or core.now() < finish) do
    local target = chosen[made % #chosen + 1]
    local n = random(0, 5)
    local arguments = { n = n }
    for i = 1, n do
      arguments[i] = value()
    end
    if n > 0 and random(3) > 1 then
      arguments[1] = tensor()
    end
    local texts = {}
    for i = 1, n do
      texts[i] = shown(arguments[i])
    end
    local call = target.name .. "(" .. table.concat(texts, ", ") .. ")"
    if trace then
      trace:seek("set", 0)
      trace:write(call, "\n", (" "):rep(200), "\n")
      trace:flush()
    end
    local mode = core.grad_mode()
    local ok, e = pcall(target.f, table.unpack(arguments, 1, n))
    local why = complaint(ok, e, mode)
    if why and not known[target.name] then
      known[target.name] = true
      complaints[#complaints + 1] = call .. ": " .. why
    end
    made = made + 1
    if made % 500 == 0 then
      collectgarbage()
    end
  end
  if trace then
    trace:close()
  end
  core.memory_limit(0)
  collectgarbage()
  collectgarbage()
  return made, complaints
end

--- Names of everything that is called, for the spec that guards the list.
function fuzz.targets()
  local out = {}
  for i, target in ipairs(targets) do
    out[i] = target.name
  end
  return out
end

if arg and arg[0] and arg[0]:find "fuzz/arguments%.lua$" then
  local o = { seconds = 10, seed = os.time(), trace = os.getenv "TIDE_FUZZ_LAST" }
  for i = 1, #arg do
    local key = arg[i]:match "^%-%-(%a+)$"
    if key then
      o[key] = tonumber(arg[i + 1]) or arg[i + 1]
    end
  end
  local made, complaints = fuzz.run(o)
  print(("%d calls of %d functions, seed %d, %d complaints"):format(made, #targets, o.seed,
    #complaints))
  for _, text in ipairs(complaints) do
    print("  " .. text)
  end
  os.exit(#complaints == 0, true)
end

return fuzz
