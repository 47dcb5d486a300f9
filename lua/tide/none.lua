--- The value that stands for Python's None: an unknown size in a shape, an option switched off. The
--- C core knows it by its
-- metatable's name.
return setmetatable({}, {
  __name = "tide.none",
  __tostring = function()
    return "none"
  end,
  __newindex = function()
    error("tide.none cannot be changed", 2)
  end,
})
