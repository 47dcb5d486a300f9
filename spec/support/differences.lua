-- How far Tide's numbers are from those that they are compared with: `make differences` prints it.
-- Off, and free, elsewhere. Of each spec file: how many numbers were compared, and the largest
-- difference among them, relative where the number is above 1. Comparisons that allow more than
-- 0.001 are left out: these ask whether something was learned, not which number comes out.
local differences = { on = os.getenv "SPEC_DIFFERENCES" == "1" }

local MOST = 1e-3

local files, current = {}, nil

--- From now on numbers belong to this file.
function differences.of(name)
  current = { name = name, n = 0, most = 0, at = "" }
  files[#files + 1] = current
end

--- Notes a comparison that holds.
function differences.note(got, want, rtol, atol, at)
  if not current or rtol > MOST or atol > MOST then
    return
  end
  current.n = current.n + 1
  local far = math.abs(got - want) / math.max(1, math.abs(want))
  if far > current.most and far < math.huge then
    current.most, current.at = far, tostring(at)
  end
end

--- Prints the table.
function differences.print()
  for _, f in ipairs(files) do
    if f.n > 0 then
      print(("%-42s %9d numbers, at most %.1e%s"):format(f.name, f.n, f.most,
        f.most > 0 and ": " .. f.at:sub(1, 60):gsub("%s+", " ") or ""))
    end
  end
end

return differences
