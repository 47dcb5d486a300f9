--- Layer: the base of all layers and models.
--
-- A layer is a table with its options as fields, its weights as plain tensors, and computed fields
-- (`weights`, `losses`, ...). What Tide keeps of it stands behind one key, `layer[S]`; all other
-- fields are its class' and a person's. Calling it builds it on first use and runs its method
-- `call(self, x, o)`; `o.training` and `o.mask` are always resolved there.
--
-- Invariant of calls: whether a layer's call runs, and trains, are modes of the coroutine, which
-- the core keeps (src/bind/modes.c); the outermost call sets them through a to-be-closed value, so
-- that neither an error nor a coroutine that is given up leaves anything. Masks hang on tensors,
-- dtypes are looked at call by call: nothing that was made once makes later calls slower. A layer
-- with one unmasked tensor of its dtype and no options takes the short path of `Layer.__call`: one
-- question to the core and its `call`.
---
---     local Doubling = tide.Layer:extend("Doubling", {
---       call = function(self, x) return x * 2 end })
---     Doubling()(tide.ones { 2 })   --> { 2, 2 }
local S = require "tide.private"
local check = require "tide.check"
local checkpoint = require "tide.layers.checkpoint"
local class = require "tide.class"
local core = require "tide.core"
local defining = require "tide.layers.defining"
local errors = require "tide.errors"
local foreign = require "tide.foreign"
local inputs = require "tide.layers.inputs"
local list = require "tide.list"
local none = require "tide.none"
local object = require "tide.object"
local ops = require "tide.ops"
local registry = require "tide.registry"
local shaped = require "tide.layers.shapes"
local sizes = require "tide.layers.sizes"
local tracking = require "tide.layers.tracking"
local paths = require "tide.layers.paths"
local printable = require "tide.printable"
local parts = require "tide.parts"

local common = {
  { "name", "string", nil, "unique name; numbered by class otherwise" },
  { "trainable", "bool", true, "whether the weights are trained" },
  { "dtype", "policy", "float32", "dtype of weights and of the computation, or a mixed policy" },
  { "autocast", "bool", true, "cast floating inputs of a model to its dtype" },
  { "activity_regularizer", "regularizer", nil, "penalty on the output" },
  { "input_shape", "shape", nil, "shape without the batch, for a first layer" },
  { "batch_size", "int", nil, "fixed batch size of input_shape" },
  { "batch_input_shape", "shape", nil, "shape with the batch, for a first layer" },
}

local Layer = object.class("Layer", nil, { kind = "layer", rows = {}, named = common, methods = {
  set_weights = { { "weights", "list", check.required, "values of all weights, in order" } },
  add_loss = { { "loss", "data", check.required, "a penalty, or a list of them" } },
  count_params = {}, get_weights = {}, reset_state = {}, reset_states = {}, finalize_state = {},
  vocabulary_size = {}, reset_dropout_mask = {}, reset_recurrent_dropout_mask = {},
} })
-- The policy of layers that are given none; the row is every layer's.
local policy_row = common[3]
function Layer._policy(name)
  local was = policy_row[3]
  policy_row[3] = name or was
  return was
end

-- What a class says of itself, where it says nothing else; `opaque`: its call is no composition of
-- ops, so that no graph of ops holds it; `acts_alone`: called within no other layer, it trains
-- unless it is told not to.
Layer.supports_masking, Layer.makes_mask, Layer.sets_mask = false, false, false
Layer.keeps_dtype, Layer.takes, Layer._input_names, Layer._custom = false, false, false, false
Layer.opaque, Layer.acts_alone, Layer._roomy = false, false, true
Layer._foreign = foreign.layer

-- ---- modes of a call ----

local function constant(t)
  return setmetatable({}, { __index = t, __newindex = function()
    errors.raise("call", "the options of a call are shared; copy them before changing them")
  end, __pairs = function()
    return pairs(t)
  end })
end
-- The options that a call without options of its own gets.
local TRAIN, INFER = constant { training = true }, constant { training = false }
Layer.TRAIN, Layer.INFER = TRAIN, INFER

local call_mode, ready = core.call_modes(TRAIN, INFER)
local enter_call, needs_cast = core.enter_call, core.needs_cast
local masks = setmetatable({}, { __mode = "k" })

-- Keeps the caller's frame alive (no tail call), so that errors can find the layer in it.
local function keep(...)
  return ...
end

--- The mask of a tensor or of each tensor of a list, or nil.
function Layer.mask_of(x)
  if type(x) == "userdata" then
    return masks[x]
  elseif type(x) == "table" and getmetatable(x) ~= nil then
    return masks[x] -- of a symbolic tensor, while layers are opened into their operators
  elseif type(x) == "table" then
    local any = false
    for _, v in pairs(x) do
      any = any or core.marked(v) or type(v) == "table" and masks[v] ~= nil
    end
    if not any then
      return nil
    end
    local out = {}
    for k, v in pairs(x) do
      out[k] = masks[v] or false
    end
    return out
  end
end

--- Attaches a mask to a tensor; it travels through layers that support masking.
function Layer.set_mask(x, mask)
  if type(x) == "userdata" then
    core.mark(x)
  end
  masks[x] = mask
  return x
end

--- Gives a tensor that stands for another its mask; returns it.
function Layer.pass_mask(from, to)
  if masks[from] ~= nil then
    Layer.set_mask(to, masks[from])
  end
  return to
end

--- Whether a layer's call runs in training mode now.
function Layer.is_training()
  return call_mode() == TRAIN
end

--- Whether any layer's call is running.
function Layer.is_calling()
  return call_mode() ~= nil
end

-- ---- making layers ----

local base_names = {}
for _, row in ipairs(common) do
  base_names[row[1]] = true
end

--- How Keras' files hold the layers of a class; each is optional:
--- `config(layer, config, in_archive)`: the configuration as Keras' class takes it, from the one
--- made of the options, in an archive with files beside it or not;
--- `options(options, config, refuse, custom)`: the options to make the layer with, from those read;
--- `group(weight_name)`: the folder below the layer's own in which a weight stands;
--- `path`: the layer's folder, where it is not the class' name in snake_case;
--- `package`: where the class lives, if not in Keras (KerasHub's: "keras_hub");
--- `names_inputs`: Keras takes the inputs behind the first by name;
--- `call_counts`: the options of a call that name positions, which Keras counts from 0: a set;
--- `states`: false where Keras keeps the layer's states in no file;
--- `records(layer, records)`: what the files of weights hold of the layer's own records, each with
--- perhaps `value()`, the tensor that they hold, and `loaded()`, run after one was read;
--- `fields`: the folders of layers inside, by their fields, where these are not the fields' names;
--- `extra(layer)`: files (name -> text) and data sets (name -> tensor) that the layer keeps beside
--- its weights, in each of the folders `folders` below its own; `load_extra(layer, files, data)`
--- takes them: `files(name)` is the text of a file, `data(name, ...)` the tensor of that shape;
--- `older(layer, values, version, backend)`: the values of the weights as Keras `version` on that
--- backend kept them, as they are kept now.
Layer.keras = {}

--- How PyTorch's state dicts hold them; each is optional:
--- `links(layer, level, backward)`: the links of a module's tensors with the layer's weights (see
--- tide.layers.links), nil where no module of PyTorch does what the layer does with its options:
--- then each weight is a tensor of its own name. `whole`: the links are those of the layers inside
--- too.
Layer.torch = {}

Layer._builds = {}
Layer._keeps = { adapt = true }
Layer.created = 0 -- layers made so far
--- Starts the numbering of automatic names anew.
Layer.reset_names = object.reset_names

local own_names = setmetatable({}, { __mode = "k" }) -- argument table -> its names that are fields

-- The options that a layer of this class keeps as plain fields.
local function own_options(args, get)
  local out = own_names[args]
  if not out then
    out = {}
    for _, name in ipairs(args.names) do
      out[#out + 1] = not base_names[name] and (not get[name] or sizes.reads(get[name])) and name
        or nil
    end
    own_names[args] = out
  end
  return out
end

function Layer:_store(o)
  Layer.created = Layer.created + 1
  if o.name and o.name:find "[/\0]" then
    errors.raise(getmetatable(self).__name, "name must hold no '/', which joins the names of \z
      layers and weights, and no zero (got %s)", check.show(o.name))
  end
  local shape = o.batch_input_shape
  if not shape and o.input_shape then
    shape = list.new { o.batch_size or none }
    table.move(o.input_shape, 1, #o.input_shape, 2, shape)
  end
  local policies = type(o.dtype) == "table" and o.dtype or nil
  local dtype = policies and policies:at "" or o.dtype
  rawset(self, S, { id = Layer.created, policies = policies, trainable = o.trainable, weights = {},
    given_shape = shape, plain = false, remat = checkpoint.scope(),
    numbered = o.name == nil, -- a name that may give way
    -- what building and calling add has its room already
    compute = check.mixed[dtype], call = nil, one = nil, cast = nil, nodes = nil })
  -- names that the class declares need no check by __newindex
  rawset(self, "name", o.name or object.auto_name(class.snake(getmetatable(self).__name)))
  rawset(self, "dtype", check.mixed[dtype] and "float32" or dtype)
  rawset(self, "autocast", o.autocast)
  rawset(self, "activity_regularizer", o.activity_regularizer)
  rawset(self, "built", false)
  local own = own_options(self.args, self._get)
  for i = 1, #own do
    local name = own[i]
    rawset(self, name, o[name])
  end
end

local free_names = setmetatable({}, { __mode = "k" }) -- class -> names of fields that are free

-- Runs for fields that are not yet there: properties are set or refused, the base's methods are
-- protected.
function Layer.__newindex(self, key, value)
  local c = getmetatable(self)
  local free = free_names[c]
  if not (free and free[key]) then
    local set = c._set[key]
    if set then
      return set(self, value)
    end
    if c._get[key] or (type(rawget(Layer, key)) == "function" and key ~= "call")
      or defining.is_private(c, key) then
      errors.raise(c.__name, "'%s' belongs to every layer and cannot be assigned", key)
    end
    class.check_field(c, key, c.args.names)
    free_names[c] = free or {}
    free_names[c][key] = true
  end
  rawset(self, key, value)
  tracking.added(self, key, value)
end

local reserved = { args = true, inputs = true, init = true, build = true, list_first = true }

--- Makes a layer class of your own and registers its name for loading.
---
--- `def.args` orders the positional options (names, or rows of tide.check), whose values land in
--- `self` and in `get_config`; `def.inputs` names the inputs if there are several; `init(self, o)`,
--- `build(self, shape, ...)`, `call(self, x, o)`, `compute_output_shape(self, shape)` and any other
--- methods. `init` and `build` of the base classes run before. `def.takes` says what the input
--- may be, or each of them by name: "tensor", "list" (of tensors), "strings". `o.mask` of several
--- inputs is a table of masks by the inputs' names.
---
---     local Linear = tide.Layer:extend("Linear", {
---       args = { "units" },
---       build = function(self, shape)
---         self.w = self:add_weight { name = "w", shape = { shape[#shape], self.units } }
---       end,
---       call = function(self, x) return x:matmul(self.w) end,
---     })
--- @param name string
--- @param def table
--- @return table class
function Layer:extend(name, def)
  object.check_name(name)
  def = def or {}
  defining.check_names(self, name, def)
  defining.check_parameters(name, def)
  local c = Layer.derive(self, name, def)
  c._custom, c._def, c.args.own = true, def, true
  registry.register(c.kind, name, c)
  return c
end

-- The entries of `t` whose keys `names` does not have.
local function without(t, names)
  local out = {}
  for key, v in pairs(t) do
    out[key] = not names[key] and v or nil
  end
  return out
end

--- As extend, without registering: for Tide's own families, which the namespace finds.
function Layer.derive(base, name, def)
  if not class.is_class(base) or type(def) ~= "table" then
    errors.raise("derive", "takes a class, a name and a table of methods (got %s)",
      check.show(def))
  end
  local c = object.class(name, base, { args = def.args, list_first = def.list_first,
    init = def.init })
  for key in pairs(c._foreign) do
    if c.args.index[key] then -- an option of that name may be absent
      c._foreign = without(c._foreign, c.args.index)
      break
    end
  end
  c._builds = table.move(base._builds, 1, #base._builds, 1, {})
  c._builds[#c._builds + 1] = def.build
  c._input_names = def.inputs or base._input_names
  object.fill(c, def, reserved)
  for key, checked in pairs(shaped.methods) do
    c[key] = def[key] and checked(def[key]) or nil
  end
  sizes.declare(c)
  c._custom_shape = def.compute_output_shape ~= nil or (def.call == nil and base._custom_shape)
    or false
  return c
end

--- Whether `v` is a layer.
function Layer.is_layer(v)
  return type(v) == "table" and class.is(v, Layer)
end

require("tide.layers.weights")(Layer)
Layer._option = sizes.of

-- ---- building ----

-- The layer's dtypes from the name of a policy; none of its weights is there yet.
local function use_policy(self, name)
  self[S].compute = check.mixed[name]
  rawset(self, "dtype", check.mixed[name] and "float32" or name)
end

-- A build that fails leaves no weights: the next one makes them all.
local Building = {}
function Building.__close(made)
  if not made.done then
    made.layer:_forget(made.weights, made.states)
  end
end

--- Makes the weights for inputs of this shape (batch first, tide.none where unknown).
function Layer:build(input_shape, ...)
  if self.built then
    return
  end
  local given = table.pack(input_shape, ...)
  for i = 1, given.n do
    given[i] = given[i] ~= nil and shaped.read("build", given[i]) or nil
  end
  local own = self[S]
  local _ <close> = core.scope_pause() -- what it makes stays
  local _ <close> = paths.enter(self)
  own.around = paths.around(self)
  if own.policies then
    use_policy(self, own.policies:at(self.path))
  end
  local made <close> = setmetatable({ layer = self, weights = #own.weights,
    states = own.states and #own.states or 0 }, Building)
  for _, build in ipairs(self._builds) do
    build(self, table.unpack(given, 1, given.n))
  end
  made.done, self.built = true, true
  sizes.fix(self)
  self[S].build_shape = given[1]
  self[S].build_shapes = given
  self:_settle()
end

-- The shape of its one input that the layer was built for, as plain data; nil without one.
function Layer:_built_for()
  local shapes = self[S].build_shapes
  local one = shapes and shapes.n == 1 and shapes[1]
  return one and list.is(one) and one:totable() or nil
end

--- Gives the layer LoRA; Dense, EinsumDense, Embedding, convolutions and attention have it.
function Layer:enable_lora()
  errors.raise("enable_lora", "%s has no weight that LoRA serves (expected Dense, EinsumDense, \z
    Embedding, a convolution or attention)%s", self:_label(), self.is_model
    and "; call it on layers of the model" or "")
end

--- What the layer computes; each class defines it.
function Layer:call()
  errors.raise(
    self:_label(),
    "defines no call(self, x, o); tide.%s:extend(name, { call = function(self, x, o) ... end }) \z
    does",
    self.is_model and "Model" or "Layer")
end

-- Decides once what a call runs and what its short path may do without.
function Layer:_settle()
  local own = self[S]
  own.call = self.call
  own.plain = self.activity_regularizer == nil and not self._input_names
    and not self.makes_mask and (not self.takes or self.takes == "tensor")
  if own.compute and #self:_own_records() > 0 then
    local call, stand_in = own.call, require("tide.layers.mixed").stand_in(self)
    own.stand_in = stand_in
    own.call = function(_, ...) return call(stand_in, ...) end
  end
  if own.lora then
    own.call = require("tide.layers.lora").call(self, own.stand_in or self)
  end
  if own.remat and not self.is_model then
    own.call = checkpoint.layer_call(self, own.remat, own.call)
  end
  own.one = not self._custom
  own.cast = self.autocast and not self.keeps_dtype and core.dtype_number(self.compute_dtype) or nil
end

--- The shape of the result for inputs of this shape; found by running `call` on samples where a
--- layer does not say.
Layer.compute_output_shape = shaped.checked(function(self, ...)
  return require("tide.graph.symbolic").traced_shapes(self, ...)
end)

--- dtype of the result for inputs of this dtype.
function Layer.compute_output_dtype(self)
  return self.compute_dtype
end

--- The mask of the result: the first input's, if the layer supports masking.
function Layer.compute_mask(self, _, mask)
  local names = self._input_names
  if names and check.is_plain(mask) then
    return mask[names[1]]
  end
  return mask
end

-- ---- calling ----

local as_input, shape_of = inputs.as_input, inputs.shape_of
Layer._takes, Layer.shape_of = inputs.takes, shape_of

-- A value whose float tensors have the layer's dtype, with their masks.
local function cast_input(self, number, x)
  if type(x) == "userdata" then
    if needs_cast(x, number) then
      local y = ops.cast(x, self.compute_dtype)
      return masks[x] == nil and y or Layer.set_mask(y, masks[x])
    end
  elseif type(x) == "table" and getmetatable(x) == nil then
    local out
    for k, v in pairs(x) do
      local y = cast_input(self, number, v)
      if y ~= v then
        out = out or table.move(x, 1, #x, 1, {})
        out[k] = y
      end
    end
    for k, v in pairs(out and x or {}) do
      out[k] = out[k] == nil and v or out[k]
    end
    return out or x
  end
  return x
end

-- Gives the result of a call on `x` its mask, where the layer lets masks pass or makes one.
local function with_mask(self, x, mask, y)
  if mask ~= nil or self.makes_mask then
    if self.supports_masking and not self.sets_mask then
      local out = self:compute_mask(x, mask)
      if out and (type(y) == "userdata" or getmetatable(y) ~= nil) then
        Layer.set_mask(y, out)
      end
    end
  end
end

-- Notes the penalties on what a call gave, by sample.
local function penalize(self, ...)
  for i = 1, select("#", ...) do
    local y = select(i, ...)
    if check.is_plain(y) then
      penalize(self, table.unpack(y))
    elseif y then
      self:add_loss(self.activity_regularizer(y) / (y.shape[1] or 1))
    end
  end
end

-- What a call gave, with its mask; the penalty on it is noted.
local function finish(self, x, mask, y, ...)
  with_mask(self, x, mask, y)
  if self.activity_regularizer then
    penalize(self, y, ...)
  end
  return y, ...
end

-- The masks of several inputs by their names; nil where none has one.
local function by_name(names, first, rest)
  local out = first ~= nil and { [names[1]] = first } or nil
  for i = 2, #names do
    local mask = Layer.mask_of(rest[i - 1])
    if mask ~= nil then
      out = out or {}
      out[names[i]] = mask
    end
  end
  return out
end

--- The mask that the call of a layer gets for its inputs: of several, by their names.
function Layer.input_mask(names, x, rest)
  local mask = Layer.mask_of(x)
  return names and #names > 1 and by_name(names, mask, rest) or mask
end
Layer.with_mask = with_mask

-- The general call: `n` values, inputs first, then perhaps options.
local function dispatch(self, n, x, ...)
  local _ <close> = parts.enter(self) -- luacheck: ignore
  local names = self._input_names
  local count = names and #names or 1
  local options
  local rest = { ... }
  if n > 1 and type(rest[n - 1]) == "table" then
    local last = rest[n - 1]
    local plain = getmetatable(last) == nil and (check.has_string_key(last) or next(last) == nil)
    if plain or rawequal(last, TRAIN) or rawequal(last, INFER) then
      options = last
      n = n - 1
      rest[n] = nil
    end
  end
  if names and n == 1 and not options and check.is_plain(x) and x[names[1]] ~= nil then
    options, x = x, nil
  end
  if n > count then
    errors.raise(self:_label(), "takes %d input%s, then a table of options (got %d values)", count,
      count == 1 and "" or "s", n)
  end
  local explicit = options and options.training
  if rawequal(options, TRAIN) or rawequal(options, INFER) then
    options = nil
  elseif names and options then
    local own = {}
    for k, v in pairs(options) do
      own[k] = v
    end
    for i = 1, count do
      local v = options[names[i]]
      own[names[i]] = nil
      if i == 1 then
        x = x == nil and v or x
      elseif rest[i - 1] == nil then
        rest[i - 1] = v
      end
    end
    options = next(own) ~= nil and own or nil
  end
  if x == nil then
    errors.raise(self:_label(), "needs an input (got nil)")
  elseif options then
    inputs.check_options(self, options)
  end
  local cache = options and options.cache ~= nil and require "tide.layers.cache" or nil
  cache = cache and cache.is(options.cache) and cache
  local _ <close> = not self.built and paths.enter(self) or nil -- luacheck: ignore
  local symbolic = package.loaded["tide.graph.symbolic"]
  if symbolic and (symbolic.has(x) or symbolic.has(rest)) then
    if cache then
      errors.raise(self:_label(), "a cache serves calls on numbers (got a symbolic tensor); \z
        hand it to the model's calls")
    end
    return symbolic.call(self, x, rest, options, explicit)
  end

  x = as_input(self, x, 1)
  for i = 1, count - 1 do
    if rest[i] ~= nil and rest[i] ~= false then
      rest[i] = as_input(self, rest[i], i + 1)
    end
  end

  local own = self[S]
  local mode = call_mode()
  local back
  if not mode then
    if explicit == nil then
      explicit = self.acts_alone or nil
    end
    back, own.called = enter_call(explicit)
  elseif explicit ~= nil then
    back = enter_call(explicit)
  end
  local _ <close> = back
  if not mode or explicit ~= nil then
    mode = explicit and TRAIN or INFER
  end
  local _ <close> = cache and cache.enter(options.cache) or nil -- luacheck: ignore
  local cast = self.autocast and not self.keeps_dtype and (own.cast
    or core.dtype_number(self.compute_dtype))
  if cast then
    x = cast_input(self, cast, x)
    for i = 1, count - 1 do
      rest[i] = cast_input(self, cast, rest[i])
    end
  end

  if not self.built then
    local shapes = { shape_of(x) }
    for i = 1, count - 1 do
      shapes[i + 1] = shape_of(rest[i])
    end
    self:build(table.unpack(shapes, 1, count))
  end

  local o = mode
  local mask = options and options.mask
  if mask == nil then
    mask = Layer.input_mask(names, x, rest)
  elseif mask == false then
    mask = nil
  end
  if options or mask ~= nil then
    o = {}
    for k, v in pairs(options or {}) do
      o[k] = v
    end
    o.training = mode.training
    o.mask = mask
  end
  if count > 1 then
    rest[count] = o
    return finish(self, x, mask, own.call(self, x, table.unpack(rest, 1, count)))
  end
  return finish(self, x, mask, own.call(self, x, o))
end

-- The outermost call of a built layer with one tensor.
local function outermost(self, own, x, o)
  if own.cast and needs_cast(x, own.cast) then
    x = ops.cast(x, self.compute_dtype)
  end
  local back <close>, number = enter_call(o == TRAIN) -- luacheck: ignore back
  own.called = number
  return own.call(self, x, o)
end

--- Calls the layer on a tensor (or a list or table of them); see `extend` for options.
function Layer.__call(self, x, o, ...)
  local own = self[S]
  if own.plain and (o == nil or rawequal(o, TRAIN) or rawequal(o, INFER)) then
    local mode = ready(x, own.cast)
    if mode == nil then
      return keep(outermost(self, own, x, o or INFER))
    elseif mode and o == nil then
      if own.one then
        local y = own.call(self, x, mode)
        return y
      end
      return keep(own.call(self, x, mode))
    end
  end
  local more = select("#", ...)
  if more > 0 then
    return keep(dispatch(self, more + 2, x, o, ...))
  elseif o ~= nil then
    return keep(dispatch(self, 2, x, o))
  end
  return keep(dispatch(self, 1, x))
end

errors.layer_frames[Layer.__call] = true
errors.layer_frames[Layer.build] = true

-- ---- configuration and text ----

--- The options by name: enough to make the layer again with `from_config`.
function Layer:get_config()
  local out = object.config(self, self.args)
  out.input_shape, out.batch_input_shape, out.batch_size = nil, nil, nil
  out.trainable, out.dtype = self[S].trainable, object.serialize(self.dtype_policy)
  if self[S].given_shape then
    out.batch_input_shape = self[S].given_shape:totable()
  end
  if self.autocast then
    out.autocast = nil
  end
  return out
end

--- A layer of the same class and options, with weights of its own, not built yet. Its name is a new
--- one, unless it is among the options.
---
---     local dense = tide.layers.Dense { 4, activation = "relu" }
---     print(dense:clone { units = 8 }:get_config().units)   --> 8
--- @param options table|nil options by name that differ
--- @return table layer
function Layer:clone(options)
  local config = self:get_config()
  config.name = nil
  if options ~= nil and not check.is_plain(options) then
    errors.raise("clone", "takes a table of options by name (got %s)", check.show(options))
  end
  for key, v in pairs(options or {}) do
    config[key] = v
  end
  return getmetatable(self).from_config(config)
end

-- What identifies the layer at a glance, beside its class: its width, its kernel.
function Layer._brief()
  return ""
end

-- The layer in messages: `dense_1 (Dense 64)`.
function Layer:_label()
  local brief = self:_brief()
  return ("%s (%s%s)"):format(
    printable.name(self.name), getmetatable(self).__name, brief ~= "" and " " .. brief or "")
end

function Layer:__tostring()
  return self:_label()
end

return Layer
