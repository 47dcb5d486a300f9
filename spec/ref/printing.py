"""Writes printing.lua: what torch prints of tensors, without the `tensor(` around it.

Each case is a Lua expression and the same tensor in Python; the text is torch's own, from an indent of 0. Python's True and
False are Lua's true and false.
"""
import torch

nan, inf = float("nan"), float("inf")
f32, f64, i32, i64, u8, i8 = torch.float32, torch.float64, torch.int32, torch.int64, torch.uint8, torch.int8
cases = []


def lua(v):
    if isinstance(v, (list, tuple)):
        return "{" + ", ".join(lua(x) for x in v) + "}"
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, float):
        if v != v:
            return "0/0"
        if v in (inf, -inf):
            return "math.huge" if v > 0 else "-math.huge"
        return repr(v)
    return repr(v)


def given(v, dtype=f32):
    name = str(dtype).replace("torch.", "")
    case('tide.tensor(%s, { dtype = "%s" })' % (lua(v), name), torch.tensor(v, dtype=dtype))


def ramp(shape, scale=1.0, shift=0.0, dtype=f32):
    n = 1
    for d in shape:
        n *= d
    name = str(dtype).replace("torch.", "")
    t = (torch.arange(n, dtype=torch.float64) * scale + shift).to(dtype).reshape(shape)
    case('(tide.arange(%d, { dtype = "float64" }) * %r + %r):cast("%s"):reshape(%s)' % (n, scale, shift, name, lua(list(shape))), t)


def case(expression, t):
    text = torch._tensor_str._tensor_str(t, 0) if t.numel() else "[]"
    cases.append((expression, text.replace("True", "true").replace("False", "false")))


given([1.0, 2.0, 3.0])
given([1.0, 2.5, 3.0])
given([[1.0, 2.0], [3.0, 4.5]])
given([0.0, 0.0])
given([[-0.0, 0.0]])
given([1e-5, 1.0])
given([1e-5])
given([0.0001, 0.05])
given([0.00011, 0.05])
given([1e8, 1.0])
given([1e8])
given([123456789.0])
given([100000.0, 99999.0])
given([1.0, 1000.0])
given([1.0, 1001.0])
given([1.5, 1500.0])
given([1.5, 1501.0])
given([0.5, -500.25])
given([-1.0, 2.0, -3.0])
given([nan, 1.0, 2.0])
given([nan, 1.5])
given([inf, 1.0])
given([-inf, 1.25, nan])
given([nan, nan])
given([inf, -inf])
given([nan, 1e-8])
given([nan, inf, 1e10, 5.0])
given([3.14159265358979], f64)
given([1e300, 1e-300], f64)
given([0.1, 0.2, 0.3], f64)
given(3.5)
given(2.0)
given(1e-7)
given(nan)
given(-inf)
given(123456.789)
given([1, 20, -300], i32)
given([[1, 2], [3, 400]], i64)
given([9223372036854775807, -1], i64)
given([0, 255], u8)
given([-128, 127], i8)
given([True, False, True], torch.bool)
given([[True], [False]], torch.bool)
given([[[1.0]]])
given([[[[0.5, 0.25]]]])
given([])
ramp((3, 4))
ramp((20,), 0.5)
ramp((100,))
ramp((100,), 0.1)
ramp((1000,), 1.0, 0.0, i64)
ramp((1001,), 1.0, 0.0, i64)
ramp((1001,))
ramp((1200,), 0.001)
ramp((40, 40))
ramp((40, 40), 1e-6)
ramp((2, 600), 0.25)
ramp((600, 2), 0.25, -3.0)
ramp((7, 7, 7, 7), 1.0, 0.0, i32)
ramp((5, 6, 50), 0.01, -7.0)
ramp((2, 3, 4))
ramp((2, 3, 2, 2), 0.5)
ramp((2, 2, 2, 2, 2))
ramp((6, 300), 3.0, -900.0, f64)
ramp((1, 2000), 1.0, 0.0)
ramp((2000, 1), 1.0, 0.0)
ramp((8, 30), 7.0, -11.0, i32)
ramp((3, 26), 1.0, 100.0)
ramp((11,), 1234.5, 0.0)
ramp((30,), 1e5, 0.0)
ramp((1002,), 1e-3, 1.0, f64)
case("tide.zeros { 1500 }", torch.zeros(1500))
case("tide.zeros { 0, 3 }", torch.zeros(0, 3))
case("tide.ones { 4, 4 }:less(2)", torch.ones(4, 4) < 2)
case("tide.zeros({ 1100 }, { dtype = 'bool' })", torch.zeros(1100, dtype=torch.bool))
case("tide.tensor({ 1.5, 0.1, 1000 }, { dtype = 'float16' })", torch.tensor([1.5, 0.1, 1000], dtype=torch.float16))
case("tide.tensor({ 1.5, 0.1 }, { dtype = 'bfloat16' })", torch.tensor([1.5, 0.1], dtype=torch.bfloat16))
case("tide.arange(12, { dtype = 'float32' }):reshape({ 3, 4 }):transpose()", torch.arange(12.0).reshape(3, 4).T)

with open("spec/ref/printing.lua", "w") as f:
    f.write("-- Made by printing.py from torch %s. Do not edit.\n" % torch.__version__.split("+")[0])
    f.write("return {\n")
    for expression, text in cases:
        f.write("  { [==[%s]==], [==[\n%s]==] },\n" % (expression, text))
    f.write("}\n")
print(len(cases), "cases")
