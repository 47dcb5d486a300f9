-- Whatever value stands at whatever place of the JSON in a file: it is read, or one error says what
-- is wrong, and names the file. Every place is tried with every wrong value.
local edits = require "spec.support.json_edits"
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local errors = require "tide.errors"
local json = require "tide.utils.json"
local layers = tide.layers

local dir
local X, Y = tide.ones { 4, 3 }, tide.ones { 4, 2 }

local function small()
  local m = tide.Sequential {
    layers.Dense { 4, activation = "relu", input_shape = { 3 },
      kernel_regularizer = { "l2", l2 = 0.01 }, kernel_constraint = "max_norm" },
    layers.BatchNormalization(), layers.Dropout { 0.5, seed = 1 },
    layers.Dense { 2, kernel_initializer = { "random_uniform", minval = -1, maxval = 1 } },
  }
  m:compile { optimizer = { "adam", learning_rate =
    { "exponential_decay", initial_learning_rate = 0.1, decay_steps = 10, decay_rate = 0.5 } },
    loss = { "huber", delta = 0.5 }, metrics = { "mae", { "mean_squared_error", name = "e" } } }
  return m
end

local function functional()
  local a, b = tide.Input { 3, name = "a" }, tide.Input { 3, name = "b" }
  local shared = layers.Dense { 2 }
  local x = layers.Concatenate() { shared(a), shared(b), tide.ops.relu(a) }
  local m = tide.Model { { a, b }, layers.Dense { 2 }(layers.Activation { "tanh" }(x * 2)) }
  m:compile { optimizer = "sgd", loss = "mse" }
  return m
end

-- What is wrong with what a call gave, or nil.
local function complaint(path, ok, e)
  if ok then
    return nil
  end
  local text = tostring(e)
  if not errors.is(e) then
    return "no error of Tide's: " .. text
  elseif path and not text:find(path, 1, true) then
    return "does not name the file: " .. text
  end
end

-- Reads every variant of `value`; `read` gets the text.
local function try(value, path, read, words)
  local wrong, n = {}, 0
  edits.all(value, function(text, place)
    n = n + 1
    local why = complaint(path, pcall(read, text))
    if why and #wrong < 20 then
      wrong[#wrong + 1] = place .. ": " .. why
    end
  end, words)
  assert(n > 20)
  assert.same({}, wrong)
end

-- The description in a file's metadata under `key`, and a function that makes the file with
-- another.
local function described(path, key)
  local entries, header = {}
  do
    local file <close>, found, metadata = core.safetensors_open(path)
    for i, e in ipairs(found) do
      entries[i] = { e.name, core.safetensors_read(file, i) }
    end
    header = metadata[key]
  end
  return json.decode(header), function(text)
    core.safetensors_write(path, entries, { format = "tide", [key] = text })
  end
end

local quiet
setup(function()
  -- in memory where there is such a folder: thousands of files are written, each to the disk
  dir = expect.folder()
  local memory = "/dev/shm/" .. dir:match "[^/]*$"
  if os.execute("mkdir " .. memory .. " 2>/dev/null") then
    os.execute("rmdir " .. dir)
    dir = memory
  end
  quiet = io.stderr
  rawset(io, "stderr", { write = function() end })
end)
teardown(function()
  rawset(io, "stderr", quiet)
  os.execute("rm -r " .. dir)
end)

describe("a wrong value in", function()
  it("a model in Tide's own format is one error that names the file", function()
    for name, make in pairs { small = small, functional = functional } do
      local path = dir .. "/" .. name .. ".safetensors"
      local m = make()
      if name == "small" then
        m:fit(X, Y, { verbose = 0 })
      end
      m:save(path)
      local value, write = described(path, "tide")
      try(value, path, function(text)
        write(text)
        tide.load_model(path)
      end)
    end
  end)

  it("weights in Tide's own format is one error that names the file", function()
    local path, m = dir .. "/w.safetensors", small()
    m:save_weights(path)
    local value, write = described(path, "tide")
    try(value, path, function(text)
      write(text)
      m:load_weights(path)
    end)
  end)

  it("tables of tensors is one error that names the file", function()
    local path = dir .. "/t.safetensors"
    tide.save({ a = tide.ones { 2 }, b = { tide.ones { 1 }, { c = tide.zeros { 1 } } } }, path)
    local value, write = described(path, "tide_tensors")
    try(value, path, function(text)
      write(text)
      tide.load(path)
    end)
  end)

  it("a checkpoint is one error that names the file", function()
    local folder = dir .. "/backup"
    local path = folder .. "/latest.safetensors"
    -- a small model, for each of thousands of files is trained on
    local function fit(epochs, resume)
      local m = tide.Sequential { layers.Dense { 2, input_shape = { 3 } } }
      m:compile { optimizer = { "sgd", momentum = 0.9 }, loss = "mse", metrics = { "mae" } }
      m:fit(X, Y, { verbose = 0, batch_size = 2, epochs = epochs, resume = resume,
        callbacks = { not resume
          and tide.callbacks.BackupAndRestore { folder, delete_checkpoint = false } or nil } })
    end
    fit(2)
    local value, write = described(path, "tide")
    try(value, path, function(text)
      write(text)
      fit(2, path)
    end)
    value.history = nil -- then training goes on with a new one
    write(json.encode(value))
    fit(3, path)
  end)

  it("a .keras archive is one error that names the file", function()
    for name, make in pairs { small = small, functional = functional } do
      local path = dir .. "/" .. name .. ".keras"
      local m = make()
      m:build { { tide.none, 3 }, name == "functional" and { tide.none, 3 } or nil }
      m:save(path)
      local z = core.zip_open(path)
      local config = json.decode((core.zip_read(z, "config.json")))
      local metadata = json.decode((core.zip_read(z, "metadata.json")))
      -- without weights, whose reading takes much longer; both files say at the end that they lack
      -- them
      try(config, path, function(text)
        core.zip_write(path, { { "config.json", text } })
        tide.load_model(path)
      end)
      try(metadata, path, function(text)
        core.zip_write(path, { { "metadata.json", text }, { "config.json", json.encode(config) } })
        tide.load_model(path)
      end)
    end
  end)

  it("an .h5 file is one error that names the file", function()
    local path = dir .. "/m.h5"
    local m = small()
    m:fit(X, Y, { verbose = 0 })
    m:save(path)
    local open = core.hdf5_open
    local entries, attributes = require "spec.support.h5"(path)
    local all = json.decode(attributes)
    local top = all["/"]
    finally(function()
      core.hdf5_open = open
    end)
    local function with(change)
      return function(text)
        core.hdf5_open = function()
          return nil, entries, change(text), #text
        end
        tide.load_model(path)
      end
    end
    for _, key in ipairs { "model_config", "training_config" } do
      local text = top[key]
      try(json.decode(text), path, with(function(changed)
        top[key] = changed
        local out = json.encode(all)
        top[key] = text
        return out
      end))
    end
    try(all, path, with(function(text) return text end))
  end)

  it("an index of shards is one error that names the file", function()
    local path, m = dir .. "/s.weights.json", small()
    m:build { tide.none, 3 }
    m:save_weights(path)
    try(json.decode(expect.read(path)), path, function(text)
      expect.write(path, text)
      m:load_weights(path)
    end, { "null", "true", "-1", "2.5", '""', '"x"', "[]", "{}", "[null, 3]", '{"x": {"y": [1]}}',
      '".."', '"a/b"' })
  end)

  it("the header of a safetensors file is one error that names the file", function()
    local path = dir .. "/h.safetensors"
    core.safetensors_write(path, { { "a", tide.ones { 2, 2 } }, { "b", tide.ones { 1 } } },
      { note = "x" })
    local bytes = expect.read(path)
    local n = ("<I8"):unpack(bytes)
    local header = json.decode(bytes:sub(9, 8 + n))
    header.__metadata__ = { note = "x" }
    try(header, path, function(text)
      expect.write(path, ("<I8"):pack(#text) .. text .. bytes:sub(9 + n))
      tide.load(path)
    end)
  end)

  it("the text of model_from_json is one error", function()
    local config = json.decode(small():to_json())
    try(config, nil, function(text)
      tide.models.model_from_json(text)
    end)
  end)

  it("a file that tide inspect describes is one error", function()
    local inspect = require "tide.cli.inspect"
    local path = dir .. "/i.keras"
    local m = tide.Sequential { layers.Dense { 2, input_shape = { 3 } } }
    m:compile { optimizer = "sgd", loss = "mse" }
    m:save(path)
    local config = json.decode((core.zip_read(core.zip_open(path), "config.json")))
    try(config, nil, function(text)
      core.zip_write(path, { { "config.json", text } })
      inspect.file(path, function() end)
    end)
    path = dir .. "/i.weights.json"
    try({ weight_map = { a = "x", b = { "y", "z" } } }, nil, function(text)
      expect.write(path, text)
      inspect.file(path, function() end)
    end)
  end)
end)
