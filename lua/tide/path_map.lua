--- Tables by pattern of paths, as Keras' OptimizerMap and DTypePolicyMap are.
--
-- `map[path]` and `map(path)` give the value of that very key, of the one pattern that fits the
-- whole path, or the default one; `map[pattern] = value` adds, `map[pattern] = nil` takes out,
-- `#map` counts and `pairs(map)` goes over patterns in sorted order. Names of methods and options
-- of the class mean those.
local check = require "tide.check"
local errors = require "tide.errors"
local patterns = require "tide.patterns"

local path_map = {}

--- Makes the objects of a class such tables.
--- @param c table class whose option `field` is the table by pattern
--- @param field string
--- @param what string what the values are, for messages
--- @param take function(self, value) the value as it is kept; raises for others
--- @param default function(self) the value of paths that no pattern fits
function path_map.install(c, field, what, take, default)
  local name = c.__name

  --- Gives the paths that `pattern` fits a value.
  function c:set(pattern, value)
    local map = rawget(self, field)
    if type(pattern) ~= "string" then
      errors.raise(name, "a key must be a pattern of paths (got %s)", check.show(pattern))
    elseif map[pattern] then
      errors.raise(name, "'%s' has %s already (%s)", pattern, what, tostring(map[pattern]))
    end
    local fits = patterns.compile(name, pattern)
    map[pattern] = take(self, value)
    rawget(self, "_fits")[pattern] = fits
  end

  --- Takes a pattern out.
  function c:remove(pattern)
    local map = rawget(self, field)
    if map[pattern] == nil then
      errors.raise(name, "there is no pattern '%s'%s", tostring(pattern),
        check.did_you_mean(pattern, check.sorted_keys(map)))
    end
    map[pattern], rawget(self, "_fits")[pattern] = nil, nil
  end

  --- The value of a path.
  function c:at(path)
    local map, found = rawget(self, field), nil
    if map[path] then
      return map[path]
    end
    for _, pattern in ipairs(check.sorted_keys(map)) do
      if self._fits[pattern](path, true) then
        if found then
          errors.raise(name, "'%s' fits several patterns ('%s' and '%s')", path, found, pattern)
        end
        found = pattern
      end
    end
    return found and map[found] or default(self)
  end
  c.__call = c.at

  rawset(c, "__index", function(self, key)
    local ours = c[key]
    local get = ours == nil and c._get and c._get[key]
    if ours ~= nil then
      return ours
    elseif get then
      return get(self)
    elseif type(key) == "string" and key:byte() ~= 95 and not c.args.index[key] then
      return c.at(self, key)
    end
  end)
  rawset(c, "__newindex", function(self, key, value)
    if type(key) ~= "string" or c[key] ~= nil or c.args.index[key] then
      errors.raise(name, "a key must be a pattern of paths (got %s)", check.show(key))
    elseif value == nil then
      return c.remove(self, key)
    end
    c.set(self, key, value)
  end)
  rawset(c, "__len", function(self) return #check.sorted_keys(rawget(self, field)) end)
  rawset(c, "__pairs", function(self)
    local map = rawget(self, field)
    local keys, i = check.sorted_keys(map), 0
    return function()
      i = i + 1
      return keys[i], map[keys[i]]
    end
  end)
end

--- What an object of such a class holds at the beginning; for its `init`.
function path_map.begin(self, field)
  local given = rawget(self, field) or {}
  rawset(self, field, {})
  rawset(self, "_fits", {}) -- pattern -> function
  for _, pattern in ipairs(check.sorted_keys(given)) do
    self:set(pattern, given[pattern])
  end
end

return path_map
