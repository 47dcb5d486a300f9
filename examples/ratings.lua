-- Ratings as a table: looked at, split, and learned. A person and a thing are points; how well they
-- fit is the product of the two. The squared error on what was not seen becomes about three times
-- smaller than by the means of things, in some seconds.
--
--     build/tide examples/ratings.lua [EPOCHS] [RATINGS]
local tide = require "tide"
local layers, ops = tide.layers, tide.ops

local epochs, n = tonumber(arg[1]) or 8, tonumber(arg[2]) or 12000
tide.seed(1)

local ratings = tide.datasets.ratings { n_users = 200, n_items = 120, n_ratings = n, seed = 1 }
print(ratings)
print(ratings:describe { columns = { "rating" } })
local by_item = ratings:group_by("item"):aggregate { rating = { "mean", "count" } }
print "the best things:"
print(by_item:sort("rating_mean", { descending = true }):head(3))

local train, test = ratings:split(0.2, { seed = 1 })

-- What a person would guess who knows each thing's mean alone.
local means = {}
for _, row in train:group_by("item"):mean("rating"):iter() do
  means[row.item] = row.rating
end
local guess = test:with("guess", function(row)
  return means[row.item] or 3.0
end)
local error_of_means = ops.mean(ops.square(guess.guess - guess.rating:cast "float64")):item()

local function embed(ids, count, width)
  return layers.Flatten {} (layers.Embedding { count, width } (ids))
end
local user, item = tide.Input { 1, name = "user" }, tide.Input { 1, name = "item" }
local product = layers.Dot { 2 } { embed(user, 200, 6), embed(item, 120, 6) }
local sum = layers.Add {} { product, embed(user, 200, 1), embed(item, 120, 1) }
local model = tide.Model { inputs = { user = user, item = item },
  outputs = layers.Dense { 1, bias_initializer = "ones" } (sum) }
model:compile { optimizer = tide.optimizers.Adam { 0.01 }, loss = "mse" }

local function batches(t, shuffle)
  return t:to_dataset { target = "rating", batch_size = 64, shuffle = shuffle, seed = 1 }
    :map(function(x, y)
      return { user = x.user:reshape { -1, 1 }, item = x.item:reshape { -1, 1 } },
        y:cast "float32"
    end)
end
model:fit(batches(train, true), { epochs = epochs, validation_data = batches(test), verbose = 2 })
local learned = model:evaluate(batches(test), { verbose = 0 })
print(("squared error on what was not seen: %.3f by means, %.3f learned"):format(error_of_means,
  learned))
print(("times smaller: %.2f"):format(error_of_means / learned))
