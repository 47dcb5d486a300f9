-- How long fit waits for data: `tide spec/bench/waiting.lua EXAMPLE [its arguments]` runs an
-- example (pictures.lua, review_folder.lua, structured_data.lua, ...) and prints the share of the
-- time in fit that went into asking for the next batch: of the epochs behind the first, which reads
-- files and plans the step, all together and the least, since other programs of the machine take
-- what they take.
local adapter = require "tide.data.adapter"
local core = require "tide.core"
local tide = require "tide"

local waited, batches, begun, total, least = 0, 0, nil, 0, 1
local before, start = 0, 0 -- of the epoch under way

local function timed(f)
  return function(...)
    local asked = core.now()
    local function after(...)
      waited = waited + core.now() - asked
      batches = batches + 1
      return ...
    end
    return after(f(...))
  end
end

local new = adapter.new
adapter.new = function(o)
  local source = new(o)
  if (o.owner or "fit") == "fit" then
    source.next, source.again = timed(source.next), timed(source.again)
  end
  return source
end

local Watch = tide.callbacks.Callback:extend("Watch", {})
function Watch.on_epoch_begin(_, epoch)
  if epoch == 2 then
    waited, batches, begun = 0, 0, core.now()
  end
  before, start = waited, core.now()
end
function Watch.on_epoch_end(_, epoch)
  if epoch >= 2 then
    total = core.now() - begun
    least = math.min(least, (waited - before) / (core.now() - start))
  end
end

local fit = tide.Model.fit
tide.Model.fit = function(...)
  for _, v in ipairs { select(2, ...) } do
    if type(v) == "table" and rawget(v, "epochs") then
      v.callbacks = v.callbacks or {}
      table.insert(v.callbacks, Watch())
    end
  end
  local out = table.pack(fit(...))
  print(("%s: fit asked %d times for data, %.1f ms of %.1f: %.2f%%, at least %.2f%%"):format(
    arg[0], batches, waited * 1e3, total * 1e3, total > 0 and 100 * waited / total or 0,
    100 * least))
  return table.unpack(out, 1, out.n)
end

arg[0] = table.remove(arg, 1) -- luacheck: ignore 122
dofile(arg[0])
