-- Models take a Dataset wherever they take data, and a fit from one goes on from a checkpoint, in
-- another process too, with the very next batch.
local callbacks = require "tide.callbacks"
local expect = require "spec.support.expect"
local tide = require "tide"

local D, layers = tide.data.Dataset, tide.layers

tide.seed(1)
local X = tide.random.normal { 44, 5 }
local Y = tide.random.randint({ 44 }, 1, 4)

local function model()
  tide.seed(3)
  local m = tide.Sequential {
    layers.Dense { 8, activation = "relu", input_shape = { 5 } }, layers.Dropout { 0.3 },
    layers.Dense { 3, activation = "softmax" },
  }
  m:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy",
    metrics = { "accuracy" } }
  return m
end

local function weights(m)
  local out = {}
  for i, w in ipairs(m:get_weights()) do
    out[i] = w:tolist()
  end
  return out
end

local sources = {
  rows = function()
    return D.from_tensor_slices(X, Y):shuffle(44):batch(8):prefetch(2)
  end,
  elements = function()
    return D.from_tensor_slices(X, Y):map(function(x, y) return x * 1, y end):shuffle(20)
      :batch(8, { drop_remainder = true })
  end,
  ["repeated rows"] = function()
    return D.from_tensor_slices(X, Y):shuffle(44):rep():batch(8)
  end,
  windows = function()
    return D.from_tensor_slices(X, Y):window(8, 5):shuffle(3):flat_map(function(x, y)
      return D.zip(x:batch(8), y:batch(8))
    end)
  end,
}

describe("fit from a Dataset", function()
  for name, make in pairs(sources) do
    it("goes on from a checkpoint after any batch: " .. name, function()
      local endless = name:find "repeated" and 5 or nil
      local function run(at, dir)
        local m, n = model(), 0
        local list = {}
        if dir then
          list[1] = callbacks.BackupAndRestore { dir, save_freq = 1 }
        end
        list[#list + 1] = { on_train_batch_end = function()
          n = n + 1
          if n == at then
            error("crash", 0)
          end
        end }
        tide.seed(at and 5 or dir and 99 or 5)
        local ok, e = pcall(function()
          return m:fit(make(), { epochs = 3, verbose = 0, steps_per_epoch = endless,
            callbacks = list })
        end)
        assert(ok or tostring(e):find "crash", tostring(e))
        return ok and { weights(m), e.history.loss:totable(), e.history.accuracy:totable() }
      end
      local want = run()
      for _, at in ipairs { 2, 5, 8, 13 } do
        local dir = expect.name()
        assert.is_false(run(at, dir))
        assert.same(want, run(nil, dir), "crash at batch " .. at)
        os.remove(dir)
      end
    end)
  end

  it("is that from the tensors", function()
    local a, b = model(), model()
    tide.seed(8)
    local h = a:fit(X, Y, { epochs = 2, batch_size = 8, shuffle = false, verbose = 0 })
    tide.seed(8)
    local g = b:fit(D.from_tensor_slices(X, Y):batch(8), { epochs = 2, verbose = 0 })
    assert.same(h.history.loss:totable(), g.history.loss:totable())
    assert.same(weights(a), weights(b))
    local ds = D.from_tensor_slices(X, Y):batch(8)
    assert.same({ a:evaluate(X, Y, { batch_size = 8, verbose = 0 }) },
      { a:evaluate(ds, { verbose = 0 }) })
    expect.close(a:predict(ds, { verbose = 0 }):tolist(), a:predict(X, { verbose = 0 }):tolist(),
      1e-6, 1e-6)
  end)

  it("says that data without end need a number of steps", function()
    local m = model()
    expect.has(expect.message(m.fit, m, sources["repeated rows"](), { verbose = 0 }),
      "fit: the data have no end; give steps_per_epoch, the number of batches")
    expect.has(expect.message(m.predict, m, D.from_tensor_slices(X):rep():batch(4)),
      "predict: the data have no end; give steps")
  end)

  it("ends what runs for the data, and goes on after Ctrl-C", function()
    local ds = sources.elements()
    local open
    local m = model()
    m:fit(ds, { epochs = 1, verbose = 0, callbacks = { { on_batch_end = function()
      open = ds._pass.iterator ~= nil
    end } } })
    assert.is_true(open)
    assert.is_nil(ds._pass.iterator)
  end)

  it("feeds adapt", function()
    local a, b = layers.Normalization(), layers.Normalization()
    a:adapt(X)
    b:adapt(D.from_tensor_slices(X):batch(7))
    expect.close(a.mean:tolist(), b.mean:tolist(), 1e-5, 1e-5)
  end)
end)

describe("a place", function()
  it("is found by another process", function()
    local path, result, program = os.tmpname(), os.tmpname(), os.tmpname()
    local source = [[
      local tide = require "tide"
      local D = tide.data.Dataset
      local ds = D.range(200):map(function(x) return x * 2 end):shuffle(50)
        :batch(3):filter(function(b) return b[1] % 3 ~= 1 end):rep(2)
    ]]
    local f <close> = assert(io.open(program, "w"))
    f:write(source, [[
      ds:load_position(arg[1])
      local out = assert(io.open(arg[2], "w"))
      for b in ds:iter() do out:write(table.concat(b:tolist(), ","), "\n") end
      out:close()
    ]])
    f:close()
    tide.seed(7)
    local ds = assert(load(source .. " return ds"))()
    local want = {}
    for b in ds:iter() do
      want[#want + 1] = table.concat(b:tolist(), ",")
    end
    for _, at in ipairs { 0, 1, 17, #want - 1, #want } do
      tide.seed(7)
      local again = assert(load(source .. " return ds"))()
      local pass = again:iter()
      for _ = 1, at do
        pass()
      end
      again:save_position(path)
      local ok = os.execute(("%s %s %s %s"):format(expect.command, program, path, result))
      assert.is_true(ok)
      local got = {}
      for line in io.lines(result) do
        got[#got + 1] = line
      end
      assert.same(table.move(want, at + 1, #want, 1, {}), got)
    end
    for _, name in ipairs { path, result, program } do
      os.remove(name)
    end
  end)
end)

describe("small batches of arrays, which are made several at a time", function()
  local adapter = require "tide.data.adapter"
  local n, words = 90, {}
  for i = 1, n do
    words[i] = "w" .. i
  end
  local x, y = tide.arange(n * 3):reshape { n, 3 }, tide.arange(n):cast "int64"
  local forms = {
    { x = x, y = y },
    { x = { a = x, b = words, c = y }, y = y },
    { x = { x, words }, y = { y, false }, sample_weight = { tide.ones { n }, false } },
    { x = words, y = tide.ones { n, 1 },
      class_weight = adapter.class_weight({ [0] = 1, [1] = 2 }, "binary") },
    { x = { a = y } },
  }

  local function plain(v)
    if type(v) == "userdata" then
      return { v.dtype, v:tolist() }
    elseif type(v) ~= "table" then
      return v
    end
    local out = {}
    for k, e in pairs(v) do
      out[k] = plain(e)
    end
    return out
  end

  local function source(form, shuffle, together)
    tide.seed(4)
    local o = { batch_size = 4, shuffle = shuffle }
    for k, v in pairs(form) do
      o[k] = v
    end
    local s = adapter.new(o)
    assert.is_true(s.together > 8)
    s.together = together or s.together
    s:begin()
    return s
  end

  local function rest(s)
    local out = {}
    while true do
      local batch = table.pack(s:next())
      if batch[1] == nil then
        return out
      end
      out[#out + 1] = plain(batch)
    end
  end

  it("are those that are made one by one, from any place", function()
    for _, form in ipairs(forms) do
      for _, shuffle in ipairs { true, false, "batch" } do
        local want = rest(source(form, shuffle, 1))
        assert.equal(23, #want)
        for _, together in ipairs { 2, 8, 64 } do
          local s = source(form, shuffle, together)
          assert.same(want, rest(s))
          for k = 0, 22, 5 do
            s = source(form, shuffle, together)
            for _ = 1, k do
              s:next()
            end
            local other = source(form, shuffle, together)
            other:next()
            other:restore(s:state())
            assert.same(table.move(want, k + 1, 23, 1, {}), rest(other))
            assert.same(table.move(want, k + 1, 23, 1, {}), rest(s))
          end
        end
      end
    end
  end)

  it("show what was written into the data meanwhile", function()
    for _, shuffle in ipairs { true, false, "batch" } do
      local t = tide.zeros { n, 2 }
      local s = source({ x = { a = t, b = words } }, shuffle)
      for k = 1, 23 do
        assert.equal(k - 1, s:next().a:max():item())
        t:fill_(k)
      end
    end
  end)
end)
