"""Change of dtype."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.graph import DTYPES
from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need_inputs, need_name


@register
class Cast(Op):
    """numpy's astype(to): floats truncate to integers, integers wrap, anything but 0 is True, also NaN.

    A float that the integer cannot hold gives what the processor's conversion gives on x86, and with it onnxruntime there, on
    every machine: the smallest int32 or int64 for those two; uint8 and int8 are the low bits of an int32.
    """

    kind: ClassVar[str] = "cast"
    elementwise: ClassVar[bool] = True
    to: str = "float32"

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_name("to", self.to, tuple(DTYPES))
        return [Spec(inputs[0].shape, self.to)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        if x.dtype.kind == "f" and np.dtype(self.to).kind in "iu":
            wide = np.int64 if self.to == "int64" else np.int32
            least = np.float32(np.iinfo(wide).min)
            x = np.where((x >= least) & (x < -least), x, least).astype(wide)
        return [x.astype(self.to)]
