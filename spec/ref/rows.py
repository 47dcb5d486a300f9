"""The speed rows trained by PyTorch on data that can be learnt: writes spec/ref/rows.lua, means of losses over windows of 20 steps.

Run: python spec/ref/rows.py [row ...]   (torch 2.x; without rows: all; else the others stay as they are)
spec/bench/truth.lua trains the same in Tide. Weights begin as PyTorch draws them (its bounds, its distributions), drawn by the hash
below, whose numbers are the same in both languages; so are the data. Where Keras' form of a layer is another than PyTorch's, this
follows the row: "same" pads an even side at its end, normalizations have Keras' epsilon, an LSTM trains one bias (the other is 0).
Dropout is off: its masks are each library's own. Parameters lie as Keras has them, and are turned where they are used.
"""
import os
import re
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

from luawrite import lua

WINDOW = 20
MASK = (1 << 64) - 1


def hashed(stream, counter):
    """Numbers of 64 bits, one for each counter (an array): splitmix64's mixing."""
    z = np.uint64(stream * 0x9E3779B97F4A7C15 & MASK) + np.asarray(counter, "uint64") * np.uint64(0xD1B54A32D192ED03)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def bits(h, at, n):
    return ((h >> np.uint64(at)) & np.uint64((1 << n) - 1)).astype("int64")


# ---- weights ----

def weight(stream, shape, init):
    """init: a bound of a uniform distribution, "normal", or the same number everywhere: "0", "1"."""
    h = hashed(stream, np.arange(int(np.prod(shape))))
    if init == "normal":  # the sum of four uniform ones
        v = (sum(bits(h, k, 16) for k in (0, 16, 32, 48)) - 131070) * (3 ** 0.5 / 65536)
    elif isinstance(init, str):
        v = np.full(len(h), float(init))
    else:
        v = (bits(h, 40, 24) * 2.0 ** -23 - 1) * init
    return torch.from_numpy(v.astype("float32").reshape(shape)).requires_grad_()


class Net:
    """Layers that make their weights in the first pass and take them again, in the same order, in the later ones."""
    def __init__(self, row):
        self.row, self.weights, self.inits, self.at = row, [], [], 0

    def take(self, init, *shape):
        if self.at == len(self.weights):
            self.weights.append(weight(self.row * 1000 + self.at, shape, init))
            self.inits.append(init)
        self.at += 1
        return self.weights[self.at - 1]

    def dense(self, x, n):
        b = x.shape[-1] ** -0.5
        return x @ self.take(b, x.shape[-1], n) + self.take(b, n)

    def conv(self, x, n, k, s=1, pad=True, bias=True, groups=1):
        c = x.shape[1] // groups
        b = (c * k * k) ** -0.5
        w = self.take(b, k, k, x.shape[1], 1).permute(2, 3, 0, 1) if groups > 1 else self.take(b, k, k, c, n).permute(3, 2, 0, 1)
        if pad and k > 1:
            x = F.pad(x, (0, 1, 0, 1) if s > 1 else (1, 1, 1, 1))
        return F.conv2d(x, w, self.take(b, n) if bias else None, s, groups=groups)

    def up(self, x, n, k, s=2):
        side, b = x.shape[2] * s, (n * k * k) ** -0.5
        y = F.conv_transpose2d(x, self.take(b, k, k, n, x.shape[1]).permute(3, 2, 0, 1), self.take(b, n), s)
        return y[:, :, :side, :side]

    def bn(self, x):
        return F.batch_norm(x, None, None, self.take("1", x.shape[1]), self.take("0", x.shape[1]), True, eps=1e-3)

    def ln(self, x):
        n = x.shape[-1]
        return F.layer_norm(x, (n,), self.take("1", n), self.take("0", n), 1e-3)

    def embed(self, ids, v, d):
        return F.embedding(ids, self.take("normal", v, d))

    def lstm(self, x, n):
        b, zero = n ** -0.5, torch.zeros(1, len(x), n)
        w = [self.take(b, x.shape[2], 4 * n).t(), self.take(b, n, 4 * n).t(), self.take(b, 4 * n), torch.zeros(4 * n)]
        return torch.lstm(x, (zero, zero), w, True, 1, 0.0, True, False, True)[0][:, -1]

    def gru(self, x, n):
        b = n ** -0.5
        turn = lambda v: torch.cat([v[n:2 * n], v[:n], v[2 * n:]])  # Keras' gates z, r, h to r, z, n
        w = [turn(self.take(b, x.shape[2], 3 * n).t()), turn(self.take(b, n, 3 * n).t())]
        w += [turn(v) for v in self.take(b, 2, 3 * n)]
        return torch.gru(x, torch.zeros(1, len(x), n), w, True, 1, 0.0, True, False, True)[0][:, -1]

    def attention(self, x, heads, causal):
        n, length, d = x.shape
        b, k = d ** -0.5, d // heads
        q = [(x @ self.take(b, d, heads, k).reshape(d, d) + self.take(b, heads, k).reshape(d)).view(n, length, heads, k).transpose(1, 2)
             for _ in range(3)]
        y = F.scaled_dot_product_attention(*q, is_causal=causal).transpose(1, 2).reshape(n, length, d)
        return y @ self.take(b, heads, k, d).reshape(d, d) + self.take(b, d)

    def former(self, x, v, d, heads, depth, causal):
        x = self.embed(x, v, d) + self.take("normal", x.shape[1], d)
        for _ in range(depth):
            x = x + self.attention(self.ln(x), heads, causal)
            x = x + self.dense(F.gelu(self.dense(self.ln(x), 4 * d)), d)
        return self.ln(x)


def mlp(net, x, width):
    return net.dense(F.relu(net.dense(F.relu(net.dense(x.flatten(1), width)), width)), 10)


def cnn(net, x):
    for n in (32, 64):
        x = F.max_pool2d(F.relu(net.conv(x, n, 3, pad=False)), 2)
    return net.dense(F.relu(net.dense(x.permute(0, 2, 3, 1).flatten(1), 128)), 10)


def resnet20(net, x):
    x = F.relu(net.bn(net.conv(x, 16, 3, bias=False)))
    for n, s in [(16, 1)] * 3 + [(32, 2)] + [(32, 1)] * 2 + [(64, 2)] + [(64, 1)] * 2:
        y = net.conv(F.relu(net.bn(net.conv(x, n, 3, s, bias=False))), n, 3, bias=False)
        skip = net.conv(x, n, 1, s, bias=False) if s > 1 else None
        y = net.bn(y)
        x = F.relu(y + (x if skip is None else net.bn(skip)))
    return net.dense(x.mean((2, 3)), 10)


def mobilenet(net, x):
    x = F.relu6(net.bn(net.conv(x, 16, 3, 2, bias=False)))
    for t, n, s in [(1, 8, 1), (6, 16, 2), (6, 16, 1), (6, 24, 2), (6, 24, 1), (6, 48, 2), (6, 48, 1), (6, 80, 2)]:
        c = x.shape[1]
        y = F.relu6(net.bn(net.conv(x, c * t, 1, bias=False))) if t > 1 else x
        y = F.relu6(net.bn(net.conv(y, c * t, 3, s, bias=False, groups=c * t)))
        y = net.bn(net.conv(y, n, 1, bias=False))
        x = x + y if s == 1 and c == n else y
    return net.dense(F.relu6(net.bn(net.conv(x, 320, 1, bias=False))).mean((2, 3)), 10)


def unet(net, x):
    double = lambda v, n: F.relu(net.conv(F.relu(net.conv(v, n, 3)), n, 3))
    a = double(x, 16)
    b = double(F.max_pool2d(a, 2), 32)
    x = double(F.max_pool2d(b, 2), 64)
    x = double(torch.cat([net.up(x, 32, 2), b], 1), 32)
    x = double(torch.cat([net.up(x, 16, 2), a], 1), 16)
    return net.conv(x, 4, 1).permute(0, 2, 3, 1)


def recsys(net, x):
    x = torch.cat([net.embed(x[:, 0], 100000, 32), net.embed(x[:, 1], 50000, 32)], 1)
    return net.dense(F.relu(net.dense(F.relu(net.dense(x, 128)), 64)), 1)


def autoencoder(net, x):
    x = F.relu(net.conv(F.relu(net.conv(x, 16, 3, 2)), 32, 3, 2))
    return torch.sigmoid(net.up(F.relu(net.up(x, 16, 3)), 1, 3))


# ---- data: whole numbers and powers of two, so that both languages have the same bits ----

def images(side, channels):
    """Sums of 16 textures, each with a weight of 0 to 31; the class is the strongest of the first 10, a tenth of them drawn anew."""
    y, x, c = np.meshgrid(np.arange(side), np.arange(side), np.arange(channels), indexing="ij")
    at = (y % 8 * 8 + x % 8) * 8 + c

    def batch(stream, first, n, row):
        textures = np.stack([bits(hashed(99, at + 512 * k), 40, 1) * 2 - 1 for k in range(16)]).reshape(16, -1)
        i = np.arange(first, first + n)
        a = bits(hashed(stream, i[:, None] * 16 + np.arange(16)), 40, 5)
        v = (a @ textures).reshape(n, side, side, channels)
        if row == "autoencoder":
            v = (v / 1024 + 0.5).astype("float32")
            return v, v
        if row == "unet":  # which of the first four textures together are above 0, in two channels
            part = (a[:, :4] @ textures[:4]).reshape(v.shape)
            labels = (part[..., 0] > 0) * 2 + (part[..., 1] > 0)
        else:
            h = hashed(stream + 1, i)
            labels = np.where(bits(h, 0, 16) % 10 == 0, bits(h, 16, 16) % 10, a[:, :10].argmax(1))
        return (v / 256).astype("float32"), labels.astype("int64")
    return batch


def ids(h, few, step, all_of_them):
    """Three of four from a few ids, the others from all."""
    return np.where(bits(h, 0, 2) > 0, bits(h, 2, 16) % few * step, bits(h, 18, 24) % all_of_them)


def words(stream, first, n, row):
    """Half of all words are good; a text is good where more than half of its last 16 are, with a tenth of the answers drawn anew."""
    i = np.arange(first, first + n)
    x = ids(hashed(stream, i[:, None] * 64 + np.arange(64)), 100, 97, 10000)
    good = bits(hashed(98, x[:, -16:]), 40, 1).sum(1) > 8
    h = hashed(stream + 1, i)
    return x, np.where(bits(h, 0, 16) % 10 == 0, bits(h, 16, 1), good).astype("int64")


def text(stream, first, n, row):
    """What follows hangs on the token, once in four times on the one before."""
    h = hashed(stream, np.arange(first, first + n)[:, None] * 128 + np.arange(128))
    x = bits(h, 0, 8)
    before = np.concatenate([x[:, :1], x[:, :-1]], 1)
    return x, np.where(bits(h, 8, 2) > 0, (x * 5 + 17) % 256, (before * 3 + 1) % 256)


def ratings(stream, first, n, row):
    """The product of what hangs on the user and what hangs on the item, and some noise."""
    i = np.arange(first, first + n)
    h = hashed(stream, i)
    user, item = ids(h, 100, 997, 100000), ids(hashed(stream + 1, i), 50, 997, 50000)
    y = (bits(hashed(97, user), 40, 3) - 3) * (bits(hashed(96, item), 40, 3) - 3) / 8 + (bits(h, 42, 4) - 7) / 16
    return np.stack([user, item], 1), y.astype("float32")[:, None]


# row: model, batch, windows, data, Adam's rate if not 1e-3: at that, deep models with batch normalization go far apart within some
# steps by roundings alone (PyTorch in float32 and in float64: 2 % after 15 steps of mobilenet)
ROWS = dict(
    mlp_small=(lambda net, x: mlp(net, x, 64), 32, 20, images(28, 1)),
    mlp_mid=(lambda net, x: mlp(net, x, 1024), 128, 10, images(28, 1)),
    cnn=(cnn, 128, 10, images(28, 1)),
    resnet20=(resnet20, 64, 10, images(32, 3), 1e-4),
    mobilenet=(mobilenet, 16, 10, images(96, 3), 1e-4),
    unet=(unet, 16, 10, images(64, 3)),
    lstm=(lambda net, x: net.dense(net.lstm(net.embed(x, 10000, 128), 128), 2), 64, 15, words),
    gru=(lambda net, x: net.dense(net.gru(net.embed(x, 10000, 128), 128), 2), 64, 15, words),
    encoder=(lambda net, x: net.dense(net.former(x, 10000, 128, 4, 2, False).mean(1), 2), 32, 15, words),
    gpt=(lambda net, x: net.dense(net.former(x, 256, 256, 8, 4, True), 256), 8, 10, text),
    recsys=(recsys, 1024, 10, ratings),
    autoencoder=(autoencoder, 128, 10, images(28, 1)),
)


def train(name, number):
    model, batch, windows, data, rate = (*ROWS[name], 1e-3)[:5]
    net, optimizer, losses = Net(number), None, []
    begun = time.process_time()
    for step in range(windows * WINDOW):
        x, y = (torch.from_numpy(v) for v in data(number * 1000 + 500, step * batch, batch, name))
        if x.ndim == 4:
            x = x.permute(0, 3, 1, 2)
        net.at = 0
        out = model(net, x)
        if y.dtype == torch.float32:
            loss = F.mse_loss(out.permute(0, 2, 3, 1) if out.ndim == 4 else out, y)
        else:
            loss = F.cross_entropy(out.flatten(0, -2), y.flatten())
        optimizer = optimizer or torch.optim.Adam(net.weights, rate)
        optimizer.param_groups[0]["eps"] = 1e-7 * (1 - 0.999 ** (step + 1)) ** -0.5  # where Keras' form adds it
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    means = np.reshape(losses, (windows, WINDOW)).mean(1)
    print(name, "%.0f s" % (time.process_time() - begun), ["%.4f" % v for v in means], flush=True)
    return dict(number=number, batch=batch, rate=rate, losses=[float("%.7g" % v) for v in means],
                inits=[v if isinstance(v, str) else float("%.17g" % v) for v in net.inits])


if __name__ == "__main__":
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rows.lua")
    old = dict(re.findall(r"^  (\w+) = (.*),$", open(path).read(), re.M)) if os.path.exists(path) else {}
    wanted = sys.argv[1:] or list(ROWS)
    lines = [(name, lua(train(name, i + 1), 17) if name in wanted else old.get(name)) for i, name in enumerate(ROWS)]
    with open(path, "w") as f:
        f.write("-- Made by spec/ref/rows.py from the real PyTorch; do not edit.\nreturn {\n")
        f.writelines("  %s = %s,\n" % line for line in lines if line[1])
        f.write("}\n")
