--- Which part of the program runs: a layer, the loss, the metrics, the optimizer. They enter
--- themselves here, and a profile (tide.profiler) counts what is launched for the innermost one.
local core = require "tide.core"

local parts = {}

-- The list that a profile keeps, in `now`; whoever keeps it holds it.
local followed = setmetatable({}, { __mode = "v" })

local leaving = { __close = function(t)
  core.profile_part(t.before)
  if followed.now then
    followed.now.path = t.path
  end
end }

-- The number of a part inside of the one that is entered.
local function number_of(self, who)
  local inside = self.inside[self.path] or {}
  self.inside[self.path] = inside
  local part = inside[who]
  if not part then
    part = #self + 1
    local name = type(who) == "string" and who or who.name or "layer"
    if self.path > 0 then
      name = self[self.path].name .. "/" .. name
    end
    inside[who] = part
    self[part] = { name = name, class = type(who) ~= "string" and getmetatable(who).__name or nil,
      calls = 0 }
  end
  return part
end

--- Until the result is closed, what is launched counts for this layer, or for a part of this name.
--- Nil where no profile runs.
--- @param who table|string
function parts.enter(who)
  local self = followed.now
  if not self then
    return nil
  end
  local part, path = number_of(self, who), self.path
  self[part].calls = self[part].calls + 1
  self.path = part
  return setmetatable({ before = core.profile_part(part), path = path }, leaving)
end

--- The list of the parts that are entered from now on, by the numbers that the core knows them by:
--- `{ name, class or nil, calls }` each.
function parts.follow()
  -- `path`: the part that is entered; `inside`: by part, those entered in it
  followed.now = { inside = {}, path = 0 }
  return followed.now
end

--- No part is noted any more.
function parts.leave()
  followed.now = nil
end

return parts
