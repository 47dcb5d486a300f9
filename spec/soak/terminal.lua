--- The prompt at a terminal, with Ctrl-C at random moments and with the signals that end it.
--
--   terminal.lua [--runs N] [--seconds S] [--seed N]
--
-- Ctrl-C, N times (130): while something of a list of long calls runs, and while it is typed. The
-- prompt comes back, answers, and the model is whole. Then each signal that ends a program, at the
-- prompt and while fit runs, and a terminal that is closed: the program ends, its terminal is as it
-- was, no temporary file stays. Nothing is timed: what is waited for is seen on the terminal.
package.path = "./?.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path
local common = require "spec.soak.common"
local o = common.arguments()
local Session = require "spec.support.session"

local program = os.getenv "TIDE_PROGRAM"
local home = common.folder()
local env = { "TERM=xterm", "LC_ALL=C.UTF-8", "NO_COLOR=1", "HOME=" .. home,
  "XDG_STATE_HOME=" .. home, "XDG_CONFIG_HOME=" .. home }
local INT, PROMPT = 2, "tide> "

local prepare = {
  "x, y = tide.random.normal { 64, 8 }, tide.random.normal { 64, 3 };",
  "L = tide.layers; net = tide.Sequential { L.Dense { 8, input_shape = { 8 } }, L.Dense { 3 } };",
  "net:compile { optimizer = 'adam', loss = 'mse' };",
  "pics = tide.random.normal { 8, 16, 16, 3 }; big = tide.random.normal { 900, 900 };",
  "cnn = tide.Sequential { tide.layers.Conv2D { 8, 3, input_shape = { 16, 16, 3 } }, \z
  tide.layers.Flatten {}, tide.layers.Dense { 3 } }; cnn:compile { loss = 'mse' };",
  "made = coroutine.wrap(function() while true do coroutine.yield(x, y) end end);",
  "keep = tide.callbacks.ModelCheckpoint { '" .. home .. "/m.keras', monitor = 'loss' };",
  "look = function(epoch) return epoch end;",
}
-- Without end, or far longer than the wait before the press.
local lines = {
  "net:fit(x, y, { epochs = 1000000, verbose = 1, batch_size = 8 })",
  "net:fit(x, y, { epochs = 1000000, verbose = 0, plot = 2 })",
  "net:fit(made, { steps_per_epoch = 1000000, verbose = 0 })",
  "net:fit(x, y, { epochs = 1000000, verbose = 0, callbacks = { keep } })",
  "net:fit(x, y, { epochs = 1000000, verbose = 0, callbacks = look })",
  "cnn:fit(pics, y[{ { 1, 8 } }], { epochs = 1000000, verbose = 2 })",
  "while true do net:predict(x, { verbose = 0 }) end",
  "while true do net:evaluate(x, y, { verbose = 0 }) end",
  "while true do big = big:matmul(big) / 900 end",
  "while true do tide.ops.sort(big) end",
  "while true do net:save '" .. home .. "/s.safetensors' end",
  "while true do net:save '" .. home .. "/s.h5'; tide.load_model '" .. home .. "/s.h5' end",
  "while true do tide.ops.linalg.svd(big) end",
  "while true do tide.ops.exp(big):sum() end",
  "local co = coroutine.wrap(function() while true do net:train_on_batch(x, y) end end) co()",
}

local function start(arguments)
  local session = Session.new { program, "--no-rc", env = env, patience = 60 }
  session:ready()
  for _, line in ipairs(arguments or prepare) do
    session:enter(line)
  end
  return session
end

-- Waits a random number of looks, which end early while the program writes.
local function let_run(s, most)
  for _ = 1, math.random(0, most) do
    s:take(math.random(1, 10))
  end
end

-- The prompt after one press; a press that came before the line ran is made again.
local function back(s)
  local looks = 0
  s:wait(function()
    looks = looks + 1
    if looks % 60 == 0 then
      s:signal(INT)
    end
    return s.raw:sub(-#PROMPT) == PROMPT and s.pty:raw() and s.raw:find("\n", s.mark, true)
  end, "the prompt")
  repeat -- a press that came too late for the line is answered by another prompt
    local before = #s.raw
    s:take(40)
  until #s.raw == before
end

local function presses(count, seconds)
  local s = start()
  local finish = seconds and os.time() + seconds
  local made = 0
  for i = 1, count do
    if finish and os.time() > finish then
      break
    end
    local line = lines[(i - 1) % #lines + 1]
    local ok, why = pcall(function()
      s:type(line .. "\n")
      let_run(s, 15)
      s:signal(INT)
      back(s)
      s:type "\21" -- the rest of a line that the press cut
      s:type(("tide.ops.all(tide.ops.isfinite(net:predict(x, { verbose = 0 }))), 'whole' .. %d\n")
        :format(i))
      s:wait(("true\twhole%d\r?\n"):format(i), "an answer, and a whole model")
      s:ready()
      if line:find "big" then
        s:enter "big = tide.random.normal { 900, 900 };"
      end
    end)
    made = i
    if not common.check(ok, ("press %d, in %s: %s"):format(i, line, tostring(why))) then
      pcall(s.finish, s)
      s = start()
    end
  end
  s:type "\4"
  common.check(s:finish() == 0, "the prompt's end")
  print(("%d presses of Ctrl-C"):format(made))
end

-- What is left of saves.
local function temporaries()
  for _, name in ipairs(common.names(home)) do
    if name:find "tmp" then
      return name
    end
  end
end

local HUP, QUIT, USR1, PIPE, TERM = 1, 3, 10, 13, 15
local function endings()
  local names = { [HUP] = "HUP", [QUIT] = "QUIT", [USR1] = "USR1", [PIPE] = "PIPE",
    [TERM] = "TERM" }
  for _, signal in ipairs { HUP, TERM, PIPE, QUIT, USR1 } do
    for _, where in ipairs { "at the prompt", "in fit" } do
      local what = "SIG" .. names[signal] .. " " .. where
      -- a shell around it says how the terminal is afterwards
      local script = ("ulimit -c 0; %s --no-rc; echo status $?; stty -a | tr ';' '\\n'; \z
        echo over"):format(program)
      local ok, why = pcall(function()
        local s = Session.new { "sh", "-c", script, env = env, patience = 60 }
        s:ready()
        s:enter "pid = io.open('/proc/self/stat'):read 'n'"
        local pid = s:enter "pid":match "%d+"
        for _, line in ipairs(prepare) do
          s:enter(line)
        end
        if where == "in fit" then
          s:type "print 'go' net:fit(x, y, { epochs = 1000000, verbose = 1, batch_size = 8 })\n"
          s:wait "\ngo\r"
          let_run(s, 10)
        end
        s:type "" -- marks where the answer begins
        os.execute(("kill -%d %s"):format(signal, pid))
        if signal == PIPE and where == "at the prompt" then
          -- ignored there or the end: both are sound
          s:type "\4"
        end
        s:wait "over\r"
        local text = s.raw:sub(s.mark)
        assert(text:find "[^%-]icanon" and text:find "[^%-]echo ", "the terminal is as it was not")
        s:finish()
      end)
      common.check(ok, what .. ": " .. tostring(why))
      common.check(not temporaries(), what .. " leaves a temporary file")
    end
  end
  -- the terminal is closed
  for _, line in ipairs { "6 * 7", "net:fit(x, y, { epochs = 1000000, verbose = 1 })" } do
    local s = start()
    s:type("print 'go' " .. (line:find "fit" and line or "") .. "\n")
    s:wait "\ngo\r"
    local status = s.pty:close() -- waits three seconds, then kills by SIGKILL
    common.check(status ~= -9, "a closed terminal does not end " .. line)
  end
  -- the reader of a pipe has gone: the program ends, or this waits for ever
  io.popen(("%s -e 'while true do print(1) end' | head -c 10 >/dev/null"):format(program)):close()
end

print(("the prompt at a terminal, seed %d"):format(o.seed))
endings()
presses(o.runs or 130, o.seconds)
os.execute("rm -rf " .. home)
common.finish()
