--- `tide train CONFIG.lua`: trains what a file describes, and saves it.
--
-- The file is a Lua program that returns a table (or a function of the command line's settings that
-- returns one): what is one's own to run. Nothing but its keys is special: see the usage.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"

local usage = [[
usage: tide train [options] CONFIG.lua [SETTING=VALUE ...]
Trains the model that a file describes. The file returns a table with these fields:
  model     a model, a function that makes one, or the name of a model file to go on with
  data      { train = { x, y }, validation = { x, y }, test = { x, y } }, or a function
            that gives it; instead of { x, y }
            also a generator. Only train is needed
  compile   what model:compile takes; may be missing for a model file that says it itself
  fit       what model:fit takes beside the data: epochs, batch_size, callbacks, ...
  save      where the trained model goes: a file name, or a list of them (.keras, .h5, .safetensors)
  seed      of all random numbers
  threads   how many to use
or it returns a function that gives such a table; it is called with the settings that are not
named above.
SETTING=VALUE puts a number, true, false or text into that table: fit.epochs=3
compile.optimizer=sgd save=other.keras
options:
  --check   make the model, read the data and try one batch; train and save nothing
  --help    print this
Ctrl-C ends the training after the batch; what is trained so far is evaluated and saved.]]

local known = { model = true, data = true, compile = true, fit = true, save = true, seed = true,
  threads = true }

local function refuse(...)
  errors.raise("train", ...)
end

-- "3", "true", "text" as Lua values.
local function value_of(text)
  if text == "true" or text == "false" then
    return text == "true"
  end
  return math.tointeger(text) or tonumber(text) or text
end

-- Puts settings whose first name is one of the configuration's into it.
local function apply(config, settings)
  for _, s in ipairs(settings) do
    local at, names = config, {}
    for name in s.name:gmatch "[^.]+" do
      names[#names + 1] = math.tointeger(name) or name
    end
    for i = 1, #names - 1 do
      if at[names[i]] == nil then
        at[names[i]] = {}
      elseif type(at[names[i]]) ~= "table" or getmetatable(at[names[i]]) ~= nil then
        refuse("%s: '%s' is no table of options", s.name, names[i])
      end
      at = at[names[i]]
    end
    at[names[#names]] = s.value
  end
end

-- The table that the file describes.
local function configuration(path, settings)
  local chunk, why = loadfile(path, "t")
  if not chunk then
    refuse("%s", (why:gsub("^cannot open.*", "cannot open " .. path)))
  end
  local config = chunk()
  local own, rest = {}, {}
  for _, s in ipairs(settings) do
    if known[s.name:match "^[^.]+"] then
      own[#own + 1] = s
    else
      rest[s.name] = s.value
    end
  end
  if type(config) == "function" then
    config = config(rest)
  elseif next(rest) ~= nil then
    local name = check.sorted_keys(rest)[1]
    local names = {}
    for k in pairs(known) do
      names[#names + 1] = k
    end
    table.sort(names)
    refuse("%s returns a table, which has no setting '%s'%s", path, name,
      check.did_you_mean(name, names))
  end
  if type(config) ~= "table" or getmetatable(config) ~= nil then
    refuse("%s must return a table, or a function that gives one; it returned %s", path,
      check.show(config))
  end
  apply(config, own)
  return check.options("train: " .. path, config, {
    { "model", "any", check.required, "a model, a function that makes one, or a model file" },
    {
      "data", "any", check.required,
      "{ train = { x, y }, validation = ..., test = ... } or a function that gives it" },
    { "compile", "table", nil, "what model:compile takes" },
    { "fit", "table", nil, "what model:fit takes beside the data" },
    { "save", { "string", "list" }, nil, "where the model goes" },
    { "seed", "int", nil, "of all random numbers" },
    { "threads", "int", nil, "how many to use", min = 1 },
  })
end

local function model_of(config)
  local model = config.model
  if type(model) == "function" then
    model = model()
  elseif type(model) == "string" then
    model = require("tide").load_model(model)
  end
  if type(model) ~= "table" or not model.is_model then
    refuse("model must be a model, a function that makes one or the name of a model file (got %s)",
      check.show(model))
  end
  return model
end

local function data_of(config)
  local data = config.data
  if type(data) == "function" then
    data = data()
  end
  if type(data) ~= "table" or getmetatable(data) ~= nil then
    refuse("data must be { train = { x, y }, validation = ..., test = ... } (got %s)",
      check.show(data))
  end
  return check.options("train: data", data, {
    { "train", "any", check.required, "{ x, y } or a generator" },
    { "validation", "any", nil, "{ x, y } or a generator" },
    { "test", "any", nil, "{ x, y } or a generator" },
  })
end

-- { x, y, sample_weight } as options of fit and evaluate; a generator stands for itself.
local function pass(source, options)
  if type(source) == "table" and getmetatable(source) == nil then
    options.x, options.y, options.sample_weight = source[1] or source.x, source[2] or source.y,
      source[3] or source.sample_weight
  else
    options.x = source
  end
  return options
end

local function paths_of(save)
  return type(save) == "string" and { save } or save or {}
end

local function run(path, settings, only_check)
  local tide = require "tide"
  local config = configuration(path, settings)
  if config.threads then
    tide.set_threads(config.threads)
  end
  if config.seed then
    tide.seed(config.seed)
  end
  for _, file in ipairs(paths_of(config.save)) do
    require("tide.saving").check_path(file, false) -- before hours of training
  end
  local model = model_of(config)
  local data = data_of(config)
  if config.compile then
    model:compile(config.compile)
  elseif not rawget(model, "optimizer") then
    refuse "the model is not compiled: give compile = { optimizer = ..., loss = ... }"
  end
  local options = {}
  for k, v in pairs(config.fit or {}) do
    options[k] = v
  end
  for _, k in ipairs { "x", "y", "sample_weight", "validation_data" } do
    if options[k] ~= nil then
      refuse("fit.%s: the data stand in data = { train = ..., validation = ... }", k)
    end
  end
  pass(data.train, options)
  options.validation_data = data.validation
  if only_check then
    options.epochs, options.steps_per_epoch, options.validation_steps, options.callbacks,
      options.verbose = 1, 1, 1, nil, 0
    model:fit(options)
    print(model)
    print(path .. ": nothing is wrong with it")
    return true
  end
  local known_shapes = model.built
  if known_shapes then
    print(model)
  end
  model:fit(options)
  if not known_shapes then
    print(model)
  end
  if data.test ~= nil then
    local _ <close> = core.decimal_point()
    local results = model:evaluate(pass(data.test, { verbose = 0, return_dict = true }))
    local names = {}
    for name in pairs(results) do
      names[#names + 1] = name
    end
    table.sort(names)
    for i, name in ipairs(names) do
      local v = results[name]
      names[i] = ("test %s %s"):format(
        name, type(v) == "number" and ("%.4f"):format(v) or tostring(v))
    end
    print(table.concat(names, "  "))
  end
  for _, file in ipairs(paths_of(config.save)) do
    model:save(file)
    print("saved " .. file)
  end
  return true
end

return function(...)
  local path, settings, only_check = nil, {}, false
  for _, word in ipairs { ... } do
    local name, value = word:match "^([%w_.]+)=(.*)$"
    if word == "--help" or word == "-h" then
      print(usage)
      return true
    elseif word == "--check" then
      only_check = true
    elseif path and name then
      settings[#settings + 1] = { name = name, value = value_of(value) }
    elseif not path and word:sub(1, 1) ~= "-" then
      path = word
    else
      io.stderr:write("tide train: unexpected argument '", word, "'\n", usage, "\n")
      return false
    end
  end
  if not path then
    io.stderr:write("tide train: no file given\n", usage, "\n")
    return false
  end
  local ok, e = xpcall(run, function(e)
    -- an error of Tide is one line; one of the file's own code shows where it is
    return errors.is(e) and tostring(e) or debug.traceback(tostring(e), 2)
  end, path, settings, only_check)
  if not ok then
    io.stderr:write("tide train: ", (e:gsub("^train: ", "")), "\n")
  end
  return ok
end
