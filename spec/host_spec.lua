-- What a program that embeds Tide relies on: handlers of its own, threads with a state each, forks.
-- The scripts run in spec/support/host.c, which says what they may call.
local expect = require "spec.support.expect"

describe("A program that embeds Tide", function()
  local folder

  setup(function()
    folder = expect.folder()
    local flags = io.popen "pkg-config --cflags --libs lua5.4 2>/dev/null":read "a"
    local compile = "unset LD_PRELOAD; ${CC:-cc} -std=gnu11 -g spec/support/host.c -o %s/host %s "
      .. "-lpthread"
    assert(os.execute(compile:format(folder, flags:gsub("\n", " "))))
  end)

  teardown(function()
    os.execute("rm -r " .. folder)
  end)

  -- What the program says when `threads` threads run the script.
  local function run(threads, script, env)
    local path = expect.write(folder .. "/script.lua", script)
    local host = expect.lua:gsub("lua5.4$", "")
    local pipe = io.popen(("%s %s timeout 100 %s/host %d %s 2>&1"):format(env or "", host, folder,
      threads, path))
    local text = pipe:read "a"
    pipe:close()
    return text
  end

  it("has its handler of Ctrl-C called with what it asked for", function()
    assert.equal("ok\n", run(1, [[
      hear()
      local core = require "tide.core"
      local watching = core.watch_interrupts()
      press() -- the first one is Tide's
      assert(core.interrupted() and heard() == 0)
      press()
      local calls, known = heard()
      assert(calls == 1 and known, ("called %d times, told by whom: %s"):format(calls, known))
      getmetatable(watching).__close(watching)
      press()
      calls, known = heard()
      assert(calls == 2 and known)
    ]]))
  end)

  -- Ten times, at other moments: what was there before is the old result or the new one.
  it("interrupts a kept step before or behind its kernel, never within", function()
    assert.equal("ok\n", run(1, [[
      local core, tide = require "tide.core", require "tide"
      core.engines "plain"
      local a, b = tide.random.normal { 900, 1500 }, tide.random.normal { 1500, 1100 }
      local y
      local kept = core.keep_steps(function() y = core.ops.matmul(a, b) end)
      local whole = { [y:tobytes()] = true }
      a:multiply_(2)
      core.run_steps(kept)
      whole[y:tobytes()] = true
      local stopped = 0
      for i = 1, 10 do
        a:multiply_(i % 2 == 1 and 0.5 or 2)
        cancel(core.cancel_flag(), 0.002 * i)
        local ok, e = pcall(function()
          for _ = 1, 100 do core.run_steps(kept) end
        end)
        assert(ok or tostring(e):find "interrupted!", e)
        stopped = stopped + (ok and 0 or 1)
        assert(whole[y:tobytes()], "a result that is neither the old one nor the new one")
      end
      assert(stopped == 10, stopped)
    ]]))
  end)

  it("interrupts one convolution, which is right when it is called again", function()
    for _, engines in ipairs { "plain", "onednn plain" } do
      for _, threads in ipairs { 1, 2 } do
        assert.equal("ok\n", run(1, ([[
          local core, tide = require "tide.core", require "tide"
          core.engines "%s"
          local x, stopped = tide.random.normal { 16, 56, 56, 64 }, 0
          for i = 1, 6 do
            local kernel = tide.random.normal { 3, 3, 64, 64 }
            cancel(core.cancel_flag(), 0.004 * i)
            local ok, e = pcall(core.ops.conv, x, kernel, { padding = "same" })
            assert(ok or tostring(e):find "interrupted!", e)
            stopped = stopped + (ok and 0 or 1)
            cancel(core.cancel_flag(), 0)
            local y = core.ops.conv(x, kernel, { padding = "same" })
            assert(y:tobytes() == core.ops.conv(x, kernel:copy(), { padding = "same" }):tobytes())
          end
          assert(stopped > 0, "no call was interrupted")
        ]]):format(engines), "TIDE_THREADS=" .. threads))
      end
    end
  end)

  -- The second product of the batch finds that it need not begin.
  it("interrupts products of halves, which are right when they are called again", function()
    assert.equal("ok\n", run(1, [[
      local core, tide = require "tide.core", require "tide"
      core.engines "plain"
      local a = tide.ones({ 2, 200, 40000 }, { dtype = "bfloat16" })
      local b = tide.ones({ 2, 40000, 200 }, { dtype = "bfloat16" })
      local stopped = 0
      for i = 1, 4 do
        cancel(core.cancel_flag(), 0.003 * i)
        local ok, e = pcall(core.ops.matmul, a, b)
        cancel(core.cancel_flag(), 0)
        assert(ok or tostring(e):find "interrupted!", e)
        stopped = stopped + (ok and 0 or 1)
      end
      assert(stopped > 0, "no call was interrupted")
      local y = core.ops.matmul(a, b)
      assert(y:min():item() == 39936 and y:max():item() == 39936) -- 40000 in bfloat16
    ]]))
  end)

  it("interrupts the readers of files", function()
    assert.equal("ok\n", run(1, ([[
      local core, tide = require "tide.core", require "tide"
      local folder = %q
      core.write_file(folder .. "/f", "text")
      core.write_file(folder .. "/i", string.pack(">BBBB I4 B", 0, 0, 8, 1, 1, 7))
      core.safetensors_write(folder .. "/s", { { "a", tide.ones { 3 } } }, {})
      core.zip_write(folder .. "/z", { { "m", "text" } })
      core.blob_write(folder .. "/h", core.hdf5_encode({ { "/a", tide.ones { 3 } } }, "{}"))
      local file, zip = core.safetensors_open(folder .. "/s"), core.zip_open(folder .. "/z")
      local readers = {
        f = function() return core.read_file(folder .. "/f") end,
        i = function() return core.idx_read(folder .. "/i") end,
        s = function() return core.safetensors_read(file, 1) end,
        z = function() return core.zip_read(zip, "m") end,
        h = function() return core.hdf5_open(folder .. "/h") end,
      }
      for name, read in pairs(readers) do
        cancel(core.cancel_flag(), 1e-6)
        local from = os.clock()
        while os.clock() < from + 0.01 do end
        local ok, e = pcall(read)
        cancel(core.cancel_flag(), 0)
        assert(not ok and tostring(e):find "interrupted!", name .. ": " .. tostring(e))
        assert(pcall(read))
      end
    ]]):format(folder)))
  end)

  it("interrupts what would read billions of elements for one result", function()
    assert.equal("ok\n", run(1, [[
      local core, tide = require "tide.core", require "tide"
      for _, dtype in ipairs { "float32", "int32" } do
        for _, shape in ipairs { { 3, 1 << 33, 4 }, { 20, 1 << 33 } } do
          local one = tide.zeros({ shape[1], 1, shape[3] }, { dtype = dtype })
          local x = core.ops.broadcast_to(one, shape)
          for _, name in ipairs { "sum", "max", "any", "argmax", "var" } do
            if dtype:find "float" or name ~= "var" then
              cancel(core.cancel_flag(), 0.01)
              local ok, e = pcall(core.ops[name], x, { axis = 2 })
              cancel(core.cancel_flag(), 0)
              assert(not ok and (tostring(e):find "interrupted!" or tostring(e):find "memory"),
                name .. " of " .. dtype .. ": " .. tostring(e))
            end
          end
        end
      end
    ]]))
  end)

  -- Workers stay off the caller's core; one that the system has put aside is called to it, and goes
  -- back afterwards.
  it("keeps its own cores, and workers all others, beside a busy neighbour", function()
    local text = run(1, [[
      local tide = require "tide"
      local cores = masks()[1]
      local busy = io.popen "timeout 3 sh -c 'while :; do :; done' & echo $!"
      busy:read "l"
      local x = tide.random.normal { 700, 700 }
      for _, n in ipairs { 4, 2, 3, 1, 2 } do
        tide.set_threads(n)
        for _ = 1, 12 do
          x:matmul(x)
          tide.ops.exp(x)
        end
      end
      for i, n in ipairs(masks()) do
        local least = i == 1 and cores or math.max(cores - 1, 1)
        assert(n >= least, ("thread %d may run on %d of %d cores"):format(i, n, cores))
      end
      print("threads", #masks() >= 1)
    ]])
    assert.matches("threads\ttrue", text)
  end)

  it("starts states in several threads at once, which compute at once", function()
    for _ = 1, 8 do
      assert.equal("ok\n", run(8, [[
        local core, tide = require "tide.core", require "tide"
        local a, k = tide.ones { 70, 80 }, tide.ones { 3, 3, 16, 16 }
        assert(#core.engines() >= 1 and core.cpu_level)
        assert(tide.ops.matmul(a, a:transpose()):sum():item() == 70 * 70 * 80)
        assert(tide.ops.conv(tide.ones { 1, 8, 8, 16 }, k):max():item() == 3 * 3 * 16)
        assert(tide.ones { 4 }:to "test":to "cpu":sum():item() == 4)
      ]]))
    end
  end)

  it("forks, and the child changes nothing of what the parent has on a device", function()
    assert.equal("ok\n", run(1, [[
      local core, tide = require "tide.core", require "tide"
      local x = tide.ones { 4 }:to "test"
      local how = forked(function()
        x:multiply_(5)
        assert(x:to "cpu":sum():item() == 20)
      end)
      assert(how == 0 and x:to "cpu":sum():item() == 4)
    ]]))
  end)

  it("forks while another thread allocates on a device and watches for Ctrl-C", function()
    assert.equal("ok\n", run(2, [[
      local core, tide = require "tide.core", require "tide"
      local function work()
        local _ <close> = core.watch_interrupts()
        local x = tide.ones { 100 }:to "test"
        local sum = (x + x):to "cpu":sum():item()
        core.release(x)
        assert(sum == 200)
      end
      work()
      if number == 2 then
        for _ = 1, 20000 do work() end
      else
        for i = 1, 150 do
          local how = forked(work)
          assert(how == 0, "child " .. i .. ": " .. how)
        end
      end
    ]]))
  end)

  -- Each would go on for half a minute; all of them together have the limit of `run`.
  it("ends factorizations between their columns", function()
    assert.equal("ok\n", run(1, [[
      local core, tide = require "tide.core", require "tide"
      local ops, random = core.ops, tide.random
      local function ends(name, x, f)
        cancel(core.cancel_flag(), 0.01)
        local ok, e = pcall(f or ops[name], x)
        cancel(core.cancel_flag(), 0)
        assert(not ok and tostring(e):find "interrupted!", name .. ": " .. tostring(e))
      end
      local x = random.normal { 5000, 5000 }
      for _, name in ipairs { "inv", "det", "slogdet", "lu_factor", "qr" } do
        ends(name, x)
      end
      ends("solve", x, function() return ops.solve(x, x) end)
      ends("triangle", x, function() return ops.solve_triangular(x, x, { lower = true }) end)
      ends("cholesky", tide.ops.eye(9000))
      local y = random.normal { 3000, 3000 }
      ends("svd", y, tide.ops.svd)
      ends("eigh", y)
    ]]))
  end)

  -- Each would go on for many seconds, too.
  it("ends the training of tokenizers, and what two long texts give in pieces", function()
    assert.equal("ok\n", run(1, [[
      local core, tide = require "tide.core", require "tide"
      local function ends(name, after, f)
        cancel(core.cancel_flag(), after)
        local ok, e = pcall(f)
        cancel(core.cancel_flag(), 0)
        assert(not ok and tostring(e):find "interrupted!", name .. ": " .. tostring(e))
      end
      math.randomseed(3)
      local texts = {}
      for i = 1, 4000 do
        local words = {}
        for k = 1, 100 do
          local word = {}
          for j = 1, math.random(6, 12) do
            word[j] = string.char(96 + math.random(26))
          end
          words[k] = table.concat(word)
        end
        texts[i] = table.concat(words, " ")
      end
      for _, kind in ipairs { "BPE", "WordPiece", "Unigram" } do
        local counts = core.text.counts()
        local t = tide.tokenizers[kind] {}
        for _, text in ipairs(texts) do
          core.text.count(counts, t._core, text)
        end
        for _, after in ipairs { 0.001, 0.05, 0.3, 0.9 } do
          ends(kind, after, function()
            core.text.train(counts, t._core, { vocab_size = 60000 })
          end)
        end
      end
      local t = tide.tokenizers.WordLevel { vocab = { "[UNK]", "a" }, unk_token = "[UNK]" }
      local held = {}
      for _ = 1, 40 do
        held = { held, held }
      end
      ends("JSON", 0.2, function() core.json_encode(held) end)
      t:enable_truncation { max_length = 2 }
      local long = ("a "):rep(20000)
      ends("pieces", 0.2, function() t:encode(long, long) end)
    ]]))
  end)

  it("sorts and counts long lines until Ctrl-C, and uses nothing of what is left", function()
    assert.equal("ok\n", run(1, [[
      local core, tide = require "tide.core", require "tide"
      local ops = core.ops
      local x, n = tide.random.normal { 20000000 }, 20000000
      local at = tide.random.randint({ n }, 1, 1000)
      local rows, ones = at:reshape { n, 1 }, tide.ones { n }
      for _, f in ipairs {
        function() return ops.sort(x) end, function() return ops.argsort(x) end,
        function() return ops.top_k(x, 100000) end, function() return ops.top_k(x, 5) end,
        function() return ops.cumsum(x, 1) end, function() return ops.cumprod(at, 1) end,
        function() return ops.bincount(at) end,
        function() return ops.scatter(rows, ones, { 1000 }) end,
        function() return ops.take(x, at) end, function() return ops.one_hot(at, 50) end,
        function() return ops.flatnonzero(x) end, function() return ops.softmax(x) end,
        function() return x:tolist() end,
      } do
        for _, after in ipairs { 0.002, 0.02, 0.1 } do
          cancel(core.cancel_flag(), after)
          local ok, e = pcall(f)
          cancel(core.cancel_flag(), 0)
          assert(ok or tostring(e):find "interrupted!", tostring(e))
        end
      end
      assert(ops.sort(tide.tensor { 3, 1, 2 }):tolist()[1] == 1)
    ]]))
  end)

  it("forks beside an image loader: the child has no workers and waits for none", function()
    assert.equal("ok\n", run(1, [[
      local tide = require "tide"
      local generator = tide.preprocessing.image.ImageDataGenerator {}
      local it = generator:flow(tide.ones { 64, 32, 32, 3 }, tide.ones { 64 }, { batch_size = 4 })
      it:next()
      local how = forked(function()
        local ok, e = pcall(it.next, it)
        assert(not ok and tostring(e):find "forked from", tostring(e))
        it = nil
        collectgarbage()
        collectgarbage()
        local again = generator:flow(tide.ones { 8, 4, 4, 3 }, tide.ones { 8 }, { batch_size = 4 })
        assert(again:next()[1].shape[1] == 4)
      end)
      assert(how == 0, how)
      it:next()
    ]]))
  end)
end)
