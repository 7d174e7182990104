"""One triangle of a matrix."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need, need_inputs


@register
class Trilu(Op):
    """The upper (column - row >= k) or lower (<= k) triangle of the last two axes of x, any dtype; 0 elsewhere."""

    kind: ClassVar[str] = "trilu"
    upper: bool = True
    k: int = 0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        (x,) = inputs
        need(len(x.shape) >= 2, "x of shape [..., rows, columns]", x.shape)
        return [x]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        rows, columns = x.shape[-2:]
        k = max(-rows, min(self.k, columns))
        distance = np.arange(columns) - np.arange(rows)[:, None]
        return [np.where(distance >= k if self.upper else distance <= k, x, x.dtype.type(0))]
