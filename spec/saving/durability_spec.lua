-- What is on the disk when writing goes wrong: every write step of every format fails in turn, and
-- a training process is killed at random moments. TIDE_KILLS=n kills n times (20).
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local models = require "spec.support.keras_models"

local folder
before_each(function()
  folder = expect.folder()
end)
after_each(function()
  os.execute("rm -rf " .. folder)
end)

local read = expect.read

local function files()
  local out = {}
  local pipe = io.popen("ls -A " .. folder)
  for name in pipe:lines() do
    out[#out + 1] = name
  end
  pipe:close()
  return out
end

local function set(model, value)
  for _, w in ipairs(model.weights) do
    w:assign(tide.ops.full_like(w, value))
  end
end

local formats = {
  { "model.keras" }, { "model.h5" }, { "model.safetensors" },
  { "model.weights.h5", weights = true }, { "weights.h5", weights = true },
    { "weights.safetensors", weights = true },
}

-- The first weight that a file holds.
local function held(format, path, model)
  if format.weights then
    set(model, 9)
    model:load_weights(path)
    return model.weights[1]:detach():tolist()
  end
  return tide.load_model(path).weights[1]:detach():tolist()
end

describe("fault injection", function()
  for _, format in ipairs(formats) do
    it("at every step of writing leaves " .. format[1] .. " old or new and nothing else", function()
      local model = models.trained "tide_nested_end"
      local path = folder .. "/" .. format[1]
      local function save()
        if format.weights then
          model:save_weights(path)
        else
          model:save(path)
        end
      end
      local values, faults = {}, 0
      for v = 0, 1 do
        set(model, v)
        values[v] = model.weights[1]:detach():tolist()
      end
      for _, point in ipairs { "write", "fsync", "close", "rename", "fsync_dir" } do
        for _, how in ipairs(point == "write" and { "io", "nospace", "short" }
          or { "io", "nospace" }) do
          local n, ended = 0, false
          while not ended do
            n = n + 1
            core.io_fault("write", 0)
            set(model, 0)
            save()
            local old = read(path)
            set(model, 1)
            core.io_fault(point, n, how)
            local ok, e = pcall(save)
            local label = ("%s %d %s"):format(point, n, how)
            assert.same({ format[1] }, files(), label)
            if ok then
              assert.same(values[1], held(format, path, model), label)
            else
              faults = faults + 1
              assert.is_true(require("tide.errors").is(e), label)
              -- the rename is done; whether it outlives a loss of power is not known
              if point == "fsync_dir" then
                assert.same(values[1], held(format, path, model), label)
              else
                assert.equal(old, read(path), label)
              end
            end
            ended = ok and (how ~= "short" or n > 3)
          end
        end
      end
      core.io_fault("write", 0)
      assert.is_true(faults >= 10)
    end)
  end

  -- What writes a file of this name from a number, 0 or 1.
  local plain = {
    ["t.safetensors"] = function(v, path)
      tide.save({ a = tide.ones { 9 } * v, b = { tide.ones { 2 } * v } }, path)
    end,
    ["t.npy"] = function(v, path)
      tide.save(tide.ones { 9 } * v, path)
    end,
    ["t.npz"] = function(v, path)
      tide.save({ tide.ones { 9 } * v, tide.ones { 3 } }, path)
    end,
    ["t.txt"] = function(v, path)
      core.write_file(path, "text " .. v)
    end,
    ["f.svg"] = function(v, path)
      tide.plot.lines({ { "a", { 0, v + 1 } } }, { file = path })
    end,
    ["f.png"] = function(v, path)
      tide.plot.lines({ { "a", { 0, v + 1 } } }, { file = path })
    end,
  }
  for _, format in ipairs { "png", "jpg", "bmp", "ppm" } do
    plain["p." .. format] = function(v, path)
      tide.image.save(path, tide.ones { 4, 4, 3 } * (v * 255), { scale = false })
    end
  end
  for name, write in pairs(plain) do
    it("at every step of writing leaves " .. name .. " old or new and nothing else", function()
      local path = folder .. "/" .. name
      local bytes = {}
      for v = 0, 1 do
        write(v, path)
        bytes[v] = read(path)
      end
      assert.are_not.equal(bytes[0], bytes[1])
      local faults = 0
      for _, point in ipairs { "write", "fsync", "close", "rename", "fsync_dir" } do
        for _, how in ipairs { "io", "nospace", "short" } do
          local n, ended = 0, false
          while not ended and (how ~= "short" or point == "write") do
            n = n + 1
            write(0, path)
            core.io_fault(point, n, how)
            local ok = pcall(write, 1, path)
            core.io_fault("write", 0)
            local label = ("%s %d %s"):format(point, n, how)
            assert.same({ name }, files(), label)
            assert.is_true(read(path) == bytes[(ok or point == "fsync_dir") and 1 or 0], label)
            faults = faults + (ok and 0 or 1)
            ended = ok and (how ~= "short" or n > 3)
          end
        end
      end
      assert.is_true(faults >= 10)
    end)
  end

  it("leaves every file of sharded weights whole, and nothing else", function()
    local model = models.trained "tide_nested_end"
    local path = folder .. "/m.weights.json"
    model:save_weights(path, { max_shard_size = 3e-8 })
    local whole = files()
    assert.is_true(#whole > 3)
    for n = 1, #whole do
      for _, how in ipairs { "io", "nospace", "short" } do
        core.io_fault("write", n, how)
        local ok = pcall(model.save_weights, model, path, { max_shard_size = 3e-8 })
        assert.equal(how == "short", ok)
        assert.same(whole, files())
        model:load_weights(path)
      end
    end
    core.io_fault("write", 0)
  end)
end)

describe("kill -9 during fit with ModelCheckpoint", function()
  local program = [[
    local tide = require "tide"
    local path = arg[1]
    tide.seed(1)
    local first = tide.layers.Dense { 64, activation = "relu", input_shape = { 16 } }
    local model = tide.Sequential { first, tide.layers.Dense { 1 } }
    model:compile { optimizer = "adam", loss = "mse" }
    local weights = path:find "weights" ~= nil
    local x = tide.random.normal { 64, 16 }
    model:fit(x, x:sum({ axis = 2, keepdims = true }), { epochs = 100000, verbose = 0,
      callbacks = { tide.callbacks.ModelCheckpoint { path, save_weights_only = weights } } })]]

  it("never leaves a file that does not load", function()
    local script = folder .. "/train.lua"
    local f = io.open(script, "w")
    f:write(program)
    f:close()
    math.randomseed(os.time())
    local kills = tonumber(os.getenv "TIDE_KILLS") or 20
    local names = { "best.keras", "best.h5", "best.safetensors", "best.weights.h5" }
    for i = 1, kills do
      local name = names[i % #names + 1]
      local path = folder .. "/" .. name
      -- the first checkpoint is waited for; after it, from nothing to many of them
      local command = ("{ %s %s %s & pid=$!; n=0; "):format(expect.lua, script, path)
        .. ("while [ ! -s %s ] && [ $n -lt 600 ]; do sleep 0.05; n=$((n+1)); done; "):format(path)
        .. ("sleep %.3f; kill -9 $pid; wait $pid; } 2>&1"):format(math.random() * 0.4)
      local pipe = io.popen(command)
      local out = pipe:read "a"
      pipe:close()
      local label = ("kill %d of %s: %s"):format(i, name, out)
      local model
      if name:find "weights" then
        model = tide.Sequential {
          tide.layers.Dense { 64, activation = "relu", input_shape = { 16 } },
          tide.layers.Dense { 1 } }
        model:compile { optimizer = "adam", loss = "mse" }
        model:load_weights(path)
      else
        model = tide.load_model(path)
      end
      -- a whole number of epochs of two batches
      assert.is_true(model.optimizer.iterations > 0 and model.optimizer.iterations % 2 == 0, label)
      os.execute("rm -f " .. path .. "*")
    end
  end)
end)
