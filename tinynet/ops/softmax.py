"""Softmax, its logarithm and its limit, along one axis."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import count, need, need_axis, need_float, need_inputs, quiet


class AlongAxis(Op):
    """x, float32 -> the same shape."""

    axis: int = -1

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_float(inputs)
        (x,) = inputs
        axis = need_axis(self.axis, len(x.shape))
        need(x.shape[axis] >= 1, "at least one element along the axis", x.shape)
        return [x]

    def inplace(self) -> tuple[int, ...]:
        return (0,)

    def lower_softmax(self, builder: Any, node: Any, log: bool) -> bool:
        x = builder.view(node.inputs[0])
        axis = self.axis % len(x.shape)
        builder.emit("softmax_f32", [builder.tensor(x.name), builder.tensor(node.outputs[0])], nbytes=40 * x.size,
                     outer=count(x.shape[:axis]), n=x.shape[axis], inner=count(x.shape[axis + 1:]), log=log)
        return True


@register
class Softmax(AlongAxis):
    """exp(x - max) / sum of the same (ONNX Softmax-13)."""

    kind: ClassVar[str] = "softmax"

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        with quiet():
            e = np.exp(x - x.max(axis=self.axis, keepdims=True))
            return [(e / e.sum(axis=self.axis, keepdims=True, dtype=np.float64)).astype(np.float32)]

    def lower(self, builder: Any, node: Any) -> bool:
        return self.lower_softmax(builder, node, False)


@register
class LogSoftmax(AlongAxis):
    """x - max - log(sum of exp(x - max)) (ONNX LogSoftmax-13)."""

    kind: ClassVar[str] = "log_softmax"

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        with quiet():
            z = x - x.max(axis=self.axis, keepdims=True)
            return [(z - np.log(np.exp(z, dtype=np.float64).sum(axis=self.axis, keepdims=True))).astype(np.float32)]

    def lower(self, builder: Any, node: Any) -> bool:
        return self.lower_softmax(builder, node, True)


@register
class Hardmax(AlongAxis):
    """1 at the first largest element, 0 elsewhere (ONNX Hardmax-13); NaN counts as the largest, as in numpy."""

    kind: ClassVar[str] = "hardmax"

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        y = np.zeros_like(x)
        if x.size:
            np.put_along_axis(y, np.argmax(x, axis=self.axis, keepdims=True), np.float32(1), axis=self.axis)
        return [y]
