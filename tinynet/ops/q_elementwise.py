"""Integer kinds that treat elements one by one: sums and products of two tensors, and any function as a table."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.binary import loops
from tinynet.ops.checks import broadcast, count, need, need_inputs, need_name, need_shape, quiet, refuse
from tinynet.ops.quantize import RANGES, need_scale, need_zero, rows_and_columns, to_integers

# Kernels round to int32 before they clamp: sums and products stay below this.
MOST_REAL = 2.0 ** 30
LARGEST = float(np.finfo(np.float32).max)


class QBinary(Op):
    """a, b uint8, broadcast as in numpy -> uint8 within [low, high].

    The float32 that is clamped and rounded half to even includes y_zero, as in onnxruntime: a tie goes to the even result,
    not to the even multiple of the scale.
    """

    elementwise: ClassVar[bool] = True
    a_scale: float = 1.0
    a_zero: int = 0
    b_scale: float = 1.0
    b_zero: int = 0
    y_scale: float = 1.0
    y_zero: int = 0
    low: int = 0
    high: int = 255

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        for spec in inputs:
            if spec.dtype != "uint8":
                refuse("inputs of dtype uint8", spec.dtype)
        for name in ("a", "b", "y"):
            need_scale(f"{name}_scale", getattr(self, f"{name}_scale"))
            need_zero(f"{name}_zero", getattr(self, f"{name}_zero"))
        need(0 <= self.low <= self.high <= 255, "0 <= low <= high <= 255", (self.low, self.high))
        need(self.largest() < LARGEST, "scales whose ratio a float32 can hold", (self.a_scale, self.b_scale, self.y_scale))
        return [Spec(broadcast(inputs[0].shape, inputs[1].shape), "uint8")]

    def factors(self) -> dict[str, np.float32]:
        """What the kernel multiplies with and adds, as its parameters."""
        raise NotImplementedError

    def largest(self) -> float:
        """A bound of the numbers that are rounded."""
        raise NotImplementedError

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def inplace(self) -> tuple[int, ...]:
        return (0, 1)

    def lower(self, builder: Any, node: Any) -> bool:
        views = [builder.view(n) for n in (*node.inputs, node.outputs[0])]
        params = loops(builder, views)
        if params is None or self.largest() >= MOST_REAL:
            return False
        builder.emit(self.kind, [builder.tensor(v.name) for v in views], nbytes=16 * views[-1].size, a_zero=self.a_zero,
                     b_zero=self.b_zero, low=self.low, high=self.high, **params,
                     **{name: float(value) for name, value in self.factors().items()})
        return True


def _fused(a: np.ndarray, b: np.float32, c: np.ndarray) -> np.ndarray:
    """a b + c, float32, rounded once; a holds integers below 256, so that a float64 holds a b."""
    product, more = a.astype(np.float64) * np.float64(b), c.astype(np.float64)
    total = product + more
    added = total - product
    lost = (product - (total - added)) + (more - added)
    # Rounded to odd, so that rounding to float32 sees that something was lost (Boldo and Melquiond, 2008).
    bits = total.view(np.int64)
    step = np.where((lost > 0) == (total > 0), 1, -1)
    return np.where((lost != 0) & (bits & 1 == 0), bits + step, bits).view(np.float64).astype(np.float32)


@register
class QAdd(QBinary):
    """v = (c + b rb) + a ra with ra = a_scale / y_scale, rb = b_scale / y_scale and c = y_zero - (ra a_zero + rb b_zero), every
    operation rounded to float32, but a ra and its sum once (com.microsoft QLinearAdd, whose compiler fuses these two)."""

    kind: ClassVar[str] = "q_add"

    def factors(self) -> dict[str, np.float32]:
        with quiet():
            ra, rb = np.float32(self.a_scale) / np.float32(self.y_scale), np.float32(self.b_scale) / np.float32(self.y_scale)
            return {"ra": ra, "rb": rb,
                    "c": np.float32(self.y_zero) - (ra * np.float32(self.a_zero) + rb * np.float32(self.b_zero))}

    def largest(self) -> float:
        ra, rb, c = map(float, self.factors().values())
        return 255 * (ra + rb) + abs(c)

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        a, b = (array.astype(np.float32) for array in arrays)
        ra, rb, c = self.factors().values()
        with quiet():
            return [to_integers(_fused(a, ra, c + b * rb), 0, self.low, self.high)]


@register
class QMul(QBinary):
    """v = (a - a_zero) (b - b_zero) m + y_zero with m = a_scale * b_scale / y_scale, in float32 where only the last product and
    the sum need rounding (com.microsoft QLinearMul)."""

    kind: ClassVar[str] = "q_mul"

    def factors(self) -> dict[str, np.float32]:
        with quiet():
            m = np.float32(self.a_scale) * np.float32(self.b_scale) / np.float32(self.y_scale)
        return {"ra": m, "rb": np.float32(0), "c": np.float32(self.y_zero)}

    def largest(self) -> float:
        m, _, c = map(float, self.factors().values())
        return 65025 * m + c

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        a, b = arrays[0].astype(np.int32) - self.a_zero, arrays[1].astype(np.int32) - self.b_zero
        m, _, c = self.factors().values()
        with quiet():
            return [to_integers((a * b).astype(np.float32) * m + c, 0, self.low, self.high)]


@register
class QTable(Op):
    """y = table[x], x uint8 or int8 (then by its bits: -1 is entry 255) of any shape, table uint8 or int8 [256]: any function
    of one 8-bit variable, such as a chain of activations or another scale."""

    kind: ClassVar[str] = "q_table"
    elementwise: ClassVar[bool] = True
    constant_inputs: ClassVar[tuple[int, ...]] = (1,)

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        for spec in inputs:
            need_name("dtype", spec.dtype, tuple(RANGES))
        need_shape(inputs[1], (256,), "table")
        return [Spec(inputs[0].shape, inputs[1].dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, table = arrays
        return [np.asarray(table[x.view(np.uint8)])]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def inplace(self) -> tuple[int, ...]:
        return (0,)

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        builder.emit("q_table", [builder.tensor(n) for n in (*node.inputs, y.name)], nbytes=8 * count(x.shape),
                     **rows_and_columns(x, y))
        return True
