"""Arithmetic of bits; of bool, where it is logic."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.ops.base import register
from tinynet.ops.binary import Pair


class Bitwise(Pair):
    """a, b of one integer dtype, or bool."""

    dtypes: ClassVar[tuple[str, ...]] = ("bool", "int64", "int32", "uint8", "int8")


@register
class BitwiseAnd(Bitwise):
    """a & b"""

    kind: ClassVar[str] = "bitwise_and"

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a & b


@register
class BitwiseOr(Bitwise):
    """a | b"""

    kind: ClassVar[str] = "bitwise_or"

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a | b


@register
class BitwiseXor(Bitwise):
    """a ^ b"""

    kind: ClassVar[str] = "bitwise_xor"

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a ^ b


@register
class BitShift(Pair):
    """a << b, or a >> b with copies of the sign bit (`right`).

    Shifts by less than 0 or by all the bits and more leave what the sign bit fills: -1 to the right of a negative a, else 0.
    ONNX BitShift-28; older ones shift unsigned integers only.
    """

    kind: ClassVar[str] = "bit_shift"
    dtypes: ClassVar[tuple[str, ...]] = ("int64", "int32", "uint8", "int8")
    right: bool = False

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.right_shift(a, b) if self.right else np.left_shift(a, b)
