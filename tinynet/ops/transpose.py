"""Permutation of axes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need, need_inputs


@register
class Transpose(Op):
    """Axis i of the output is axis perm[i] of x, any dtype."""

    kind: ClassVar[str] = "transpose"
    perm: tuple[int, ...] = ()

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        (x,) = inputs
        need(sorted(self.perm) == list(range(len(x.shape))), f"perm that orders {len(x.shape)} axes", self.perm)
        return [Spec(tuple(x.shape[p] for p in self.perm), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        return [arrays[0].transpose(self.perm).copy()]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        return builder.copy(x, y, y.shape, tuple(x.strides[p] for p in self.perm), y.strides)
