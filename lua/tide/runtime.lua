--- What the process is and does: configuration, threads, devices, determinism.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"

local runtime = {}

local Report = { __name = "tide.report" }

function Report:__tostring()
  local out = {}
  for _, row in ipairs(self.rows) do
    out[#out + 1] = string.format("%-10s %s", row[1], row[2])
  end
  return table.concat(out, "\n")
end

Report.__index = function(self, key)
  for _, row in ipairs(rawget(self, "rows")) do
    if row[1] == key then
      return row[2]
    end
  end
end

--- What was opened and what runs, and why: version, instruction-set level, by what bfloat16 is
--- multiplied ("AVX-512 BF16", or "as float32"), engines, threads. Prints as a table.
---
---     tide.config().version == tide.version   --> true
function runtime.report()
  local rows = {
    { "version", core.version },
    { "cpu", core.cpu_level },
    { "bfloat16", core.bf16_products },
    { "threads", core.get_threads() },
    { "engines", table.concat(core.engines(), ", ") },
  }
  for _, name in ipairs { "blas", "onednn" } do
    local info = core[name .. "_info"]
    rows[#rows + 1] = { name, info and info() or "unknown" }
  end
  local sndfile, samplerate = core.sound.libraries()
  rows[#rows + 1] = { "sndfile", sndfile }
  rows[#rows + 1] = { "samplerate", samplerate }
  return setmetatable({ rows = rows }, Report)
end

--- How many threads compute, 1 to 1024. Results do not depend on it, bit by bit. Where the system
--- refuses so many (limits of memory, processes or the container), fewer compute, and a warning
--- says how many.
---
---     tide.set_threads(tide.get_threads()) == nil   --> true
--- @param n integer
function runtime.set_threads(n)
  local have, why = core.set_threads(n)
  if why then
    errors.warn("set_threads: %d threads compute where %d were asked for (%s)", have, n, why)
  end
end

--- Where tensors are made from now on that have no inputs; others are where their inputs are.
--- Returns the name of the device before. Coroutines that `tide.device` has told otherwise stay
--- there.
--- @param name string|nil "cpu" when left out
--- @return string before
--- @usage tide.set_default_device("cpu")
function runtime.set_default_device(name)
  return core.default_device(name or "cpu")
end

-- A function that is given to what ends with a block would be forgotten, and the block not end.
local function refuse_more(where, form, ...)
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    if v ~= nil then
      errors.raise(where, "takes %s (got %s); it ends with its block: local _ <close> = %s",
        where == "device" and "a name alone" or "no argument", check.show(v), form)
    end
  end
end

--- Until the value returned is closed, tensors that have no inputs are made on this device: data,
--- weights, random numbers. It holds for the coroutine that asks and for no other, and ends with
--- the block however that is left.
---
---     do
---       local _ <close> = tide.device "cpu"
---       assert(tide.zeros({ 2 }).device == "cpu")
---     end
--- @param name string
--- @return userdata to be closed
function runtime.device(name, ...)
  refuse_more("device", "tide.device \"cpu\"", ...)
  return core.device(name)
end

--- Until the value returned is closed, this coroutine draws no random numbers before a seed was
--- given; see tide.config.enable_op_determinism. The mode ends with the block however that is left.
---
---     do
---       local _ <close> = tide.deterministic()
---       tide.seed(1)
---       assert(tide.config.is_op_determinism_enabled())
---     end
--- @return userdata to be closed
--- @raise by what draws meanwhile, if tide.seed was never called and it has no seed of its own
function runtime.deterministic(...)
  refuse_more("deterministic", "tide.deterministic()", ...)
  return core.deterministic()
end

--- Prints what the prompt's `? name` prints: of a value, or of a name given as a string ("Dense",
--- "layers.Dense", "fit"); without an argument, what tide holds.
--- @usage tide.help("layers.Dense")
function runtime.help(x)
  local help = require "tide.help"
  local text
  if x == nil then
    text = help.text(require "tide", "tide")
  elseif type(x) == "string" then
    text = help.of_name(x)
    if not text then
      local near = check.did_you_mean(x, help.last_names())
      errors.raise("help", "nothing is known of '%s'%s", x, near)
    end
  else
    text = help.text(x, help.name_of(x) or "value")
  end
  print(text)
end

return runtime
