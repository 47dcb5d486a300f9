-- Pictures per second: 500 x 375 JPEG files decoded, brought to 150 x 150, sheared, zoomed,
-- flipped, rescaled and batched: by ImageDataGenerator beside Keras', by
-- image_dataset_from_directory and layers beside the same in tf.data, and by ImageDataGenerator
-- with Pillow's bilinear resizing beside torchvision; on the same files, one after the other.
--
--   build/tide spec/bench/pictures.lua [--seconds 6] [--workers 2] [--keras PYTHON-WITH-KERAS]
--     [--torch PYTHON-WITH-TORCHVISION]
local core = require "tide.core"
local tide = require "tide"

local o = { seconds = 6, workers = core.get_threads() }
for i = 1, #arg, 2 do
  local name = arg[i]:match "^%-%-(%w+)$"
  o[name or error("unknown option " .. arg[i])] = tonumber(arg[i + 1]) or arg[i + 1]
end

local folder = os.tmpname()
os.remove(folder)
for _, class in ipairs { "a", "b" } do
  assert(os.execute(("mkdir -p %s/%s"):format(folder, class)))
  for i = 1, 64 do -- smooth colours and some noise: about 40 KB each, as photographs have
    local small = tide.random.uniform({ 12, 16, 3 }, { minval = 0, maxval = 255, seed = i })
    local x = tide.image.resize(small, { 375, 500 }, { interpolation = "bicubic" })
    x = x + tide.random.normal({ 375, 500, 3 }, { stddev = 6, seed = i })
    tide.image.save(("%s/%s/%d.jpg"):format(folder, class, i), x, { scale = false, quality = 90 })
  end
end

local function generated(interpolation)
  local gen = tide.preprocessing.image.ImageDataGenerator {
    rescale = 1 / 255, shear_range = 0.2, zoom_range = 0.2, horizontal_flip = true }
  return gen:flow_from_directory(folder, { target_size = { 150, 150 }, class_mode = "binary",
    workers = o.workers, verbose = false, interpolation = interpolation })
end

local function layered()
  local L = tide.layers
  local ds = tide.utils.image_dataset_from_directory(folder, { label_mode = "binary",
    image_size = { 150, 150 }, workers = o.workers, verbose = false })
  local change = { L.RandomFlip { "horizontal" }, L.RandomShear { 0.2, 0.2 }, L.RandomZoom { 0.2 },
    L.Rescaling { 1 / 255 } }
  local it = {}
  function it.next()
    local x = ds:next()
    for _, layer in ipairs(change) do
      x = layer(x, { training = true })
    end
    return x
  end
  function it.close()
    ds:close()
  end
  return it
end

local function measured(it)
  it:next()
  it:next()
  local start, cpu, n = core.now(), os.clock(), 0
  while core.now() - start < o.seconds do
    n = n + it:next().shape[1]
  end
  local speed, ms = n / (core.now() - start), (os.clock() - cpu) / n * 1000
  it:close()
  return speed, ms
end

print(("%-8s %12s %8s %12s %8s %8s"):format("", "tide /s", "CPU ms", "peer /s", "CPU ms", "ratio"))
for _, row in ipairs { { "keras", generated }, { "tf", layered },
  { "torch", function() return generated "bilinear" end } } do
  local name, make = row[1], row[2]
  local speed, ms = measured(make())
  local python = name == "torch" and o.torch or name ~= "torch" and o.keras
  local other, used
  if python then
    local p = assert(io.popen(("%s spec/bench/pictures_peer.py %s %s %g %d 2>/dev/null"):format(
      python, name, folder, o.seconds, o.workers)))
    other, used = p:read("a"):match "([%d.]+) (%S+)%s*$"
    p:close()
  end
  print(("%-8s %12.0f %8.2f %12s %8s %8s"):format(name, speed, ms, other or "", used or "",
    other and ("%.2f"):format(speed / tonumber(other)) or ""))
end
os.execute("rm -rf " .. folder)
