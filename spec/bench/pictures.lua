-- Pictures per second: 500 x 375 JPEG files decoded, brought to 150 x 150, sheared, zoomed,
-- flipped, rescaled and batched, beside Keras' ImageDataGenerator on the same files, one after the
-- other.
--
--   lua5.4 spec/bench/pictures.lua [--seconds 10] [--workers 2] [--python PYTHON-WITH-KERAS]
local core = require "tide.core"
local tide = require "tide"

local o = { seconds = 10, workers = core.get_threads() }
for i = 1, #arg, 2 do
  local name = arg[i]:match "^%-%-(%w+)$"
  o[name or error("unknown option " .. arg[i])] = tonumber(arg[i + 1]) or arg[i + 1]
end

local folder = os.tmpname()
os.remove(folder)
math.randomseed(1)
for _, class in ipairs { "a", "b" } do
  assert(os.execute(("mkdir -p %s/%s"):format(folder, class)))
  for i = 1, 64 do -- smooth colours and some noise: about 40 KB each, as photographs have
    local small = tide.random.uniform({ 12, 16, 3 }, { minval = 0, maxval = 255, seed = i })
    local x = tide.image.resize(small, { 375, 500 }, { interpolation = "bicubic" })
    x = x + tide.random.normal({ 375, 500, 3 }, { stddev = 6, seed = i })
    tide.image.save(("%s/%s/%d.jpg"):format(folder, class, i), x, { scale = false, quality = 90 })
  end
end

local gen = tide.preprocessing.image.ImageDataGenerator {
  rescale = 1 / 255, shear_range = 0.2, zoom_range = 0.2, horizontal_flip = true }
local it = gen:flow_from_directory(
  folder, { target_size = { 150, 150 }, class_mode = "binary", workers = o.workers,
    verbose = false })
it:next()
local start, cpu, n = core.now(), os.clock(), 0
while core.now() - start < o.seconds do
  n = n + #it:next()
end
print(
  ("tide   %7.0f pictures/s  %5.2f ms of CPU each  (%d workers)"):format(
    n / (core.now() - start), (os.clock() - cpu) / n * 1000, o.workers))
it:close()

local peer = [[
import sys, time
from keras.src.legacy.preprocessing.image import ImageDataGenerator
g = ImageDataGenerator(rescale=1 / 255.0, shear_range=0.2, zoom_range=0.2, horizontal_flip=True)
it = g.flow_from_directory(sys.argv[1], target_size=(150, 150), class_mode="binary", batch_size=32)
next(it)
start, cpu, n = time.time(), time.process_time(), 0
while time.time() - start < float(sys.argv[2]):
    n += len(next(it)[0])
print("keras  %7.0f pictures/s  %5.2f ms of CPU each" % (
    n / (time.time() - start), (time.process_time() - cpu) / n * 1000))
]]
if o.python then
  local script = folder .. "/peer.py"
  local f = assert(io.open(script, "w"))
  f:write(peer)
  f:close()
  os.execute(
    ("TF_CPP_MIN_LOG_LEVEL=3 KERAS_BACKEND=tensorflow %s %s %s %g 2>/dev/null | grep keras"):format(
    o.python, script, folder, o.seconds))
end
os.execute("rm -rf " .. folder)
