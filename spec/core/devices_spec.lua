-- Devices: where tensors are made, what happens between two of them, and that only kernels and
-- counted copies touch the memory of one that is not the host's.
local tide = require "tide"
local core = require "tide.core"

local function counts()
  local i = core.device_info "test"
  return i.copies_in, i.copies_out
end

-- Runs f with "test" as the default device; errors come through.
local function on_test(f)
  local was = core.default_device "test"
  local ok, message = pcall(f)
  core.default_device(was)
  assert(ok, message)
end

describe("A device", function()
  it("holds what is made on it and what is computed from that", function()
    local x = tide.tensor({ { 1, 2 }, { 3, 4 } }, { device = "test" })
    assert.equal("test", x.device)
    assert.equal("test", (x * 2 + 1).device)
    assert.equal("test", tide.ops.zeros_like(x).device)
    assert.equal("test", tide.ones({ 2 }, { device = "test" }).device)
    assert.same({ { 3, 5 }, { 7, 9 } }, (x * 2 + 1):tolist())
    assert.equal(4, x[2][2])
    assert.equal("cpu", x:to("cpu").device)
    assert.same({ { 1, 3 }, { 2, 4 } }, x:transpose():to("cpu"):tolist())
  end)

  it("gives gradients where the tensors are", function()
    local x = tide.tensor({ 1, 2, 3 }, { device = "test", requires_grad = true })
    local y = tide.ops.clip(x * x, 0, 5):tanh():sum() + tide.ops.var(x)
    y:backward()
    assert.equal("test", x.grad.device)
    local c = tide.tensor({ 1, 2, 3 }, { requires_grad = true })
    local z = tide.ops.clip(c * c, 0, 5):tanh():sum() + tide.ops.var(c)
    z:backward()
    assert.same(c.grad:tolist(), x.grad:tolist())
  end)

  it("does not mix with another, and the message says what to do", function()
    local x = tide.ones({ 2 }, { device = "cpu" })
    local y = tide.ones({ 2 }, { device = "test" })
    local ok, message = pcall(function()
      return x + y
    end)
    assert.is_false(ok)
    local expected = "add: tensors are on different devices (cpu and test); "
      .. 'move one, e.g. x:to("cpu")'
    assert.truthy(tostring(message):find(expected, 1, true), tostring(message))
    ok, message = pcall(tide.ones, { 2 }, { device = "moon" })
    assert.is_false(ok)
    assert.truthy(tostring(message):find("no device 'moon' here", 1, true), tostring(message))
  end)

  it("has what stands as plain data beside its tensors", function()
    local x = tide.tensor({ 1, 2 }, { device = "test", dtype = "int32" })
    assert.same({ 2, 3 }, (x + 1):tolist())
    assert.same({ 2, 4 }, (x + { 1, 2 }):tolist())
    assert.same({ 3, 5 }, (x:cast "float32" + { 2, 3 }):tolist())
    assert.same({ 1.5, 2.5 }, (x:cast "float16" + 0.5):tolist())
    assert.same({ 0, 7 }, tide.ops.where(x:greater(1), 7, 0):tolist())
    assert.same({ 1, 2, 3, 4 }, tide.ops.concatenate({ x:cast "float32", { 3, 4 } }):tolist())
    assert.equal(5, tide.ops.max(x:cast "float32", { initial = 5 }):item())
    local w = tide.ones({ 2 }, { device = "test" })
    assert.same({ 4, 5 }, w:add_({ 3, 4 }):tolist())
  end)

  it("takes values from another by counted copies", function()
    local x = tide.ones({ 2 }, { device = "test" })
    local into, out = counts()
    x:copy_(tide.tensor { 3, 4 })
    local into1, out1 = counts()
    assert.same({ 1, 0 }, { into1 - into, out1 - out })
    local c = tide.zeros { 2 }
    c:copy_(x)
    local into2, out2 = counts()
    assert.same({ 0, 1 }, { into2 - into1, out2 - out1 })
    assert.same({ 3, 4 }, c:tolist())
  end)

  it("takes no gradient from another", function()
    local x = tide.ones({ 2 }, { device = "test", requires_grad = true })
    local far = tide.tensor({ 1, 1 }, { requires_grad = true })
    local y = x * 1
    for what, f in pairs {
      ["copy_"] = function()
        y:copy_(far * 2)
      end,
      ["newindex"] = function()
        y[1] = far[1]
      end,
      ["grad"] = function()
        x.grad = tide.ones { 2 }
      end,
    } do
      local ok, message = pcall(f)
      assert.is_false(ok, what)
      assert.truthy(tostring(message):find("device", 1, true), tostring(message))
    end
    assert.is_nil(x.grad)
    local loss = (far * 2):sum()
    local hooked, seeded = far * 2, far * 2
    hooked:register_hook(function(g) return g:to "test" end)
    local custom = tide.ops.custom_gradient(function(v)
      return v * 2, function(dy) return (dy * 2):to "test" end
    end)
    for what, f in pairs {
      hook = function() hooked:sum():backward() end,
      seed = function() seeded:backward(tide.ones({ 2 }, { device = "test" })) end,
      rule = function() custom(far):sum():backward() end,
    } do
      local ok, message = pcall(f)
      assert.is_false(ok, what)
      assert.truthy(tostring(message):find("(expected it on cpu, got it on test)", 1, true),
        tostring(message))
    end
    assert.is_nil(far.grad)
    loss:backward()
    assert.same({ 2, 2 }, far.grad:tolist())
  end)

  it("gets a table with the rows that lag behind brought up to date", function()
    local shape = { 2000, 64 } -- large enough for rows to lag
    local function trained()
      local w = tide.ones(shape, { requires_grad = true })
      local m, v = tide.zeros(shape), tide.zeros(shape)
      local touched = tide.zeros({ shape[1] }, { dtype = "uint8" })
      for step = 1, 4 do
        local rows = tide.ops.embedding(w, tide.tensor({ step, step + 1 }, { dtype = "int64" }))
        local g = tide.grad((rows * rows):sum(), { w }, { sparse = true })
        local now = { learning_rate = 0.1, step = step }
        core.ops.adam_step_({ w }, g, { m }, { v }, { false }, { touched }, now)
      end
      return w:detach()
    end
    local here, there = trained():copy(), trained():to "test"
    assert.same(here[{ { 1, 6 } }]:tolist(), there[{ { 1, 6 } }]:tolist())
  end)

  it("is asked only where the host needs numbers", function()
    on_test(function()
      local x = tide.tensor { { 1, 2 }, { 3, 4 } }
      local kernel = tide.ops.ones { 2, 2 }
      kernel.requires_grad = true
      local before_in, before_out = counts()
      local y = (tide.ops.linear(x, kernel) * 0.5 - 1):relu():mean()
      y:backward()
      local after_in, after_out = counts()
      assert.same({ before_in, before_out }, { after_in, after_out })
      local _ = y:item()
      local _, shown = counts()
      assert.equal(after_out + 1, shown)
    end)
  end)
end)

describe("A training step on a device copies", function()
  -- Copies in and out of `steps` more steps beside those of as many fewer.
  local function copies(model, x, y)
    local function run(steps)
      local was_in, was_out = counts()
      model:fit(x, y, { epochs = 1, steps_per_epoch = steps, batch_size = 8, verbose = 0 })
      local now_in, now_out = counts()
      return now_in - was_in, now_out - was_out
    end
    run(2)
    local few_in, few_out = run(2)
    local many_in, many_out = run(10)
    return (many_in - few_in) / 8, (many_out - few_out) / 8
  end

  local function rows(n)
    local labels = {}
    for i = 1, n do
      labels[i] = i % 3 + 1
    end
    return tide.tensor(labels, { dtype = "int32" })
  end

  it("nothing of a small network", function()
    on_test(function()
      local model = tide.Sequential {
        tide.layers.Dense { 16, activation = "relu", input_shape = { 12 } },
        tide.layers.Dense { 3 },
      }
      local loss = tide.losses.SparseCategoricalCrossentropy { from_logits = true }
      model:compile { optimizer = "adam", loss = loss }
      local into, out = copies(model, tide.random.normal { 80, 12 }, rows(80))
      assert.same({ 0, 0 }, { into, out })
    end)
  end)

  it("nothing of a convolutional network with a metric", function()
    on_test(function()
      local model = tide.Sequential {
        tide.layers.Conv2D { 4, 3, activation = "relu", input_shape = { 8, 8, 1 } },
        tide.layers.MaxPooling2D { 2 },
        tide.layers.BatchNormalization {},
        tide.layers.Flatten {},
        tide.layers.Dropout { 0.5 },
        tide.layers.Dense { 3 },
      }
      local loss = tide.losses.SparseCategoricalCrossentropy { from_logits = true }
      model:compile { optimizer = "sgd", loss = loss, metrics = { "accuracy" } }
      local into, out = copies(model, tide.random.normal { 80, 8, 8, 1 }, rows(80))
      assert.same({ 0, 0 }, { into, out })
    end)
  end)
end)

describe("The memory of the device test", function()
  it("ends a host that touches it", function()
    local made = os.tmpname()
    local cc = "unset LD_PRELOAD; ${CC:-cc} -std=gnu11 -O1 -Isrc -Ikernels spec/support/touch.c"
      .. " -o %s -lpthread"
    if not os.execute "${CC:-cc} --version >/dev/null 2>&1" then
      os.remove(made)
      return pending "needs a compiler"
    end
    assert.is_true(os.execute(cc:format(made)))
    local pipe = assert(io.popen(("env -u LD_PRELOAD %s 2>&1"):format(made)))
    local text = pipe:read "a"
    pipe:close()
    os.remove(made)
    assert.equal("ok\n", text)
  end)
end)

describe("The pacing of the collector", function()
  it("counts what lives on a device that is not the default one", function()
    local before, most = core.memory().live_tensors, 0
    local x = tide.ones({ 1 << 20 }):to "test"
    for _ = 1, 200 do
      local _ = x + x
      most = math.max(most, core.memory().live_tensors - before)
    end
    assert.is_true(most < 100, most .. " temporaries of 4 MiB lived at once")
  end)
end)

describe("A tensor over a mapped file", function()
  local path = os.tmpname()
  setup(function()
    local f = assert(io.open(path, "wb"))
    f:write(("\0"):rep(8), string.pack("<ffffff", 1, 2, 3, 4, 5, 6))
    f:close()
  end)
  teardown(function()
    os.remove(path)
  end)

  it("holds the file's elements and belongs to nobody's memory", function()
    local before = core.memory().live_bytes
    local x = core.map_file(path, "float32", { 2, 3 }, 8)
    assert.equal(before, core.memory().live_bytes)
    local y = x:transpose()
    x = nil -- luacheck: ignore 311
    collectgarbage()
    assert.same({ { 1, 4 }, { 2, 5 }, { 3, 6 } }, y:tolist())
    y:copy_(y * 2)
    assert.same({ { 2, 8 }, { 4, 10 }, { 6, 12 } }, y:tolist())
    assert.same({ 1, 2 }, core.map_file(path, "float32", { 2 }, 8):tolist()) -- the file stays
  end)

  it("is refused where the file has fewer elements or they stand elsewhere", function()
    for text, arguments in pairs {
      ["the file is too short (expected 28 bytes from 8, the file has 32)"] = { { 7 }, 8 },
      ["elements begin at a multiple of their size (expected one of 4, got 6)"] = { { 2 }, 6 },
      ["a shape of lengths from 1 is due"] = { { 0 }, 8 },
    } do
      local ok, message = pcall(core.map_file, path, "float32", arguments[1], arguments[2])
      assert.is_false(ok)
      assert.truthy(tostring(message):find(text, 1, true), tostring(message))
    end
    assert.is_false(pcall(core.map_file, path .. ".none", "float32", { 1 }))
  end)
end)
