-- Odd arguments of every function of tide.ops and every method of tensors: what fails must fail
-- with one error of Tide's own that names the function, and never with words of Lua's that would
-- mean something was used unchecked.
local core = require "tide.core"
local errors = require "tide.errors"
local tide = require "tide"
local ops = tide.ops

-- Names under which an error may speak of a function: another name of the same op.
local also = { absolute = "abs", amax = "max", amin = "min", bitwise_invert = "bitwise_not",
  bitwise_left_shift = "left_shift", bitwise_right_shift = "right_shift", exponential = "exp",
    fabs = "abs", hard_swish = "hard_silu", swish = "silu",
  true_divide = "divide" }

local x, empty, scalar = tide.ones { 2, 3 }, tide.zeros { 0, 3 }, tide.tensor(2)
local function typed(dtype)
  return tide.ones({ 2, 3 }, { dtype = dtype })
end
local mask, whole, bytes, half, double = typed "bool", typed "int64", typed "uint8",
  typed "float16", typed "float64"
local huge, most = 2 ^ 53, math.maxinteger
local released = tide.ones { 2 }
core.release(released)

local function same(...)
  return ...
end
local NIL = { n = 2, nil, nil }

-- Lists of arguments.
local odd = {
  {}, NIL, { x, nil, 2 }, { "text" }, { x, "text" }, { x, "text", "text" }, { x, -1 }, { x, 0 },
    { x, -9, -9 }, { x, 7, 7 },
  { x, 0 / 0 }, { x, 1.5, 0.5 }, { x, huge }, { x, -huge, huge }, { x, most, most },
    { x, math.mininteger }, { x, math.huge },
  { empty }, { empty, 1 }, { empty, empty }, { x, empty }, { scalar }, { scalar, 1 },
    { scalar, scalar, scalar },
  { mask }, { mask, mask }, { mask, 1 }, { whole }, { whole, whole }, { whole, 2, 2 },
  { bytes, whole, mask }, { half }, { half, half },
  { half, 1 }, { x, double }, { mask, x, whole }, { x, x, x }, { x, mask }, { x, whole, 1 },
    { { 1, nil, 3 } },
  { { 1, { 2 } } }, { { { 1, 2 }, { 3 } }, 1 }, { { x, x } }, { { x, "text" } },
    { { x, nil, x }, 1 }, { x, { 1, nil, 3 } },
  { x, { 0 } }, { x, { 1, 1 } }, { x, { 9, -9 } }, { x, { "a" } }, { x, { { 1, 2 }, { 3 } } },
    { x, {} }, { {}, {} },
  { x, { axis = 9 } }, { x, { axis = "a" } }, { x, { axis = {} } }, { x, { nonsense = 1 } },
    { { x = 1, x1 = "text" } },
  { x, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }, { released }, { x, released }, { print }, { x, print },
    { same, same, same }, { true },
  { x, true }, { false, x }, { 5 }, { -5 }, { 5, -5, 0 }, { x, tide.none },
    { { 1, 2 }, { 2, 1 }, 3 }, { x, 2, -2 },
  { x, { dtype = "nonsense" } }, { x, 1, "float99" }, { tide.ones { 1, 1, 1, 1, 1, 1, 1, 1 }, 1 },
    { x, tide.ones { 4, 5 } },
  { coroutine.create(print), io.stdout },
}

local unclear = { "attempt to ", "bad argument #", "stack overflow",
  "number has no integer representation", "assertion", "lua/tide/", "error in error" }

-- Why the failure of a call is not as it should be; nil if it is.
local function complaint(name, e)
  local text = tostring(e)
  for _, words in ipairs(unclear) do
    if text:find(words, 1, true) then
      return text
    end
  end
  if not errors.is(e) then
    return "no error of Tide: " .. text
  elseif #e.message < 12 then
    return "says too little: " .. text
  elseif text:find("tensor: was released", 1, true) then
    return nil
  elseif not text:find((name:gsub("_$", "")), 1, true)
    and not (also[name] and text:find(also[name], 1, true)) then
    return "does not name the function: " .. text
  end
end

local function sweep(name, f, of_tensor)
  local found = {}
  local mode = core.grad_mode()
  for i, arguments in ipairs(odd) do
    local n = arguments.n or 0
    for k in pairs(arguments) do
      n = math.type(k) == "integer" and math.max(n, k) or n
    end
    if not of_tensor or core.is_tensor(arguments[1]) then
      local ok, e = pcall(f, table.unpack(arguments, 1, n))
      local why = not ok and complaint(name, e)
      found[#found + 1] = why and ("arguments %d: %s"):format(i, why) or nil
    end
  end
  assert.are.equal(mode, core.grad_mode())
  assert.are.equal("", table.concat(found, "\n"))
end

describe("odd arguments", function()
  local limit
  setup(function()
    limit = core.memory_limit()
    core.memory_limit(256 << 20)
  end)
  teardown(function()
    core.memory_limit(limit or 0)
  end)

  for _, name in ipairs(ops.names()) do
    it("of ops." .. name .. " give results or errors that name it", function()
      sweep(name, ops[name])
    end)
  end

  local methods = {}
  for name in pairs(debug.getmetatable(x).methods) do
    methods[#methods + 1] = name:sub(1, 2) ~= "__" and name or nil
  end
  for _, name in ipairs(ops.names()) do
    if not debug.getmetatable(x).methods[name] and ops.method(name)
      and type(x[name]) == "function" then
      methods[#methods + 1] = name
    end
  end
  table.sort(methods)
  for _, name in ipairs(methods) do
    it("of x:" .. name .. " give results or errors that name it", function()
      sweep(name, function(t, ...)
        return t[name](t, ...)
      end, true)
    end)
  end
end)
