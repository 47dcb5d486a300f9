--- The value that stands for Python's None: an unknown size in a shape, an option switched off.
-- The C core's own sentinel where it has one, so that both sides compare equal.
local ok, core = pcall(require, "tide.core")
if ok and core.none ~= nil then
  return core.none
end
return setmetatable({}, {
  __name = "tide.none",
  __tostring = function()
    return "none"
  end,
  __newindex = function()
    error("tide.none cannot be changed", 2)
  end,
})
