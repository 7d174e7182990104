"""Softmax of integers, through a table of exponentials."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need, need_inputs, quiet, refuse
from tinynet.ops.quantize import need_scale, need_zero, to_integers

LARGEST = np.finfo(np.float32).max


@register
class QSoftmax(Op):
    """y = to_integers(e[x] levels / sum of e, y_zero) along the last axis of x uint8 [...,n], n >= 1, in float32; levels =
    floor(1 / y_scale); e[x] = exp((x - max) x_scale) times a number that the division removes; the sum adds from first to last.

    Arithmetic of com.microsoft QLinearSoftmax, which is also what onnxruntime makes of DequantizeLinear, Softmax,
    QuantizeLinear.  Where that one goes wrong this one does not: its int8 result wraps around instead of saturating at 127,
    and its floats overflow if levels > 148 n.
    """

    kind: ClassVar[str] = "q_softmax"
    x_scale: float = 1.0
    y_scale: float = 1 / 256
    y_zero: int = 0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        (x,) = inputs
        if x.dtype != "uint8":
            refuse("x of dtype uint8", x.dtype)
        need(len(x.shape) >= 1 and x.shape[-1] >= 1, "at least one element along the last axis", x.shape)
        need_scale("x_scale", self.x_scale)
        need_scale("y_scale", self.y_scale)
        need_zero("y_zero", self.y_zero)
        return [x]

    def exponentials(self, n: int) -> np.ndarray:
        """float32 [256]: entry 255 - d is e of an x that lies d below the largest of its row.

        The largest is as large as the sum of n of them allows, which keeps differences up to 170 / x_scale from underflow;
        onnxruntime's table, times 2^-64 lest `levels` times an entry overflows.
        """
        largest = max(0.0, float(np.float32(math.log(LARGEST / np.float32(n)))) - 5) / self.x_scale
        entries = [math.exp(max(-1000.0, (i - 255 + largest) * self.x_scale)) for i in range(256)]
        return np.array(entries).astype(np.float32) * np.float32(2.0 ** -64)

    def levels(self) -> np.float32:
        with quiet():
            return np.floor(np.float32(1) / np.float32(self.y_scale))

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        if not x.size:
            return [x]
        e = self.exponentials(x.shape[-1])[255 - (x.max(axis=-1, keepdims=True) - x)]
        with quiet():
            total = np.add.accumulate(e, axis=-1)[..., -1:]
            return [to_integers(e * self.levels() / total, self.y_zero, 0, 255)]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def inplace(self) -> tuple[int, ...]:
        return (0,)

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        table = builder.constant(self.exponentials(x.row))
        builder.emit("q_softmax", [builder.tensor(x.name), table, builder.tensor(y.name)], nbytes=40 * x.size, rows=x.rows,
                     columns=x.row, ldx=x.ld, ldy=y.ld, zero=self.y_zero, levels=float(self.levels()))
        return True
