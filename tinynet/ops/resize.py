"""Resampling of images."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import count, need, need_float, need_inputs, need_name, need_nhwc, need_tuple, quiet

MODES = ("nearest", "linear")
COORDINATES = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners", "half_pixel_symmetric")
# So close to the middle between two pixels is the middle: a float32 coordinate can miss a tie by its rounding.
# onnxruntime decides by the same bound since its issue 28291.
TIE = np.float32(1e-6)
NEAREST_MODES = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@register
class Resize(Op):
    """x [N,H,W,C] float32 -> [N,OH,OW,C] (ONNX Resize-19 with antialias 0 and exclude_outside 0).

    `scales` (height, width) serve the coordinates alone; `size` is the output.  Coordinates are computed in
    float32, as onnxruntime does: where one falls on a border between pixels, its rounding decides which is nearest.
    """

    kind: ClassVar[str] = "resize"
    size: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_float(inputs)
        n, _, _, c = need_nhwc(inputs[0])
        need_tuple("size", self.size, 2, 1)
        need(len(self.scales) == 2 and all(0 < s < math.inf for s in self.scales), "scales of 2 positive numbers",
             self.scales)
        need_name("mode", self.mode, MODES)
        need_name("coordinates", self.coordinates, COORDINATES)
        need_name("nearest_mode", self.nearest_mode, NEAREST_MODES)
        return [Spec((n, *self.size, c))]

    def source(self, i: int, extent: int) -> np.ndarray:
        """[size[i]] float32: where each output row (i = 0) or column (i = 1) lies in the input."""
        out, scale = self.size[i], np.float32(self.scales[i])
        half = np.float32(0.5)
        x = np.arange(out).astype(np.float32)
        if self.coordinates == "asymmetric":
            return x / scale
        if self.coordinates == "align_corners":
            return x * np.float32(extent - 1) / np.float32(out - 1) if out > 1 else x
        if self.coordinates == "pytorch_half_pixel" and out == 1:
            return x
        if self.coordinates == "half_pixel_symmetric":
            adjustment = np.float32(out) / (scale * np.float32(extent))
            offset = np.float32(extent) / np.float32(2) * (np.float32(1) - adjustment)
            # This one, alone, onnxruntime adds up in float64.
            return (np.float64(offset) + (x.astype(np.float64) + 0.5) / np.float64(scale) - 0.5).astype(np.float32)
        return (x + half) / scale - half

    def nearest(self, i: int, extent: int) -> np.ndarray:
        """[size[i]] int64: the input row or column of each output row or column."""
        x = self.source(i, extent)
        if self.nearest_mode == "ceil":
            chosen = np.ceil(x)
        elif self.nearest_mode == "floor":
            chosen = np.floor(x)
        else:
            chosen = np.floor(x)
            above = x - chosen - np.float32(0.5)
            up = above >= -TIE if self.nearest_mode == "round_prefer_ceil" else above > TIE
            chosen += up
        return np.clip(chosen, 0, extent - 1).astype(np.int64)

    def linear(self, i: int, extent: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """([size[i]] lower neighbour, upper neighbour, float32 weight of the upper one), clamped at the edges."""
        x = np.clip(self.source(i, extent), 0, extent - 1)
        low = np.floor(x).astype(np.int64)
        return low, np.minimum(low + 1, extent - 1), x - low.astype(np.float32)

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        h, w = x.shape[1:3]
        if self.mode == "nearest":
            return [x[:, self.nearest(0, h)][:, :, self.nearest(1, w)]]
        top, bottom, fy = self.linear(0, h)
        left, right, fx = self.linear(1, w)
        fy, fx, one = fy[:, None, None], fx[:, None], np.float32(1)
        with quiet():
            rows = x[:, top] * (one - fy) + x[:, bottom] * fy
            return [rows[:, :, left] * (one - fx) + rows[:, :, right] * fx]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return 4 * count(outputs[0].shape) if self.mode == "linear" else 0

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        builder.reserve(24 * sum(self.size))
        if self.mode == "nearest":
            rows, columns = self.nearest(0, x.shape[1]), self.nearest(1, x.shape[2])
            index, weight = np.concatenate([rows, rows, columns, columns]), np.zeros(0, np.float32)
        else:
            (top, bottom, fy), (left, right, fx) = self.linear(0, x.shape[1]), self.linear(1, x.shape[2])
            index, weight = np.concatenate([top, bottom, left, right]), np.concatenate([fy, fx])
        builder.emit("resize_f32", [builder.tensor(x.name), builder.tensor(y.name),
                                    builder.constant(index.astype(np.int64)), builder.constant(weight.astype(np.float32))],
                     nbytes=20 * y.size, linear=self.mode == "linear", batch=x.shape[0], height=x.shape[1],
                     width=x.shape[2], channels=x.row, ldx=x.ld, out_height=y.shape[1], out_width=y.shape[2], ldy=y.ld)
        return True
