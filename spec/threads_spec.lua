-- The thread team: how many threads there are, and that nobody's results depend on it.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"
local ops, layers = tide.ops, tide.layers

local COUNTS = { 1, 2, 3, 4, 7 }

local function numbers(shape, seed)
  return ops.random_normal(shape, { seed = seed })
end

-- The bits of what `f` returns (a list of tensors), for every number of threads the same.
local function same_bits(f)
  local was, first = core.get_threads(), nil
  for _, n in ipairs(COUNTS) do
    core.set_threads(n)
    local ok, list = pcall(f)
    core.set_threads(was)
    assert(ok, list)
    local bits = {}
    for i, x in ipairs(list) do
      bits[i] = x:tobytes()
    end
    first = first or bits
    assert.equal(#first, #bits)
    for i = 1, #bits do
      assert.is_true(first[i] == bits[i], ("result %d differs with %d threads"):format(i, n))
    end
  end
end

local function with_gradients(f, ...)
  local inputs = { ... }
  for i, x in ipairs(inputs) do
    inputs[i] = x:detach():requires_grad_(true)
  end
  local y = f(table.unpack(inputs))
  return { y, table.unpack(core.gradients((y * y):sum(), inputs)) }
end

local every = core.engines()
for _, only in ipairs { "onednn blas plain", "onednn plain", "blas plain", "plain" } do
  describe("results by " .. only, function()
    setup(function()
      core.engines(only)
    end)
    teardown(function()
      core.engines(table.concat(every, " "))
    end)

    for _, s in ipairs {
      { 32, 784, 64 },
      { 200, 300, 500 },
      { 1, 1600, 512 },
      { 3, 900, 700 },
      { 517, 33, 129 },
      { 1000, 1000, 1 },
    } do
      it(("of a product %d x %d x %d do not depend on threads"):format(s[1], s[2], s[3]), function()
        same_bits(function()
          return with_gradients(ops.matmul, numbers({ s[1], s[2] }, 1), numbers({ s[2], s[3] }, 2))
        end)
      end)
    end

    it("of batches of products in double precision do not depend on threads", function()
      same_bits(function()
        local a, b = numbers({ 20, 65, 90 }, 1), numbers({ 20, 90, 70 }, 2)
        return with_gradients(ops.matmul, ops.cast(a, "float64"), ops.cast(b, "float64"))
      end)
    end)

    for label, case in pairs {
      ["many images"] = { { 37, 14, 13, 24 }, { 3, 3, 24, 32 }, { padding = "same" } },
      ["one image"] = { { 1, 33, 31, 16 }, { 3, 3, 16, 40 }, { padding = "same" } },
      ["strides"] = { { 1, 65, 64, 16 }, { 5, 5, 16, 32 }, { padding = "same", strides = 2 } },
      ["dilated"] = { { 2, 40, 41, 16 }, { 3, 3, 16, 32 }, { dilation_rate = 3 } },
      ["one channel"] = { { 16, 28, 28, 1 }, { 3, 3, 1, 32 }, {} },
      ["groups"] = { { 9, 20, 20, 32 }, { 3, 3, 8, 32 }, { groups = 4, padding = "same" } },
      ["depthwise"] = { { 9, 20, 20, 32 }, { 3, 3, 1, 32 }, { groups = 32, padding = "same" } },
      ["points"] = { { 9, 20, 20, 32 }, { 1, 1, 32, 48 }, {} },
      ["lines"] = { { 3, 700, 32 }, { 5, 32, 48 }, { padding = "causal" } },
      ["volumes"] = { { 1, 12, 14, 13, 16 }, { 3, 3, 3, 16, 16 }, { padding = "same" } },
    } do
      it("of a convolution do not depend on threads: " .. label, function()
        local bias = numbers({ case[2][#case[2]] }, 3)
        case[3].activation = "relu"
        same_bits(function()
          return with_gradients(function(x, k, b)
            case[3].bias = b
            return ops.conv(x, k, case[3])
          end, numbers(case[1], 1), numbers(case[2], 2), bias)
        end)
      end)
    end

    it("of training do not depend on threads", function()
      local x, y = numbers({ 96, 20, 20, 1 }, 5), ops.random_randint({ 96 }, 1, 11, { seed = 6 })
      same_bits(function()
        tide.seed(1)
        local model = tide.Sequential {
          tide.Input { 20, 20, 1 },
          layers.Conv2D { 16, 3, activation = "relu" },
          layers.BatchNormalization(),
          layers.MaxPooling2D(),
          layers.Conv2D { 32, 3, activation = "relu" },
          layers.Flatten(),
          layers.Dropout { 0.5 },
          layers.Dense { 64, activation = "relu" },
          layers.Dense { 10 },
        }
        local loss = tide.losses.SparseCategoricalCrossentropy { from_logits = true }
        model:compile { optimizer = tide.optimizers.Adam { 1e-2 }, loss = loss }
        model:fit(x, y, { batch_size = 48, epochs = 2, verbose = 0 })
        return model.weights
      end)
    end)
  end)
end

describe("pieces of a convolution", function()
  -- Rows and images that are computed apart meet without a seam: float64 goes through other code.
  for label, case in pairs {
    ["rows of one image"] = { { 1, 33, 31, 16 }, { 3, 3, 16, 40 }, { padding = "same" } },
    ["rows, strides"] = { { 1, 65, 64, 16 }, { 5, 5, 16, 32 }, { padding = "same", strides = 2 } },
    ["rows, dilated"] = { { 2, 40, 41, 16 }, { 3, 3, 16, 32 }, { dilation_rate = 7 } },
    ["rows of a line"] = { { 1, 4000, 32 }, { 5, 32, 48 }, { padding = "causal" } },
    ["images"] = { { 37, 14, 13, 24 }, { 3, 3, 24, 32 }, { padding = "same" } },
  } do
    it("are the whole: " .. label, function()
      local function all(dtype)
        local x, k = ops.cast(numbers(case[1], 1), dtype), ops.cast(numbers(case[2], 2), dtype)
        return with_gradients(function(a, b)
          return ops.conv(a, b, case[3])
        end, x, k)
      end
      local want = all "float64"
      for i, got in ipairs(all "float32") do
        local off = ops.max(ops.abs(ops.cast(got, "float64") - want[i])):item()
        local most = ops.max(ops.abs(want[i])):item()
        assert.is_true(off <= 1e-5 * most, ("part %d is off by %g of %g"):format(i, off, most))
      end
    end)
  end
end)

describe("the number of threads", function()
  local function run(env, script)
    local line = ("%s %s -e %s 2>&1"):format(env, expect.command, expect.quoted(script))
    local pipe = assert(io.popen(line))
    local text = pipe:read "a"
    pipe:close()
    return text
  end
  local say = "print(tide.get_threads())"

  it("is what TIDE_THREADS says, then OMP_NUM_THREADS", function()
    assert.equal("5\n", run("env -u OMP_NUM_THREADS TIDE_THREADS=5", say))
    assert.equal("3\n", run("env -u TIDE_THREADS OMP_NUM_THREADS=3,2", say))
    assert.equal("4\n", run("env TIDE_THREADS=4 OMP_NUM_THREADS=3", say))
  end)

  it("is that of the cores this process may use", function()
    if os.execute "command -v taskset >/dev/null" then
      assert.equal("1\n", run("env -u TIDE_THREADS -u OMP_NUM_THREADS taskset -c 0", say))
    end
  end)

  it("may be larger than that of the cores", function()
    local was = core.get_threads()
    core.set_threads(64)
    assert.equal(64, core.get_threads())
    local x = numbers({ 3000, 200 }, 1)
    local total = (x * 2 - x - x):abs():sum():item()
    local many = ops.matmul(x, ops.transpose(x)):tobytes()
    core.set_threads(was)
    assert.equal(0, total)
    assert.is_true(many == ops.matmul(x, ops.transpose(x)):tobytes())
  end)

  it("is lowered where the system refuses so many, with a warning", function()
    if os.getenv "ASAN_OPTIONS" then
      return pending "AddressSanitizer wants more memory than the limit leaves"
    end
    local text = run("ulimit -v 1000000; TIDE_THREADS=2", [[
      tide.set_threads(1024)
      print(tide.get_threads(), tide.ones({ 1000, 1000 }):sum():item())]])
    assert.matches("^tide: set_threads: (%d+) threads compute where 1024 were asked for %(.-%)\n%1"
      .. "\t1000000", text)
  end)

  it("that the environment asks for is lowered where the system refuses so many", function()
    if os.getenv "ASAN_OPTIONS" then
      return pending "AddressSanitizer wants more memory than the limit leaves"
    end
    local text = run("ulimit -v 1000000; TIDE_THREADS=1000", [[
      local x = tide.ones { 8000, 8000 }
      print(x:sum():item(), tide.get_threads() < 1000)
      x = tide.ones { 3000, 3000 }
      print((x * x):sum():item())]])
    assert.equal("64000000.0\ttrue\n9000000.0\n", text)
  end)

  it("is lowered where no more processes are allowed", function()
    -- the limit does not bind root: a person without rights, where root may become one
    local as = "setpriv --reuid=65533 --regid=65533 --clear-groups prlimit --nproc=6 "
    if not os.execute(as .. "true 2>/dev/null") then
      return pending "prlimit or another person's rights are not to be had"
    end
    local script = [[
      local tide = require "tide"
      tide.set_threads(2)
      tide.set_threads(64)
      print(tide.get_threads(), tide.ones({ 1000, 1000 }):sum():item())
      tide.set_threads(1)
      print(tide.get_threads())]]
    local pipe = io.popen(("%s%s -e %s 2>&1"):format(as, expect.command, expect.quoted(script)))
    assert.matches("^tide: set_threads: (%d+) threads compute where 64 were asked for %(.-%)\n%1"
      .. "\t1000000%.?0?\n1\n$", pipe:read "a")
    pipe:close()
  end)

  it("is a whole number from 1 to 1024", function()
    for _, n in ipairs { 0, -1, 1025 } do
      expect.raises("n must be 1..1024", core.set_threads, n)
    end
  end)
end)

describe("bits of products and convolutions", function()
  local all = table.concat(core.engines(), " ")
  for _, engine in ipairs { "onednn", "blas", "plain", all } do
    it("are those of one thread with 2, 3, 4 and 7, by " .. engine, function()
      core.engines(engine)
      local ok, e = pcall(function()
        for i, s in ipairs { { 1, 300, 17 }, { 64, 64, 64 }, { 3, 500, 33 }, { 129, 784, 128 } } do
          local a, b = numbers({ s[1], s[2] }, i), numbers({ s[2], s[3] }, i + 9)
          same_bits(function() return with_gradients(ops.matmul, a, b) end)
        end
        for i, s in ipairs { { 8, 28, 28, 1, 16, 3 }, { 2, 14, 14, 16, 32, 3 },
          { 1, 64, 64, 3, 8, 3 }, { 16, 8, 8, 32, 64, 1 }, { 3, 17, 13, 5, 7, 5 } } do
          local x = numbers({ s[1], s[2], s[3], s[4] }, i)
          local k = numbers({ s[6], s[6], s[4], s[5] }, i + 9)
          for stride = 1, 2 do
            same_bits(function()
              return with_gradients(function(v, w)
                return ops.conv(v, w, { strides = stride, padding = "same" })
              end, x, k)
            end)
          end
        end
      end)
      core.engines(all)
      assert(ok, e)
    end)
  end
end)

describe("the team", function()
  -- In C, where a worker can be held up: spec/support/team.c.
  for label, flags in pairs { [""] = "", [" under ThreadSanitizer"] = "-fsanitize=thread" } do
    it("computes every chunk once and waits for nobody who has not begun" .. label, function()
      if not os.execute "command -v ${CC:-cc} >/dev/null" then
        return pending "needs a compiler"
      end
      local made = os.tmpname()
      local cc = "unset LD_PRELOAD; cc=\"${CC:-cc} -g\"; "
        .. "$cc -std=gnu11 -O1 -fopenmp %s -c -Isrc -Ikernels spec/support/team.c -o %s.o"
        .. " && $cc %s %s.o -lpthread -o %s"
      assert(os.execute(cc:format(flags, made, flags, made, made)))
      local pipe = assert(io.popen(("env -u LD_PRELOAD timeout 300 %s 2>&1"):format(made)))
      local text = pipe:read "a"
      pipe:close()
      os.remove(made)
      os.remove(made .. ".o")
      assert.equal("ok\n", text)
    end)
  end
end)
