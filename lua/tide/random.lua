--- Random tensors by keras.random's names. Without `seed` the global generator serves (tide.seed
--- restarts it); a number
-- starts a stream of its own, so that equal seeds give equal numbers; a SeedGenerator gives new
-- numbers at each call.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local namespace = require "tide.namespace"
local origin = require "tide.origin"

local random = {}

local ops = core.ops

--- A reproducible sequence of seeds: `tide.random.SeedGenerator(42)`. Fields `seed` and `count` are
--- its state.
---
---     local seeds = tide.random.SeedGenerator(42)
---     seeds:next() ~= seeds:next()   --> true
local SeedGenerator = class.new("SeedGenerator")
random.SeedGenerator = SeedGenerator

local generator_args = check.args(
  "SeedGenerator", { { "seed", "int", nil, "drawn from the global generator when left out" },
    { "name", "string" } })

SeedGenerator.args = generator_args

function SeedGenerator:_init(...)
  local o = generator_args:construct(...)
  self.seed = o.seed or core.draw_seed "SeedGenerator" & 0x3FFFFFFF
  self.count, self.name = 0, o.name
end

local counting = nil -- where the counts of generators are noted before they draw

local Counting = {}
function Counting.__close(self)
  counting = self.before
end

--- Until what is returned is closed, `counts` gets of each generator that draws how much it had
--- drawn before.
function SeedGenerator._counting(counts)
  local self = setmetatable({ before = counting }, Counting)
  counting = setmetatable(counts, { __index = counting, __newindex = function(t, generator, count)
    rawset(t, generator, count)
    if self.before and self.before[generator] == nil then
      self.before[generator] = count
    end
  end })
  return self
end

--- The next seed.
function SeedGenerator:next()
  if counting and rawget(counting, self) == nil then
    counting[self] = self.count
  end
  self.count = self.count + 1
  -- Neighbouring seeds and counts must not give neighbouring streams: a multiplicative hash (Steele
  -- et al. 2014).
  local z = self.seed * 0x9E3779B97F4A7C15 + self.count * 0xBF58476D1CE4E5B9
  z = (z ~ (z >> 30)) * 0x94D049BB133111EB
  return (z ~ (z >> 31)) & 0x7FFFFFFF
end

--- The seed and the name, as plain data.
function SeedGenerator:get_config()
  return { seed = self.seed, name = self.name }
end

--- A generator as `get_config` described it; it begins anew.
---
---     local seeds = tide.random.SeedGenerator(42)
---     tide.random.SeedGenerator.from_config(seeds:get_config()):next() == seeds:next()   --> true
function SeedGenerator.from_config(config)
  return SeedGenerator(config)
end

-- A seed argument as the ops take it.
local function number(seed)
  if class.is(seed, SeedGenerator) then
    return seed:next()
  end
  return seed
end

-- An op with its seed argument opened to generators. `place` is the seed's position.
local function seeded(name, op, place)
  local f = ops[op]
  if not f then
    return nil
  end
  return origin.here(function(...)
    local n = select("#", ...)
    local last = n > 0 and select(n, ...) or nil
    if n >= place and class.is((select(place, ...)), SeedGenerator) then
      local args = table.pack(...)
      args[place] = number(args[place])
      return f(table.unpack(args, 1, n))
    elseif check.is_plain(last) and last.seed ~= nil and type(last.seed) ~= "number" then
      if not class.is(last.seed, SeedGenerator) then
        errors.raise(name, "seed must be an integer or a SeedGenerator (got %s)",
          check.show(last.seed))
      end
      local args, options = table.pack(...), {}
      for k, v in pairs(last) do
        options[k] = v
      end
      options.seed = number(last.seed)
      args[n] = options
      return f(table.unpack(args, 1, n))
    end
    return f(...)
  end, { op = op })
end

-- A function that makes floats, with the options of every creation: `device` and `requires_grad`.
local function creation(f)
  return f and origin.here(function(...)
    local n = select("#", ...)
    local last = n > 0 and select(n, ...) or nil
    if not check.is_plain(last) or last.requires_grad == nil and last.device == nil then
      return f(...)
    end
    local args, options = table.pack(...), {}
    for k, v in pairs(last) do
      options[k] = v
    end
    options.requires_grad, options.device = nil, nil
    args[n] = options
    local y = f(table.unpack(args, 1, n))
    return core.tensor(y, { device = last.device, requires_grad = last.requires_grad })
  end, origin.place(f))
end

--- Normal numbers: `normal(shape, { mean = 0, stddev = 1, dtype = "float32", seed = nil })`.
--     tide.random.normal({ 2, 3 }, { stddev = 0.1 }).shape   --> { 2, 3 }
random.normal = creation(seeded("normal", "random_normal", 5))
--- Normal numbers within two standard deviations of the mean.
--     tide.random.truncated_normal({ 2, 3 }).shape   --> { 2, 3 }
random.truncated_normal = creation(seeded("truncated_normal", "random_truncated_normal", 5))
--- Uniform numbers in [minval, maxval): `uniform(shape, { minval = 0, maxval = 1 })`.
--     tide.random.uniform({ 2, 3 }, { minval = -1 }).shape   --> { 2, 3 }
random.uniform = creation(seeded("uniform", "random_uniform", 5))
--- Whole numbers in [minval, maxval): `randint(shape, minval, maxval)`.
--     tide.random.randint({ 3 }, 5, 6)   --> { 5, 5, 5 }
random.randint = seeded("randint", "random_randint", 5)
--- Class numbers from 1, drawn by logits (N, C): `categorical(logits, num_samples)`.
--     tide.random.categorical({ { -1 / 0, 0 } }, 3)   --> { { 2, 2, 2 } }
random.categorical = seeded("categorical", "random_categorical", 5)
--- The slices of x along an axis in random order: `shuffle(x, { axis = 1 })`.
--     tide.random.shuffle({ 1, 2, 3 }):sort()   --> { 1, 2, 3 }
random.shuffle = seeded("shuffle", "random_shuffle", 3)
--- x with elements dropped at a rate, the others scaled: `dropout(x, rate, noise_shape, seed)`.
--     tide.random.dropout({ 1, 2 }, 0)   --> { 1, 2 }
random.dropout = seeded("dropout", "dropout", 4)
--- Dropout for self-normalizing networks: `alpha_dropout(x, rate, noise_shape, seed)`.
--     tide.random.alpha_dropout({ 1, 2 }, 0)   --> { 1, 2 }
random.alpha_dropout = seeded("alpha_dropout", "alpha_dropout", 4)

local function of_tensors(name, op, count, rows)
  local args = check.args(name, rows)
  local f = ops[op]
  random[name] = creation(f and origin.here(function(...)
    local o = args:call(...)
    local inputs = {}
    for i = 1, count do
      local v = o[rows[i + 1][1]]
      inputs[i] = core.is_tensor(v) and v or core.tensor(v, { dtype = o.dtype or "float32" })
    end
    inputs[count + 1] = { shape = o.shape:totable(), seed = number(o.seed) }
    local y = f(table.unpack(inputs, 1, count + 1))
    return o.dtype and y.dtype ~= o.dtype and ops.cast(y, o.dtype) or y
  end, { args = args }))
end

local shape, dtype, seed = { "shape", "shape", check.required }, { "dtype", "dtype" },
  { "seed", "any" }
local function parameter(name)
  return { name, "tensor", check.required }
end
--- Gamma numbers of shape parameter alpha, scale 1: `gamma(shape, alpha)`.
--     tide.random.gamma({ 2, 3 }, 2).shape   --> { 2, 3 }
of_tensors("gamma", "random_gamma_", 1, { shape, parameter "alpha", dtype, seed })
--- Beta numbers: `beta(shape, alpha, beta)`.
--     tide.random.beta({ 2, 3 }, 2, 5).shape   --> { 2, 3 }
of_tensors("beta", "random_beta_", 2, { shape, parameter "alpha", parameter "beta", dtype, seed })
--- Successes in trials: `binomial(shape, counts, probabilities)`.
--     tide.random.binomial({ 3 }, 4, 1)   --> { 4, 4, 4 }
of_tensors("binomial", "random_binomial_", 2,
  { shape, parameter "counts", parameter "probabilities", dtype, seed })

return namespace.new("tide.random", random)
