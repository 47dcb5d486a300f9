--- Whether the speed rows learn what PyTorch's do: each is trained from PyTorch's weights for some
--- hundred steps, and the mean loss of every 20 steps is held against PyTorch's (spec/ref/rows.py).
---
---     make bench ROWS=truth [PARTS="cnn gpt"]
---
--- Printed are the losses of the first and the last 20 steps, and the greatest difference among
--- all; the exit status is 1 where one is beyond 1 %. Dropout is off. TIDE_PLAN=0,
--- TIDE_ENGINE=plain, TIDE_CPU and TIDE_THREADS do as always.
package.path = arg[0]:gsub("spec/bench/[^/]*$", "?.lua;") .. package.path
local core = require "tide.core"
local learnable = require "spec.bench.learnable"

local MOST = 0.01

local names, losses_too = {}, false
for i = 1, #arg do
  if arg[i] == "--parts" then
    for name in arg[i + 1]:gmatch "%S+" do
      names[#names + 1] = name
    end
  end
  losses_too = losses_too or arg[i] == "--losses"
end
names = names[1] and names or learnable.names

io.stdout:setvbuf "line"
print(("%-12s %6s %10s %10s %10s %10s %10s  %s"):format("row", "steps", "PyTorch's", "Tide's",
  "PyTorch's", "Tide's", "greatest", "seconds"))
print(("%-12s %6s %21s %21s %12s"):format("", "", "first 20 steps", "last 20 steps", "difference"))
local wrong = 0
for _, name in ipairs(names) do
  local begun = core.now()
  local got, want = learnable.train(name), learnable.wanted(name)
  local far, at = learnable.far(name, got)
  local good = far <= MOST
  wrong = wrong + (good and 0 or 1)
  print(("%-12s %6d %10.5f %10.5f %10.5f %10.5f %8.3f %%  %.1f%s"):format(name, 20 * #got, want[1],
    got[1], want[#want], got[#got], far * 100, core.now() - begun,
    good and "" or (" WRONG in steps %d to %d"):format(20 * at - 19, 20 * at)))
  for i = 1, losses_too and #got or 0 do
    print(("  %4d %10.5f %10.5f %8.3f %%"):format(20 * i, want[i], got[i],
      (got[i] / want[i] - 1) * 100))
  end
end
print(("%d of %d rows are beyond %g %%"):format(wrong, #names, MOST * 100))
os.exit(wrong == 0)
