--- Makes the pictures of the README from a real session: types at the prompt, trains on
--- Fashion-MNIST with live curves, stores the screen in the middle of a fit as fit.svg, and the
--- history that a plot call draws as curves.png. Run `make pictures`, or lua5.4
--- spec/pictures/make.lua with Tide on the paths of Lua.
package.path = "./?.lua;" .. package.path
local Session = require "spec.support.session"

local folder = "spec/pictures/"
local home = os.tmpname()
os.remove(home)

local s = Session.new { (os.getenv "TIDE_BUILD" or "build") .. "/tide", "--no-rc", columns = 104,
  rows = 30, patience = 300,
    env = { "TERM=xterm", "LC_ALL=C.UTF-8", "HOME=" .. home, "XDG_STATE_HOME=" .. home } }
s:ready()
for _, line in ipairs {
  "local x, y, x_test, y_test, names = tide.datasets.fashion_mnist();",
  "local layers = tide.layers",
  "local net = tide.Sequential { tide.Input { 28, 28 }, layers.Rescaling { 1 / 255 }, \z
    layers.Flatten() }",
  "net:add(layers.Dense { 128, activation = \"relu\" });",
  "net:add(layers.Dense { 10, activation = \"softmax\" });",
  "net:compile { optimizer = \"adam\", loss = \"sparse_categorical_crossentropy\", metrics = { \z
    \"accuracy\" } }",
} do
  s:enter(line)
end
s:type "h = net:fit(x, y, { epochs = 10, batch_size = 400, validation_split = 0.1, plot = true })\n"
s:wait(function()
  local done = s:screen():match "Epoch 7/10\n *(%d+)/135 "
  return done and tonumber(done) > 60
end, "the seventh epoch")
local f = assert(io.open(folder .. "fit.svg", "w"))
f:write(s.view:svg())
f:close()
print(s:screen())
s:ready()
print(s:enter(("tide.plot.history(h, { file = %q })"):format(folder .. "curves.png")))
print(s:enter "net:evaluate(x_test, y_test, { verbose = 0 })")
s:type "\4"
s:finish()
os.execute("rm -rf " .. home)
