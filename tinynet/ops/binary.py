"""Element by element on two tensors, with numpy's broadcasting."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from tinynet.ops.activations import Activated
from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import broadcast, count, need, need_float, need_inputs, quiet

# In the order of `tn_binary` in kernels/micro/micro.h.
BINARY = ("add", "sub", "mul", "div", "pow", "maximum", "minimum", "prelu")


def lower_binary(builder: Any, node: Any, function: int, activation: int, clamp: dict[str, float]) -> bool:
    """Emit `binary_f32`: broadcasting becomes strides of 0, axes that walk together are merged."""
    a, b, y = (builder.view(n) for n in (*node.inputs, node.outputs[0]))
    if y.dtype != "float32":
        return False
    rank = len(y.shape)

    def strides(v: Any) -> tuple[int, ...]:
        own = (0,) * (rank - len(v.shape)) + v.strides
        extents = (1,) * (rank - len(v.shape)) + v.shape
        return tuple(0 if d == 1 else s for d, s in zip(extents, own, strict=True))

    dims = builder.collapse(y.shape, (strides(a), strides(b), y.strides))
    if not dims or dims[-1][1][2] != 1 or not set(dims[-1][1]) <= {0, 1}:
        dims.append((1, (1, 1, 1)))
    if len(dims) > 6:
        return False
    dims = [(1, (0, 0, 0))] * (6 - len(dims)) + dims
    params = {}
    for i, (extent, steps) in enumerate(dims):
        params |= {f"shape{i}": extent, f"x{i}": steps[0], f"y{i}": steps[1], f"z{i}": steps[2]}
    builder.emit("binary_f32", [builder.tensor(a.name), builder.tensor(b.name), builder.tensor(y.name)],
                 nbytes=16 * y.size, function=function, activation=activation, **params, **clamp)
    return True


class Binary(Activated):
    """a, b of one dtype (float32; int64 or int32 without activation) -> their broadcast shape."""

    elementwise: ClassVar[bool] = True

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        self.check_activation()
        a, b = inputs
        need(a.dtype in ("float32", "int64", "int32"), "dtype float32, int64 or int32", a.dtype)
        need(a.dtype == b.dtype, f"both inputs of dtype {a.dtype}", b.dtype)
        need(a.dtype == "float32" or self.activation == "none", f"no activation on {a.dtype}", self.activation)
        return [Spec(broadcast(a.shape, b.shape), a.dtype)]

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        a, b = arrays
        with quiet():
            y = self.compute(a, b)
            # numpy turns the result of arithmetic on rank-0 arrays into a scalar.
            return [np.asarray(y if self.activation == "none" else self.activate(y), dtype=a.dtype)]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape)

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def inplace(self) -> tuple[int, ...]:
        return (0, 1)

    def lower(self, builder: Any, node: Any) -> bool:
        e = self.epilogue()
        return lower_binary(builder, node, BINARY.index(self.kind), e.pop("function"), e)


@register
class Add(Binary):
    """f(a + b)"""

    kind: ClassVar[str] = "add"

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a + b


@register
class Sub(Binary):
    """f(a - b)"""

    kind: ClassVar[str] = "sub"

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a - b


@register
class Mul(Binary):
    """f(a b)"""

    kind: ClassVar[str] = "mul"

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a * b


@register
class Div(Binary):
    """f(a / b); integers truncate towards zero, as in C and ONNX, and give 0 where b is 0"""

    kind: ClassVar[str] = "div"

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if a.dtype == np.float32:
            return a / b
        return np.floor_divide(a, b) + ((np.remainder(a, b) != 0) & ((a < 0) != (b < 0)))


@register
class Pow(Binary):
    """f(a ** b); an integer to a negative power truncates towards zero (0 where a is 0)"""

    kind: ClassVar[str] = "pow"

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if a.dtype == np.float32:
            return np.power(a, b)
        # numpy refuses negative integer powers; only those of 1 and -1 are not 0 after truncation.
        unit = np.where(a == 1, 1, np.where(a == -1, 1 - 2 * (b & 1), 0))
        return np.where(b < 0, unit, np.power(a, np.maximum(b, 0)))


@register
class Maximum(Binary):
    """f(max(a, b)); NaN if either is"""

    kind: ClassVar[str] = "maximum"

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.maximum(a, b)

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return 0


@register
class Minimum(Binary):
    """f(min(a, b)); NaN if either is"""

    kind: ClassVar[str] = "minimum"

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.minimum(a, b)

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return 0


@register
class Prelu(Op):
    """x where x >= 0, else slope x: x float32, slope broadcasts to x's shape."""

    kind: ClassVar[str] = "prelu"
    elementwise: ClassVar[bool] = True

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        need_float(inputs)
        x, slope = inputs
        need(broadcast(x.shape, slope.shape) == x.shape, f"slope that broadcasts to {list(x.shape)}", slope.shape)
        return [x]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, slope = arrays
        with quiet():
            return [np.where(x < 0, slope * x, x)]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape)

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def inplace(self) -> tuple[int, ...]:
        return (0,)

    def lower(self, builder: Any, node: Any) -> bool:
        return lower_binary(builder, node, BINARY.index("prelu"), 0,
                            {"lo": -math.inf, "hi": math.inf, "alpha": 0.0, "beta": 0.0})
