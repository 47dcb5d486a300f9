--- Ends of texts that a file or a person gave, in a time that grows as the text does: a pattern as
--- `[^/]*$` begins anew at every place of a text that does not fit, so that a name of a million
--- letters would take minutes.
local ends = {}

--- What stands behind the last `mark` (one character), and where that is; all of the text, and 0,
--- where there is none.
function ends.behind(text, mark)
  for i = #text, 1, -1 do
    if text:byte(i) == mark:byte() then
      return text:sub(i + 1), i
    end
  end
  return text, 0
end

--- The text without what of `mark` (one character) stands at its end.
function ends.without(text, mark)
  local n = #text
  while n > 0 and text:byte(n) == mark:byte() do
    n = n - 1
  end
  return text:sub(1, n)
end

return ends
