-- What Keras offers (spec/ref/api.lua) beside what Tide declares: names, options, their order and
-- defaults. `make api-report` prints the table of it, api_spec.lua asks that nothing be open.
--
-- Spellings that are no difference: None is nil or tide.none; a position counts from 1 where Tide's
-- row says so (axes among them); (2, 2) is 2; "Zeros" is "zeros"; a word that Lua keeps for itself
-- has the name that RENAMED gives it, and None is written out where UNSAID says what it means. A
-- function that takes its arguments by position alone may call them as it likes.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local look = require "tide.help.look"
local none = require "tide.none"
local object = require "tide.object"
local origin = require "tide.origin"
local tide = require "tide"

local api = {}

--- All families: Keras' and TensorFlow's.
function api.reference()
  local out = table.move(require "spec.ref.api", 1, #require "spec.ref.api", 1, {})
  local more = require "spec.ref.api_tf"
  return table.move(more, 1, #more, #out + 1, out)
end

-- What None means everywhere, written out.
local UNSAID = { dtype = "float32", data_format = "channels_last" }
local RENAMED = { ["function"] = "fn", ["repeat"] = "rep" }

-- ---- what Tide declares ----

local READ = { ["-"] = none, ["!"] = check.required, ["true"] = true, ["false"] = false }

-- Rows { name, default, counts from 1 } of an op of the core.
local function op_rows(info)
  local rows = {}
  for i, a in ipairs(info.args) do
    local default = READ[a.default]
    if a.kind == "enum" then
      default = a.default:match "^[^|]+"
    elseif default == nil then
      default = tonumber(a.default) or a.default or a.required and check.required or none
    end
    rows[i] = { a.name, default, a.kind == "axis" or a.kind == "axes", also = a.also }
  end
  return rows
end

local function table_rows(args)
  local rows = { named = #args.rows }
  for i, name in ipairs(args.names) do
    local row = args.index[name]
    local default = row[3]
    if default == nil then
      default = none
    end
    rows[i] = { name, default, check.counts(row), also = row.also }
  end
  return rows
end

local core_names -- function of the core -> the name of its op

local function core_name(f)
  if not core_names then
    core_names = {}
    for name, op in pairs(core.ops) do
      core_names[op] = name
    end
  end
  return core_names[f]
end

-- The rows of what a call takes, and whether it takes arguments by name. Rows without a default:
-- only the names are known.
local function declared(space, v, name)
  local last = name:match "[%w_]+$"
  if class.is_class(v) then
    return v.args and table_rows(v.args) or {}, true
  elseif type(v) == "table" then -- a function that is an object: rows of its call
    local methods = look.field(v, "_methods")
    return methods and methods.__call and table_rows(methods.__call) or {}, true
  end
  local inner = origin.of(v)
  local place = origin.place(v) or origin.place(inner)
  local args = object.arguments(v) or place and place.args
  if args then
    return table_rows(args), true
  end
  local info = core.op_info(place and place.op or core_name(v) or "")
  if info then
    return op_rows(info), true
  end
  local names = debug.getinfo(inner, "S").what == "C" and { "..." } or origin.parameters(inner)
  args = (names[1] == "..." or names[1] == "self" and names[2] == "...")
    and check.arguments(inner, last)
  if args then
    return table_rows(args), true
  end
  local rows = {}
  for _, parameter in ipairs(names) do
    if parameter ~= "self" then
      rows[#rows + 1] = { parameter }
    end
  end
  return rows, space:find "^ops" ~= nil and names[1] ~= "..."
end

-- What Tide has under a name of Keras: a value, `true` for a computed field, nil.
local function find(space, name)
  local home = tide
  for part in space:gmatch "[^.]+" do
    local ok, inner = pcall(function()
      return home[part]
    end)
    home = ok and inner or nil
    if type(home) ~= "table" then
      return nil
    end
  end
  local owner, member = name:match "^(.-):(.+)$"
  local ok, v = pcall(function()
    return home[RENAMED[owner or name] or owner or name]
  end)
  if not ok or not member or v == nil then
    return ok and v or nil
  end
  return api.member(v, member)
end

-- A method or field of instances of a class: its own, an option, or what an instance gets as it is
-- made or built.
function api.member(c, member)
  if not class.is_class(c) then
    return nil
  end
  local v = look.field(c, member)
  if v == nil and (c._get and c._get[member] or c.args and c.args.index[member]
    or class.inherits(c, tide.Layer) and api.built(c)[member] ~= nil) then
    return true
  end
  return v
end

local built = {}

-- What has no case row of its own.
local made = {
  MultiHeadAttention = function(L)
    local layer = L.MultiHeadAttention { 2, 4 }
    layer(tide.ones { 1, 3, 8 }, tide.ones { 1, 3, 8 })
    return layer
  end,
  StackedRNNCells = function(L) return L.StackedRNNCells { L.GRUCell { 2 } } end,
}

-- A layer of a class after a call, as the first of its case rows makes it; empty where there is
-- none.
function api.built(c)
  if built[c] then
    return built[c]
  end
  local make = made[c.__name]
  built[c] = make and make(tide.layers) or {}
  for _, row in ipairs(make and {} or require "spec.support.layer_cases") do
    if row[2] == c.__name then
      local layer, shapes = row[3](tide.layers), row[4]
      local function input(shape)
        return tide.ones(shape, { dtype = row[5].ids and "int32" or "float32" })
      end
      if type(shapes[1]) == "table" then
        local inputs = {}
        for i, shape in ipairs(shapes) do
          inputs[i] = input(shape)
        end
        layer(inputs)
      else
        layer(input(shapes))
      end
      built[c] = layer
      break
    end
  end
  return built[c]
end

-- ---- comparing ----

local function same(want, row)
  local got = row[2]
  if want == none then
    return got == none
  elseif type(want) == "table" then
    if type(got) ~= "table" then
      for _, v in ipairs(want) do
        if not same(v, { row[1], got, row[3] }) then
          return false
        end
      end
      return true
    end
    for i, v in ipairs(want) do
      if not same(v, { row[1], got[i], row[3] }) then
        return false
      end
    end
    return #want == #got
  elseif type(want) == "number" and row[3] and want >= 0 then
    return got == want + 1
  elseif type(want) == "string" and type(got) == "string" then
    return want:lower() == got:lower()
  end
  return got == want
end

-- Differences of one row of Keras: { key, text } each. The key is the name, or name.option.
local function differences(space, row)
  local key = (space ~= "" and space .. "." or "") .. row[1]
  local v = find(space, row[1])
  if v == nil then
    return { { key, "missing" } }
  elseif row[2] == "alias" or row[2] == "name" or row[2] == "field" then
    return {}
  elseif row[2] ~= "class" and type(v) ~= "function" and not class.is_class(v)
    and not (type(v) == "table" and getmetatable(v) and getmetatable(v).__call) then
    return { { key, "is no function" } }
  end
  local mine, by_name = declared(space, v, key)
  local at, out = {}, {}
  for i, r in ipairs(mine) do
    at[r[1]] = i
    at[r.also or r[1]] = i
  end
  if not by_name then -- by position, under whatever names
    for i = 3, #row do
      if not mine[i - 2] and mine[#mine] and mine[#mine][1] ~= "..." then
        out[#out + 1] = { key .. "." .. row[i][1], "takes only " .. #mine .. " arguments" }
      end
    end
    return out
  end
  local before = 0
  for i = 3, #row do
    local name, default = row[i][1], row[i][2]
    local place = at[name] or at[RENAMED[name]]
    if not place then
      out[#out + 1] = { key .. "." .. name, "no such option" }
    else
      local r = mine[place]
      local got = r[2]
      if default == nil and got ~= nil and got ~= check.required and got ~= none then
        out[#out + 1] = { key .. "." .. name, ("must be given there, here %s"):format(
          check.show(got)) }
      elseif default ~= nil and got ~= nil and not (default == none and UNSAID[name] == got)
        and not same(default, r) then
        out[#out + 1] = { key .. "." .. name, ("default %s there, %s here"):format(
          check.show(default), check.show(got)) }
      end
      if place <= (mine.named or #mine) and not row[i][3] then
        if place < before then
          out[#out + 1] = { key .. "." .. name, "stands elsewhere in the order" }
        end
        before = math.max(place, before)
      end
    end
  end
  return out
end

-- The exceptions as a function of a key that gives the pattern and the reason, or nil.
local function matcher(exceptions)
  local exact, patterns = {}, {}
  for reason, keys in pairs(exceptions) do
    for key in keys:gmatch "%S+" do
      if key:find("*", 1, true) then
        local pattern = "^" .. key:gsub("[.:]", "%%%0"):gsub("%*", "[%%w_.:]*") .. "$"
        patterns[#patterns + 1] = { key, pattern, reason }
      else
        exact[key] = reason
      end
    end
  end
  table.sort(patterns, function(a, b)
    return a[1] < b[1]
  end)
  local used = {}
  local function find_exception(key)
    if exact[key] then
      used[key] = true
      return exact[key]
    end
    local reason
    for _, entry in ipairs(patterns) do
      if key:find(entry[2]) then
        used[entry[1]] = true
        reason = reason or entry[3]
      end
    end
    return reason
  end
  return find_exception, function()
    local stale = {}
    for key in pairs(exact) do
      stale[#stale + 1] = not used[key] and key or nil
    end
    for _, entry in ipairs(patterns) do
      stale[#stale + 1] = not used[entry[1]] and entry[1] or nil
    end
    table.sort(stale)
    return stale
  end
end

--- Compares everything.
--- @param reference table families as api.py writes them
--- @param exceptions table reason -> keys
--- @return table `families`: { name, names, options, equal, differing, missing, excepted } each,
---   the last being names all of whose differences have a reason; `open`: { key, text } without a
---   reason; `reasons`: reason -> number of differences; `stale`: keys of exceptions that cover
---   nothing
function api.compare(reference, exceptions)
  local exception, stale = matcher(exceptions)
  local out = { families = {}, open = {}, reasons = {} }
  for _, family in ipairs(reference) do
    local count = { name = family[1] == "" and "keras" or family[1], names = #family - 1,
      options = 0, equal = 0, differing = 0, missing = 0, excepted = 0 }
    for i = 2, #family do
      local row = family[i]
      local found = differences(family[1], row)
      count.options = count.options + (type(row[3]) == "table" and #row - 2 or 0)
      local open = 0
      for _, d in ipairs(found) do
        local reason = exception(d[1])
        if reason then
          out.reasons[reason] = (out.reasons[reason] or 0) + 1
        else
          open = open + 1
          out.open[#out.open + 1] = d
        end
      end
      local kind = #found == 0 and "equal" or open == 0 and "excepted"
        or found[1][2] == "missing" and "missing" or "differing"
      count[kind] = count[kind] + 1
    end
    out.families[#out.families + 1] = count
  end
  out.stale = stale()
  return out
end

return api
