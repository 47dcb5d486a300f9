--- Comparing nested tables of numbers, tensors and numbers with a stated tolerance.
local close = {}

local function plain(v)
  if type(v) == "userdata" then
    return v.ndim == 0 and v:item() or v:tolist()
  end
  return v
end

--- Raises where |got - want| > atol + rtol |want|; NaN equals NaN. One number stands for a list of one.
function close.check(got, want, atol, rtol, at)
  got, want = plain(got), plain(want)
  at = at or ""
  if type(want) == "table" and type(got) == "number" and #want == 1 then
    want = want[1]
  end
  if type(want) == "table" then
    local entries = type(got) == "table" and #got or got
    assert(entries == #want, ("%s: expected %d entries, got %s"):format(at, #want, entries))
    for i = 1, #want do
      close.check(got[i], want[i], atol, rtol, at .. "[" .. i .. "]")
    end
    return
  end
  if got ~= got and want ~= want then
    return
  end
  local fits = math.abs(got - want) <= (atol or 1e-6) + (rtol or 1e-5) * math.abs(want)
  if not fits then
    error(("%s: expected %.9g, got %.9g"):format(at, want, got), 0)
  end
end

return close
