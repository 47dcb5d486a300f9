--- Points in the plane and in space whose classes are curves and clouds: moons, circles, spirals,
--- blobs; and ratings of made people.
local check = require "tide.check"
local core = require "tide.core"
local draws = require "tide.datasets.draws"
local errors = require "tide.errors"

local points = {}

local SEED = { "seed", "int", nil, "of all that is drawn; another one in every run when left out",
  min = 0, max = 0xffffffff }
local SHUFFLE = { "shuffle", "bool", true, "the rows stand in any order" }

local function samples(n)
  return { "n_samples", "int", n, "rows", min = 1 }
end

local function noise(v)
  return { "noise", "number", v, "standard deviation of what is added", min = 0 }
end

-- Rows with noise, in any order, as tensors.
local function finish(rows, labels, o, draw)
  local n = #rows
  if o.noise and o.noise > 0 then
    for i = 1, n do
      for k = 1, #rows[i] do
        rows[i][k] = rows[i][k] + draw:normal(0, o.noise)
      end
    end
  end
  local order = o.shuffle and draw:order(n)
  local x, y = {}, {}
  for i = 1, n do
    local at = order and order[i] or i
    x[i], y[i] = rows[at], labels[at]
  end
  return core.tensor(x), core.tensor(y, { dtype = "int64" })
end

-- k of n steps from a to b, both included (as linspace).
local function step(a, b, k, n)
  return n > 1 and a + (b - a) * (k - 1) / (n - 1) or a
end

local moons_args = check.args("moons", { samples(100), noise(0.1), SHUFFLE, SEED })

--- Two half circles that reach into each other, one class each (scikit-learn's make_moons): the
--- upper one about (0, 0), the lower one about (1, 0.5), both of radius 1.
---
---     local x, y = tide.datasets.moons { 200, noise = 0.1, seed = 1 }
---     x.shape   --> { 200, 2 }
--- @return userdata x (n_samples, 2) float32
--- @return userdata y (n_samples) int64, 1 and 2
function points.moons(...)
  local o = moons_args:construct(...)
  local rows, labels, outer = {}, {}, o.n_samples // 2
  local inner = o.n_samples - outer
  for k = 1, outer do
    local a = step(0, math.pi, k, outer)
    rows[k], labels[k] = { math.cos(a), math.sin(a) }, 1
  end
  for k = 1, inner do
    local a = step(0, math.pi, k, inner)
    rows[outer + k], labels[outer + k] = { 1 - math.cos(a), 0.5 - math.sin(a) }, 2
  end
  return finish(rows, labels, o, draws(o.seed))
end

local circles_args = check.args("circles", { samples(100), noise(0.05),
  { "factor", "number", 0.5, "radius of the inner one", min = 0, max = 1 }, SHUFFLE, SEED })

--- Two circles about (0, 0), one class each (scikit-learn's make_circles): the outer one of radius
--- 1, the inner one of radius `factor`.
---
---     local x, y = tide.datasets.circles { 200, factor = 0.5, seed = 1 }
---     x.shape   --> { 200, 2 }
--- @return userdata x (n_samples, 2) float32
--- @return userdata y (n_samples) int64, 1 (outer) and 2
function points.circles(...)
  local o = circles_args:construct(...)
  local rows, labels, outer = {}, {}, o.n_samples // 2
  for k = 1, o.n_samples do
    local inside = k > outer
    local n = inside and o.n_samples - outer or outer
    local a = 2 * math.pi * ((inside and k - outer or k) - 1) / n
    local r = inside and o.factor or 1
    rows[k], labels[k] = { r * math.cos(a), r * math.sin(a) }, inside and 2 or 1
  end
  return finish(rows, labels, o, draws(o.seed))
end

local spirals_args = check.args("spirals", { samples(300),
  { "arms", "int", 3, "one class each", min = 1 },
  { "turns", "number", 0.75, "of each arm about (0, 0)", above = 0 }, noise(0.02), SHUFFLE, SEED })

--- Arms that wind out of (0, 0), one class each.
---
---     local x, y = tide.datasets.spirals { 300, arms = 3, seed = 1 }
---     x.shape   --> { 300, 2 }
--- @return userdata x (n_samples, 2) float32, radius up to 1
--- @return userdata y (n_samples) int64, labels from 1
function points.spirals(...)
  local o = spirals_args:construct(...)
  local rows, labels = {}, {}
  for i = 1, o.n_samples do
    local arm = (i - 1) % o.arms + 1
    local n = (o.n_samples - arm) // o.arms + 1 -- points of this arm
    local r = step(0, 1, (i - 1) // o.arms + 1, n)
    local a = 2 * math.pi * (r * o.turns + (arm - 1) / o.arms)
    rows[i], labels[i] = { r * math.cos(a), r * math.sin(a) }, arm
  end
  return finish(rows, labels, o, draws(o.seed))
end

local blobs_args = check.args("blobs", { samples(100),
  { "n_features", "int", 2, "numbers of a point", min = 1 },
  { "centers", { "int", "list" }, 3, "how many, or the points themselves" },
  { "cluster_std", "number", 1.0, "standard deviation about each", min = 0 },
  { "center_box", "list", { -10, 10 }, "between which centers are drawn" }, SHUFFLE, SEED })

--- Normal clouds about centers, one class each (scikit-learn's make_blobs).
---
---     local x, y, centers = tide.datasets.blobs { 90, centers = 3, seed = 1 }
---     centers.shape   --> { 3, 2 }
--- @return userdata x (n_samples, n_features) float32
--- @return userdata y (n_samples) int64, labels from 1
--- @return userdata centers (centers, n_features) float32
function points.blobs(...)
  local o = blobs_args:construct(...)
  local draw = draws(o.seed)
  local centers = o.centers
  if type(centers) == "table" then
    for i, c in ipairs(centers) do
      if type(c) ~= "table" or #c ~= #centers[1] or #c == 0 then
        errors.raise("blobs", "centers must be points of one size (got %s as number %d)",
          check.show(c), i)
      end
    end
  elseif centers < 1 then
    errors.raise("blobs", "centers must be at least 1 (got %d)", centers)
  else
    centers = {}
    for i = 1, o.centers do
      centers[i] = {}
      for k = 1, o.n_features do
        centers[i][k] = draw:uniform(o.center_box[1], o.center_box[2])
      end
    end
  end
  local rows, labels = {}, {}
  for i = 1, o.n_samples do
    local c = (i - 1) % #centers + 1
    rows[i], labels[i] = {}, c
    for k, v in ipairs(centers[c]) do
      rows[i][k] = draw:normal(v, o.cluster_std)
    end
  end
  local x, y = finish(rows, labels, o, draw)
  return x, y, core.tensor(centers)
end

local ratings_args = check.args("ratings", {
  { "n_users", "int", 200, "people", min = 1 }, { "n_items", "int", 100, "things", min = 1 },
  { "n_ratings", "int", 5000, "rows", min = 1 },
  { "rank", "int", 3, "tastes of a person, and traits of a thing", min = 1 },
  { "noise", "number", 0.3, "standard deviation of a rating", min = 0 }, SEED })

--- Ratings that people give things, as a table (user, item, rating 1 to 5): what both have in
--- common in `rank` directions, what each is like for all, and noise. No pair is there twice.
---
---     local t = tide.datasets.ratings { n_ratings = 1000, seed = 1 }
---     local ds = t:to_dataset { target = "rating", batch_size = 64 }
--- @return Table
function points.ratings(...)
  local o = ratings_args:construct(...)
  local draw = draws(o.seed)
  if o.n_ratings > o.n_users * o.n_items then
    errors.raise("ratings", "n_ratings must be at most one per pair (expected %d, got %d)",
      o.n_users * o.n_items, o.n_ratings)
  end
  local function traits(n)
    local out = {}
    for i = 1, n do
      out[i] = { mean = draw:normal(0, 0.5) }
      for k = 1, o.rank do
        out[i][k] = draw:normal(0, 1 / math.sqrt(o.rank))
      end
    end
    return out
  end
  local users, items = traits(o.n_users), traits(o.n_items)
  local user, item, rating, seen = {}, {}, {}, {}
  while #user < o.n_ratings do
    local u, i = draw:below(o.n_users), draw:below(o.n_items)
    local pair = (u - 1) * o.n_items + i
    while seen[pair] do -- the next pair that is free
      pair = pair % (o.n_users * o.n_items) + 1
    end
    seen[pair] = true
    u, i = (pair - 1) // o.n_items + 1, (pair - 1) % o.n_items + 1
    local v = 3 + users[u].mean + items[i].mean + draw:normal(0, o.noise)
    for k = 1, o.rank do
      v = v + users[u][k] * items[i][k]
    end
    user[#user + 1], item[#item + 1] = u, i
    rating[#rating + 1] = math.max(1, math.min(5, math.floor(v + 0.5)))
  end
  return require("tide.data.table")({ user = user, item = item, rating = rating },
    { columns = { "user", "item", "rating" } })
end

return points
