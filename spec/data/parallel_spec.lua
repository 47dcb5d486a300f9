-- map in worker processes: the same elements in the same order for any number of them, from any
-- place, and nothing that is left behind.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"

local D = tide.data.Dataset

local factor, words, floor = 3, { "a", b = { 2, 5 } }, math.floor
local ten = tide.tensor { 10, 20 }
local function helper(x)
  return x * factor + words.b[2]
end
local function change(x)
  return helper(x), ten * x, words[1] .. floor(x / 2), tide.random.uniform { 2 }
end

local function plain(...)
  local out = { ... }
  for k, v in ipairs(out) do
    out[k] = core.is_tensor(v) and v:tolist() or v
  end
  return out
end

local function elements(ds)
  local out = {}
  local pass <close> = ds:iter()
  while true do
    local row = plain(pass())
    if row[1] == nil then
      return out
    end
    out[#out + 1] = row
  end
end

local function make(n)
  return D.range(9):map(change, { num_parallel_calls = n }):batch(2)
end

-- The children of this process, without those of passes that nobody holds.
local function children()
  collectgarbage()
  collectgarbage()
  local f <close> = assert(io.open "/proc/self/stat")
  local pid = f:read "n"
  local p <close> = assert(io.popen("ps -o pid=,args= --ppid " .. pid))
  local out = {}
  for line in p:lines() do
    local child = line:match "^%s*(%d+).*worker%.lua"
    out[#out + 1] = child
  end
  return out
end

describe("map in worker processes", function()
  it("gives what one process gives, in the same order, for any number of them", function()
    tide.seed(4)
    local one = elements(make(1))
    tide.seed(4)
    assert.same(one, elements(make(4)))
    tide.seed(4)
    assert.same(one, elements(make(tide.data.AUTOTUNE)))
    local here = elements(D.range(9):map(function(x) return helper(x), ten * x end))
    local there = elements(D.range(9):map(function(x) return helper(x), ten * x end,
      { num_parallel_calls = 2 }))
    assert.same(here, there)
  end)

  it("goes on from any element, those under way included", function()
    tide.seed(4)
    local want = elements(make(2))
    for _, at in ipairs { 0, 2, #want - 1 } do
      tide.seed(4)
      local ds <close> = make(2)
      for _ = 1, at do
        ds:next()
      end
      tide.seed(5)
      local other = make(3)
      other:restore(ds:state())
      assert.same(table.move(want, at + 1, #want, 1, {}), elements(other), at)
    end
  end)

  it("keeps dtypes and takes what it holds along", function()
    local ds <close> = D.range(3):map(function(x)
      return tide.tensor(x, { dtype = "float64" }), { a = x > 1, b = { "t", x } }
    end, { num_parallel_calls = 1 })
    assert.equal("float64", ds:batch(3):next().dtype)
    local x, t = ds:skip(2):next()
    assert.same({ 2, true, "t", 2 }, { x, t.a, t.b[1], t.b[2] })
  end)

  it("names what cannot be sent, and the element that fails", function()
    local layer, file = tide.layers.Dense(2), io.stderr
    local function message(f, ...)
      local text = expect.message(function(g)
        elements(D.range(5):map(g, { num_parallel_calls = 2 }))
      end, f)
      for _, part in ipairs { ... } do
        expect.has(text, part)
      end
    end
    message(function(x) return layer(x) end, "the upvalue 'layer' of the function is an object",
      "which cannot be sent to worker processes")
    message(function() return file end, "the upvalue 'file' of the function is a userdata")
    message(function(x) return x == 2 and error("boom", 0) or x end, "map, element 3: boom")
    message(function(x) return not_there(x) end, -- luacheck: ignore
      "the global 'not_there' is not there in worker processes; make it a local")
    message(function() end, "map, element 1: the function gave nothing")
    message(function(x) return x == 3 and os.exit(3) or x end, "map, element 4: ",
      "a worker process has ended")
    assert.same({}, children())
  end)

  it("leaves no process behind, whichever way a pass ends", function()
    elements(make(2))
    assert.same({}, children())
    for x in D.range(100):map(helper, { num_parallel_calls = 3 }):iter() do
      if x > 20 then
        assert.equal(3, #children())
        break
      end
    end
    assert.same({}, children())
    local ds = D.range(100):map(helper, { num_parallel_calls = 2 })
    ds:next()
    os.execute("kill -9 " .. table.concat(children(), " "))
    local text = expect.message(function()
      while ds:next() do end -- luacheck: ignore 542
    end)
    expect.has(text, "a worker process has ended")
    assert.same({}, children())
    ds = D.range(100):map(function() while true do end end, -- luacheck: ignore 542
      { num_parallel_calls = 2 })
    local pass = ds:iter()
    local start = core.now()
    pass:close()
    assert.is_true(core.now() - start < 0.2)
  end)

  it("feeds fit", function()
    local model = tide.Sequential { tide.layers.Dense { 1, input_shape = { 2 } } }
    model:compile { optimizer = "sgd", loss = "mse" }
    local t = tide.ones { 2 }
    local ds = D.range(32):map(function(x)
      return t * x / 32, t[{ { 1, 1 } }] * x
    end, { num_parallel_calls = 2 }):shuffle(32, { seed = 1 }):batch(8):prefetch(2)
    local history = model:fit(ds, { epochs = 2, verbose = 0 })
    assert.equal(2, #history.history.loss)
    assert.same({}, children())
  end)
end)
