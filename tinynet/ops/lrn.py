"""Local response normalisation across channels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import MOST, count, need, need_float, need_inputs, quiet


@register
class Lrn(Op):
    """x / (bias + alpha/size s)^beta, s the sum of squares over `size` neighbouring channels: x [..., C] float32.

    Channel c sees c - floor((size-1)/2) to c + ceil((size-1)/2), cut at the ends (ONNX LRN; Krizhevsky et al. 2012).
    """

    kind: ClassVar[str] = "lrn"
    size: int = 0
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_float(inputs)
        (x,) = inputs
        need(len(x.shape) >= 1, "x of shape [..., C]", x.shape)
        need(self.size >= 1, "size >= 1", self.size)
        need(self.size <= MOST, f"size <= {MOST}", self.size)
        return [x]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        channels = x.shape[-1]
        with quiet():
            square = x * x
            total = np.zeros_like(x)
            for offset in range(max(-((self.size - 1) // 2), 1 - channels), min(self.size // 2 + 1, channels)):
                first, last = max(0, -offset), min(channels, channels - offset)
                total[..., first:last] += square[..., first + offset:last + offset]
            scale = np.float32(self.bias) + np.float32(self.alpha / self.size) * total
            return [x * np.power(scale, np.float32(-self.beta))]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) * self.size

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        floats = -(-(x.row + self.size) // 16) * 16
        builder.emit("lrn_f32", [builder.tensor(x.name), builder.tensor(y.name), builder.scratch(4 * floats * builder.threads)],
                     nbytes=40 * x.size, rows=x.rows, channels=x.row, ldx=x.ld, ldy=y.ld, size=self.size,
                     scratch_floats=floats, alpha=self.alpha, beta=self.beta, bias=self.bias)
        return True
