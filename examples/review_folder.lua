-- Reviews in a folder, one file each, in a folder per verdict: TextGenerator makes batches of them,
-- and a small network learns to tell praise from blame.
-- `build/tide examples/review_folder.lua [epochs [reviews per class]]`; a few seconds to 0.9 of
-- unseen reviews. The reviews are made here; a folder of your own is read the same way.
local tide = require "tide"
local layers = tide.layers

local epochs, count = tonumber(arg and arg[1]) or 6, tonumber(arg and arg[2]) or 300
tide.seed(1)

-- ---- a folder of reviews ----

local things = { "the story", "the cast", "the music", "every scene", "the ending", "this film" }
local praise = { "brilliant", "moving", "a delight", "warm and clever", "worth seeing twice" }
local blame = { "dull", "a waste of time", "clumsy", "loud and empty", "hard to sit through" }
local function pick(list)
  return list[tide.random.randint({ 1 }, 1, #list + 1)[1]]
end
local function review(words, others)
  local out = {}
  for i = 1, 4 do
    local own = tide.random.uniform({ 1 })[1] < 0.85
    out[i] = pick(things) .. (own and " was " or " was not ") .. pick(own and words or others)
  end
  return table.concat(out, ", ") .. "."
end

local root = os.tmpname()
os.remove(root)
for verdict, words in pairs { praise = { praise, blame }, blame = { blame, praise } } do
  os.execute(("mkdir -p %s/%s"):format(root, verdict))
  for i = 1, count do
    local f = assert(io.open(("%s/%s/%04d.txt"):format(root, verdict, i), "w"))
    f:write(review(words[1], words[2]))
    f:close()
  end
end

-- ---- batches ----

local generator = tide.preprocessing.text.TextGenerator { maxlen = 48, oov_token = "?",
  validation_split = 0.2, word_dropout = 0.1 }
local train = generator:flow_from_directory(root, { subset = "training", batch_size = 32,
  class_mode = "binary", seed = 1 })
local test = generator:flow_from_directory(root, { subset = "validation", shuffle = false,
  class_mode = "binary" })

-- ---- learning ----

local model = tide.Sequential {
  layers.Embedding { #generator.tokenizer.index_word + 1, 16, mask_zero = true,
    input_shape = { 48 } },
  layers.Bidirectional { layers.GRU { 16 } },
  layers.Dense { 1, activation = "sigmoid" },
}
model:compile { optimizer = { "adam", learning_rate = 0.01 }, loss = "binary_crossentropy",
  metrics = { "accuracy" } }
model:fit(train, { epochs = epochs, validation_data = test })

local new = { "The music was warm and clever, the ending moving!", "Dull. Every scene was clumsy." }
local x = generator:flow(new, { shuffle = false }):get(1)
local score = model:predict(x, { verbose = 0 })
for i, s in ipairs(new) do
  print(("%s: %s"):format(train.class_names[score[{ i, 1 }] > 0.5 and 2 or 1], s))
end
os.execute("rm -rf " .. root)
