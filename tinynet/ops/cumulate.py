"""Running sums and products."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need, need_axis, need_inputs, quiet


class Cumulate(Op):
    """x (float32, int64 or int32) combined along `axis` with all elements before it, or behind it (`reverse`).

    `exclusive`: without itself, so that it starts with the neutral element.  float32 is summed in float64; integers wrap.
    """

    axis: int = 0
    exclusive: bool = False
    reverse: bool = False
    neutral: ClassVar[int] = 0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need(inputs[0].dtype in ("float32", "int64", "int32"), "dtype float32, int64 or int32", inputs[0].dtype)
        need_axis(self.axis, len(inputs[0].shape))
        return [inputs[0]]

    def compute(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        dtype = arrays[0].dtype
        x = np.moveaxis(arrays[0].astype(np.float64 if dtype == np.float32 else np.int64), self.axis, -1)
        x = x[..., ::-1] if self.reverse else x
        if self.exclusive and x.size:
            x = np.concatenate([np.full_like(x[..., :1], self.neutral), x[..., :-1]], -1)
        with quiet():
            y = self.compute(x).astype(dtype)
        return [np.ascontiguousarray(np.moveaxis(y[..., ::-1] if self.reverse else y, -1, self.axis))]


@register
class Cumsum(Cumulate):
    """Running sum"""

    kind: ClassVar[str] = "cumsum"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.cumsum(x, -1)


@register
class Cumprod(Cumulate):
    """Running product"""

    kind: ClassVar[str] = "cumprod"
    neutral: ClassVar[int] = 1

    def compute(self, x: np.ndarray) -> np.ndarray:
        return np.cumprod(x, -1)
