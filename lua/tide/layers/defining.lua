--- What the definition of a layer class may hold: names that are free, and methods whose parameters
--- are what they get.
local errors = require "tide.errors"
local origin = require "tide.origin"

local defining = {}

-- The class of Tide's own that a class is or inherits from.
local function tide_class(c)
  while rawget(c, "_custom") do
    c = c.super
  end
  return c
end

--- Whether a name is one that Tide's classes use among themselves.
function defining.is_private(c, key)
  return type(key) == "string" and key:byte() == 95 and tide_class(c)[key] ~= nil
end

-- Fields in which a layer lists what it finds in others; Keras' guides define `metrics` by hand.
local found = {}
for name in ("metrics losses weights variables states"):gmatch "%w+" do
  found[name] = true
end

--- Names that would hide what every layer needs are refused when a class is made.
function defining.check_names(base, name, def)
  local keys = {}
  for key in pairs(def) do
    keys[#keys + 1] = tostring(key)
  end
  table.sort(keys)
  for _, key in ipairs(keys) do
    if base._get[key] then
      errors.raise(name, "'%s' is a field that every %s has%s", key,
        base.is_model and "model" or "layer", found[key] and
          ", which finds by itself what stands in fields of self" or "; give it another name")
    elseif defining.is_private(base, key) and key ~= "__tostring" then
      errors.raise(name, "'%s' is a name of Tide's own; give it another name", key)
    end
  end
  for _, arg in ipairs(def.args or {}) do
    local key = type(arg) == "table" and arg[1] or arg
    if not base.args.index[key] and (base._get[key] or type(tide_class(base)[key]) == "function"
      or defining.is_private(base, key)) then
      errors.raise(name, "the option '%s' would hide what every %s has by that name; give it \z
        another one", tostring(key), base.is_model and "model" or "layer")
    end
  end
end

-- The signatures of methods that Keras passes other things to: name of the method -> what Keras'
-- name of a parameter asks for.
local STEP = "train_step, test_step: function(self, x, y, sample_weight); predict_step: (self, x)"
local signatures = {
  call = { training = "call = function(self, x, o) and o.training",
    mask = "call = function(self, x, o) and o.mask" },
  train_step = { data = STEP }, test_step = { data = STEP }, predict_step = { data = STEP },
}

--- Parameters as Keras names them would hold something else here: `training` of a call would be the
--- table of options, and always true.
function defining.check_parameters(name, def)
  local inputs = {}
  for _, input in ipairs(def.inputs or {}) do
    inputs[input] = true
  end
  for method, foreign_names in pairs(signatures) do
    local f = def[method]
    local names = type(f) == "function" and origin.parameters(f) or {}
    for i = 2, #names do
      local says = foreign_names[names[i]]
      if says and not inputs[names[i]] then
        errors.raise(name, "%s has a parameter named '%s', which it would not get (expected %s)",
          method, names[i], says)
      end
    end
  end
end

return defining
