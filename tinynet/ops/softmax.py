"""Softmax along one axis."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import count, need, need_axis, need_float, need_inputs, quiet


@register
class Softmax(Op):
    """exp(x - max) / sum of the same, along `axis` (ONNX Softmax-13), float32."""

    kind: ClassVar[str] = "softmax"
    axis: int = -1

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_float(inputs)
        (x,) = inputs
        axis = need_axis(self.axis, len(x.shape))
        need(x.shape[axis] >= 1, "at least one element along the axis", x.shape)
        return [x]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        with quiet():
            e = np.exp(x - x.max(axis=self.axis, keepdims=True))
            return [(e / e.sum(axis=self.axis, keepdims=True, dtype=np.float64)).astype(np.float32)]

    def inplace(self) -> tuple[int, ...]:
        return (0,)

    def lower(self, builder: Any, node: Any) -> bool:
        x = builder.view(node.inputs[0])
        axis = self.axis % len(x.shape)
        builder.emit("softmax_f32", [builder.tensor(x.name), builder.tensor(node.outputs[0])], nbytes=40 * x.size,
                     outer=count(x.shape[:axis]), n=x.shape[axis], inner=count(x.shape[axis + 1:]))
        return True
