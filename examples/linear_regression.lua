-- Linear regression by a hand-written loop: tensors, gradients, and nothing else.
local tide = require "tide"

tide.seed(1)
local x = tide.random.uniform { 100, 1 }
local y = 3 * x + 2 + 0.05 * tide.random.normal { 100, 1 }

local w = tide.zeros({ 1, 1 }, { requires_grad = true })
local b = tide.zeros({ 1 }, { requires_grad = true })

for step = 1, 200 do
  local loss = ((x:matmul(w) + b - y) ^ 2):mean()
  loss:backward()
  tide.no_grad(function()
    w:subtract_(0.5 * w.grad)
    b:subtract_(0.5 * b.grad)
  end)
  w.grad, b.grad = nil, nil
  if step % 50 == 0 then
    print(("step %3d  loss %.5f"):format(step, loss:item()))
  end
end
print(("y = %.2f x + %.2f"):format(w:item(), b:item()))
