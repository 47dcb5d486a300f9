--- Calls everything that Lua can reach with arguments that nobody should give: `arguments.lua
--- [--seconds S] [--calls N] [--seed N] [--only PATTERN]`.
--
-- Three kinds of call: a function of Tide with values of every kind; a method of an object that an
-- earlier call made; an op with the arguments of one of its case rows, of which something is
-- changed (rows.lua), and the gradients of what it gives. After every call: the process lives, the
-- answer is a value or an error with a clear message (not one of Lua's own, which would mean that
-- something was used unchecked), grad mode is what it was, and no tensor is left behind. The suite
-- runs a fixed number of calls through `fuzz.run`; `make fuzz` runs for long under the sanitizers,
-- in an empty folder, so that functions of files are called too, and with a timer (timer.c) that
-- interrupts a call after a second and ends the process where it does not heed that.
local fuzz = {}

local tide, core = require "tide", require "tide.core"
local rows = require "spec.fuzz.rows"

local random = math.random
local pool = {} -- what calls returned: objects with methods

local function pick(list)
  return list[random(math.max(#list, 1))]
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

-- Results of millions of millions of elements are for runs that can interrupt a call.
local wide = { { 1 << 31 }, { 1 << 20, 1 << 20 }, { 3, 1 << 31 }, { 1 << 31, 2, 2 } }

local function tensor()
  local shape, dtype = pick(shapes), pick(dtypes)
  local t = random(3) == 1 and rows.filled(shape, dtype) or core.zeros(shape, { dtype = dtype })
  if not core.is_tensor(t) then
    return t -- a whole number is one of Lua's
  end
  if random(3) == 1 and #shape > 1 then
    t = t:transpose()
  end
  if fuzz.timed and random(60) == 1 and t.size == 1 then
    t = core.ops.broadcast_to(core.zeros({ 1 }, { dtype = dtype }), pick(wide))
  end
  if random(40) == 1 and t.size < 1000 then
    t = t:to "test"
  end
  if random(8) == 1 and dtype:find "float" then
    t.requires_grad = true
  end
  if random(12) == 1 then
    core.release(t)
  end
  return t
end

local names = {}
local value

-- Tables without an end, or with one that the length operator does not find.
local knots = {
  function() -- itself, first, second or by a name
    local t = { 1 }
    t[pick { 1, 2, pick(names) }] = t
    return t
  end,
  function() -- two that hold each other
    local t = { value() }
    t[2] = { 1, { t } }
    return t
  end,
  function() -- each holds the next twice: 2^40 ways to the innermost
    local t = { 1 }
    for _ = 1, 40 do
      t = { t, t }
    end
    return t
  end,
  function() -- nested deeply
    local t = { value() }
    for _ = 1, pick { 20, 300, 5000 } do
      t = { t }
    end
    return t
  end,
  function() -- nested deeply by names
    local t = {}
    for _ = 1, pick { 20, 300 } do
      t = { [pick(names)] = t }
    end
    return t
  end,
  function() -- keys at powers of two, so that its length may be any of them
    local t = {}
    for i = 0, pick { 5, 30, 62 } do
      t[1 << i] = pick { 1, 2, 0.5, "x" }
    end
    return t
  end,
  function() -- a hole
    local t = { value(), value(), value(), value() }
    t[random(4)] = nil
    return t
  end,
  function() -- keys that no list has
    return { value(), [pick { 0, -1, 2.5, 1e300, 1 << 40, true }] = value(), x = value() }
  end,
}

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
  function() return pick(knots)() end,
  function() return pick(knots)() end,
  function()
    return function(...)
      return ...
    end
  end,
  function() return coroutine.create(print) end,
  function() return io.stdout end,
  function() return pick(pool) end,
  function() return pick(pool) end,
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

-- Names that a table of functions offers.
local function names_in(home)
  local meta = debug.getmetatable(home)
  local list = type(meta) == "table" and meta.__names and meta.__names(home) or {}
  if #list == 0 then
    for name in pairs(home) do
      list[#list + 1] = type(name) == "string" and name or nil
    end
  end
  table.sort(list)
  return list
end

local function callable(f)
  return type(f) == "function" or type((debug.getmetatable(f) or {}).__call) == "function"
end

-- What is not called: what is about the process (signals, the terminal, the collector's mode),
-- opens scopes that stay open, or asks the network or the screen.
local left_out = {}
for name in ([[core.watch_interrupts core.watch_termination core.http
  core.cancel_flag core.terminal
  core.gc_mode core.scope_begin core.scope_keep core.scope_end core.io_fault
  core.hard_fail core.call_count core.memory_limit core.engines core.set_threads core.grad_mode
  core.recording core.enter_call core.mark core.profile_start core.default_device
  core.count_shapes
  core.generator core.deterministic core.determined tide.deterministic
  config.enable_op_determinism tide.memory_limit tide.set_threads
  tide.set_default_device tide.scope tide.RematScope tide.no_grad tide.enable_grad
  image.show]]):gmatch "%S+" do
  left_out[name] = true
end

-- What reads and writes files: called in an empty folder alone.
local of_files = {}
for name in ([[core.blob_write core.file_exists core.hdf5_encode core.hdf5_open
  core.hdf5_program
  core.idx_read core.listdir core.map_file core.mkdirs core.overwrite core.read_file
  core.safetensors_open core.safetensors_read core.safetensors_write core.write_file core.zip_open
  core.zip_read core.zip_write core_image.load core_image.loader core_image.format
  tide.load_model]]):gmatch "%S+" do
  of_files[name] = true
end

-- Whose errors may be Lua's own: what Tide's Lua calls in the core, having checked it, and rooms
-- that take tables of tables apart.
local loose = { plot = true, ["preprocessing.image"] = true }
local rooms_of_files = { saving = true, plot = true, image = true, ["preprocessing.image"] = true }

local function add_all(space, home)
  for _, name in ipairs(names_in(home)) do
    local whole, f = space .. "." .. name, home[name]
    local known = space == "ops" and core.ops[name] -- by the core's own name
    if callable(f) and not name:find "^_" and not left_out[whole] and not known then
      add(whole, f)
      targets[#targets].files = of_files[whole] or rooms_of_files[space]
      targets[#targets].loose = space:find "^core" ~= nil or loose[space]
    end
  end
end

for _, name in ipairs { "tensor", "zeros", "ones", "full", "empty", "zeros_like", "ones_like",
  "full_like", "from_bytes" } do
  add("core." .. name, core[name])
  left_out["core." .. name] = true -- not twice
end
add_all("core", core)
add_all("core_image", core.image)
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
add_all("tide", tide)
for _, space in ipairs { "layers", "models", "activations", "initializers", "regularizers",
  "constraints", "losses", "metrics", "optimizers", "callbacks", "random", "utils", "ops", "image",
  "saving", "plot" } do
  add_all(space, tide[space])
end
add_all("optimizers.schedules", tide.optimizers.schedules)
add_all("ops.image", tide.ops.image)
add_all("preprocessing.image", tide.preprocessing.image)
table.sort(targets, function(a, b) return a.name < b.name end)

-- ---- methods of what calls returned ----

local POOL = 60

-- What has methods, or is a tensor, may be used again.
local function remember(v)
  local useful = core.is_tensor(v) and v.size < 1 << 16
    or type(v) == "table" and v ~= tide.none and type(getmetatable(v)) == "table"
  if useful then
    pool[#pool < POOL and #pool + 1 or random(POOL)] = v
  end
end

-- A method of one of the objects as a target.
local function a_method()
  local object = pick(pool)
  if type(object) ~= "table" then
    return nil
  end
  local found, class = {}, getmetatable(object)
  while type(class) == "table" do
    for name, f in pairs(class) do
      if type(name) == "string" and not name:find "^_" and type(f) == "function" then
        found[#found + 1] = name
      end
    end
    class = rawget(class, "super")
  end
  if #found == 0 then
    return nil
  end
  table.sort(found)
  local name = pick(found)
  local f = object[name]
  return { name = ("method %s:%s"):format(getmetatable(object).__name or "?", name), f = f,
    object = object, method = true }
end

-- ---- a call ----

local function shown(v, level)
  level = level or 1
  if type(v) == "string" then
    return ("%q"):format(#v > 40 and v:sub(1, 40) .. "…" or v)
  elseif core.is_tensor(v) then
    local ok, text = pcall(function()
      return ("tensor(%s %s)"):format(v.dtype, tostring(v.shape))
    end)
    return ok and text or "tensor(released)"
  elseif type(v) == "table" and v ~= tide.none and not getmetatable(v) then
    local out = {}
    for k, x in pairs(v) do
      if #out == 6 or level > 4 then
        out[#out + 1] = "…"
        break
      end
      local plain = k == #out + 1
      out[#out + 1] = (type(k) == "string" and k .. " = " or plain and "" or ("[%s] = "):format(k))
        .. (x == v and "cycle" or shown(x, level + 1))
    end
    return "{" .. table.concat(out, ", ") .. "}"
  end
  local ok, text = pcall(tostring, v)
  return ok and text or type(v)
end

-- Messages of Lua itself: something was used that nobody had checked. Iterators that are not told
-- what they got, too.
local unclear = { "attempt to ", "bad argument #", "stack overflow",
  "number has no integer representation", "error in error" }

-- Why the answer of a call is not as it should be; nil if it is.
local function complaint(ok, e, mode_changed)
  if mode_changed then
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

-- One call to make: its target, the arguments, and its text.
local function next_call(chosen, made)
  local kind = random(10)
  if kind <= 3 then
    local name, f, arguments = rows.call(fuzz.timed)
    return { name = "row " .. name, f = f, row = arguments }, { arguments, n = 1 }
  end
  local target = kind == 4 and a_method() or chosen[made % #chosen + 1]
  local n = random(0, 5)
  local arguments = { n = n }
  for i = 1, n do
    arguments[i] = value()
  end
  if target.object then
    arguments.n = n + 1
    table.insert(arguments, 1, target.object)
  elseif n > 0 and random(3) > 1 then
    arguments[1] = tensor()
  end
  return target, arguments
end

local function text_of(target, arguments)
  local texts = {}
  for i = 1, arguments.n do
    texts[i] = shown(arguments[i])
  end
  return target.name .. "(" .. table.concat(texts, ", ") .. ")"
end

-- As a call leaves the process it found it: modes, the device, open scopes.
local function tidy(mode)
  local changed = core.grad_mode() ~= mode
  core.grad_mode(mode)
  core.default_device "cpu"
  core.interrupted(false)
  core.profile_stop()
  return changed
end

local function make(target, arguments)
  local results = table.pack(target.f(table.unpack(arguments, 1, arguments.n)))
  for i = 1, results.n do
    remember(results[i])
  end
  if target.row then
    rows.gradients(results, target.row)
  end
end

-- What a call prints goes nowhere.
local nowhere = io.tmpfile()
local function silently(f, ...)
  local files = _G.io
  local old = { print = print, write = files.write, stdout = files.stdout, stderr = files.stderr }
  _G.print, files.stdout, files.stderr = function() end, nowhere, nowhere
  files.write = function()
    return nowhere
  end
  local results = table.pack(pcall(f, ...))
  _G.print, files.write, files.stdout, files.stderr = old.print, old.write, old.stdout, old.stderr
  nowhere:seek("set", 0)
  return table.unpack(results, 1, results.n)
end

-- Calls without a timer: a loop of 2^63 turns is what was asked for, and is left after some
-- millions of instructions.
local function briefly(f, ...)
  if debug.gethook() then -- lines are counted
    return f(...)
  end
  debug.sethook(function()
    error("asked: an endless loop", 0)
  end, "", 20000000)
  local results = table.pack(pcall(f, ...))
  debug.sethook()
  if not results[1] then
    error(results[2], 0)
  end
end

--- Calls targets with random arguments until `calls` are made or `seconds` are over.
---@param o { calls?: integer, seconds?: number, seed?: integer, only?: string, trace?: string,
---   files?: boolean, arm?: function } only: a pattern of names; trace: a file that holds the call
---   being made, for when the process dies; files: also functions that write files, in the current
---   folder; arm: timer.c's
---@return integer calls made
---@return string[] complaints at most one per target
---@return string[] unclear errors of methods, whose objects were used out of order
function fuzz.run(o)
  math.randomseed(o.seed or 1)
  fuzz.timed = o.arm ~= nil
  local chosen = {}
  for _, target in ipairs(targets) do
    if (not o.only or target.name:find(o.only)) and (o.files or not target.files) then
      chosen[#chosen + 1] = target
    end
  end
  assert(#chosen > 0, "no target of that name")
  collectgarbage() -- what ran before in this process has no part in the limit
  core.memory_limit(64 << 20)
  local trace = o.trace and assert(io.open(o.trace, "w"))
  local finish = o.seconds and core.now() + o.seconds
  local complaints, of_methods, known, made = {}, {}, {}, 0
  while (not o.calls or made < o.calls) and (not finish or core.now() < finish) do
    local target, arguments = next_call(chosen, made)
    local call = (trace or not known[target.name]) and text_of(target, arguments)
    if trace then
      trace:seek("set", 0)
      trace:write(call, "\n", (" "):rep(200), "\n")
      trace:flush()
    end
    local mode = core.grad_mode()
    if o.arm then
      o.arm(core.cancel_flag(), 1, 90)
    end
    local ok, e
    if o.arm then
      ok, e = silently(make, target, arguments)
      o.arm(core.cancel_flag(), 0)
    else
      ok, e = silently(briefly, make, target, arguments)
    end
    local why = complaint(ok, e, tidy(mode))
    if why and target.loose and not why:find "grad mode" then
      why = nil
    end
    if why and not known[target.name] then
      known[target.name] = true
      local list = target.method and of_methods or complaints
      list[#list + 1] = call .. ": " .. why
    end
    made = made + 1
    if made % 500 == 0 then
      collectgarbage()
    end
  end
  if trace then
    trace:close()
  end
  pool = {}
  core.memory_limit(0)
  collectgarbage()
  collectgarbage()
  return made, complaints, of_methods
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
  local o = { seed = tonumber(os.getenv "TIDE_FUZZ_SEED" or os.time()),
    trace = os.getenv "TIDE_FUZZ_LAST" }
  for i = 1, #arg do
    local key = arg[i]:match "^%-%-(%a+)$"
    if key then
      o[key] = tonumber(arg[i + 1]) or arg[i + 1]
    end
  end
  local timer = os.getenv "TIDE_FUZZ_TIMER"
  o.arm = timer and assert(package.loadlib(timer, "luaopen_timer"))()
  o.files = timer ~= nil -- then the folder is an empty one
  local made, complaints, of_methods = fuzz.run(o)
  print(("%d calls of %d functions, their case rows and methods, seed %d, %d complaints"):format(
    made, #targets, o.seed, #complaints))
  for _, text in ipairs(complaints) do
    print("  " .. text)
  end
  for i, text in ipairs(of_methods) do
    print(i == 1 and ("methods with unclear errors: %d"):format(#of_methods) or "", "  " .. text)
  end
  os.exit(#complaints == 0, true)
end

return fuzz
