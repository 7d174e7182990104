"""Scale and shift per channel: batch normalisation with its statistics folded in."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.activated import Activated
from tinynet.ops.base import Spec, register
from tinynet.ops.checks import count, need, need_float, need_inputs, need_shape, quiet


@register
class BatchNorm(Activated):
    """f(x scale + shift): x [..., C], scale [C], shift [C], float32.

    Not `elementwise`: the channel is the last axis, so a transpose cannot slip past.
    """

    kind: ClassVar[str] = "batch_norm"
    constant_inputs: ClassVar[tuple[int, ...]] = (1, 2)

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 3)
        need_float(inputs)
        self.check_activation()
        x, scale, shift = inputs
        need(len(x.shape) >= 1, "x of shape [..., C]", x.shape)
        need_shape(scale, x.shape[-1:], "scale")
        need_shape(shift, x.shape[-1:], "shift")
        return [x]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, scale, shift = arrays
        with quiet():
            return [self.activate(x * scale + shift)]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape)

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def inplace(self) -> tuple[int, ...]:
        return (0,)

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        builder.emit("scale_shift_f32", [*(builder.tensor(n) for n in node.inputs), builder.tensor(y.name)],
                     nbytes=16 * x.size, rows=x.rows, channels=x.row, ldx=x.ld, ldy=y.ld, **self.epilogue())
        return True
