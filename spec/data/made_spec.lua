-- Data sets that Tide makes: what their geometry, grammar and labels must be, and the same for a
-- seed; iris by the numbers of its paper.
local expect = require "spec.support.expect"
local tide = require "tide"
local ops, datasets = tide.ops, tide.datasets

local function plain(t)
  return table.move(t.shape, 1, #t.shape, 1, {})
end

-- Everything that a data set gives, as nested lists.
local function all(...)
  local out = {}
  for i, v in ipairs { ... } do
    if type(v) == "userdata" then
      out[i] = v:tolist()
    elseif type(v) == "table" and v.columns then
      out[i] = v:tolist()
    elseif type(v) == "table" and v.boxes then
      out[i] = { v.boxes:tolist(), v.labels:tolist() }
    else
      out[i] = v
    end
  end
  return out
end

describe("data sets that are made", function()
  local small = { moons = { 8 }, circles = { 8 }, spirals = { 9 }, blobs = { 8 },
    ratings = { n_ratings = 20 }, digits = { 12 }, shapes = { 2 }, tones = { 2 },
    sentiment = { 6 }, translation = { 6 } }
  for name, o in pairs(small) do
    it("are the same for a seed, others for another: " .. name, function()
      local function made(seed)
        local given = { seed = seed }
        for k, v in pairs(o) do
          given[k] = v
        end
        return all(datasets[name](given))
      end
      local a = made(7)
      tide.random.normal { 5 } -- others may draw
      math.random()
      assert.same(a, made(7))
      assert.is_false(pcall(assert.same, a, made(8)))
      tide.seed(3)
      local b = made(nil)
      tide.seed(3)
      assert.same(b, made(nil))
      assert.is_false(pcall(assert.same, b, made(nil)))
    end)
  end
end)

describe("iris", function()
  it("has the means and deviations of Fisher's table", function()
    local x, y, names, features = datasets.iris()
    assert.same({ 150, 4 }, plain(x))
    expect.close(ops.mean(x, 1), { 5.843333, 3.057333, 3.758, 1.199333 }, 1e-5, 0)
    expect.close(ops.mean(x[{ { 1, 50 } }], 1), { 5.006, 3.428, 1.462, 0.246 }, 1e-5, 0)
    expect.close(ops.mean(x[{ { 101, 150 } }], 1), { 6.588, 2.974, 5.552, 2.026 }, 1e-5, 0)
    expect.close(ops.std(x, 1), { 0.825301, 0.434411, 1.759404, 0.759693 }, 1e-5, 0)
    assert.same({ 1, 2, 3 }, { y[50], y[51], y[150] })
    assert.same({ "setosa", "petal_width" }, { names[1], features[4] })
  end)
end)

describe("points", function()
  it("lie on scikit-learn's half circles", function()
    local x, y = datasets.moons { 6, noise = 0, shuffle = false }
    expect.close(x, { { 1, 0 }, { 0, 1 }, { -1, 0 }, { 0, 0.5 }, { 1, -0.5 }, { 2, 0.5 } }, 1e-6, 0)
    assert.same({ 1, 1, 1, 2, 2, 2 }, y:tolist())
  end)

  it("lie on circles and spirals", function()
    local x, y = datasets.circles { 11, noise = 0, factor = 0.25 }
    local r = ops.sqrt(ops.sum(x * x, 2)):tolist()
    for i = 1, 11 do
      expect.close(r[i], y[i] == 1 and 1 or 0.25)
    end
    x, y = datasets.spirals { 50, arms = 2, turns = 1, noise = 0 }
    for i = 1, 50 do
      local a, b = x[{ i, 1 }], x[{ i, 2 }]
      local radius = math.sqrt(a * a + b * b)
      local angle = 2 * math.pi * (radius + (y[i] - 1) / 2)
      expect.close({ a, b }, { radius * math.cos(angle), radius * math.sin(angle) }, 1e-5, 0)
    end
  end)

  it("stand about their centers", function()
    local x, y, centers = datasets.blobs { 3000, centers = { { 5, 5, 5 }, { -5, 0, 5 } },
      cluster_std = 0.5, seed = 2 }
    assert.same({ 3000, 3 }, plain(x))
    for k = 1, 2 do
      local own = x[y:equal(k)]
      assert.equal(1500, #own)
      expect.close(ops.mean(own, 1), centers[k]:tolist(), 0.05, 0)
      expect.close(ops.std(own, 1), { 0.5, 0.5, 0.5 }, 0.03, 0)
    end
    expect.has(expect.message(datasets.blobs, { centers = { { 1, 2 }, { 1 } } }),
      "centers must be points of one size")
  end)

  it("are rated by people once each", function()
    local t = datasets.ratings { n_users = 10, n_items = 9, n_ratings = 90, seed = 1 }
    assert.equal(90, #t:group_by("user", "item"):size())
    local least, most = ops.min(t.rating), ops.max(t.rating)
    assert.is_true(least >= 1 and most <= 5 and most > least)
    expect.has(expect.message(datasets.ratings, { n_users = 2, n_items = 2 }),
      "n_ratings must be at most one per pair (expected 4, got 5000)")
  end)
end)

describe("digits", function()
  it("are ten classes that the means of others tell apart", function()
    local x, y, names = datasets.digits { 600, seed = 1 }
    assert.same({ 600, 28, 28 }, plain(x))
    assert.same({ "uint8", 10, "0" }, { x.dtype, #names, names[1] })
    local flat = x:cast("float32"):reshape { 600, 784 }
    local means = {}
    for k = 1, 10 do
      means[k] = ops.mean(flat[{ { 1, 400 } }][y[{ { 1, 400 } }]:equal(k)], 1)
    end
    local right = 0
    for i = 401, 600 do
      local best, least
      for k = 1, 10 do
        local d = ops.sum(ops.square(flat[i] - means[k])):item()
        if not least or d < least then
          best, least = k, d
        end
      end
      right = right + (best == y[i] and 1 or 0)
    end
    assert.is_true(right > 120, right) -- chance: 20
  end)
end)

describe("shapes", function()
  it("fill their boxes and masks", function()
    local x, targets, masks, names = datasets.shapes { 40, max_shapes = 1, seed = 4, noise = 0 }
    assert.same({ 40, 64, 64, 3 }, plain(x))
    assert.same({ 40, 1, 4 }, plain(targets.boxes))
    assert.equal(3, #names)
    for i = 1, 40 do
      local label, box = targets.labels[{ i, 1 }], targets.boxes[{ i, 1 }]:tolist()
      local rows = ops.nonzero(ops.any(masks[i]:greater(0), 2)) -- of a tensor with one axis
      local first, last = ops.min(rows), ops.max(rows)
      assert.is_true(math.abs(first - 1 - box[2]) <= 2 and math.abs(last - box[4]) <= 1)
      assert.equal(label, ops.max(masks[i]))
      local share = ops.sum(masks[i]:greater(0):cast "int32")
        / ((box[3] - box[1]) * (box[4] - box[2]))
      expect.close(share, ({ math.pi / 4, 1, 0.5 })[label], 0.12, 0)
    end
    local _, several = datasets.shapes { 30, max_shapes = 5, seed = 1 }
    for i = 1, 30 do -- what is not there stands last
      local seen = false
      for k = 1, 5 do
        local label = several.labels[{ i, k }]
        assert.is_false(seen and label > 0)
        seen = seen or label == 0
      end
      assert.is_true(several.labels[{ i, 1 }] > 0)
    end
  end)
end)

describe("tones", function()
  it("are sounds between silences, hissing where a word does", function()
    local waves, y, names, rate = datasets.tones { 20, seed = 1, noise = 0, seconds = 0.4 }
    assert.same({ 20, 3200 }, plain(waves))
    assert.same({ 8000, "zero", "nine" }, { rate, names[1], names[10] })
    assert.is_true(ops.max(ops.abs(waves)):item() <= 1)
    local six, one
    for i = 1, 20 do
      local w = waves[i]:tolist()
      local crossings, energy = 0, 0
      for k = 2, #w do
        crossings = crossings + (w[k] * w[k - 1] < 0 and 1 or 0)
        energy = energy + w[k] * w[k]
      end
      assert.is_true(energy > 1)
      if y[i] == 7 then
        six = crossings
      elseif y[i] == 2 then
        one = crossings
      end
    end
    assert.is_true(six > 2 * one, ("%d %d"):format(six, one))
  end)
end)

describe("sentiment", function()
  it("is decided by the words of the text", function()
    local texts, y = datasets.sentiment { 400, seed = 1 }
    assert.equal(200, y:sum())
    local words = {}
    for i, text in ipairs(texts) do
      for word in text:gmatch "%a+" do
        words[word] = words[word] or { [0] = 0, [1] = 0 }
        words[word][y[i]] = words[word][y[i]] + 1
      end
    end
    assert.is_true(words.loved[1] > 5 * words.loved[0])
    assert.is_true(words.the[0] > 100 and words.the[1] > 100)
    local _, wrong = datasets.sentiment { 400, seed = 1, noise = 1 }
    assert.same((1 - y):tolist(), wrong:tolist())
  end)
end)

describe("translation", function()
  it("agrees in gender, number and case, and puts verbs where they belong", function()
    local english, german = datasets.translation { 2000, seed = 1 }
    local articles = { hund = { der = 1, den = 1, ein = 1, einen = 1 },
      frau = { die = 1, eine = 1 }, kind = { das = 1, ein = 1 } }
    local infinitives, second = 0, 0
    for i = 1, 2000 do
      local de = german[i]
      for noun, of in pairs(articles) do
        for article in de:gmatch("(%a+) %f[%a][^ ]- ?" .. noun .. "%f[ ]") do
          assert(not article:find "^ein" and not article:find "^d" or of[article] or #article > 5,
            de)
        end
      end
      if english[i]:find " must " then
        infinitives = infinitives + 1
        assert.matches("n %.$", de) -- the infinitive before the point
        assert.truthy(de:find "%f[%a]muss" or de:find "müssen", 1, true)
      end
      if english[i]:find "^today" then
        second = second + 1
        assert.matches("^heute %S-[tnls]%f[ ]", de)
      end
      -- den stands before an object, never in the first place
      assert.is_nil(de:find "^den " or de:find "^einen ")
    end
    assert.is_true(infinitives > 100 and second > 50)
  end)
end)
