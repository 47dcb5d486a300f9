--- Float32 masters of parameters in half precision.
--
-- A float16 or bfloat16 parameter is stepped by way of a float32 master, which it is the rounding
-- of: a step below 2^-9 of a bfloat16 weight would otherwise be lost.
local core = require "tide.core"
local ops = require "tide.ops"

local masters = {}

local halves = { float16 = true, bfloat16 = true }

--- What the rules write to.
--- @param params table list of parameters
--- @return table stepped the parameters or their masters, in order
--- @return table|nil halved what follow and round take; nil where no parameter is a half
function masters.make(params)
  local halved = { params = {}, masters = {}, places = {}, seen = {} }
  local stepped = {}
  for i, v in ipairs(params) do
    stepped[i] = v
    if halves[v.dtype] then
      stepped[i] = ops.cast(v:detach(), "float32")
      core.scope_leave(stepped[i])
      local k = #halved.params + 1
      halved.params[k], halved.masters[k], halved.places[k] = v, stepped[i], i
    end
  end
  return stepped, #halved.params > 0 and halved or nil
end

--- Masters of parameters that somebody else has written to, an assignment or a file, take over what
--- they no longer round to.
function masters.follow(halved)
  local wide, params = {}, {}
  for k, v in ipairs(halved.params) do
    if v:version() ~= halved.seen[k] then
      wide[#wide + 1], params[#params + 1] = halved.masters[k], v
    end
  end
  if #params > 0 then
    core.ops.widen_step_(wide, params)
  end
end

--- The parameters become their masters' rounding; who calls it notes that.
function masters.narrow(halved)
  core.ops.narrow_step_(halved.params, halved.masters)
end

--- Notes that the parameters are their masters' rounding.
function masters.note(halved)
  for k, v in ipairs(halved.params) do
    halved.seen[k] = v:version()
  end
end

--- The parameters become their masters' rounding, which is noted.
function masters.round(halved)
  masters.narrow(halved)
  masters.note(halved)
end

return masters
