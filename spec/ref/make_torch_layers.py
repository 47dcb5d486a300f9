"""Reference values of spec/support/torch_layer_cases.lua, computed by PyTorch from the `torch` expression of each row.

Run in the root of the tree: python spec/ref/make_torch_layers.py
Writes spec/ref/torch_layers.lua: for each row the shape and the values of the result, the number of parameters, and the
gradients of sum(result * ramp) for the inputs and the weights, in float64. Inputs and weights follow the formulas of
make_layers.py, which layers_spec.lua repeats; only results are stored.
"""
import os
import subprocess
import numpy as np
import torch
import torch.nn.functional as F  # noqa: F401  (the rows' expressions name it)

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = r"""
local function python(v)
  if type(v) ~= "table" then return tostring(v) end
  local out = {}
  for i, e in ipairs(v) do out[i] = python(e) end
  return "[" .. table.concat(out, ", ") .. "]"
end
for _, case in ipairs(dofile(arg[1])) do
  local o = case[5]
  print(table.concat({ case[1], o.torch, python(case[4]), python(o.weights or {}), o.ids or 0 }, "\t"))
end
"""


def ramp(shape, k=0):
    n = int(np.prod(shape))
    return torch.tensor(np.sin(np.arange(n) * 0.7 + 0.3 + k).reshape(shape))


def weight(shape, k):
    n = int(np.prod(shape))
    return torch.tensor((np.sin(np.arange(n) * 1.3 + k) * 0.5).reshape(shape))


# ---- what the expressions use ----

def last(f):
    """A function of channels-first data for channels-last data."""
    return lambda x: f(x.movedim(-1, 1)).movedim(1, -1)


def chw(x):
    return x.movedim(-1, 1)


def hwc(x):
    return x.movedim(1, -1)


def normed(v, g):
    """torch.nn.utils.weight_norm over the last axis."""
    return torch._weight_norm(v, g.reshape([1] * (v.dim() - 1) + [-1]), v.dim() - 1)


def ternary(x, w, threshold=None):
    """The formula of Keras' TernaryDense, which Keras has since version 3.16."""
    k = w[0]
    size = k.abs()
    t = 0.5 * size.mean() if threshold is None else threshold
    signs = torch.sign(k) * (size > t)
    y = x @ (k + (signs - k).detach())
    if threshold is None:
        y = y * size.mean()
    return y + w[1] if len(w) > 1 else y


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        return -ctx.factor * dy, None


reverse = Reverse.apply


def lua(v):
    if isinstance(v, (list, tuple)):
        return "{ " + ", ".join(lua(x) for x in v) + " }"
    if isinstance(v, int):
        return str(v)
    return "%.7g" % v


def main():
    text = subprocess.run(["lua5.4", "-", os.path.join(HERE, "..", "support", "torch_layer_cases.lua")], input=ROWS,
                          capture_output=True, text=True, check=True).stdout
    lines = ["-- Made by make_torch_layers.py with PyTorch %s: result shape, number of parameters, result, gradients of inputs" %
             torch.__version__.split("+")[0], "-- and weights.", "return {"]
    for line in text.splitlines():
        name, expression, shape, weights, ids = line.split("\t")
        shape, weights, ids = eval(shape), eval(weights), int(ids)
        many = isinstance(shape[0], list)
        if ids:
            xs = [(torch.arange(int(np.prod(shape))) % ids).reshape(shape)]
        else:
            xs = [ramp(s, k).requires_grad_() for k, s in enumerate(shape if many else [shape])]
        w = [weight(s, k).requires_grad_() for k, s in enumerate(weights)]
        y = eval(expression, dict(globals(), x=xs if many else xs[0], w=w))
        wrt = ([] if ids else xs) + w
        grads = torch.autograd.grad((y * ramp(tuple(y.shape), 2)).sum(), wrt, allow_unused=True)
        grads = [g if g is not None else torch.zeros_like(v) for g, v in zip(grads, wrt)]
        lines.append("  %s = { shape = %s, params = %d, values = %s, grads = %s }," % (
            name, lua(list(y.shape)), sum(v.numel() for v in w), lua(y.detach().flatten().tolist()),
            lua([g.flatten().tolist() for g in grads])))
    with open(os.path.join(HERE, "torch_layers.lua"), "w") as f:
        f.write("\n".join(lines + ["}"]) + "\n")


if __name__ == "__main__":
    main()
