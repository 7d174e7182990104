"""Linear resampling of quantised images.  Nearest is `resize` of any dtype."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import count, need_inputs, need_name, need_nhwc, quiet, refuse
from tinynet.ops.quantize import need_scale, need_zero, to_integers
from tinynet.ops.resize import COORDINATES, Resize


@register
class QResize(Op):
    """x uint8 [N,H,W,C] resampled to `size` (height, width), linear between pixels, as `resize` with these attributes.

    y = to_integers((w00 r00 + w01 r01 + w10 r10 + w11 r11) / y_scale) with the reals r = x_scale (x - x_zero) of the upper
    left, upper right, lower left, lower right pixel and their weights, products of a row's and a column's; every operation
    is rounded to float32, as in onnxruntime's Resize between DequantizeLinear and QuantizeLinear.
    """

    kind: ClassVar[str] = "q_resize"
    size: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    coordinates: str = "half_pixel"
    x_scale: float = 1.0
    x_zero: int = 0
    y_scale: float = 1.0
    y_zero: int = 0

    def real(self) -> Resize:
        return Resize(size=self.size, scales=self.scales, mode="linear", coordinates=self.coordinates)

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        (x,) = inputs
        if x.dtype != "uint8":
            refuse("x of dtype uint8", x.dtype)
        need_nhwc(x)
        need_name("coordinates", self.coordinates, COORDINATES)
        for name in ("x", "y"):
            need_scale(f"{name}_scale", getattr(self, f"{name}_scale"))
            need_zero(f"{name}_zero", getattr(self, f"{name}_zero"))
        return [Spec(self.real().infer(Spec(x.shape))[0].shape, "uint8")]

    def table(self, i: int, extent: int) -> tuple[np.ndarray, np.ndarray]:
        """(pixels [2, size[i]] int64, their weights float32); beyond an edge the same pixel twice, half each."""
        low, high, part = self.real().linear(i, extent)
        part = np.where(low == high, np.float32(0.5), part)
        return np.stack([low, high]), np.stack([1 - part, part])

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        rows, row_parts = self.table(0, x.shape[1])
        columns, column_parts = self.table(1, x.shape[2])
        with quiet():
            real = np.float32(self.x_scale) * (x.astype(np.int32) - self.x_zero).astype(np.float32)
            y = np.float32(0)
            for row, row_part in zip(rows, row_parts, strict=True):
                for column, column_part in zip(columns, column_parts, strict=True):
                    y = y + np.outer(row_part, column_part)[..., None] * real[:, row][:, :, column]
            return [to_integers(y / np.float32(self.y_scale), self.y_zero, 0, 255)]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return 4 * count(outputs[0].shape)

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        builder.reserve(24 * sum(self.size))
        rows, row_parts = self.table(0, x.shape[1])
        columns, column_parts = self.table(1, x.shape[2])
        index = np.concatenate([rows.reshape(-1), columns.reshape(-1) * x.row])
        part = np.concatenate([row_parts.reshape(-1), column_parts.reshape(-1)])
        floats = x.shape[2] * x.row + 16          # the last pixel is read in whole vectors
        builder.emit("resize_u8", [builder.tensor(x.name), builder.tensor(y.name), builder.constant(index.astype(np.int64)),
                                   builder.constant(part.astype(np.float32)), builder.scratch(8 * floats * builder.threads)],
                     macs=4 * y.size, nbytes=y.size, batch=x.shape[0], height=x.shape[1], width=x.shape[2], channels=x.row,
                     ldx=x.ld, out_height=y.shape[1], out_width=y.shape[2], ldy=y.ld, scratch_floats=floats,
                     x_zero=self.x_zero, y_zero=self.y_zero, x_scale=self.x_scale, y_scale=self.y_scale)
        return True
