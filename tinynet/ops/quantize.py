"""From real numbers to 8-bit ones and back, and the arithmetic that every integer kind shares.

A tensor of integers q stands for the real numbers (q - zero) scale.  Activations are uint8 wherever the converter is free
to choose; a source's int8 tensor is the uint8 one with 128 added to q and zero.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need, need_float, need_inputs, need_name, quiet, refuse

RANGES = {"uint8": (0, 255), "int8": (-128, 127)}
# Of products of a uint8 with an int8 that an int32 holds whatever they are: (2^31 - 1) // (255 * 128).
MOST_PRODUCTS = 65_793
MOST_PLANES = 4     # of a picture that is quantized plane by plane


def need_scale(name: str, scale: float) -> None:
    """A positive normal float32."""
    if not (math.isfinite(scale) and 1.1754944e-38 <= scale <= 3.4028235e38 and float(np.float32(scale)) == scale):
        refuse(f"{name}, a positive normal float32", scale)


def need_zero(name: str, zero: int, dtype: str = "uint8") -> None:
    low, high = RANGES[dtype]
    need(low <= zero <= high, f"{name} between {low} and {high}", zero)


def to_integers(real: np.ndarray, zero: int, low: int, high: int, dtype: str = "uint8") -> np.ndarray:
    """real (float32, in steps of the scale), clamped, rounded half to even, plus zero; within [low, high].  NaN becomes low.

    This order (clamp, round, add the integer) is onnxruntime's and every kernel's; no sum of floats follows a product, so
    that no compiler can contract the two.
    """
    with quiet():
        least, most = np.float32(low - zero), np.float32(high - zero)
        clamped = np.where(real > least, np.where(real < most, real, most), least)
        return np.asarray((np.rint(clamped).astype(np.int32) + np.int32(zero)).astype(dtype))


@register
class Quantize(Op):
    """y = clamp(round(x / scale) + zero), half to even: x float32 of any shape (ONNX QuantizeLinear); NaN becomes the
    lowest integer.  One scale and zero, or one each along `axis`.  `planar`: x is [N,C,H,W] with up to four channels, y
    [N,H,W,C] uint8, with one scale."""

    kind: ClassVar[str] = "quantize"
    scale: tuple[float, ...] = (1.0,)
    zero: tuple[int, ...] = (0,)
    dtype: str = "uint8"
    axis: int = 0
    planar: bool = False

    @property
    def elementwise(self) -> bool:
        return len(self.scale) == 1 and not self.planar

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_float(inputs)
        need_name("dtype", self.dtype, tuple(RANGES))
        check_steps(self, inputs[0], self.dtype)
        shape = inputs[0].shape
        if self.planar:
            need(len(shape) == 4 and shape[1] <= MOST_PLANES, f"planar x of shape [N, C, H, W] with C <= {MOST_PLANES}", shape)
            need(len(self.scale) == 1 and self.dtype == "uint8", "one scale and uint8 for a planar x", self.dtype)
            shape = shape[0], *shape[2:], shape[1]
        return [Spec(shape, self.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        scale, zero = steps(self, x.ndim)
        low, high = RANGES[self.dtype]
        with quiet():
            real = x / scale
            # fmax: NaN becomes the low end
            clamped = np.fmin(np.fmax(real, (low - zero).astype(np.float32)), (high - zero).astype(np.float32))
            y = np.asarray((np.rint(clamped).astype(np.int32) + zero).astype(self.dtype))
        return [y.transpose(0, 2, 3, 1) if self.planar else y]

    def strided(self) -> tuple[bool, bool]:
        return not self.planar, not self.planar

    def lower(self, builder: Any, node: Any) -> bool:
        if not self.planar:
            return lower_steps(self, builder, node, self.dtype)
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        builder.emit("quantize_planes", [builder.tensor(x.name), builder.tensor(y.name)], nbytes=8 * x.size, batch=x.shape[0],
                     pixels=x.shape[2] * x.shape[3], channels=x.shape[1], plane=x.shape[2] * x.shape[3], scale=self.scale[0],
                     zero=self.zero[0], flip=0)
        return True


@register
class Dequantize(Op):
    """y = (x - zero) scale: x uint8, int8 or int32 of any shape (ONNX DequantizeLinear); the difference wraps in int32.
    One scale and zero, or one each along `axis`."""

    kind: ClassVar[str] = "dequantize"
    scale: tuple[float, ...] = (1.0,)
    zero: tuple[int, ...] = (0,)
    axis: int = 0

    @property
    def elementwise(self) -> bool:
        return len(self.scale) == 1

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_name("dtype", inputs[0].dtype, ("uint8", "int8", "int32"))
        check_steps(self, inputs[0], inputs[0].dtype)
        return [Spec(inputs[0].shape)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        scale, zero = steps(self, x.ndim)
        with quiet():
            # numpy turns the result of arithmetic on rank-0 arrays into a scalar.
            return [np.asarray((x.astype(np.int32) - zero).astype(np.float32) * scale)]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        return lower_steps(self, builder, node, builder.view(node.inputs[0]).dtype)


def check_steps(op: Any, x: Spec, dtype: str) -> None:
    """The scales and zeros of Quantize and Dequantize."""
    many = len(op.scale)
    need(many >= 1 and len(op.zero) == many, "as many zeros as scales", (many, len(op.zero)))
    for scale in op.scale:
        need_scale("scale", scale)
    for zero in op.zero:
        need(zero == 0, "zero 0 of int32", zero) if dtype == "int32" else need_zero("zero", zero, dtype)
    need(many == 1 or (0 <= op.axis < len(x.shape) and x.shape[op.axis] == many),
         f"{many} scales along an axis of that extent", (*x.shape, f"axis {op.axis}"))


def steps(op: Any, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """(scale float32, zero int32), shaped to broadcast with a tensor of that rank."""
    shape = [1] * rank
    if len(op.scale) > 1:
        shape[op.axis] = len(op.scale)
    return np.array(op.scale, np.float32).reshape(shape), np.array(op.zero, np.int32).reshape(shape)


def rows_and_columns(x: Any, y: Any) -> dict[str, int]:
    """Parameters of a kernel that goes through the rows of two views of one shape; contiguous ones are a single row."""
    rows, columns = (1, x.size) if x.contiguous and y.contiguous else (x.rows, x.row)
    return {"rows": rows, "columns": columns, "ldx": x.ld, "ldy": y.ld}


def lower_steps(op: Any, builder: Any, node: Any, dtype: str) -> bool:
    """Emit `quantize` or `dequantize` between float32 and that dtype; not int32, not with a scale per channel."""
    if len(op.scale) > 1 or dtype not in RANGES:
        return False
    x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
    # An int8 is the uint8 with 128 added, its highest bit inverted.
    builder.emit(op.kind, [builder.tensor(x.name), builder.tensor(y.name)], nbytes=8 * x.size, **rows_and_columns(x, y),
                 scale=op.scale[0], zero=op.zero[0] - RANGES[dtype][0], flip=-RANGES[dtype][0])
    return True
