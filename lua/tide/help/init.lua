--- Help: what is known of a value or a name, and where the text of it stands. The texts are the doc
--- comments above definitions, the argument tables of classes and functions, the descriptors of
--- ops, and, for other functions written in C, tide.help.native. The prompt's `?`, tide.help and
--- the specs read them here.
local errors = require "tide.errors"
local examples = require "tide.help.examples"
local look = require "tide.help.look"
local native = require "tide.help.native"
local origin = require "tide.origin"
local source = require "tide.help.source"

local help = { painted = source.painted }

local debug = debug

local function is_class(v)
  local meta = type(v) == "table" and debug.getmetatable(v)
  return type(meta) == "table" and rawget(meta, "__name") == "class"
end

local function class_of(v)
  local meta = debug.getmetatable(v)
  return is_class(meta) and meta or nil
end

local function is_tensor(v)
  local meta = type(v) == "userdata" and debug.getmetatable(v)
  return type(meta) == "table" and type(rawget(meta, "methods")) == "table"
end

--- What kind of thing a value is: "tensor", "class", the name of an object's class, or its Lua
--- type.
---@param value any
---@return string
function help.kind(value)
  if is_tensor(value) then
    return "tensor"
  elseif is_class(value) then
    return "class"
  end
  local c = class_of(value)
  return c and rawget(c, "__name") or type(value)
end

-- ---- names ----

-- The namespaces under tide: name -> table. Loads them.
local spaces
local function namespaces()
  if not spaces then
    local tide = require "tide"
    spaces = {}
    for name in pairs(native.namespaces) do
      local ok, space = errors.tried(pcall(function()
        local v = tide
        for part in name:gmatch "[^.]+" do
          v = v[part]
        end
        return v
      end))
      spaces[name] = ok and space or nil
    end
  end
  return spaces
end

-- The namespace that a table is, or nil.
local function namespace_of(v)
  if rawequal(v, package.loaded.tide) then
    return "tide"
  end
  for name, space in pairs(namespaces()) do
    if rawequal(space, v) then
      return name
    end
  end
end

-- The names that a namespace offers, sorted.
local function names_in(space)
  local meta = debug.getmetatable(space)
  local names = type(meta) == "table" and rawget(meta, "__names")
  local out = {}
  if type(names) == "function" then
    out = table.move(names(space), 1, #names(space), 1, {})
  else
    for k in next, space do
      if type(k) == "string" and k:sub(1, 1) ~= "_" then
        out[#out + 1] = k
      end
    end
  end
  table.sort(out)
  return out
end

local function member(space, name)
  local ok, v = errors.tried(pcall(function()
    return space[name]
  end))
  return ok and v or nil
end

-- The classes whose methods are searched for a bare name, as help writes them.
local function families()
  local tide = require "tide"
  return {
    { "Model", tide.Model }, { "Sequential", tide.Sequential }, { "Layer", tide.Layer },
    { "Optimizer", tide.optimizers.Optimizer }, { "Loss", tide.losses.Loss },
    { "Metric", tide.metrics.Metric }, { "Callback", tide.callbacks.Callback },
  }
end

local function tensor_methods()
  local core = require "tide.core"
  return debug.getmetatable(core.tensor(0)).methods
end

--- Every public name under `tide`: "tide.layers.Dense", ...
---@return string[]
function help.names()
  local tide, out = require "tide", {}
  for _, name in ipairs(names_in(tide)) do
    out[#out + 1] = "tide." .. name
  end
  for name, space in pairs(namespaces()) do
    for _, key in ipairs(names_in(space)) do
      out[#out + 1] = "tide." .. name .. "." .. key
    end
  end
  table.sort(out)
  return out
end

--- The public name of a value, "tide.grad"; nil for what has none.
---@param value any
---@return string|nil
function help.name_of(value)
  if type(value) ~= "function" and type(value) ~= "table" then
    return nil
  end
  local space = namespace_of(value)
  if space then
    return space == "tide" and space or "tide." .. space
  end
  for _, name in ipairs(help.names()) do
    if rawequal(look.value(name, { tide = require "tide" }), value) then
      return name
    end
  end
end

--- What a name means: { path, value } each, the most likely first. A path is looked up in `env`,
--- then under tide; a bare name also among all public names and the methods of models, layers,
--- optimizers, losses, metrics, callbacks and tensors.
---@param name string "Dense", "layers.Dense", "m:fit", "fit"
---@param env? table
---@return table[]
function help.find(name, env)
  local path = name:gsub(":", ".")
  local tide = require "tide"
  for _, place in ipairs { { env, "" }, { tide, "tide." } } do
    local v = place[1] and look.value((path:gsub("^tide%.", place[1] == tide and "" or "%0")),
      place[1])
    if v ~= nil then
      return { { place[2] == "" and name or place[2] .. (path:gsub("^tide%.", "")), v } }
    elseif path == "tide" then
      return { { "tide", tide } }
    end
  end
  local owner, last = path:match "^(.*)%.([%w_]+)$"
  last = last or path
  local out = {}
  if not owner then
    for _, exact in ipairs { true, false } do
      for _, full in ipairs(help.names()) do
        local key = full:match "[%w_]+$"
        if exact and key == last or not exact and key:lower() == last:lower() then
          out[#out + 1] = { full, look.value(full, { tide = tide }) }
        end
      end
      if #out > 0 then
        break
      end
    end
  end
  for _, family in ipairs(families()) do
    local f = rawget(family[2], last)
    if type(f) == "function" and (not owner or owner:lower() == family[1]:lower()) then
      out[#out + 1] = { family[1] .. ":" .. last, f }
    end
  end
  local method = (not owner or owner == "tensor") and tensor_methods()[last]
  if method and #out == 0 then
    out[1] = { "tensor:" .. last, method }
  end
  return out
end

--- The last components of all public names, each once: what a misspelt name may have meant.
---@return string[]
function help.last_names()
  local out, seen = {}, {}
  for _, name in ipairs(help.names()) do
    local last = name:match "[%w_]+$"
    if not seen[last] then
      seen[last] = true
      out[#out + 1] = last
    end
  end
  return out
end

--- Names that match a pattern with `*` and `?`, case aside.
---@param pattern string "*norm*"
---@return string[]
function help.search(pattern)
  local p = "^" .. pattern:lower():gsub("[%p]", function(c)
    return c == "*" and ".*" or c == "?" and "." or "%" .. c
  end) .. "$"
  local out, seen = {}, {}
  local function offer(name)
    if not seen[name] and (name:lower():find(p) or name:lower():match("[%w_]+$"):find(p)) then
      seen[name] = true
      out[#out + 1] = name
    end
  end
  for _, name in ipairs(help.names()) do
    offer(name)
  end
  for _, family in ipairs(families()) do
    for k, v in next, family[2] do
      if type(v) == "function" and k:sub(1, 1) ~= "_" then
        offer(family[1] .. ":" .. k)
      end
    end
  end
  for k in pairs(native.methods) do
    offer("tensor:" .. k)
  end
  table.sort(out)
  return out
end

-- ---- texts ----

local function op_info(name)
  local info = require("tide.core").op_info(name)
  return info and not info.private and info or nil
end

-- The op that a function is, by identity: the core's, or a method of tensors.
local ops_by_function
local function op_of(f)
  if not ops_by_function then
    local core = require "tide.core"
    ops_by_function = setmetatable({}, { __mode = "k" })
    for name, op in pairs(tensor_methods()) do
      ops_by_function[op] = name
    end
    for name, op in pairs(core.ops) do
      ops_by_function[op] = name
    end
  end
  return ops_by_function[f]
end

-- What is known of an argument of an op: its kind, and shape or default.
local function op_row(a)
  return a.shape and a.kind .. " " .. a.shape
    or a.kind .. (a.default and a.default ~= "!" and " = " .. a.default or "")
end

local function op_rows(info)
  local rows = {}
  for i, a in ipairs(info.args) do
    rows[i] = ("  %-14s %-22s %s"):format(a.also and a.name .. ", " .. a.also or a.name, op_row(a),
      a.doc)
  end
  return table.concat(rows, "\n")
end

local function op_signature(name, info)
  local names = {}
  for i, a in ipairs(info.args) do
    names[i] = a.required and a.name or "[" .. a.name .. "]"
  end
  return ("%s(%s)"):format(name, table.concat(names, ", "))
end

local function op_doc(name, info)
  local example = examples[info.name]
  return { signature = op_signature("ops." .. name, info), rows = op_rows(info),
    text = info.doc .. (example and "\n\n    " .. example or ""),
    note = info.differentiable and "Differentiable." or "Its results carry no gradient." }
end

-- The doc of an op by its name; of "exp_", which writes in place, by that of "exp".
local function doc_of_op(name)
  local info = op_info(name)
  if info then
    return op_doc(name, info)
  end
  local plain = name:match "^(.-)_$"
  info = plain and op_info(plain)
  if info then
    local doc = op_doc(plain, info)
    doc.signature = op_signature("x:" .. name, info):gsub("%(x,? ?", "(", 1)
    doc.text = ("Writes the result of ops.%s into x itself, and returns x. %s"):format(plain,
      doc.text)
    return doc
  end
end

local natives
local function native_doc(f)
  if not natives then
    local core = require "tide.core"
    natives = {}
    for name, entry in pairs(native.functions) do
      natives[core[name] or core.ops[name] or 0] = entry
    end
    for name, entry in pairs(native.methods) do
      natives[tensor_methods()[name] or 0] = entry
    end
  end
  local entry = natives[f]
  return entry and { signature = entry[1], text = entry[2] }
end

local function of_args(args)
  return args and #args.names > 0 and "options, in order:\n" .. args:help() or nil
end

-- { signature, text, rows, note } of a function; text is "" where none is written.
local function function_doc(f, name)
  local inner = origin.of(f)
  local place = origin.place(f) or origin.place(inner)
  local check = require "tide.check"
  local last = name:match "[%w_]+$" or name
  if place then
    local info = place.op and op_info(place.op)
    return { text = source.at(place.place),
      signature = info and op_signature(name, info)
        or ("%s(%s)"):format(name, place.args and table.concat(place.args.names, ", ") or "..."),
      rows = info and op_rows(info) or of_args(place.args) }
  end
  local doc = native_doc(inner)
  local op = not doc and op_of(inner)
  doc = doc or op and doc_of_op(op)
  if doc then
    return doc
  end
  local path = source.of(inner)
  if not path then
    return { signature = name .. "(...)", text = "" }
  end
  local names = origin.parameters(inner)
  local args = require("tide.object").arguments(f) or check.arguments(inner, last)
  if name:find ":" and names[1] == "self" then
    table.remove(names, 1)
  end
  if args and (names[1] == "..." or names[1] == "self" and names[2] == "...") then
    names = args.names
  end
  local text = source.comment(inner)
  local example = examples[errors.op_frames[f] or 0]
  if example and #help.examples(text) == 0 then
    text = text .. "\n\n    " .. example
  end
  return { signature = ("%s(%s)"):format(name, table.concat(names, ", ")), text = text,
    rows = of_args(args) }
end

-- The comment above a class; of the class that a file is about, the file's own.
local function class_comment(c)
  local text = source.at(rawget(c, "_place"))
  return text ~= "" and text or source.header(rawget(c, "_place"))
end

-- The first sentence of a text, on one line.
local function first_sentence(text)
  local paragraph = text:match "^%s*(.-)\n%s*\n" or text:match "^%s*(.-)\n%s%s%s%s" or text
  paragraph = paragraph:gsub("\n%-?%s*@.*", ""):gsub("\n%s%s%s%s.*", ""):gsub("%s+", " ")
  local line = (paragraph:match "^(.-[.!])%f[%s]" or paragraph):gsub("[%s:]+$", "")
  return #line > 100 and line:sub(1, 96):gsub("%s+%S*$", "") .. " …" or line
end

--- One line that says what a value is: the first sentence of its text, or what it is.
---@param value any
---@param name string
---@return string
function help.brief(value, name)
  if is_class(value) then
    return first_sentence(class_comment(value))
  elseif type(value) == "function" then
    return first_sentence(function_doc(value, name).text)
  end
  local space = type(value) == "table" and namespace_of(value)
  if space then
    return native.namespaces[space] or ""
  end
  local c = class_of(value)
  return c and "a " .. rawget(c, "__name") or tostring(value)
end

-- Lines "  name   what it is".
local function listed(rows)
  local width = 0
  for _, row in ipairs(rows) do
    width = math.max(width, #row[1])
  end
  local out = {}
  for i, row in ipairs(rows) do
    out[i] = ("  %-" .. width .. "s  %s"):format(row[1], row[2])
  end
  return table.concat(out, "\n")
end

local function wrapped(names, indent)
  local out, line = {}, indent
  for i, name in ipairs(names) do
    local piece = name .. (i < #names and "," or "")
    if #line + #piece + 1 > 78 then
      out[#out + 1] = line
      line = indent
    end
    line = line .. (line == indent and "" or " ") .. piece
  end
  out[#out + 1] = line
  return table.concat(out, "\n")
end

--- Methods that a class itself defines, sorted: { name, first sentence } each.
--- @param c table class
--- @return table[]
function help.methods(c)
  local out = {}
  for k, v in next, c do
    if type(v) == "function" and type(k) == "string" and not k:find "^_" and k ~= "from_config"
      and k ~= "init" then
      local text, above = "", c
      while text == "" and above do -- what says nothing of its own does what the base's says
        local f = rawget(above, k)
        text = type(f) == "function" and first_sentence(function_doc(f, ":" .. k).text) or ""
        above = rawget(above, "super")
      end
      out[#out + 1] = { k, text }
    end
  end
  table.sort(out, function(a, b)
    return a[1] < b[1]
  end)
  return out
end

local function fields_of(c)
  local out = {}
  for k in next, rawget(c, "_get") or {} do
    out[#out + 1] = k
  end
  table.sort(out)
  return out
end

local function class_text(c)
  local out = { rawget(c, "__name") .. " { … }" }
  local text = class_comment(c)
  if text ~= "" then
    out[#out + 1] = text
  end
  if c.args then
    out[#out + 1] = "options, in order:\n" .. c.args:help()
  end
  local above = c
  while above do
    local methods, fields = help.methods(above), fields_of(above)
    local name = rawget(above, "__name")
    if above == c and #methods > 0 then
      out[#out + 1] = "methods:\n" .. listed(methods)
    elseif #methods > 0 then
      local names = {}
      for i, m in ipairs(methods) do
        names[i] = m[1]
      end
      out[#out + 1] = ("methods of every %s:\n"):format(name) .. wrapped(names, "  ")
    end
    if #fields > 0 then
      out[#out + 1] = (above == c and "fields:\n" or ("fields of every %s:\n"):format(name))
        .. wrapped(fields, "  ")
    end
    above = rawget(above, "super")
  end
  return table.concat(out, "\n\n")
end

local function namespace_text(space, name)
  local rows = {}
  for _, key in ipairs(names_in(space)) do
    local v = member(space, key)
    rows[#rows + 1] = { key, v ~= nil and help.brief(v, key) or "" }
  end
  local about = native.namespaces[name]
  return (name == "tide" and name or "tide." .. name) .. (about and "\n\n" .. about or "")
    .. "\n\n" .. listed(rows)
end

local function tensor_text(x, name)
  local rows, others = {}, {}
  for field, what in pairs(native.fields) do
    rows[#rows + 1] = { field, what }
  end
  for method, entry in pairs(native.methods) do
    rows[#rows + 1] = { entry[1]:match "^x(:[%w_]+%b())" or ":" .. method,
      first_sentence(entry[2]) }
  end
  table.sort(rows, function(a, b)
    return a[1] < b[1]
  end)
  for method in pairs(tensor_methods()) do
    if not native.methods[method] and method:sub(-1) ~= "_" then
      others[#others + 1] = method
    end
  end
  table.sort(others)
  return ("%s: a %s tensor of shape %s on %s"):format(name, x.dtype, tostring(x.shape), x.device)
    .. "\n\n" .. listed(rows)
    .. "\n\nand the functions of tide.ops, x:name(…), with an underscore in place:\n"
    .. wrapped(others, "  ")
end

--- The help of a value.
---@param value any
---@param name string what it was called
---@return string|nil text nil if nothing is known of it
function help.text(value, name)
  if is_class(value) then
    return class_text(value)
  elseif type(value) == "function" then
    local doc = function_doc(value, name)
    local out = { doc.signature }
    for _, part in ipairs { doc.text ~= "" and doc.text or false, doc.rows or false,
      doc.note or false } do
      out[#out + 1] = part or nil
    end
    return table.concat(out, "\n\n")
  elseif value == nil then
    local doc = doc_of_op(name:match "[%w_]+$" or name)
    return doc and table.concat({ doc.signature, doc.text, doc.rows, doc.note }, "\n\n") or nil
  elseif is_tensor(value) then
    return tensor_text(value, name)
  end
  local space = type(value) == "table" and namespace_of(value)
  if space then
    return namespace_text(value, space)
  end
  local c = class_of(value)
  if c then
    return class_text(c)
  end
  return ("%s: a %s"):format(name, help.kind(value))
end

--- The help of a name, looked up as `find` does, with the other things of that name listed below.
---@param name string
---@param env? table
---@return string|nil text nil if nothing is known of it
function help.of_name(name, env)
  local found = help.find(name, env)
  if #found == 0 then
    return nil
  end
  local text = help.text(found[1][2], found[1][1])
  if #found > 1 then
    local others = {}
    for i = 2, #found do
      others[#others + 1] = found[i][1]
    end
    text = text .. "\n\nalso: " .. table.concat(others, ", ")
  end
  return text
end

--- The examples in a help text: lines indented by four spaces or more, or after `@usage`. A line
--- indented deeper than the first, or that closes what stands above, goes on with it; `-->` and a
--- value may stand on a line of their own.
---@param text string
---@return string[]
function help.examples(text)
  local out, margin = {}, nil
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local indent, example = line:match "^(   %s+)(%S.*)$"
    example = example or line:match "^@usage (.*)$"
    margin = margin or indent
    local goes_on = example and #out > 0 and (example:find "^%-%->" or example:find "^[%]})]"
      or example:find "^end%f[^%w_]" or indent and #indent > #margin)
    if goes_on then
      out[#out] = out[#out] .. (example:find "^%-%->" and "   " or " ") .. example
    elseif example then
      out[#out + 1] = example
    end
  end
  return out
end

--- The source of a function as it stands in its file; of a class, or of an object's class, where it
--- is made and the methods that stand there too.
---@param value any
---@return string|nil
function help.source(value)
  local c = type(value) ~= "function" and (is_class(value) and value or class_of(value))
  if c then
    return source.of_class(rawget(c, "_place"), c)
  end
  return type(value) == "function" and source.text(origin.of(value)) or nil
end

return help
