-- Convolutions and their gradients by Tide's own kernels and by oneDNN, GFLOP/s: what the layers of
-- the speed rows compute.
--
--   make bench ROWS=convolutions    convolutions.lua [--threads N] [--seconds S] [--only NAME]
--
-- Each cell is the best of many calls; the last column is Tide's own beside the library: below 1,
-- the library is faster.
local core = require "tide.core"
local tide = require "tide"
local ops = tide.ops

local threads, seconds, only = 1, 0.1, nil
for i = 1, #arg do
  threads = arg[i] == "--threads" and tonumber(arg[i + 1]) or threads
  seconds = arg[i] == "--seconds" and tonumber(arg[i + 1]) or seconds
  only = arg[i] == "--only" and arg[i + 1] or only
end

-- batch, extent, channels, kernel, stride, filters ("deep": one kernel per channel)
local cases = {
  { "cnn 1", 128, 28, 1, 3, 1, 32 }, { "cnn 2", 128, 13, 32, 3, 1, 64 },
  { "resnet20 stem", 64, 32, 3, 3, 1, 16 }, { "resnet20 16", 64, 32, 16, 3, 1, 16 },
  { "resnet20 down", 64, 32, 16, 3, 2, 32 }, { "resnet20 skip", 64, 32, 16, 1, 2, 32 },
  { "resnet20 32", 64, 16, 32, 3, 1, 32 }, { "resnet20 down 2", 64, 16, 32, 3, 2, 64 },
  { "resnet20 64", 64, 8, 64, 3, 1, 64 }, { "resnet20_b1 16", 1, 32, 16, 3, 1, 16 },
  { "resnet20_b1 down", 1, 32, 16, 3, 2, 32 }, { "resnet20_b1 32", 1, 16, 32, 3, 1, 32 },
  { "resnet20_b1 64", 1, 8, 64, 3, 1, 64 }, { "cnn_b1 1", 1, 28, 1, 3, 1, 32 },
  { "cnn_b1 2", 1, 13, 32, 3, 1, 64 }, { "unet 16", 16, 64, 16, 3, 1, 16 },
  { "unet 64", 16, 16, 64, 3, 1, 64 }, { "unet head", 16, 64, 16, 1, 1, 4 },
  { "autoencoder 1", 128, 28, 1, 3, 2, 16 }, { "autoencoder 2", 128, 14, 16, 3, 2, 32 },
  { "mobilenet stem", 16, 96, 3, 3, 2, 16 }, { "mobilenet p1", 16, 48, 16, 1, 1, 8 },
  { "mobilenet e2", 16, 48, 8, 1, 1, 48 }, { "mobilenet p2", 16, 24, 48, 1, 1, 16 },
  { "mobilenet e3", 16, 24, 16, 1, 1, 96 }, { "mobilenet p3", 16, 24, 96, 1, 1, 16 },
  { "mobilenet p4", 16, 12, 96, 1, 1, 24 }, { "mobilenet e5", 16, 12, 24, 1, 1, 144 },
  { "mobilenet p5", 16, 12, 144, 1, 1, 24 }, { "mobilenet p6", 16, 6, 144, 1, 1, 48 },
  { "mobilenet e7", 16, 6, 48, 1, 1, 288 }, { "mobilenet p7", 16, 6, 288, 1, 1, 48 },
  { "mobilenet p8", 16, 3, 288, 1, 1, 80 }, { "mobilenet head", 16, 3, 80, 1, 1, 320 },
  { "mobilenet d1", 16, 48, 16, 3, 1, "deep" }, { "mobilenet d2", 16, 48, 48, 3, 2, "deep" },
  { "mobilenet d3", 16, 24, 96, 3, 1, "deep" }, { "mobilenet d4", 16, 24, 96, 3, 2, "deep" },
  { "mobilenet d5", 16, 12, 144, 3, 1, "deep" }, { "mobilenet d6", 16, 12, 144, 3, 2, "deep" },
  { "mobilenet d7", 16, 6, 288, 3, 1, "deep" }, { "mobilenet d8", 16, 6, 288, 3, 2, "deep" },
  { "mobilenet_b1 d3", 1, 24, 96, 3, 1, "deep" }, { "mobilenet_b1 e3", 1, 24, 16, 1, 1, 96 },
  { "mobilenet_b1 p3", 1, 24, 96, 1, 1, 16 },
}

local engines = { "plain", "onednn plain" }
local kinds = { "conv", "conv_grad_x", "conv_grad_kernel" }

-- The least seconds of each op in calls of `f`, and its work.
local function least(f)
  local best, work = {}, {}
  local begun = core.now()
  repeat
    core.profile_start(0, true)
    f()
    for _, row in ipairs(core.profile_stop()) do
      best[row.name] = math.min(best[row.name] or math.huge, row.seconds / row.calls)
      work[row.name] = row.flops / row.calls
    end
  until core.now() - begun > seconds
  return best, work
end

tide.seed(0)
core.set_threads(threads)
local normal = tide.random.normal
print(("%-18s"):format "" .. ("%28s"):rep(#kinds):format(table.unpack(kinds)))
local sums, worst = {}, math.huge
for _, case in ipairs(cases) do
  local name, n, extent, channels, k, stride, filters = table.unpack(case)
  if not only or name:find(only, 1, true) then
    local deep = filters == "deep"
    local x = normal { n, extent, extent, channels }
    local w = normal(deep and { k, k, 1, channels } or { k, k, channels, filters })
    x.requires_grad, w.requires_grad = true, true
    local groups = deep and channels or 1
    local dy
    local function both()
      local y = ops.conv(x, w, { strides = stride, padding = "same", groups = groups })
      dy = dy or normal(y.shape)
      core.gradients(y, { x, w }, { gradient = dy })
    end
    local best, work = {}, nil
    for i, engine in ipairs(engines) do
      core.engines(engine)
      both()
      best[i], work = least(both)
    end
    core.engines(false)
    local cells = {}
    for i, kind in ipairs(kinds) do
      local own, other, flops = best[1][kind], best[2][kind], work[kind]
      local ratio = own and other / own
      cells[i] = own and ("%9.1f %9.1f %8.2f"):format(flops / own / 1e9, flops / other / 1e9, ratio)
        or (" "):rep(28)
      if ratio then
        sums[#sums + 1], worst = math.log(ratio), math.min(worst, ratio)
      end
    end
    print(("%-18s"):format(name) .. table.concat(cells))
  end
end
local sum = 0
for _, v in ipairs(sums) do
  sum = sum + v
end
print(("own / library: geometric mean %.2f, least %.2f"):format(math.exp(sum / #sums), worst))
