--- Completion from live values, which it only looks at (tide.help.look): it runs no user code.
local class = require "tide.class"
local core = require "tide.core"
local help = require "tide.help"
local look = require "tide.help.look"
local namespace = require "tide.namespace"
local object = require "tide.object"
local origin = require "tide.origin"
local printable = require "tide.printable"
local words = require("tide.help.source").words

local complete = {}

local function sorted(list)
  table.sort(list)
  return list
end

--- Every name that a value answers to, sorted.
complete.names = look.names
--- The value that a dotted path has in an environment, read without running user code.
complete.value = look.value

local function callable(v)
  return type(v) == "function"
    or (type(v) == "table" and rawget(debug.getmetatable(v) or {}, "__call") ~= nil)
end

-- Files that begin as the opened string does.
local function files(prefix)
  local folder, start = prefix:match "^(.*/)([^/]*)$"
  folder, start = folder or "", start or prefix
  local out = {}
  local ok, names, kinds = pcall(core.listdir, folder == "" and "." or folder)
  for i, name in ipairs(ok and names or {}) do
    if name:sub(1, #start) == start and (start ~= "" or name:sub(1, 1) ~= ".")
      and printable.name(name) == name then
      out[#out + 1] = name .. ((kinds[i] == "directory" or kinds[i] == "link") and "/" or "")
    end
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
  if c == nil then -- a method of something that is not known yet, a class in a local of a script
    local found = help.find(name:match ":?[%w_]+$":gsub("^:", ""))
    c = found[1] and found[1][2]
  end
  local methods = type(c) == "table" and not class.is_class(c) and look.field(c, "_methods")
  -- an object that is called, or a class
  local args = methods and methods.__call or type(c) == "table" and look.field(c, "args")
  local op = name:match "[%w_]+$"
  if type(c) == "function" then
    local inner = origin.of(c) -- loads the module that declares the arguments
    local place = origin.place(c) or origin.place(inner)
    args, op = object.arguments(c) or place and place.args, place and place.op or op
  end
  -- what stands under that name serves Lua's functions alone: a class may be called as an op is
  if (type(args) ~= "table" or type(args.names) ~= "table")
    and not (type(c) == "function" and debug.getinfo(c, "S").what == "C") then
    args = type(c) == "function" and require("tide.check").arguments(origin.of(c), op) or nil
  end
  if args then
    local out = {}
    for i, option in ipairs(args.names) do
      out[i] = args.index and args.index[option] or { option }
    end
    return out
  end
  local info = core.op_info(op)
  if info and not info.private then
    local out = {}
    for i, a in ipairs(info.args) do
      out[i] = { a.name, a.kind, of = a.kind == "enum" and a.default or nil, also = a.also }
    end
    if name:find ":" and out[1] and out[1][2] == "tensor" then
      table.remove(out, 1) -- x:sum(…) has x already
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
    for _, option in ipairs { row[1], row.also } do
      if option:sub(1, #word) == word then
        out[#out + 1] = option .. " = "
      end
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
  local ns = registry.namespace(kind)
  local listed = ns and namespace.names(ns) or {}
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

-- What may stand in a string that follows `before`: names of layers, optimizers, losses and so on
-- after their key, the choices of an option, dtypes; then the key, whether the string stands in a
-- list, and the kind of the names. nil: nothing is known of it.
local function in_string(before, env)
  local key = before:match "([%a_][%w_]*)%s*=%s*$"
  local within = not key and before:match "([%a_][%w_]*)%s*=%s*{[^{}]*$"
  local kind = kinds[key or within] or key and kinds[key:match "_(%a+)$"]
  local name = called(before)
  if not kind and not key and name and (name:find "layers%.get$" or name:find "Bidirectional$") then
    kind = "layer"
  end
  if kind then
    return names_of_kind(kind), key or within, within ~= nil and not key, kind
  end
  for _, row in ipairs(key and name and rows_of(name, env) or {}) do
    if row[1] == key and row.of then
      local out = {}
      for choice in row.of:gmatch "[^|]+" do
        out[choice] = true
      end
      return out, key
    end
  end
  if key == "dtype" then
    local out = {}
    for dtype in ("float32 float64 float16 bfloat16 int64 int32 int8 uint8 bool"):gmatch "%w+" do
      out[dtype] = true
    end
    return out, key
  end
end

--- The names that a string after `before` can hold, as keys, with Keras' other names for them; then
--- the key whose value it is, and whether it stands in a list. nil where nothing is known of it.
---@param before string
---@return table|nil choices
---@return string|nil key
---@return boolean|nil within
function complete.choices(before)
  local out, key, within, kind = in_string(before, _G)
  local ns = kind and require("tide.registry").namespace(kind)
  for name in pairs(ns and namespace.aliases(ns) or {}) do
    out[name] = true
  end
  return out, key, within
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
    local known = in_string(before:sub(1, #before - #open - 1), env)
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
    look.collect(env, found)
    for w in pairs(words) do
      found[w] = found[w] or "word"
    end
  elseif path:find "^[%a_][%w_.]*$" then
    local v = complete.value(path, env)
    if v == nil then
      return {}
    end
    look.collect(v, found)
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
