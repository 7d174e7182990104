"""Element by element on two tensors, with numpy's broadcasting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tinynet.ops.activated import Activated
from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import NUMERIC, broadcast, count, need, need_float, need_inputs, quiet

# In the order of `tn_binary` in kernels/micro/micro.h.
BINARY = ("add", "sub", "mul", "div", "pow", "maximum", "minimum", "prelu")


def loops(builder: Any, views: Sequence[Any]) -> dict[str, int] | None:
    """Parameters of six loops over the last of `views`, to whose shape the others broadcast: `shape0` .. `shape5`, and elements
    per step of the first view as `x0` .. `x5`, of the next ones as `y`, `z`, `w`.

    Broadcasting becomes strides of 0, axes that all walk together are one; along the last loop every stride is 0 or 1, the
    output's is 1.  None if it takes more loops.
    """
    shape = views[-1].shape
    rank = len(shape)

    def strides(v: Any) -> tuple[int, ...]:
        own = (0,) * (rank - len(v.shape)) + v.strides
        extents = (1,) * (rank - len(v.shape)) + v.shape
        return tuple(0 if d == 1 else s for d, s in zip(extents, own, strict=True))

    dims = builder.collapse(shape, tuple(map(strides, views)))
    if not dims or dims[-1][1][-1] != 1 or not set(dims[-1][1]) <= {0, 1}:
        dims.append((1, (1,) * len(views)))
    if len(dims) > 6:
        return None
    dims = [(1, (0,) * len(views))] * (6 - len(dims)) + dims
    params = {}
    for i, (extent, steps) in enumerate(dims):
        params |= {f"shape{i}": extent} | {f"{name}{i}": step for name, step in zip("xyzw", steps, strict=False)}
    return params


def lower_binary(builder: Any, node: Any, function: int, activation: int, clamp: dict[str, float]) -> bool:
    """Emit `binary_f32`."""
    views = [builder.view(n) for n in (*node.inputs, node.outputs[0])]
    params = loops(builder, views) if all(v.dtype == "float32" for v in views) else None
    if params is None:
        return False
    builder.emit("binary_f32", [builder.tensor(v.name) for v in views], nbytes=16 * views[-1].size, function=function,
                 activation=activation, **params, **clamp)
    return True


class Pair(Op):
    """a, b of one dtype among `dtypes` -> their broadcast shape, of that dtype or, if given, of the dtype `result`."""

    elementwise: ClassVar[bool] = True
    dtypes: ClassVar[tuple[str, ...]] = NUMERIC
    result: ClassVar[str] = ""

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        a, b = inputs
        need(a.dtype in self.dtypes, f"a dtype among {', '.join(self.dtypes)}", a.dtype)
        need(a.dtype == b.dtype, f"both inputs of dtype {a.dtype}", b.dtype)
        return [Spec(broadcast(a.shape, b.shape), self.result or a.dtype)]

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        a, b = arrays
        with quiet():
            # numpy turns the result of arithmetic on rank-0 arrays into a scalar.
            return [np.asarray(self.compute(a, b), dtype=self.result or a.dtype)]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def inplace(self) -> tuple[int, ...]:
        return (0, 1)


class Binary(Activated, Pair):
    """a, b of one dtype, without activation unless that is float32 -> their broadcast shape; integers wrap around."""

    def infer(self, *inputs: Spec) -> list[Spec]:
        self.check_activation()
        (y,) = super().infer(*inputs)
        need(y.dtype == "float32" or self.activation == "none", f"no activation on {y.dtype}", self.activation)
        return [y]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        found = super().reference(*arrays)
        return found if self.activation == "none" else [np.asarray(self.activate(y), dtype=y.dtype) for y in found]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape)

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
    """f(a ** b), of a's dtype; b may have another numeric dtype.

    An integer to a negative or fractional power truncates towards zero (0 where a is 0).
    """

    kind: ClassVar[str] = "pow"

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        a, b = inputs
        need(b.dtype in NUMERIC, f"an exponent of a dtype among {', '.join(NUMERIC)}", b.dtype)
        return super().infer(a, Spec(b.shape, a.dtype))

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if a.dtype == b.dtype == np.float32:
            return np.power(a, b)
        if np.float32 in (a.dtype, b.dtype):
            return np.power(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)
        # Modulo 2^64, which cut down to fewer bits is what arithmetic in these gives.
        a, b = a.astype(np.int64), b.astype(np.int64)
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
class Mod(Pair):
    """The remainder of a / b with the sign of b (quotient rounded down), or with that of a (`fmod`, quotient truncated).

    Integers give 0 where b is 0.  Python's %, and C's fmod.
    """

    kind: ClassVar[str] = "mod"
    fmod: bool = False

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.fmod(a, b) if self.fmod else np.mod(a, b)


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
