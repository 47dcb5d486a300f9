--- Options that weights were made by: sizes that must be given (units, filters, kernel_size, ...).
--
-- Once there are weights, they stand behind the private key and are read by a computed field;
-- giving them another value would change nothing, and is refused.
local S = require "tide.private"
local check = require "tide.check"
local errors = require "tide.errors"
local object = require "tide.object"

local sizes = {}

local fixed_get = setmetatable({}, { __mode = "k" }) -- set of the functions that read them

--- Whether a function is one that reads a size.
function sizes.reads(get)
  return fixed_get[get] ~= nil
end

local function is_size(row)
  return row[3] == check.required and (row[2] == "int" or row[2] == "ints")
end

--- Gives a class the computed fields of its sizes.
function sizes.declare(c)
  for _, row in ipairs(c.args.rows) do
    local name = row[1]
    if is_size(row) and not c._get[name] then
      local function get(self)
        local fixed = self[S].made_for
        return fixed and fixed[name]
      end
      fixed_get[get] = true
      c._get[name] = get
      c._set[name] = function(self, value)
        local fixed = self[S].made_for
        if not fixed or fixed[name] == nil then
          rawset(self, name, value)
        elseif not object.same(value, fixed[name]) then
          errors.raise(c.__name, "'%s' cannot change any more: %s has weights for %s (got %s); \z
            make another layer, and put it into its model: model:replace(layer, \z
            layer:clone { %s = … })", name, self:_label(), check.show(fixed[name]),
            check.show(value), name)
        end
      end
    end
  end
end

local names_of = setmetatable({}, { __mode = "k" }) -- Args -> names of its sizes

local function names_among(args)
  local names = names_of[args]
  if not names then
    names = {}
    for _, row in ipairs(args.rows) do
      names[#names + 1] = is_size(row) and row[1] or nil
    end
    names_of[args] = names
  end
  return names
end

--- From now on the sizes of a layer with weights, of its own or inside, stay as they are.
function sizes.fix(self)
  local own, has = self[S], nil
  for _, name in ipairs(names_among(self.args)) do
    local v = rawget(self, name)
    if v and has == nil then
      has = #own.weights > 0 or #self:_children() > 0
    end
    if v and has then
      own.made_for = own.made_for or {}
      own.made_for[name] = v
      rawset(self, name, nil)
    end
  end
end

--- The value of an option that is kept so; nil for others.
function sizes.of(self, name)
  local fixed = self[S].made_for
  return fixed and fixed[name]
end

return sizes
