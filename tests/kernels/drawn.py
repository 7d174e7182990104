"""Networks drawn at random that make tensors share memory in every way they can.

All numbers are small integers, so that every result is exact in float32 and is compared bit by bit.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from nets import Net

LIMIT = {"activation": "clip", "alpha": -8.0, "beta": 8.0}


def integers(seed, *shape, low=-4, high=4):
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(np.float32)


def layer(net: Net, x: str, outs: int, seed: int = 0, residual: str | None = None, kernel: int = 1) -> str:
    w = integers(seed, outs, kernel, kernel, net.shape(x)[-1], low=-1, high=1)
    more = [] if residual is None else [residual]
    b = integers(seed + 1, outs)
    return net.add("conv2d", x, net.constant(w), net.constant(b), *more, pads=(kernel // 2,) * 4, **LIMIT)


def vector(net: Net, x: str, seed: int = 0) -> str:
    return net.constant(integers(seed, net.shape(x)[-1], low=-1, high=1))


def matmul(net: Net, x: str, outs: int, seed: int = 0) -> str:
    """Reads and writes contiguous rows only."""
    return net.add("matmul", x, net.constant(integers(seed, net.shape(x)[-1], outs, low=-1, high=1)))


class Maker:
    """Draws layers that fit tensors drawn before; each method returns the new tensor, or None if nothing fits."""

    def __init__(self, data):
        self.data = data
        self.net = Net()
        self.tensors: list[str] = []
        for i in range(self.number(1, 2)):
            shape = (self.number(1, 2) if i else 1, self.number(1, 4), self.number(1, 4), self.number(1, 6))
            self.tensors.append(self.net.input(integers(self.number(0, 999), *shape)))

    def number(self, low, high):
        return self.data.draw(st.integers(low, high))

    def choose(self, values):
        return self.data.draw(st.sampled_from(values))

    def pick(self, fits=lambda t: True):
        found = [n for n in reversed(self.tensors) if self.tensor(n).size and fits(self.tensor(n))]
        return self.choose(found) if found else None

    def tensor(self, name):
        return self.net.graph.tensors[name]

    def numeric(self, rank=None, least=1):
        return self.pick(lambda t: t.dtype == "float32" and len(t.shape) >= least and (rank is None or len(t.shape) == rank))

    def unary(self):
        x = self.numeric(least=0)
        return x and self.net.add(self.choose(["relu", "neg", "abs"]), x)

    def batch_norm(self):
        x = self.numeric()
        return x and self.net.add("batch_norm", x, vector(self.net, x), vector(self.net, x, 1), **LIMIT)

    def binary(self):
        x = self.pick()
        if x is None:
            return None
        rank, shape = len(self.tensor(x).shape), self.tensor(x).shape
        y = self.pick(lambda t: t.dtype == self.tensor(x).dtype and len(t.shape) == rank
                      and all(p == q or 1 in (p, q) for p, q in zip(t.shape, shape, strict=True)))
        kind = self.choose(["add", "sub", "maximum", "minimum"])
        return self.net.add(kind, x, y, **(LIMIT if self.tensor(x).dtype == "float32" else {}))

    def choice(self):
        """The smaller of two, spelled as comparison and choice."""
        x = self.pick()
        if x is None:
            return None
        y = self.pick(lambda t: (t.dtype, t.shape) == (self.tensor(x).dtype, self.tensor(x).shape))
        return self.net.add("where", self.net.add("greater", x, y), y, x)

    def quantized(self):
        x = self.numeric(least=0)
        return x and self.net.add("quantize", x, scale=(1.0,), zero=(100,))

    def of_bytes(self):
        """A layer of integers on what `quantized` began."""
        x = self.pick(lambda t: t.dtype == "uint8")
        if x is None:
            return self.quantized()
        kind, shape = self.choose(["q_add", "q_mul", "q_table", "q_softmax", "dequantize"]), self.tensor(x).shape
        if kind == "q_table":
            return self.net.add(kind, x, self.net.constant(np.arange(256).astype(np.uint8) ^ np.uint8(self.number(0, 255))))
        if kind == "dequantize" or (kind == "q_softmax" and not shape):
            return self.net.add("dequantize", x, scale=(1.0,), zero=(100,))
        if kind == "q_softmax":
            return self.net.add(kind, x, x_scale=0.125)
        y = self.pick(lambda t: t.dtype == "uint8" and len(t.shape) == len(shape)
                      and all(p == q or 1 in (p, q) for p, q in zip(t.shape, shape, strict=True)))
        return self.net.add(kind, x, y, a_zero=100, b_zero=90, y_scale=2.0, y_zero=70)

    def conv(self):
        x = self.numeric(4)
        if x is None:
            return None
        shape, outs = self.tensor(x).shape, self.number(1, 6)
        residual = self.pick(lambda t: t.dtype == "float32" and len(t.shape) == 4 and t.shape[:3] == shape[:3])
        if not self.data.draw(st.booleans()) or self.tensor(residual).shape[:3] != shape[:3]:
            residual = None
        outs = outs if residual is None else self.tensor(residual).shape[3]
        return layer(self.net, x, outs, self.number(0, 99), residual, self.choose([1, 3]))

    def depthwise(self):
        x = self.numeric(4)
        if x is None:
            return None
        w = self.net.constant(integers(1, 3, 3, self.net.shape(x)[3], low=-1, high=1))
        return self.net.add("depthwise_conv2d", x, w, vector(self.net, x), pads=(1, 1, 1, 1), **LIMIT)

    def pool(self):
        x = self.numeric(4)
        return x and self.net.add("max_pool2d", x, kernel=(3, 3), pads=(1, 1, 1, 1))

    def matmul(self):
        x = self.numeric(least=2)
        return x and self.net.add("clip", matmul(self.net, x, self.number(1, 5)), alpha=-8.0, beta=8.0)

    def bare_matmul(self):
        x = self.numeric(least=2)
        if x is None:
            return None
        small = self.net.add("clip", x, alpha=-2.0, beta=2.0)
        return self.net.add("minimum", matmul(self.net, small, self.net.shape(x)[-1]), x)

    def reduce(self):
        x = self.numeric()
        if x is None:
            return None
        last = len(self.tensor(x).shape) - 1
        first = self.number(0, last)
        axes = tuple(range(first, self.number(first, last) + 1))
        return self.net.add("reduce_max", x, axes=axes, keepdims=self.data.draw(st.booleans()))

    def cut(self):
        x = self.pick(lambda t: any(d > 1 for d in t.shape))
        if x is None:
            return None
        shape = self.tensor(x).shape
        axis = self.choose([i for i, d in enumerate(shape) if d > 1])
        first = self.number(0, shape[axis] - 1)
        return self.net.cut(x, first, self.number(first + 1, shape[axis]), axis)

    def halves(self):
        """A split: both parts are used."""
        x = self.pick(lambda t: any(d > 1 for d in t.shape))
        if x is None:
            return None
        shape = self.tensor(x).shape
        axis = self.choose([i for i, d in enumerate(shape) if d > 1])
        at = self.number(1, shape[axis] - 1)
        self.tensors.append(self.net.cut(x, 0, at, axis))
        return self.net.cut(x, at, shape[axis], axis)

    def concat(self):
        x = self.pick(lambda t: len(t.shape) >= 1)
        if x is None:
            return None
        shape, dtype = self.tensor(x).shape, self.tensor(x).dtype
        axis = self.number(0, len(shape) - 1)
        parts = [x]
        for _ in range(self.number(0, 3)):
            parts.insert(self.number(0, len(parts)), self.pick(
                lambda t: t.dtype == dtype and len(t.shape) == len(shape)
                and t.shape[:axis] == shape[:axis] and t.shape[axis + 1:] == shape[axis + 1:]))
        if sum(self.tensor(p).size for p in parts) > 2000:
            return None
        return self.net.add("concat", *parts, axis=axis)

    def reshape(self):
        x = self.pick()
        if x is None:
            return None
        shape, size = self.tensor(x).shape, self.tensor(x).size
        last = shape[-1] if shape else 1
        forms = [(size,), (1, size), (size // last, last), (1, size // last, 1, last), (*shape, 1), (1, *shape),
                 (1, 1, size // last, last), (2, size // 2) if size % 2 == 0 else (size, 1)]
        return self.net.add("reshape", x, shape=self.choose([f for f in forms if len(f) <= 5]))

    def transpose(self):
        x = self.pick()
        return x and self.net.add("transpose", x, perm=tuple(self.data.draw(st.permutations(range(len(self.tensor(x).shape))))))

    def pad(self):
        x = self.numeric()
        rank = len(self.tensor(x).shape) if x else 0
        if not x or self.tensor(x).size > 200:
            return None
        return self.net.add("pad", x, begin=tuple(self.number(0, 1) for _ in range(rank)), end=(0,) * rank, value=3.0)

    def shuffle(self):
        x = self.numeric()
        if x is None:
            return None
        groups = self.choose([g for g in range(1, 7) if self.net.shape(x)[-1] % g == 0])
        return self.net.add("channel_shuffle", x, groups=groups)

    def cast(self):
        x = self.pick()
        return x and self.net.add("cast", x, to=self.choose(["float32", "int64"]))

    def constant(self):
        """Layers of constants are folded by the converter, but a file may hold them."""
        x = self.net.constant(integers(1, self.number(1, 3), self.number(1, 6)))
        return self.net.add("reshape", x, shape=(1, *self.net.shape(x)))


LAYERS = [name for name in vars(Maker)
          if not name.startswith("_") and name not in ("number", "choose", "pick", "tensor", "numeric")]
# What links memory comes up more often.
LAYERS += ["of_bytes"] * 3 + ["concat"] * 4 + ["cut", "halves", "reshape"] * 2 + ["unary", "binary", "conv"]


