-- Texts as the numbers of their words, by TextVectorization: seconds of wall time for all texts of
-- a file, one in each line, in batches of 256, the best of some rounds, beside Keras' layer.
-- `build/tide spec/bench/vectorize.lua make FILE [TEXTS]` writes made-up reviews,
-- `build/tide spec/bench/vectorize.lua FILE [PYTHON]` prints lines `case seconds [theirs ratio]`.
local core = require "tide.core"
local tide = require "tide"
local SIZE, ROUNDS = 256, 5

if arg[1] == "make" then
  local out, n = assert(io.open(arg[2], "w")), tonumber(arg[3] or 10000)
  math.randomseed(1, 2)
  local words = {}
  for i = 1, 30000 do
    local letters = {}
    for k = 1, math.random(2, 9) do
      letters[k] = string.char(96 + math.random(26))
    end
    words[i] = table.concat(letters)
  end
  local marks = { ". ", ", ", "! ", " -- ", "'s ", " <br /><br />" }
  for _ = 1, n do
    for k = 1, math.random(40, 200) do
      local word = words[math.floor((#words) ^ math.random())] -- some are frequent
      out:write(k % 9 == 1 and word:sub(1, 1):upper() .. word:sub(2) or word,
        math.random(8) == 1 and marks[math.random(#marks)] or " ")
    end
    out:write "\n"
  end
  out:close()
  return
end

local batches, texts = {}, 0
for line in io.lines(arg[1]) do
  if texts % SIZE == 0 then
    batches[#batches + 1] = {}
  end
  table.insert(batches[#batches], line)
  texts = texts + 1
end
local cases = {
  { "int", { max_tokens = 20000, output_sequence_length = 200 } },
  { "longest", { max_tokens = 20000 } },
  { "bigrams", { max_tokens = 20000, ngrams = 2, output_sequence_length = 200 } },
  { "multi_hot", { max_tokens = 2000, output_mode = "multi_hot", pad_to_max_tokens = true } },
  { "character", { split = "character", output_sequence_length = 500 } },
}
local theirs = {}
if arg[2] then
  local p = assert(io.popen(("%s spec/bench/vectorize_peer.py %s"):format(arg[2], arg[1])))
  for name, seconds, sum in p:read("a"):gmatch "(%S+) (%S+) (%S+)\n" do
    theirs[name] = { tonumber(seconds), sum }
  end
  p:close()
end
for _, case in ipairs(cases) do
  local name, options = table.unpack(case)
  local layer = tide.layers.TextVectorization(options)
  layer:adapt(batches)
  local best, sum = math.huge, nil
  for _ = 1, ROUNDS do
    local start = core.now()
    local last
    for _, batch in ipairs(batches) do
      last = layer(batch)
    end
    best, sum = math.min(best, core.now() - start), last:cast("float64"):sum():item()
  end
  local t = theirs[name]
  print(name, ("%.4f"):format(best), t and ("%.4f"):format(t[1]) or "",
    t and ("%.2f"):format(t[1] / best) or "",
    t and (tonumber(t[2]) == sum and "equal" or ("sums %s %s"):format(sum, t[2])) or "")
end
