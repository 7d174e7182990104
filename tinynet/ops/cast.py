"""Change of dtype."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.graph import DTYPES
from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need_inputs, need_name, quiet


@register
class Cast(Op):
    """numpy's astype(to): floats truncate to integers, anything but 0 is True.

    What an integer cannot hold (NaN, inf, too large) becomes an unspecified integer.
    """

    kind: ClassVar[str] = "cast"
    elementwise: ClassVar[bool] = True
    to: str = "float32"

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_name("to", self.to, tuple(DTYPES))
        return [Spec(inputs[0].shape, self.to)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        with quiet():
            return [arrays[0].astype(self.to)]
