-- Prints, for each of Keras' namespaces, how many of its names Tide has with equal options and
-- defaults, and why the others are otherwise.
local api = require "spec.support.api"

local found = api.compare(api.reference(), require "spec.support.api_exceptions")
local columns = { "names", "options", "equal", "differing", "missing", "excepted" }
local total = { name = "all" }
print(("%-24s" .. ("%11s"):rep(#columns)):format("family", table.unpack(columns)))
local function line(count)
  local cells = {}
  for i, column in ipairs(columns) do
    cells[i] = ("%11d"):format(count[column])
    if count ~= total then
      total[column] = (total[column] or 0) + count[column]
    end
  end
  print(("%-24s"):format(count.name) .. table.concat(cells))
end
for _, count in ipairs(found.families) do
  line(count)
end
line(total)

local reasons = {}
for reason in pairs(found.reasons) do
  reasons[#reasons + 1] = reason
end
table.sort(reasons, function(a, b)
  return found.reasons[a] > found.reasons[b] or found.reasons[a] == found.reasons[b] and a < b
end)
print "\nnames and options that are excepted, and why:"
for _, reason in ipairs(reasons) do
  print(("%6d  %s"):format(found.reasons[reason], reason))
end
for _, d in ipairs(found.open) do
  print(("open: %s: %s"):format(d[1], d[2]))
end
for _, key in ipairs(found.stale) do
  print("stale exception: " .. key)
end
os.exit(#found.open + #found.stale == 0)
