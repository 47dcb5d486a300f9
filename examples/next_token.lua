-- A model of the next token: byte-pair pieces of a text, windows of it by TextGenerator
-- { mode = "language_model" }, a GRU, and a sentence that it goes on with.
-- `build/tide examples/next_token.lua [epochs [sentences]]`; some seconds to 0.7 of the tokens
-- right.
local tide = require "tide"
local layers = tide.layers

local epochs, count = tonumber(arg and arg[1]) or 8, tonumber(arg and arg[2]) or 1500
tide.seed(1)

-- A small language: who does what, where.
local who = { "the old fisherman", "a grey cat", "the miller's daughter", "nobody" }
local does = { "mends the nets", "waits for the tide", "sings", "counts the boats" }
local where = { "in the harbour", "under the bridge", "behind the mill", "at dawn" }
local function pick(list)
  return list[tide.random.randint({ 1 }, 1, #list + 1)[1]]
end
local sentences = {}
for i = 1, count do
  sentences[i] = ("%s %s %s."):format(pick(who), pick(does), pick(where))
end

local tokenizer = tide.tokenizers.ByteLevelBPE()
tokenizer:train(sentences, { vocab_size = 340, special_tokens = { "<|end|>" } })
local stop = tokenizer:token_to_id "<|end|>"
local vocabulary = tokenizer:vocab_size()

local data = tide.preprocessing.text.TextGenerator { tokenizer, mode = "language_model",
  length = 24, separator = stop }:flow(sentences, { batch_size = 8, seed = 1 })
print(data)

local model = tide.Sequential {
  layers.Embedding { vocabulary, 32, input_shape = { tide.none } },
  layers.GRU { 96, return_sequences = true },
  layers.Dense { vocabulary, activation = "softmax" },
}
model:compile { optimizer = { "adam", learning_rate = 0.01 },
  loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
model:fit(data, { epochs = epochs })

local ids = tokenizer:encode("a grey cat").ids
for _ = 1, 40 do
  local p = model(tide.tensor({ ids }, { dtype = "int32" }))
  local id = p[{ 1, -1 }]:argmax()
  if id == stop then
    break
  end
  ids[#ids + 1] = id
end
print(tokenizer:decode(ids))
