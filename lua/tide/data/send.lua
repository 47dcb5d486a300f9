--- Functions as texts, for worker processes: their code and what they hold (numbers, texts, plain
--- tables, tensors, other functions). Modules and what stands in them go by name. Whatever cannot
--- be sent is named in one error.
local check = require "tide.check"
local core = require "tide.core"
local encode = require "tide.data.encode"
local errors = require "tide.errors"
local list = require "tide.list"
local namespace = require "tide.namespace"

local send = {}

-- ---- what goes by name ----

-- Modules and the functions that stand in them: value -> { module } or { module, field }.
local function named()
  local out = {}
  local function add(name, module)
    if type(module) ~= "table" then
      return
    end
    out[module] = out[module] or { name }
    for k, v in next, module do
      if type(k) == "string" and type(v) == "function" then
        out[v] = out[v] or { name, k }
      end
    end
  end
  for _, name in ipairs { "_G", "string", "table", "math", "io", "os", "utf8", "coroutine" } do
    add(name, package.loaded[name]) -- these first: other modules hold the same functions
  end
  for _, name in ipairs(check.sorted_keys(package.loaded)) do
    add(name, package.loaded[name])
  end
  return out
end

-- ---- writing ----

local node -- a value as a plain table of words, for `encode`

local function of_table(v, at, state)
  local names = state.named[v]
  if names then
    return { kind = "module", name = names[1] }
  elseif namespace.is(v) then
    return { kind = "space", name = getmetatable(v).__name }
  elseif getmetatable(v) ~= nil and not list.is(v) then
    errors.raise(state.where, "%s is an object (%s), which cannot be sent to worker processes; \z
      leave num_parallel_calls out, or make it inside of the function", at, check.show(v))
  end
  local out = { kind = "table", id = state.seen[v] }
  local n = 0
  for _, k in ipairs(check.sorted_keys(v)) do
    n = n + 1
    out[n] = { node(k, at, state), node(v[k], ("%s[%s]"):format(at, check.show(k)), state) }
  end
  return out
end

local function of_function(f, at, state)
  local names = state.named[f]
  if names then
    return { kind = "field", name = names[1], field = names[2] }
  end
  local ok, code = pcall(string.dump, f)
  if not ok then
    errors.raise(state.where, "%s is a function of C that stands in no module, which cannot be \z
      sent to worker processes", at)
  end
  local out = { kind = "function", id = state.seen[f], code = code, up = {} }
  for i = 1, 255 do
    local name, v = debug.getupvalue(f, i)
    if not name then
      break
    end
    out.up[i] = (name == "_ENV" or v == _G) and { kind = "globals" }
      or node(v, ("the upvalue '%s' of %s"):format(name, at), state)
  end
  return out
end

function node(v, at, state)
  local t = type(v)
  if v == nil then
    return { kind = "nil" }
  elseif t == "number" or t == "boolean" or t == "string" or core.is_tensor(v) then
    return { kind = "value", v = v }
  elseif t ~= "table" and t ~= "function" then
    errors.raise(state.where, "%s is a %s, which cannot be sent to worker processes", at, t)
  elseif state.seen[v] then
    return { kind = "again", id = state.seen[v] }
  end
  state.n = state.n + 1
  state.seen[v] = state.n
  return (t == "table" and of_table or of_function)(v, at, state)
end

--- A function as a text.
--- @param where string names what sends it, in errors
function send.pack(f, where)
  if not debug or not debug.getupvalue then
    errors.raise(where, "num_parallel_calls needs Lua's debug library, which the host has not")
  end
  local state = { where = where, named = named(), seen = {}, n = 0 }
  return encode.element(node(f, "the function", state))
end

-- ---- reading ----

local function read(n, made)
  local kind = n.kind
  if kind == "value" then
    return n.v
  elseif kind == "again" then
    return made[n.id]
  elseif kind == "globals" then
    return _G
  elseif kind == "module" then
    return n.name == "_G" and _G or require(n.name)
  elseif kind == "field" then
    return (n.name == "_G" and _G or require(n.name))[n.field]
  elseif kind == "space" then
    local v = require "tide"
    for part in n.name:gmatch "[^.]+" do
      v = part == "tide" and v or v[part]
    end
    return v
  elseif kind == "table" then
    local out = {}
    made[n.id] = out
    for _, pair in ipairs(n) do
      out[read(pair[1], made)] = read(pair[2], made)
    end
    return out
  elseif kind == "function" then
    local f = assert(load(n.code, "=map", "b"))
    made[n.id] = f
    for i, up in ipairs(n.up) do
      debug.setupvalue(f, i, read(up, made))
    end
    return f
  end
end

--- The function that a text is.
function send.unpack(text)
  return read(encode.parts(text, "map"), {})
end

return send
