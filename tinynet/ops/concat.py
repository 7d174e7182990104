"""Concatenation along one axis."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need, need_inputs


@register
class Concat(Op):
    """x1, x2, ... (one or more, of one dtype, any) side by side along `axis` >= 0; the other extents agree."""

    kind: ClassVar[str] = "concat"
    axis: int = 0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1, max(1, len(inputs)))
        first, axis = inputs[0], self.axis
        need(0 <= axis < len(first.shape), f"axis between 0 and {len(first.shape) - 1}", axis)
        for spec in inputs[1:]:
            need(spec.dtype == first.dtype, f"all inputs of dtype {first.dtype}", spec.dtype)
            need(len(spec.shape) == len(first.shape)
                 and all(p == q for i, (p, q) in enumerate(zip(spec.shape, first.shape, strict=True)) if i != axis),
                 f"inputs that agree with {list(first.shape)} except along axis {axis}", spec.shape)
        total = sum(spec.shape[axis] for spec in inputs)
        return [Spec((*first.shape[:axis], total, *first.shape[axis + 1:]), first.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        return [np.concatenate(arrays, axis=self.axis)]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        y, at = builder.view(node.outputs[0]), 0
        for name in node.inputs:
            x = builder.view(name)
            start = at * y.strides[self.axis]
            if not builder.in_place(x, y, start) and not builder.copy(x, y, x.shape, x.strides, y.strides, y_offset=start):
                return False
            at += x.shape[self.axis]
        return True
