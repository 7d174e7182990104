"""The largest or smallest elements along an axis, and where they are."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import NUMERIC, need, need_axis, need_inputs


@register
class Topk(Op):
    """x of any numeric dtype -> values, indices (int64): the `k` largest (or smallest) along `axis`, sorted.

    Of equal elements the one with the lower index comes first; NaN counts as the largest, as in numpy.
    """

    kind: ClassVar[str] = "topk"
    axis: int = -1
    k: int = 1
    largest: bool = True

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        x = inputs[0]
        need(x.dtype in NUMERIC, f"a dtype among {', '.join(NUMERIC)}", x.dtype)
        axis = need_axis(self.axis, len(x.shape))
        need(0 <= self.k <= x.shape[axis], f"k between 0 and {x.shape[axis]}", self.k)
        shape = (*x.shape[:axis], self.k, *x.shape[axis + 1:])
        return [Spec(shape, x.dtype), Spec(shape, "int64")]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        axis = self.axis % x.ndim
        if self.largest:
            # Sorted backwards from the end, so that a stable sort keeps the lower index in front.
            order = x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
        else:
            order = np.argsort(x, axis=axis, kind="stable")
        index = np.ascontiguousarray(np.take(order, np.arange(self.k), axis)).astype(np.int64, copy=False)
        return [np.take_along_axis(x, index, axis), index]
