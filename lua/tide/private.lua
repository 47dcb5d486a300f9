--- The key of what an object keeps for itself: `object[private]` is a table of Tide's own, in which
--- no name can meet a person's field, and which no walk over fields enters.
return setmetatable({}, { __tostring = function() return "private state" end })
