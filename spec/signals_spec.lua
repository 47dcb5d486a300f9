-- Signals that arrive while libraries work: handlers of the host, which know nothing of where
-- these have the stack.
local expect = require "spec.support.expect"

-- A few hundred killed each run before signals were held; TIDE_STORM=10000 for more.
local signals = os.getenv "TIDE_STORM" or "600"

describe("a timer of the host's own", function()
  local library

  setup(function()
    library = expect.folder()
    local include = io.popen "pkg-config --cflags lua5.4 2>/dev/null":read "l" or ""
    local compile = "env -u LD_PRELOAD ${CC:-cc} -shared -fPIC -O1 %s -o %s/storm.so %s"
    assert(os.execute(compile:format(include, library, "spec/support/storm.c")))
  end)

  teardown(function()
    os.execute("rm -r " .. library)
  end)

  for label, program in pairs { ["build/tide"] = expect.command, ["lua5.4"] = expect.lua } do
    for _, threads in ipairs { 1, 2 } do
      it(("leaves training as it was: %s, %d threads"):format(label, threads), function()
        local command = "STORM=%s OMP_NUM_THREADS=%d %s spec/support/storm.lua %s 2>&1"
        local pipe = io.popen(command:format(library, threads, program, signals))
        assert.are.equal("survived\ttrue\n", pipe:read "a")
        assert.is_true(pipe:close())
      end)
    end
  end
end)

describe("Ctrl-C", function()
  it("is the program's own again where a state that watched is closed in another thread", function()
    local folder = expect.folder()
    local function words(what)
      return io.popen(("pkg-config --%s lua5.4 2>/dev/null"):format(what)):read "l" or ""
    end
    assert(os.execute(("env -u LD_PRELOAD ${CC:-cc} -std=gnu11 %s spec/support/closed.c \z
      -o %s/closed %s -lpthread"):format(words "cflags", folder, words "libs")))
    local run = expect.lua:gsub("lua5%.4$", folder .. "/closed")
    local pipe = io.popen(run .. " 2>&1")
    assert.are.equal("watched 0\nclosed 1\n", pipe:read "a")
    assert.is_true(pipe:close())
    os.execute("rm -r " .. folder)
  end)

  -- What a program prints that is interrupted while the fit of its coroutine `co` does not run.
  local function pressed(code)
    local script = [[
      local tide = require "tide"
      local model = tide.Sequential { tide.Input { 2 }, tide.layers.Dense { 1 } }
      model:compile { loss = "mse" }
      local y = tide.ones { 4, 1 }
      ]] .. code .. [[

      local stat = io.open "/proc/self/stat"
      local pid = stat:read "n"
      stat:close()
      print(coroutine.status(co), pcall(function()
        io.popen("kill -INT " .. pid):close()
        while true do end
      end))]]
    local pipe = io.popen(("timeout -s KILL 60 env %s -e %s 2>&1"):format(expect.lua,
      expect.quoted(script)))
    local said = pipe:read "a"
    pipe:close()
    return said
  end

  it("leaves training whole at whatever instruction it comes", function()
    local tide = require "tide"
    local x, y = tide.ones { 16, 3 }, tide.ones { 16, 2 }
    local m = tide.Sequential { tide.layers.Dense { 4, input_shape = { 3 } },
      tide.layers.Dropout { 0.5 }, tide.layers.Dense { 2 } }
    m:compile { optimizer = "adam", loss = "mse", metrics = { "mae" } }
    m:fit(x[{ { 1, 8 } }], y[{ { 1, 8 } }], { verbose = 0 })
    local stopped = 0
    for n = 50, 12000, 113 do
      local ok, e = pcall(function()
        debug.sethook(function() -- as the program's handler does
          debug.sethook()
          error("interrupted!", 0)
        end, "", n)
        m:fit(x, y, { verbose = 0, batch_size = 4 })
        debug.sethook()
      end)
      debug.sethook()
      assert.is_true(ok or e == "interrupted!", tostring(e))
      stopped = stopped + (ok and 0 or 1)
      assert.is_true(require("tide.core").grad_mode())
      m:evaluate(x[{ { 1, 8 } }], y[{ { 1, 8 } }], { verbose = 0 })
    end
    assert.is_true(stopped > 50)
  end)

  for _, method in ipairs { "fit", "evaluate", "predict" } do
    local targets = method == "predict" and "" or "y, "
    it("is the program's own again where the coroutine has died in " .. method, function()
      assert.matches("^dead\tfalse\t.*interrupted!\n$", pressed(([[
        local co = coroutine.create(function()
          model:%s(tide.ones { 4, 3 }, %s{ verbose = 0 })
        end)
        assert(not coroutine.resume(co))]]):format(method, targets)))
    end)

    it("is the program's own while the coroutine waits in " .. method, function()
      assert.matches("^suspended\tfalse\t.*interrupted!\n$", pressed(([[
        local co = coroutine.create(function()
          model:%s(tide.ones { 4, 2 }, %s{ verbose = 0, callbacks = { {
            on_train_batch_begin = coroutine.yield, on_test_batch_begin = coroutine.yield,
            on_predict_batch_begin = coroutine.yield } } })
        end)
        assert(coroutine.resume(co))]]):format(method, targets)))
    end)
  end
end)
