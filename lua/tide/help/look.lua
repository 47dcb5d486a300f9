--- Looking at values without running a person's code: fields are read raw, metatables' `__index`
--- tables are followed, `__index` functions are not called; what an object offers beyond that it
--- lists itself in its metatable's `__names` (a function or a list that belongs to Tide), as tide's
--- lazy namespaces and tensors do.
local errors = require "tide.errors"
local native = require "tide.help.native"

local look = {}
local debug = debug

local function names_of(meta, v)
  local names = rawget(meta, "__names")
  if type(names) == "function" then
    local ok, list = errors.tried(pcall(names, v))
    names = ok and list
  end
  return type(names) == "table" and names or {}
end

--- The `__index` of a metatable, read raw; nil if there is none.
function look.raw_index(meta)
  return type(meta) == "table" and rawget(meta, "__index") or nil
end

--- One field, read the way Lua would, without calling anything but Tide's own lazy loading
--- (metatables with `__names`).
function look.field(v, k)
  for _ = 1, 16 do
    if type(v) == "table" then
      local found = rawget(v, k)
      if found ~= nil then
        return found
      end
    end
    local meta = debug.getmetatable(v)
    local index = look.raw_index(meta)
    if type(v) == "userdata" and type(meta) == "table" then
      local methods = rawget(meta, "methods")
      if type(methods) == "table" and methods[k] ~= nil then
        return methods[k]
      end
    end
    if type(index) == "function" then
      if rawget(meta, "__names") ~= nil then
        local ok, found = errors.tried(pcall(index, v, k))
        return ok and found or nil
      elseif rawget(meta, "_new") == nil then
        return nil
      end
      index = meta -- an instance with computed fields: its methods stand in its class
    end
    if type(index) ~= "table" then
      return nil
    end
    v = index
  end
end

--- The value that a dotted path has in `env`; nil if there is none.
---@param path string "model.layers"
---@param env table
---@return any
function look.value(path, env)
  local v = env
  for name in path:gmatch "[^.]+" do
    v = look.field(v, name)
    if v == nil then
      return nil
    end
  end
  return v
end

local function add_keys(t, out)
  for k, x in next, t do
    if type(k) == "string" and out[k] == nil then
      out[k] = x
    end
  end
end

--- Adds the string keys that `v` answers to, with the values that can be seen: `true` where a name
--- is known and its value not yet, `false` for a computed field.
function look.collect(v, out)
  for _ = 1, 16 do
    if type(v) == "table" then
      add_keys(v, out)
    end
    local meta = debug.getmetatable(v)
    if type(meta) ~= "table" then
      return
    end
    for _, k in ipairs(names_of(meta, v)) do
      if out[k] == nil then
        out[k] = true
      end
    end
    local index = look.raw_index(meta)
    local methods = rawget(meta, "methods")
    if type(v) == "userdata" and type(methods) == "table" then -- a tensor
      add_keys(methods, out)
      for k in pairs(native.fields) do
        out[k] = out[k] or false
      end
    -- an instance with computed fields
    elseif type(index) == "function" and rawget(meta, "_new") ~= nil then
      local get = rawget(meta, "_get")
      for _ = 1, 16 do
        if type(get) ~= "table" then
          break
        end
        for k in next, get do
          out[k] = out[k] or false
        end
        get = look.raw_index(debug.getmetatable(get))
      end
      index = meta
    end
    v = index
    if type(v) ~= "table" then
      return
    end
  end
end

--- Every name that a value answers to, sorted; of an environment, what an expression could begin
--- with.
---@param v any
---@return string[]
function look.names(v)
  local found, out = {}, {}
  look.collect(v, found)
  for k in next, found do
    out[#out + 1] = k
  end
  table.sort(out)
  return out
end

return look
