--- The n-th allocation of a task fails, whoever makes it: once, or from then on.
--
--   memory.lua [--seconds S] [--seed N] [--task NAME,NAME]
--
-- Every task (tasks.lua) runs in a process of its own; where a failure ends that, the next one goes
-- on behind it. After each failure: the answer is right or an error that speaks of memory, no mode
-- has changed, and when all memory is there again the task gives what it gave before. The memory of
-- tensors is what it was at the end. All failures are tried where there is time, otherwise a random
-- part of them.
package.path = "./?.lua;" .. package.path
local common = require "spec.soak.common"
local o = common.arguments()

-- ---- one task ----

local function work()
  local faults, core = common.faults(), require "tide.core"
  local log = assert(io.open(o.log, "a"))
  log:setvbuf "no"
  local folder = common.folder()
  local task = require("spec.soak.tasks")[o.task](folder)
  local want = task()
  assert(task() == want, "the task is not the same twice")
  collectgarbage()
  collectgarbage()
  local live = core.memory().live_tensors
  faults.memory(-1)
  task()
  local total = faults.enough()
  local finish, done = core.now() + o.share, 0
  local n = o.from or 1
  local step = 1
  while n <= 2 * total do
    local sticky = n % 2 == 1
    local at = (n + 1) // 2
    log:write("try ", n, "\n")
    faults.memory(at, sticky)
    local ok, e = pcall(task)
    local _, failed = faults.enough()
    local why
    local message = not ok and tostring(e) or ""
    if ok and e ~= want then
      why = "a wrong result"
    elseif not ok and failed == 0 then
      why = "an error without a failure: " .. message
    elseif not ok and not message:lower():find "memory"
      -- libzip does not always tell its caller why
      and not message:find "Not a zip archive" then
      why = "an error that does not speak of memory: " .. message
    elseif core.grad_mode() ~= true then
      why = "grad mode is off"
      core.grad_mode(true)
    end
    if not why and done % 8 == 0 then
      local fine, again = pcall(task)
      if not fine or again ~= want then
        why = "afterwards, " .. (fine and "another result" or tostring(again))
      end
    end
    done = done + 1
    log:write(why and "bad " .. n .. " " .. why:gsub("\n.*", "") or (ok and "right " or "clear ")
      .. n, "\n")
    if done == 40 then -- how many there is time for
      local each = (o.share - (finish - core.now())) / done
      step = math.max(1, math.ceil((2 * total - n) * each / math.max(finish - core.now(), 0.01)))
    end
    if core.now() > finish then
      break
    end
    n = n + (step > 1 and math.random(2 * step - 1) or 1)
  end
  task()
  collectgarbage()
  collectgarbage()
  local left = core.memory().live_tensors - live
  log:write(left <= 0 and "kept 0\n" or ("bad 0 %d tensors are left\n"):format(left))
  log:write("end ", total, "\n")
  os.execute("rm -rf " .. folder)
  os.exit(0, false)
end

if o.log then
  return work()
end

-- ---- all tasks ----

local names = {}
for name in pairs(require "spec.soak.tasks") do
  if not o.task or ("," .. o.task .. ","):find("," .. name .. ",", 1, true) then
    names[#names + 1] = name
  end
end
table.sort(names)
local seconds = o.seconds or 60
local log = os.tmpname()
print(("failing allocations in %d tasks, seed %d"):format(#names, o.seed))
-- What went wrong, told once for each kind.
local kinds, order = {}, {}
local function bad(name, what)
  local kind = name .. ": " .. what:gsub("/tmp/lua_%w+", "FOLDER"):gsub("^%d+ ", "")
  local short = kind:gsub("%d+", "#")
  if not kinds[short] then
    kinds[short] = { 0, kind, what:match "^%d+" }
    order[#order + 1] = short
  end
  kinds[short][1] = kinds[short][1] + 1
end

print "task                 allocations  failures   right   clear  signals"
local all = { 0, 0, 0, 0 }
for _, name in ipairs(names) do
  local from, signals, tries, right, clear, total = 1, 0, 0, 0, 0, nil
  io.open(log, "w"):close()
  for _ = 1, 20 do -- a task that dies more often is bad enough
    local command = ("LD_PRELOAD=%s %s %s --log %s --task %s --share %g --from %d --seed %d 2>&1")
      :format(os.getenv "TIDE_FAULTS", os.getenv "TIDE_PROGRAM", arg[0], log, name,
      seconds / #names * 0.8, from, o.seed)
    local pipe = io.popen(command)
    local said = pipe:read "a"
    local ok, how, status = pipe:close()
    local at
    for line in io.lines(log) do
      at = tonumber(line:match "^try (%d+)") or at
    end
    if ok then
      break
    end
    signals = signals + 1
    bad(name, ("%d ends by %s %s\n%s"):format(at or 0, how, status, said:sub(-400)))
    from = (at or 0) + 1
  end
  for line in io.lines(log) do
    local kind, rest = line:match "^(%a+) (.*)"
    tries = tries + (kind == "try" and 1 or 0)
    right = right + (kind == "right" and 1 or 0)
    clear = clear + (kind == "clear" and 1 or 0)
    total = kind == "end" and rest or total
    if kind == "bad" then
      bad(name, rest)
    end
  end
  common.check(total, name .. " did not come to its end")
  print(("%-20s %11s %9d %7d %7d %8d"):format(name, total or "?", tries, right, clear, signals))
  for i, v in ipairs { tries, right, clear, signals } do
    all[i] = all[i] + v
  end
end
os.remove(log)
for _, kind in ipairs(order) do
  common.check(false, ("%d times, first at failure %s: %s"):format(kinds[kind][1], kinds[kind][3],
    kinds[kind][2]))
end
print(("%-20s %11s %9d %7d %7d %8d"):format("all", "", table.unpack(all)))
common.finish()
