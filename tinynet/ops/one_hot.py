"""Indices as rows of which one element is on."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need, need_axis, need_inputs, quiet


@register
class OneHot(Op):
    """indices (any number), values [off, on] -> a new axis of `depth` at `axis` that is on where its position is the index.

    A negative index counts from the end; one outside [-depth, depth) has no element that is on.  Float indices are
    truncated to int64 (ONNX OneHot).
    """

    kind: ClassVar[str] = "one_hot"
    depth: int = 0
    axis: int = -1

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        indices, values = inputs
        need(self.depth >= 0, "depth >= 0", self.depth)
        need(values.shape == (2,), "values of shape [2]: off and on", values.shape)
        need(indices.dtype != "bool", "indices that are numbers", indices.dtype)
        axis = need_axis(self.axis, len(indices.shape) + 1)
        return [Spec((*indices.shape[:axis], self.depth, *indices.shape[axis:]), values.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        indices, (off, on) = arrays
        with quiet():
            whole = indices.astype(np.int64)
        axis = self.axis % (indices.ndim + 1)
        places = np.arange(self.depth).reshape((-1,) + (1,) * (indices.ndim - axis))
        whole = np.expand_dims(np.where(whole < 0, whole + self.depth, whole), axis)
        return [np.where(places == whole, on, off)]
