-- tide.data.Dataset: what TensorFlow's tf.data gives, in its order (spec/ref/tf_data.py, and chains
-- of transforms drawn at random, tf_data_chains.py), and that every pass can be stopped at every
-- element and goes on elsewhere with the very rest.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"
local reference = require "spec.ref.tf_data"
for _, chain in ipairs(require "spec.ref.tf_data_chains") do
  reference[#reference + 1] = chain
end

local D = tide.data.Dataset

local function plain(v)
  if core.is_tensor(v) then
    return v:tolist()
  elseif type(v) == "table" then
    local out = {}
    for k, x in pairs(v) do
      out[k] = plain(x)
    end
    return out
  end
  return v
end

-- The elements that are left of a pass, as plain lists of parts.
local function rest(pass)
  local out = {}
  local function add(first, ...)
    if first == nil then
      return false
    end
    out[#out + 1] = plain { first, ... }
    return true
  end
  while add(pass:next()) do -- luacheck: ignore 542
  end
  return out
end

local function make(text)
  return assert(load("return " .. text, "=" .. text, "t", { tide = tide, D = D, math = math,
    coroutine = coroutine, string = string, ipairs = ipairs }))()
end

describe("Dataset", function()
  for _, case in ipairs(reference) do
    it("gives tf.data's elements: " .. case.lua, function()
      local ds = make(case.lua)
      assert.same(case.elements, rest(ds:iter()))
      assert.equal(case.cardinality, ds:cardinality())
      assert.same(case.elements, rest(ds:iter()))
    end)
  end
end)

describe("a batch of what maps give", function()
  local sources = {
    function() return D.range(1000) end,
    function() return D.range(1000):shuffle(300, { seed = 2 }) end,
    function() return D.range(3, 4000, 4):rep(2):skip(5) end,
    function() return D.from_tensor_slices(tide.arange(900)) end,
    function() return D.from_tensor_slices(tide.arange(200):cast "uint8"):shuffle(9, { seed = 1 })
    end,
    function() return D.range(700):filter(function(x) return x % 3 > 0 end) end,
  }
  local maps = {
    { function(x) return x end },
    { function(x) return x / 2 end, function(x) return x > 100 end },
    { tostring, function(x) return x .. "!" end, function(x) return #x end },
    { function(x) return tide.full({ 2 }, x) end },
    { function(x) return x, -x end, function(x, y) return x * y end },
    { function(x) return tide.tensor(x, { dtype = "int32" }) end, function(x) return x end },
    { function(x) return { a = x, b = tostring(x) } end, function(t) return t.a end },
    { function(x) return x + tide.random.randint({ 1 }, 0, 1000)[1] end,
      function(x) return x - tide.random.randint({ 1 }, 0, 1000)[1] end },
  }

  it("is that of the elements one by one", function()
    for _, source in ipairs(sources) do
      for _, fs in ipairs(maps) do
        local function mapped()
          local ds = source()
          for _, f in ipairs(fs) do
            ds = ds:map(f)
          end
          return ds
        end
        local got, at = {}, 0
        tide.seed(5)
        for _, batch in ipairs(rest(mapped():batch(300):iter())) do
          for k, v in ipairs(batch[1]) do
            got[at + k] = { v, batch[2] and batch[2][k] }
          end
          at = #got
        end
        tide.seed(5)
        assert.same(rest(mapped():iter()), got)
      end
    end
  end)

  it("loses an element that fails and those before it in the batch, and no other", function()
    local function at_work(stage)
      return function(x)
        if x % 100 == 57 + stage then
          error("no " .. x)
        end
        return x
      end
    end
    local ds = D.range(1000):map(at_work(0)):map(at_work(3)):batch(10)
    local first, got, failed = 0, {}, 0
    local want = {}
    for x = 0, 999 do
      first = first or x
      if x % 100 == 57 or x % 100 == 60 then
        first = nil
      elseif x - first == 9 then
        want[#want + 1], first = { x - 9, x }, nil
      end
    end
    want[#want + 1] = { first, 999 }
    local stage = require "tide.data.stage"
    local iterator = stage.open(ds, 0)
    while true do
      local ok, batch = xpcall(iterator.next, stage.explain_error, iterator)
      if not ok then
        failed = failed + 1
        expect.has(tostring(batch), ("map, element %d: "):format(
          failed % 2 == 1 and (failed // 2) * 99 + 58 or (failed // 2 - 1) * 98 + 60))
        expect.has(tostring(batch), "no ")
      elseif batch == nil then
        break
      else
        got[#got + 1] = { batch[1], batch[-1] }
      end
    end
    assert.equal(20, failed)
    assert.same(want, got)
  end)

  it("says that elements differ in their parts", function()
    local function differing(x)
      if x > 5 then
        return x, x
      end
      return x
    end
    for _, ds in ipairs { D.range(9):map(differing), D.range(9):map(differing):map(differing) } do
      expect.has(expect.message(ds.as_list, ds:batch(9)), "differ in their parts")
    end
  end)
end)

-- ---- places ----

local random = {
  "D.range(23):shuffle(5, { seed = 3 })",
  "D.range(23):shuffle(100, { seed = 3 }):batch(4)",
  "D.range(23):shuffle(7, { seed = 3 }):batch(4):rep(2)",
  "D.range(23):shuffle(7, { seed = 3, reshuffle_each_iteration = false }):rep(2)",
  "D.range(9):map(function(x) return x, tide.full({ 2 }, x) end):shuffle(4, { seed = 3 })",
  "D.range(9):map(function(x) return { a = x, b = 'n' .. x } end):shuffle(4, { seed = 3 })\z
    :batch(2)",
  "D.range(9):shuffle(4):rep(2):shard(2, 2)", -- without a seed: the state brings it
  "D.range(9):shuffle(4, { seed = 1 }):cache():rep(3)",
  "D.range(9):map(function(x) return x end):shuffle(4, { seed = 1 }):cache():rep(3)",
  "D.range(9):map(function(x) return x end):shuffle(4, { seed = 1 }):rep(3):skip(3):take(17)",
  "D.range(4):flat_map(function(n) return D.range(n + 3):shuffle(3) end)",
  "D.range(4):interleave(function(n) return D.range(n + 3):shuffle(3) end, 3, 2)",
  "D.range(13):window(3, 2):shuffle(3, { seed = 2 }):flat_map(function(w) return w:batch(3) end)",
  "D.range(20):shuffle(20):group_by_window(function(x) return x % 3 end, function(_, g) return \z
    g:shuffle(4) end, 4)",
  "D.sample_from_datasets({ D.range(9), D.range(20, 26) }, { 0.7, 0.3 }, { seed = 4 })",
  "D.range(30):rejection_resample(function(x) return x < 20 and 1 or 2 end, { 0.5, 0.5 }, \z
    { seed = 4 })",
  "D.random { seed = 5 }:take(7)",
  "D.zip(D.range(9):shuffle(9), D.range(9):shuffle(4))",
  "D.from_generator(function() for i = 1, 9 do coroutine.yield(i, 'x' .. i) end end):batch(2)",
  "D.from_generator(function() local i = 0 return function() i = i + 1 if i < 8 then return i end \z
    end end):shuffle(3, { seed = 1 })",
  "D.range(12):map(function(x) if x % 5 == 2 then error 'no' end return x end):ignore_errors():\z
    batch(2)",
  "D.range(9):enumerate():batch(2)",
  "D.range(7):ragged_batch(2)",
  "D.range(1, 9):map(function(n) return tide.ones { n } end):ragged_batch(3)",
  "D.range(9):batch(2):unbatch():batch(4)",
}

describe("a place in a data set", function()
  local path
  setup(function()
    path = os.tmpname()
  end)
  teardown(function()
    os.remove(path)
  end)

  local function check(text)
    local function at(ds, n)
      local pass = ds:iter()
      for _ = 1, n do
        pass:next()
      end
      return pass
    end
    tide.seed(11)
    local first = make(text)
    local all = rest(first:iter())
    local after = rest(first:iter()) -- the next pass
    assert.is_true(#all > 0 or after[1] == nil)
    for n = 0, #all do
      tide.seed(11)
      local stopped = make(text)
      at(stopped, n)
      tide.seed(12)
      local other = make(text)
      at(other, 2)
      if n == #all // 2 then -- a file, which must hold it all
        stopped:save_position(path)
        other:load_position(path)
      else
        other:restore(stopped:state())
      end
      assert.same(table.move(all, n + 1, #all, 1, {}), rest(other:iter()), ("after %d"):format(n))
      assert.same(after, rest(other:iter()), ("the pass after %d"):format(n))
    end
  end

  for _, case in ipairs(reference) do
    if #case.elements > 0 then
      it("is restored anywhere: " .. case.lua, function()
        check(case.lua)
      end)
    end
  end
  for _, text in ipairs(random) do
    it("is restored anywhere: " .. text, function()
      check(text)
    end)
  end
end)

describe("what is drawn", function()
  it("depends on the seed and the pass", function()
    local a, b = D.range(50):shuffle(50, { seed = 1 }), D.range(50):shuffle(50, { seed = 1 })
    local c = D.range(50):shuffle(50, { seed = 2 })
    local one = rest(a:iter())
    assert.same(one, rest(b:iter()))
    assert.not_same(one, rest(c:iter()))
    assert.not_same(one, rest(a:iter()))
    local still = D.range(50):shuffle(50, { seed = 1, reshuffle_each_iteration = false })
    assert.same(rest(still:iter()), rest(still:iter()))
  end)

  it("is the same for rows of a store and for single elements", function()
    for _, size in ipairs { 1, 3, 10, 100 } do
      local rows = D.range(40):shuffle(size, { seed = 9 }):rep(2):shard(3, 2):skip(2):take(20)
      local single = D.range(40):map(function(x) return x end):shuffle(size, { seed = 9 }):rep(2)
        :shard(3, 2):skip(2):take(20)
      local want = rest(single:iter())
      assert.same(want, rest(rows:iter()))
      assert.same(rest(single:batch(3):iter()), rest(rows:batch(3):iter()))
    end
  end)

  it("is uniform: every element comes first equally often", function()
    local counts, n = {}, 4000
    local ds = D.range(8):shuffle(8, { seed = 5 })
    for _ = 1, n do
      local x = ds:iter()()
      counts[x] = (counts[x] or 0) + 1
    end
    local chi = 0
    for x = 0, 7 do
      chi = chi + (counts[x] - n / 8) ^ 2 / (n / 8)
    end
    assert.is_true(chi < 24.3, "chi squared " .. chi) -- 7 degrees of freedom, p = 0.001
  end)

  it("samples by weights and resamples to the target", function()
    local n = 0
    for x in D.sample_from_datasets({ D.counter():take(3000), D.counter(10000):take(3000) },
      { 0.2, 0.8 }, { seed = 1, stop_on_empty_dataset = true }):take(2000):iter() do
      n = n + (x < 10000 and 1 or 0)
    end
    assert.is_true(math.abs(n - 400) < 60, "drawn " .. n)
    local counts = { 0, 0 }
    for class in D.range(20000):rejection_resample(function(x) return x % 10 == 0 and 1 or 2 end,
      { 0.5, 0.5 }, { initial_dist = { 0.1, 0.9 }, seed = 2 }):iter() do
      counts[class] = counts[class] + 1
    end
    assert.is_true(math.abs(counts[1] / (counts[1] + counts[2]) - 0.5) < 0.03)
  end)
end)

describe("an element", function()
  it("keeps the dtypes of its parts through batches", function()
    local x = tide.tensor({ 1, 2, 3 }, { dtype = "int32" })
    local f = tide.tensor({ 1, 2, 3 }, { dtype = "float64" })
    local b = tide.tensor({ true, false, true })
    local a, c, d, e = D.from_tensor_slices(x, f, b, { 4, 5, 6 }):skip(1):batch(2):next()
    assert.same({ "int32", "float64", "bool", "int64" }, { a.dtype, c.dtype, d.dtype, e.dtype })
    a, c, d, e = D.from_tensor_slices(x, f, b, { 4, 5, 6 }):filter(function() return true end)
      :batch(2):next()
    assert.same({ "int32", "float64", "bool", "int64" }, { a.dtype, c.dtype, d.dtype, e.dtype })
    local m = D.range(3):map(function(n) return tide.tensor(n, { dtype = "float64" }) end)
    assert.equal("float64", m:batch(3):next().dtype)
    assert.equal("float", math.type(m:next()))
  end)

  it("tells its specification", function()
    local ds = D.from_tensor_slices(tide.ones { 4, 2 }, { "a", "b", "c", "d" }):batch(2)
    assert.equal("[float32 [none, 2], string [none]]", tostring(ds.element_spec))
    assert.equal("[int64 []]", tostring(D.range(3):map(function(x) return x end).element_spec))
    assert.equal("[float32 [2, 2], string [2]]", tostring(D.from_tensor_slices(tide.ones { 4, 2 },
      { "a", "b", "c", "d" }):batch(2, { drop_remainder = true }).element_spec))
  end)

  it("may have parts by name and lists of parts", function()
    local ds = D.from_tensor_slices({ a = { { 1, 2 }, { 3, 4 } }, b = { "x", "y" } }, { 1, 2 })
    local first = ds:next()
    assert.same({ { 1, 2 }, "x" }, { first.a:tolist(), first.b })
    local both, y = ds:shuffle(2, { seed = 1 }):batch(2):next()
    assert.same({ 2, 2 }, { #both.b, #y })
    assert.same({ 2, 2 }, both.a.shape:totable())
  end)
end)

describe("a mistake", function()
  local function says(f, text)
    expect.has(expect.message(f), text)
  end

  it("names the stage and the element", function()
    local ds = D.range(9):map(function(x)
      return x < 4 and x or error("boom", 0)
    end):batch(3)
    ds:next()
    says(function() ds:next() end, "map, element 5: boom")
    says(function() D.range(3):map(function() end):next() end,
      "map, element 1: the function gave nothing")
    says(function() D.range(3):filter(function() return "x" end):next() end,
      "filter, element 1: the predicate must give true or false (got 'x')")
    says(function()
      D.range(1, 4):map(function(n) return tide.ones { n } end):batch(3):next()
    end, "batch, element 1: the elements of a batch differ (expected float32 a tensor [1], got \z
      float32 a tensor [2] as element 2); padded_batch")
    says(function() D.range(3):flat_map(function(x) return x end):next() end,
      "flat_map, element 1: the function must give a data set (got 0)")
    says(function() D.from_tensor_slices(tide.ones { 3 }, tide.ones { 2 }) end,
      "all parts must have the same number of samples")
    says(function() D.range(3):shard(2, 3) end, "index must be an integer from 1 to 2 (got 3)")
    says(function() D.range(3):get_single_element() end, "has several elements")
    says(function() D.range(3):shufle(2) end, "did you mean 'shuffle'")
    says(function() D.range(3):restore(D.range(3):map(function(x) return x end):state()) end,
      "Dataset.restore: the state is of another data set (expected range, got map(range))")
    says(function() D.range(3):restore {} end, "Dataset.restore: takes what state() gave")
  end)

  it("or a loop that is left closes what runs below", function()
    local closed = 0
    local source = setmetatable({}, { __index = { iter = function()
      return setmetatable({ close = function() closed = closed + 1 end },
        { __call = function() return 1 end })
    end } })
    local ds = D.from_generator(source)
    for x in ds:map(function(x) return x end):iter() do
      if x == 1 then
        break
      end
    end
    assert.equal(1, closed)
    pcall(function()
      for _ in ds:map(function() error "no" end):iter() do end
    end)
    assert.equal(2, closed)
  end)
end)

describe("a data set", function()
  it("of numbers of a float range has each once, in batches too", function()
    local n = 0
    for b in D.range(0, 1, 0.1, { output_type = "float32" }):batch(3):iter() do
      n = n + #b
    end
    assert.equal(10, n)
  end)

  it("says what a function did that calls itself for ever", function()
    local function deep(n)
      return 1 + deep(n)
    end
    local ok, e = pcall(function()
      return D.range(3):map(function(x) return deep(x) end):as_list()
    end)
    assert.is_false(ok)
    assert.matches("stack overflow", tostring(e))
  end)

  it("closes the generator of a loop that is left", function()
    local closed = false
    local ds = D.from_generator(function()
      local _ <close> = setmetatable({},
        { __close = function() closed = true end }) -- luacheck: ignore
      for i = 1, 5 do
        coroutine.yield(i)
      end
    end)
    for x in ds:iter() do
      if x > 0 then
        break
      end
    end
    assert.is_true(closed)
  end)

  it("refuses loops within loops over one pass, a bare call and a range without end", function()
    local ds = D.range(3)
    expect.raises("write for ... in dataset:iter() do", function()
      for _ in ds do
        for _ in ds do end -- luacheck: ignore
      end
    end)
    expect.raises("is made by its functions", function() D() end)
    expect.raises("has no end that can be counted", function()
      D.range(0, math.huge, { output_type = "float32" })
    end)
  end)

  it("tells text and numbers apart where they are unique, and keeps what a Sequence gave",
    function()
    local v, i = { 1, "i1:1" }, 0
    assert.equal(2, #D.from_generator(function()
      i = i + 1
      return v[i]
    end):unique():as_list())
    local calls = 0
    local ds = D.from_generator(setmetatable({ get = function(_, k)
      calls = calls + 1
      return k
    end }, { __len = function() return 3 end })):cache()
    ds:as_list()
    ds:as_list()
    assert.equal(3, calls)
  end)
end)

describe("hostile values", function()
  it("of a data set are refused by one error each, and no count is walked that has no elements",
    function()
      local own = {}
      own[1] = own
      local named = {}
      named.a = named
      for _, v in ipairs { own, named, { a = own }, { own, 1 } } do
        expect.raises("nested too deeply", function() D.from_tensors(v) end)
        expect.raises("nested too deeply", function() D.from_tensor_slices(v) end)
        expect.raises("nested too deeply", function()
          D.range(2):map(function() return v end):as_list()
        end)
        expect.raises("nested too deeply", function()
          local x = tide.ones { 2 }
          x.requires_grad = true
          tide.checkpoint(function(t) return t * 2, v end)(x)
        end)
      end
      for _, v in ipairs { 3, true, {}, { 1 } } do
        expect.raises("path must be a string", function() D.range(2):load_position(v) end)
        expect.raises("path must be a string", function() D.range(2):save_position(v) end)
        expect.raises("must be a function", function() D.range(2):apply(v) end)
        expect.raises("takes a text", function()
          tide.tokenizers.WordPiece { vocab = { "[UNK]" } }:pieces(v)
        end)
      end
      local count = 0
      for _ in D.range(3):window(2, { shift = 1 << 60 }):iter() do
        count = count + 1
      end
      assert.equal(1, count)
      local evil = setmetatable({}, { __tostring = function() error "evil" end })
      expect.raises("(got a table)", function() D.range(2):shuffle(evil) end)
    end)
end)
