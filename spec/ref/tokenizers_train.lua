-- Made by spec/ref/tokenizers_train.py from the real library; do not edit.
return {
  { "ByteLevelBPE", { vocab_size = 600 }, 600, "35d1f5ce", "e302e6b0" },
  { "ByteLevelBPE", { vocab_size = 3000, min_frequency = 4 }, 1796, "963543f6", "2e8fb102" },
  { "ByteLevelBPE", { vocab_size = 900, max_token_length = 5 }, 900, "323bbf28", "10548248" },
  { "llama3", { vocab_size = 700 }, 700, "cf8781a2", "a578a90c" },
  { "BPE", { vocab_size = 1500 }, 1500, "7613bc9f", "edf1d409" },
  { "BPE", { vocab_size = 900, min_frequency = 9 }, 900, "d6a10128", "16c1fa1a" },
  { "WordLevel", { vocab_size = 300 }, 300, "bc797dae", "00000000" },
  { "WordLevel", { vocab_size = 3000, min_frequency = 3 }, 424, "12579077", "00000000" },
}
