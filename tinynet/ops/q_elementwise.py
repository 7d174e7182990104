"""Integer kinds that treat elements one by one: sums and products of two tensors, and any function as a table."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import broadcast, need, need_inputs, need_name, need_shape, refuse
from tinynet.ops.quantize import RANGES, need_scale, need_zero, to_integers


class QBinary(Op):
    """a, b uint8, broadcast as in numpy -> uint8 within [low, high]."""

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
        return [Spec(broadcast(inputs[0].shape, inputs[1].shape), "uint8")]

    def inplace(self) -> tuple[int, ...]:
        return (0, 1)


@register
class QAdd(QBinary):
    """y = to_integers(a ra + b rb + c) with ra = a_scale / y_scale, rb = b_scale / y_scale and c = -(ra a_zero + rb b_zero),
    every operation rounded to float32 (com.microsoft QLinearAdd)."""

    kind: ClassVar[str] = "q_add"

    def factors(self) -> tuple[np.float32, np.float32, np.float32]:
        """ra, rb, c."""
        ra, rb = np.float32(self.a_scale) / np.float32(self.y_scale), np.float32(self.b_scale) / np.float32(self.y_scale)
        return ra, rb, -(ra * np.float32(self.a_zero) + rb * np.float32(self.b_zero))

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        a, b = (array.astype(np.float32) for array in arrays)
        ra, rb, c = self.factors()
        return [to_integers(a * ra + b * rb + c, self.y_zero, self.low, self.high)]


@register
class QMul(QBinary):
    """y = to_integers((a - a_zero) (b - b_zero) m), m = a_scale * b_scale / y_scale in float32 (com.microsoft QLinearMul)."""

    kind: ClassVar[str] = "q_mul"

    def factor(self) -> np.float32:
        return np.float32(self.a_scale) * np.float32(self.b_scale) / np.float32(self.y_scale)

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        a, b = arrays[0].astype(np.int32) - self.a_zero, arrays[1].astype(np.int32) - self.b_zero
        return [to_integers((a * b).astype(np.float32) * self.factor(), self.y_zero, self.low, self.high)]


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
        return [table[x.view(np.uint8)]]

    def inplace(self) -> tuple[int, ...]:
        return (0,)
