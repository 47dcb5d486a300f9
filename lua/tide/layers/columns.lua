--- What the columns of tide.feature_column are: tables of a kind, made by the function that defines
--- it. Those that come as plain tables, out of a file's configuration, are made anew by it, so that
--- layers see none that is not checked.
local check = require "tide.check"
local errors = require "tide.errors"
local object = require "tide.object"

local columns = {}

local DEEPEST = 8 -- columns of columns

local Column = { __name = "tide.feature_column" } -- tells columns from tables of options
function Column:__tostring()
  return ("%s (%s column)"):format(self.name, self.kind)
end

local is_categorical = {}
for kind in ("identity hash vocabulary bucketized crossed weighted"):gmatch "%S+" do
  is_categorical[kind] = true
end

local makers, rows_of, inner = {}, {}, { "source_column", "categorical_column" }

--- A public function that makes a column of a kind: rows of its options, and what completes the
--- column. With a key, the name of a feature, first. The first function of a kind makes plain
--- tables anew.
function columns.define(name, kind, rows, complete)
  local args = check.args(name, rows)
  rows_of[name] = rows
  local make = object.name_function(function(...)
    local o = args:call(...)
    o.kind = kind
    o.name = o.key
    complete(o, name)
    return setmetatable(o, Column)
  end, "feature_column." .. name, args)
  makers[kind] = makers[kind] or { make = make, rows = rows }
  return make
end

--- The rows of options of the function with this name.
function columns.rows(name)
  return rows_of[name]
end

--- A column of what should be one; nil where it is none.
function columns.of(v, deep)
  local maker = type(v) == "table" and makers[rawget(v, "kind")]
  if not maker or getmetatable(v) == Column then
    return maker and v or nil
  elseif not check.is_plain(v) or type(v.name) ~= "string" or (deep or 1) > DEEPEST then
    return nil
  end
  local o = {}
  for _, row in ipairs(maker.rows) do
    o[row[1]] = v[row[1]]
  end
  for _, key in ipairs(inner) do
    o[key] = o[key] ~= nil and columns.of(o[key], (deep or 1) + 1) or o[key]
  end
  if check.is_list(o.keys) then
    local keys = {}
    for i, k in ipairs(o.keys) do
      keys[i] = type(k) == "table" and columns.of(k, (deep or 1) + 1) or k
    end
    o.keys = keys
  end
  local out = maker.make(o)
  out.sequence = v.sequence == true or nil
  if type(v.table) == "string" and out.table then -- which columns may share
    out.name, out.table = v.name, v.table
  end
  return out
end

--- A categorical column of what should be one; raises otherwise.
function columns.categorical(owner, v)
  local c = columns.of(v)
  if not c or not is_categorical[c.kind] then
    errors.raise(owner, "takes a categorical column (got %s)", check.show(v))
  end
  return c
end

return columns
