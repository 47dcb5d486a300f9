-- Tokenizing a text file, paragraph by paragraph, beside Hugging Face's library on one thread:
-- `build/tide spec/bench/tokenizers.lua --text FILE --python PYTHON [--rounds 3]`, where PYTHON has
-- the package tokenizers. Seconds of the processor, the best of some rounds, ids as lists in both.
local tide = require "tide"
local core = require "tide.core"

local o = { rounds = "3" }
for i = 1, #arg, 2 do
  o[arg[i]:gsub("^%-%-", "")] = arg[i + 1]
end
assert(o.text and o.python, "give --text FILE and --python PYTHON")

local paragraphs, bytes = {}, 0
for p in (core.text.mend(core.read_file(o.text)) .. "\n\n"):gmatch "(.-)\n\n" do
  if p:find "%S" then
    paragraphs[#paragraphs + 1] = p
    bytes = bytes + #p
  end
end
print(("%d paragraphs, %.1f MB"):format(#paragraphs, bytes / 1e6))
for _, family in ipairs { "gpt2", "bert", "unigram" } do
  local path = ("%s.%s.json"):format(os.getenv "TIDE_BENCH" or "build/bench", family)
  local p = assert(io.popen(("%s spec/bench/tokenizers_peer.py %s %s %s %s"):format(o.python,
    family, path, o.text, o.rounds)))
  local theirs, texts, tokens = p:read("n", "n", "n")
  p:close()
  local t = tide.tokenizers.load(path)
  local best, n = math.huge, 0
  for _ = 1, tonumber(o.rounds) do
    local start = os.clock()
    local ids = t:ids(paragraphs)
    best = math.min(best, os.clock() - start)
    n = 0
    for _, row in ipairs(ids) do
      n = n + #row
    end
  end
  local full = os.clock()
  local encodings = t:encode_batch(paragraphs)
  for _, e in ipairs(encodings) do
    n = n + 0 * #e.ids
  end
  full = os.clock() - full
  print(("%-8s theirs %.2f s (%.1f MB/s), here %.2f s (%.1f MB/s), ratio %.2f; with encodings \z
    %.2f s, ratio %.2f%s"):format(family, theirs, bytes / 1e6 / theirs, best, bytes / 1e6 / best,
    theirs / best, full, theirs / full,
    (texts ~= #paragraphs or tokens ~= n) and (" (texts %d %d, tokens %d %d)"):format(texts,
      #paragraphs, tokens, n) or ""))
end
