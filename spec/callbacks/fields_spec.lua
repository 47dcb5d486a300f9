-- What checkpoints keep of callbacks: each class declares its fields, and a file that holds
-- anything else is refused by one error that names the file, the class and the field.
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local json = require "tide.utils.json"
local keeps = require "tide.training.kept"
local callbacks, layers = tide.callbacks, tide.layers

tide.seed(1)
local X, Y = tide.random.normal { 12, 3 }, tide.random.normal { 12, 1 }
local folder = expect.name()
core.mkdirs(folder)

local function file(name)
  return folder .. "/" .. name
end

local makers = {
  EarlyStopping = function()
    return callbacks.EarlyStopping { monitor = "val_loss", restore_best_weights = true,
      patience = 5 }
  end,
  ModelCheckpoint = function()
    return callbacks.ModelCheckpoint { file "m.safetensors", monitor = "val_loss",
      save_best_only = true, save_freq = 2 }
  end,
  ReduceLROnPlateau = function() return callbacks.ReduceLROnPlateau { patience = 5 } end,
  CSVLogger = function() return callbacks.CSVLogger { file "log.csv" } end,
  BackupAndRestore = function() return callbacks.BackupAndRestore { file "b", save_freq = 5 } end,
  CheckpointManager = function() return callbacks.CheckpointManager { file "c" } end,
  SwapEMAWeights = function() return callbacks.SwapEMAWeights { swap_on_epoch = true } end,
  StochasticWeightAveraging = function()
    return callbacks.StochasticWeightAveraging { start_epoch = 1 }
  end,
  NaNGuard = function() return callbacks.NaNGuard() end,
  TensorBoard = function() return callbacks.TensorBoard { file "board" } end,
  PlotHistory = function() return callbacks.PlotHistory { file "p.svg" } end,
  ProgressFile = function() return callbacks.ProgressFile { file "p.json" } end,
  History = function() return callbacks.History() end,
  RemoteMonitor = function()
    return callbacks.RemoteMonitor { "http://localhost:1", timeout = 1 }
  end,
  TerminateOnNaN = function() return callbacks.TerminateOnNaN() end,
  LearningRateScheduler = function()
    return callbacks.LearningRateScheduler { function(_, rate) return rate end }
  end,
  ProgbarLogger = function() return callbacks.ProgbarLogger() end,
}

-- A fit with a callback, which is stopped in its second epoch; `path`: goes on from that file.
local function fit(name, path)
  local c = makers[name]()
  local m = tide.Sequential { layers.Dense { 2, input_shape = { 3 } }, layers.Dense { 1 } }
  m:compile { optimizer = tide.optimizers.SGD { 0.01, use_ema = true }, loss = "mse" }
  local save = file(name .. "-b")
  m:fit(X, Y, { verbose = 0, batch_size = 3, epochs = 3, validation_split = 0.25, resume = path,
    callbacks = { c, not path and callbacks.BackupAndRestore { save, save_freq = 1 } or nil,
      not path and { on_train_batch_end = function(batch)
        if c._epoch2 and batch == 3 then
          error("stopped", 0)
        end
      end, on_epoch_begin = function(epoch)
        rawset(c, "_epoch2", epoch == 2 and math.huge or nil) -- an option of nobody
      end } or nil } })
  return c
end

-- The description in a file, and a function that writes another one.
local function described(path)
  local f <close>, entries, metadata = core.safetensors_open(path)
  local tensors = {}
  for i, e in ipairs(entries) do
    tensors[i] = { e.name, core.safetensors_read(f, i) }
  end
  return metadata.tide, function(header)
    core.safetensors_write(path, tensors, { format = "tide", tide = json.encode(header) })
  end
end

local WRONG = { "sword", "i-3", "f7ff8000000000000", true, { id = 9001, kind = "table",
  fields = { { "sa", "sb" } } }, { id = 9002, kind = "list", fields = { { "i1", "sa" } } },
  { none = true } }

describe("what a checkpoint keeps of", function()
  for _, name in ipairs(callbacks.class_names) do
    if makers[name] then
      it(name .. " is what its class declares", function()
        local ok, e = pcall(fit, name)
        assert(not ok and tostring(e):find "stopped", e)
        local path = file(name .. "-b") .. "/latest.safetensors"
        local text, write = described(path)
        local kinds = keeps.of(makers[name]())
        local place = 1
        local refused, taken = 0, 0
        local kept = json.decode(text).callbacks[place]
        assert.equal(name, kept.class)
        for k = 1, #kept.fields + 1 do
          for _, wrong in ipairs(WRONG) do
            local header = json.decode(text)
            local fields = header.callbacks[place].fields
            local field = fields[k] and fields[k][1]:sub(2) or "surplus"
            fields[k] = { "s" .. field, wrong }
            write(header)
            local went, why = pcall(fit, name, path)
            if went then
              taken = taken + 1
              assert.truthy(kinds[field], field)
            else
              refused = refused + 1
              expect.has(tostring(why), path .. ": " .. name .. ": ")
              expect.has(tostring(why), field)
            end
          end
          if kept.fields[k] then -- without it
            local header = json.decode(text)
            table.remove(header.callbacks[place].fields, k)
            write(header)
            local went, why = pcall(fit, name, path)
            if not went then
              expect.has(tostring(why), "is missing")
              expect.has(tostring(why), path)
            end
          end
        end
        assert.is_true(refused >= 7 and taken <= 3 * #kept.fields, ("%d refused, %d taken"):format(
          refused, taken))
      end)
    else
      assert(name == "LambdaCallback", name .. " has no case")
    end
  end

  it("EarlyStopping fits the model's weights", function()
    pcall(fit, "EarlyStopping")
    local path = file "EarlyStopping-b/latest.safetensors"
    local text, write = described(path)
    local header = json.decode(text)
    for _, pair in ipairs(header.callbacks[1].fields) do
      if pair[1] == "sbest_weights" then
        table.remove(pair[2].fields)
      end
    end
    write(header)
    expect.raises("of the shapes of the weights", fit, "EarlyStopping", path)
  end)

  it("a person's class is all that is plain", function()
    local Own = callbacks.EarlyStopping:extend("SpecOwnStopping", { on_epoch_begin = function(self)
      self.note = (self.note or "") .. "x"
    end })
    makers.own = function() return Own { monitor = "val_loss" } end
    pcall(fit, "own")
    local path = file "own-b/latest.safetensors"
    assert.equal("xxx", fit("own", path).note)
    local text, write = described(path)
    local header = json.decode(text)
    for _, pair in ipairs(header.callbacks[1].fields) do
      if pair[1] == "swait" then
        pair[2] = "smany"
      end
    end
    write(header)
    expect.raises("SpecOwnStopping: the field wait is damaged (expected an integer from 0, got",
      fit, "own", path)
    os.execute("rm -rf " .. folder)
  end)
end)
