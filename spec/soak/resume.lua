--- Training that is killed again and again loses nothing.
--
--   resume.lua [--runs N] [--seconds S] [--seed N]
--
-- A process trains with a CheckpointManager and is killed by SIGKILL at a random moment, or at a
-- random call that writes, renames, opens or closes a file; the next one goes on from
-- `manager:latest()`, until the training ends. After each kill the last checkpoint is whole, and
-- not older than the last step that the process said was saved; in the end every bit of weights,
-- optimizer, history and random generator is that of a process that was not killed.
package.path = "./?.lua;" .. package.path
local common = require "spec.soak.common"
local o = common.arguments()
local faults, tide, core = common.faults(), require "tide", require "tide.core"
local layers, callbacks = tide.layers, tide.callbacks

local EPOCHS, BATCHES = 6, 8

-- Kinds of trainings, by which a child knows what to make.
local kinds = {
  { optimizer = function() return tide.optimizers.Nadam { 0.01 } end, save_freq = 1 },
  { optimizer = function()
    return tide.optimizers.LossScaleOptimizer { tide.optimizers.Lookahead { "adam", 3 }, 1024, 5 }
  end, save_freq = 3, dtype = "mixed_bfloat16" },
  { optimizer = function()
    return tide.optimizers.SGD { 0.05, momentum = 0.9, use_ema = true,
      gradient_accumulation_steps = 3 }
  end, save_freq = "epoch" },
  { optimizer = function()
    return tide.optimizers.LBFGS { 0.5, max_iter = 2, history_size = 4 }
  end, save_freq = 2 },
}

local function hexadecimal(values, out)
  for _, v in ipairs(values) do
    if type(v) == "table" then
      hexadecimal(v, out)
    else
      out[#out + 1] = type(v) == "number" and ("%a"):format(v) or tostring(v)
    end
  end
end

-- ---- a process that trains ----

local function train(kind, folder, seed, strike)
  tide.seed(seed)
  local x, y = tide.random.normal { 8 * BATCHES, 12 }, tide.random.randint({ 8 * BATCHES }, 1, 4)
  local model = tide.Sequential { layers.Dense { 16, activation = "relu", dtype = kind.dtype },
    layers.BatchNormalization(), layers.Dropout { 0.3 }, layers.GaussianNoise { 0.1 },
    layers.Dense { 3, activation = "softmax" } }
  model:compile { optimizer = kind.optimizer(), loss = "sparse_categorical_crossentropy",
    metrics = { "accuracy" } }
  local manager = callbacks.CheckpointManager { folder, save_freq = kind.save_freq,
    max_to_keep = 2, monitor = "loss" }
  local steps, freq = 0, kind.save_freq == "epoch" and BATCHES or kind.save_freq
  local path = manager:latest()
  local function told(done) -- what is saved when so many steps are done and the next one begins
    io.stdout:write("saved ", done // freq * freq, "\n"):flush()
  end
  if strike then
    faults.call(strike[1], strike[2], "kill")
  end
  local history = model:fit(x, y, { epochs = EPOCHS, batch_size = 8, verbose = 0,
    resume = path or false, callbacks = { manager,
      callbacks.EarlyStopping { monitor = "loss", patience = 100, restore_best_weights = false },
      { on_epoch_begin = function(epoch)
        steps = (epoch - 1) * BATCHES
        told(steps)
      end, on_train_batch_begin = function(batch)
        told(steps + batch - 1)
      end, on_train_resume = function(place)
        steps = (place.epoch - 1) * BATCHES
        io.stdout:write("resumed ", steps + place.batch, "\n"):flush()
      end } } })
  local out = {}
  for _, t in ipairs(model:get_weights()) do
    hexadecimal({ t:tolist() }, out)
  end
  for _, t in ipairs(model.optimizer.variables) do
    hexadecimal({ t.ndim == 0 and t:item() or t:tolist() }, out)
  end
  hexadecimal({ history.loss:totable(), history.accuracy:totable(), { core.generator() } }, out)
  io.stdout:write("end ", core.crc32c(table.concat(out, " ")), " ", #out, "\n"):flush()
end

if o.what == "child" then
  local strike = o.call and { o.call, o.at } or nil
  train(kinds[o.kind], o.folder, o.trained, strike)
  os.exit(0, true)
end

-- ---- the process that kills ----

local program = assert(os.getenv "TIDE_PROGRAM", "TIDE_PROGRAM names the program tide")

local function child(kind, folder, seed, strike)
  return assert(io.popen(("echo $$; exec %s spec/soak/resume.lua --what child --kind %d \z
    --folder %s --trained %d %s 2>&1"):format(program, kind, folder, seed,
    strike and ("--call %s --at %d"):format(strike[1], strike[2]) or "")))
end

-- The lines that a process said, and its last one of a kind.
local function heard(pipe, said)
  for line in pipe:lines() do
    local what, rest = line:match "^(%a+) (.*)$"
    if what == "saved" or what == "resumed" then
      said.step = math.max(said.step, tonumber(rest) or 0)
      said.resumed = said.resumed or what == "resumed" and tonumber(rest)
    elseif what == "end" then
      said.finish = rest
    else
      said.odd = (said.odd or "") .. line .. "\n"
    end
  end
  pipe:close()
end

local function straight(kind, seed)
  local folder, said = common.folder(), { step = 0 }
  local pipe = child(kind, folder, seed)
  pipe:read "l"
  local began = core.now()
  heard(pipe, said)
  os.execute("rm -rf " .. folder)
  return said, core.now() - began
end

-- Where the last whole checkpoint of a folder is, as steps.
local function newest(folder)
  local path = callbacks.CheckpointManager(folder):latest()
  if not path then
    return 0
  end
  local file <close>, _, metadata = core.safetensors_open(path)
  local header = require("tide.utils.json").decode(metadata.tide, path)
  local place = {}
  for _, pair in ipairs(header.place.fields) do
    place[pair[1]:sub(2)] = pair[2]
  end
  local function number(v)
    return math.tointeger(tonumber((v or "i0"):sub(2)))
  end
  return file and (number(place.epoch) - 1) * BATCHES + number(place.seen)
end

local calls = { "write", "rename", "fsync", "close", "open" }
local kills, ended, by_call, lost, limit = 0, 0, 0, 0, o.runs or 200
local finish = o.seconds and core.now() + o.seconds
print(("kills of fit, seed %d"):format(o.seed))
local round = 0
while kills < limit and not (finish and core.now() > finish) do
  round = round + 1
  local kind, seed = (round - 1) % #kinds + 1, math.random(1, 1000000)
  local want, wall = straight(kind, seed)
  common.check(want.finish, ("training %d did not end: %s"):format(round, want.odd))
  local folder, told, done = common.folder(), 0, nil
  for _ = 1, 200 do
    local strike = math.random() < 0.4 and { calls[math.random(#calls)], math.random(1, 40) }
    local pipe, said = child(kind, folder, seed, strike or nil), { step = told }
    local pid = math.tointeger(tonumber(pipe:read "l"))
    local killed = strike ~= false
    if not strike and kills < limit then
      faults.sleep(math.random() ^ 1.5 * wall)
      faults.kill(pid)
      killed = true
    end
    heard(pipe, said)
    if said.finish then
      done = said.finish
      break
    end
    local what = ("training %d, kill %d"):format(round, kills + 1)
    if killed then
      kills, by_call = kills + 1, by_call + (strike and 1 or 0)
    end
    common.check(not said.odd, ("%s: %s"):format(what, said.odd))
    local ok, at = pcall(newest, folder)
    if not common.check(ok and at >= said.step, ("%s: the file is at step %s, %d was saved"):format(
      what, tostring(at), said.step)) then
      lost = lost + 1
    end
    told = said.step
  end
  common.check(done == want.finish, ("training %d came to %s, without kills to %s"):format(round,
    tostring(done), tostring(want.finish)))
  ended = ended + (done == want.finish and 1 or 0)
  os.execute("rm -rf " .. folder)
end
print(("%d kills (%d at a call of the system), %d trainings ended as without them, %d steps lost"):
  format(kills, by_call, ended, lost))
common.finish()
