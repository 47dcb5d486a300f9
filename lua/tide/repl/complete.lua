--- Completion from live values. It runs no user code: fields are read raw, metatables' `__index`
--- tables are followed, `__index` functions are not called; what an object offers beyond that it
--- lists itself in its metatable's `__names` (a function or a list that belongs to Tide), as tide's
--- lazy namespaces and tensors do.
local complete = {}

local words = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch "%a+" do
  words[#words + 1] = word
end

local function sorted(list)
  table.sort(list)
  return list
end

local function names_of(meta, v)
  local names = rawget(meta, "__names")
  if type(names) == "function" then
    local ok, list = pcall(names, v)
    names = ok and list
  end
  return type(names) == "table" and names or {}
end

local function raw_index(meta)
  return type(meta) == "table" and rawget(meta, "__index") or nil
end

-- Reads one field the way Lua would, without calling anything but Tide's own lazy loading
-- (metatables with __names).
local function field(v, k)
  for _ = 1, 16 do
    if type(v) == "table" then
      local found = rawget(v, k)
      if found ~= nil then
        return found
      end
    end
    local meta = debug.getmetatable(v)
    local index = raw_index(meta)
    if type(index) == "function" and rawget(meta, "__names") ~= nil then
      local ok, found = pcall(index, v, k)
      return ok and found or nil
    end
    if type(index) ~= "table" then
      return nil
    end
    v = index
  end
end

local tensor_fields = { "shape", "ndim", "size", "dtype", "device", "requires_grad", "is_leaf",
  "nbytes", "grad" }

local function add_keys(t, out)
  for k, x in next, t do
    if type(k) == "string" and out[k] == nil then
      out[k] = x
    end
  end
end

-- Adds the string keys that `v` answers to, with the values that can be seen.
local function collect(v, out)
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
    local index = raw_index(meta)
    local methods = rawget(meta, "methods")
    if type(v) == "userdata" and type(methods) == "table" then -- a tensor
      add_keys(methods, out)
      for _, k in ipairs(tensor_fields) do
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
        get = raw_index(debug.getmetatable(get))
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
---@param env any
---@return string[]
function complete.names(env)
  local found, out = {}, {}
  collect(env, found)
  for k in next, found do
    out[#out + 1] = k
  end
  return sorted(out)
end

local function callable(v)
  return type(v) == "function"
    or (type(v) == "table" and rawget(debug.getmetatable(v) or {}, "__call") ~= nil)
end

--- The value that a dotted path has in `env`, read without running user code; nil if there is none.
---@param path string "model.layers"
---@param env table
---@return any
function complete.value(path, env)
  local v = env
  for name in path:gmatch "[^.]+" do
    v = field(v, name)
    if v == nil then
      return nil
    end
  end
  return v
end

-- Files that begin as the opened string does.
local function files(prefix)
  local folder, start = prefix:match "^(.*/)([^/]*)$"
  folder, start = folder or "", start or prefix
  local out = {}
  local quoted = "'" .. (folder == "" and "." or folder):gsub("'", "'\\''") .. "'"
  local pipe = io.popen("ls -1p -- " .. quoted .. " 2>/dev/null")
  if pipe then
    for name in pipe:lines() do
      if name:sub(1, #start) == start and (start ~= "" or name:sub(1, 1) ~= ".") then
        out[#out + 1] = name
      end
    end
    pipe:close()
  end
  return out, folder
end

-- The name of what the innermost open brackets belong to, and the innermost of them:
-- "layers.Dense", "{" in `layers.Dense { 64, act`; "net:fit", "{" in `net:fit(x, { ep`.
local function called(before)
  local depth, bracket = 0, nil
  for i = #before, 1, -1 do
    local c = before:sub(i, i)
    if c == ")" or c == "}" then
      depth = depth + 1
    elseif c == "(" or c == "{" then
      if depth == 0 then
        bracket = bracket or c
        local name = before:sub(1, i - 1):match "([%a_][%w_.:]*)%s*$"
        if name or c == "(" then
          return name, bracket
        end
      else
        depth = depth - 1
      end
    end
  end
end

-- The rows of arguments that a call takes, { name, type, ... } each; nil where none are known.
local function rows_of(name, env)
  local c = complete.value(name:gsub(":", "."), env)
  local args = c and type(c) == "table" and field(c, "args")
  if type(args) ~= "table" or type(args.names) ~= "table" then
    args = require("tide.check").tables[name:match "[%w_]+$"]
  end
  if args then
    local out = {}
    for i, option in ipairs(args.names) do
      out[i] = args.index and args.index[option] or { option }
    end
    return out
  end
  local core = require "tide.core"
  local info = core.op_info(name:match "[%w_]+$")
  if info and not info.private then
    local out = {}
    for i, a in ipairs(info.args) do
      out[i] = { a.name, a.kind, of = a.kind == "enum" and a.default or nil }
    end
    return out
  end
end

--- Option names of what is being called with a table, with " = "; nil where none begins so.
---@return string[]|nil
function complete.options(word, before, env)
  if not ((word == "" or word:find "^[%a_][%w_]*$") and before:find "[{,]%s*$") then
    return nil
  end
  local name, bracket = called(before)
  local out = {}
  for _, row in ipairs(name and bracket == "{" and rows_of(name, env) or {}) do
    if row[1]:sub(1, #word) == word then
      out[#out + 1] = row[1] .. " = "
    end
  end
  return #out > 0 and out or nil
end

--- The signature of the function whose bracket was just opened: "net:fit(x, y, batch_size, …)"; nil
--- if none is known.
---@param before string ends in "("
---@param env table
---@return string|nil
function complete.signature(before, env)
  local name = before:match "([%a_][%w_.:]*)%($"
  local v = name and complete.value(name:gsub(":", "."), env)
  if not name or (v == nil and not name:find ":") then
    return nil
  end
  local rows = rows_of(name, env)
  local names = {}
  if rows then
    for i, row in ipairs(rows) do
      names[i] = row[1]
    end
  elseif type(v) == "function" then
    local info = debug.getinfo(v, "uS")
    if info.what == "C" then
      return nil
    end
    for i = name:find ":" and 2 or 1, info.nparams do
      names[#names + 1] = debug.getlocal(v, i)
    end
    names[#names + 1] = info.isvararg and "..." or nil
  else
    return nil
  end
  return ("%s(%s)"):format(name, table.concat(names, ", "))
end

-- What the key before a string means: key -> kind of the registry.
local kinds = { activation = "activation", recurrent_activation = "activation",
  optimizer = "optimizer", loss = "loss", losses = "loss", metrics = "metric",
    weighted_metrics = "metric", callbacks = "callback", layer = "layer",
  initializer = "initializer", regularizer = "regularizer", constraint = "constraint" }

-- The names that a string of this kind can hold: as Keras spells them, and the classes' own.
local function names_of_kind(kind)
  local registry = require "tide.registry"
  registry.lookup(kind, "") -- opens the namespace
  local ns = registry.namespaces[kind]
  local listed = kind == "activation" and ns.names or ns and registry.names(ns) or {}
  local out, snake = {}, require("tide.class").snake
  for _, name in ipairs(listed) do
    out[name] = true
    if kind ~= "layer" and kind ~= "callback" then
      out[kind == "optimizer" and name:lower() or snake(name)] = true
    end
  end
  for name in pairs(registry.custom(kind)) do
    out[name] = true
  end
  return out
end

-- What may stand in the string that is open after `before`: names of layers, optimizers, losses and
-- so on after their key, the choices of an option, dtypes. nil: nothing is known of it.
local function in_string(before, env)
  local key = before:match "([%a_][%w_]*)%s*=%s*[\"']$"
  local within = not key and before:match "([%a_][%w_]*)%s*=%s*{[^{}]*[\"']$"
  local kind = kinds[key or within] or key and kinds[key:match "_(%a+)$"]
  local name = called(before)
  if not kind and not key and name and (name:find "layers%.get$" or name:find "Bidirectional$") then
    kind = "layer"
  end
  if kind then
    return names_of_kind(kind)
  end
  for _, row in ipairs(key and name and rows_of(name, env) or {}) do
    if row[1] == key and row.of then
      local out = {}
      for choice in row.of:gmatch "[^|]+" do
        out[choice] = true
      end
      return out
    end
  end
  if key == "dtype" then
    local out = {}
    for dtype in ("float32 float64 float16 bfloat16 int64 int32 int8 uint8 bool"):gmatch "%w+" do
      out[dtype] = true
    end
    return out
  end
end

--- The words that could stand where `word` stands.
---@param word string what was typed of it, with the dots and colons before it ("model.la")
---@param before string the line before the word
---@param env table the session's environment
---@return string[]
function complete.words(word, before, env)
  local open = before:match "[\"']([^\"']*)$"
  local _, quotes = before:gsub("[\"']", "")
  if open and quotes % 2 == 1 then
    local known = in_string(before:sub(1, #before - #open), env)
    if known then
      local out = {}
      for name in pairs(known) do
        if name:sub(1, #word) == word then
          out[#out + 1] = name
        end
      end
      return sorted(out)
    end
    local names, folder = files(open .. word)
    local cut = #folder - #open -- part of the folder that the word holds
    local out = {}
    for i, name in ipairs(names) do
      out[i] = (folder .. name):sub(#open + 1)
    end
    return cut and sorted(out) or out
  end
  if before:find "^%s*%%$" or word:find "^%%" then
    local out = {}
    local start = word:gsub("^%%", "")
    for name in next, require("tide.repl.commands").list do
      if name:sub(1, #start) == start then
        out[#out + 1] = word:sub(1, #word - #start) .. name
      end
    end
    return sorted(out)
  end
  local signature = word == "" and complete.signature(before, env)
  if signature then
    return { signature, "" } -- two, so that they are shown and not put in
  end
  local options = complete.options(word, before, env)
  if options then
    return options
  end
  local path, sep, last = word:match "^(.-)([.:]?)([%a_]?[%w_]*)$"
  local found, out = {}, {}
  if sep == "" and path == "" then
    collect(env, found)
    for _, w in ipairs(words) do
      found[w] = found[w] or "word"
    end
  elseif path:find "^[%a_][%w_.]*$" then
    local v = complete.value(path, env)
    if v == nil then
      return {}
    end
    collect(v, found)
  else
    return {}
  end
  for name, v in next, found do
    if name:sub(1, #last) == last and name:find "^[%a_][%w_]*$"
      and (last ~= "" or name:sub(1, 1) ~= "_") then
      if sep ~= ":" or v == true or callable(v) then
        out[#out + 1] = path .. sep .. name .. (sep ~= "" and type(v) == "function" and "(" or "")
      end
    end
  end
  return sorted(out)
end

return complete
