--- Tokenizers that cut text into pieces of words: byte-pair encoding, GPT-2's on bytes, BERT's
--- WordPiece, Unigram, and whole words. They are trained here, or read from Hugging Face's files
--- (`tokenizer.json`, `vocab.json` and `merges.txt`, `vocab.txt`), and give the same ids.
---
--- Ids: a tokenizer that was read counts as its file does, from 0 (`zero_based = true`; an
--- Embedding takes these with `zero_row` or `mask_zero`). One that was made here counts from 1, so
--- that 0 is padding; where its first token is the padding token, that one is 0, and both ways are
--- the same.
---
---     local t = tide.tokenizers.WordPiece { vocab = { "[UNK]", "play", "##ing" } }
---     t:encode("playing").tokens   --> { "play", "##ing" }
---     t:decode(t:encode("Playing").ids)   --> "playing"
local namespace = require "tide.namespace"

local place = { Tokenizer = "tide.tokenizers.tokenizer", Encoding = "tide.tokenizers.encoding" }
for name in ("BPE ByteLevelBPE WordPiece Unigram WordLevel load from_json"):gmatch "%S+" do
  place[name] = "tide.tokenizers.families"
end

return namespace.new("tide.tokenizers", {}, { modules = place })
