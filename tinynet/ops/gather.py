"""Selection of rows by constant indices."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need, need_axis, need_inputs


@register
class Gather(Op):
    """numpy.take(x, indices, axis): x of any dtype, indices constant int64 of any shape, each in [0, d).

    `reference` raises ShapeError for an index outside; `infer` knows shapes only.
    """

    kind: ClassVar[str] = "gather"
    constant_inputs: ClassVar[tuple[int, ...]] = (1,)
    axis: int = 0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        x, indices = inputs
        need(indices.dtype == "int64", "indices of dtype int64", indices.dtype)
        axis = need_axis(self.axis, len(x.shape))
        return [Spec((*x.shape[:axis], *indices.shape, *x.shape[axis + 1:]), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, indices = arrays
        extent = x.shape[self.axis]
        if indices.size:
            need(indices.min() >= 0, "indices >= 0", int(indices.min()))
            need(indices.max() < extent, f"indices below the extent {extent}", int(indices.max()))
        return [np.asarray(np.take(x, indices, axis=self.axis))]
