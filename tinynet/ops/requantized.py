"""What the layers of 8-bit integers that multiply share: exact sums in int32, one float32 multiplication per output."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec
from tinynet.ops.checks import need, need_inputs, need_name, need_shape, quiet, refuse
from tinynet.ops.quantize import MOST_PRODUCTS, need_zero, to_integers

RESULTS = ("uint8", "float32", "int32")     # what a layer may write; the kernels count them so (tn_result)


class Requantized(Op):
    """What a layer of integer sums shares: acc = sum of x (w - w_zero), + b, in int32 modulo 2^32; then with `dtype`

    uint8     y = clamp(round(acc multiplier) + y_zero) to [low, high] (to_integers)
    float32   y = acc multiplier
    int32     y = acc

    x uint8; w int8; b int32 [O], in which -x_zero * sum of (w - w_zero) is contained; multiplier float32 [O], for uint8
    x_scale * w_scale / y_scale in that order (onnxruntime's QLinearConv), finite and not negative; w_zero int32 [O] optional.
    `low` and `high` hold the activation (relu, relu6).
    """

    constant_inputs: ClassVar[tuple[int, ...]] = (1, 2, 3, 4)
    x_zero: int = 0
    y_zero: int = 0
    low: int = 0
    high: int = 255
    dtype: str = "uint8"

    def check(self, inputs: tuple[Spec, ...], outs: int, products: int) -> None:
        """Everything but the shapes of x and w."""
        need_inputs(inputs, 4, 5)
        for spec, what, dtype in zip(inputs, ("x", "w", "b", "multiplier", "w_zero"),
                                     ("uint8", "int8", "int32", "float32", "int32"), strict=False):
            if spec.dtype != dtype:
                refuse(f"{what} of dtype {dtype}", spec.dtype)
        for spec, what in zip(inputs[2:], ("b", "multiplier", "w_zero"), strict=False):
            need_shape(spec, (outs,), what)
        need_name("dtype", self.dtype, RESULTS)
        need_zero("x_zero", self.x_zero)
        need_zero("y_zero", self.y_zero)
        need(0 <= self.low <= self.high <= 255, "0 <= low <= high <= 255", (self.low, self.high))
        need(products <= MOST_PRODUCTS, f"at most {MOST_PRODUCTS} products per sum (int32 holds no more)", products)

    def finish(self, acc: np.ndarray, arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        """acc: exact sums in float64 or int64, without b, [..., O]."""
        with quiet():
            total = (acc.astype(np.int64) + arrays[2]).astype(np.int32)
            if self.dtype == "int32":
                return [total]
            real = total.astype(np.float32) * arrays[3]
        return [real if self.dtype == "float32" else to_integers(real, self.y_zero, self.low, self.high)]
