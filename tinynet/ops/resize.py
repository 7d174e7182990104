"""Resampling along spatial axes."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from tinynet.graph import DTYPES
from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import MOST, count, need, need_inputs, need_name, need_tuple, quiet

MODES = ("nearest", "linear", "cubic")
COORDINATES = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners", "half_pixel_symmetric")
CROP = "tf_crop_and_resize"      # coordinates of a part of x, which `roi` names
# So close to the middle between two pixels is the middle: a float32 coordinate can miss a tie by its rounding.
# onnxruntime decides by the same bound since its issue 28291.
TIE = np.float32(1e-6)
NEAREST_MODES = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def cubic_weight(distance: np.ndarray, a: float) -> np.ndarray:
    """Cubic convolution kernel at |distance| (Keys 1981), 0 from 2 on."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


@register
class Resize(Op):
    """x with `axes` resampled to `size` (ONNX Resize-19): float32, in mode nearest every dtype.

    `scales` serve the coordinates alone: one per axis, as `size`; none at all stands for size / extent.  Coordinates
    are computed in float32, as onnxruntime does: where one falls on a border between pixels, its rounding decides
    which is nearest.  Pixels beyond an edge repeat it; with `exclude_outside` they count nothing and the others more.
    `antialias` widens the filter of linear and cubic where an axis shrinks.  `roi` (tf_crop_and_resize) holds the
    begins, then the ends, of all axes as parts of their length; what lies outside x is `extrapolation`.
    """

    kind: ClassVar[str] = "resize"
    size: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    axes: tuple[int, ...] = (1, 2)
    cubic_coeff: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    roi: tuple[float, ...] = ()
    extrapolation: float = 0.0

    @property
    def plain_image(self) -> bool:
        """Two axes, of an image if x has four, and two pixels per axis at most: what the kernel for images knows."""
        return (self.axes == (1, 2) and self.mode != "cubic" and not self.antialias
                and self.coordinates != CROP)

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        (x,) = inputs
        rank, axes = len(x.shape), len(self.axes)
        need(axes >= 1 and list(self.axes) == sorted(set(self.axes)) and 0 <= self.axes[0] and self.axes[-1] < rank,
             f"axes in order, each once, between 0 and {rank - 1}", self.axes)
        need(all(x.shape[a] >= 1 for a in self.axes), f"x of at least one pixel along axes {list(self.axes)}", x.shape)
        need_tuple("size", self.size, axes, 1)
        need(len(self.scales) in (0, axes) and all(0 < s < math.inf for s in self.scales),
             f"scales of {axes} positive numbers, or none", self.scales)
        need_name("mode", self.mode, MODES)
        need_name("coordinates", self.coordinates, (*COORDINATES, CROP))
        need_name("nearest_mode", self.nearest_mode, NEAREST_MODES)
        need(x.dtype == "float32" or self.mode == "nearest", "x of dtype float32 except in mode nearest", x.dtype)
        need(math.isfinite(self.cubic_coeff), "a finite cubic_coeff", self.cubic_coeff)
        wanted = 2 * axes if self.coordinates == CROP else 0
        need(len(self.roi) == wanted and all(abs(r) <= MOST for r in self.roi), f"roi of {wanted} numbers", self.roi)
        need(all(self._stretch(i, x.shape[a]) <= 2 * x.shape[a] + 1 for i, a in enumerate(self.axes)),
             "scales that do not shrink an axis below one pixel", self.scales)
        shape = list(x.shape)
        for axis, size in zip(self.axes, self.size, strict=True):
            shape[axis] = size
        return [Spec(tuple(shape), x.dtype)]

    def scale(self, i: int, extent: int) -> float:
        """By how much the i-th axis grows, for the coordinates."""
        return self.scales[i] if self.scales else self.size[i] / extent

    def source(self, i: int, extent: int) -> np.ndarray:
        """[size[i]] float32: where each output pixel lies along the i-th axis of the input; far outside is just outside."""
        with quiet():
            x = self._positions(i, extent)
        return np.clip(np.where(x == x, x, np.float32(0)), np.float32(-MOST), np.float32(MOST))

    def _positions(self, i: int, extent: int) -> np.ndarray:
        out, scale = self.size[i], np.float32(self.scale(i, extent))
        half = np.float32(0.5)
        x = np.arange(out).astype(np.float32)
        if self.coordinates == "asymmetric":
            return x / scale
        if self.coordinates in ("align_corners", CROP):
            return self._between_ends(x, i, extent)
        if self.coordinates == "pytorch_half_pixel" and out == 1:
            return x
        if self.coordinates == "half_pixel_symmetric":
            adjustment = np.float32(out) / (scale * np.float32(extent))
            offset = np.float32(extent) / np.float32(2) * (np.float32(1) - adjustment)
            # This one, alone, onnxruntime adds up in float64.
            return (np.float64(offset) + (x.astype(np.float64) + 0.5) / np.float64(scale) - 0.5).astype(np.float32)
        return (x + half) / scale - half

    def _between_ends(self, x: np.ndarray, i: int, extent: int) -> np.ndarray:
        """The first and the last output pixel lie on the ends of x, or of the roi.  The length of the output may have a
        fraction here, when it comes from a scale; what only rounding keeps from being `size` is `size`."""
        length = np.float32(self.scale(i, extent)) * np.float32(extent)
        if abs(length - self.size[i]) <= self.size[i] * 2.0 ** -22:
            length = np.float32(self.size[i])
        last = np.float32(extent - 1)
        if self.coordinates == "align_corners":
            return x * last / (length - np.float32(1)) if len(x) > 1 else x
        begin, end = np.float32(self.roi[i]), np.float32(self.roi[i + len(self.axes)])
        if len(x) == 1:
            return np.full(1, np.float32(0.5) * (begin + end) * last, np.float32)
        return begin * last + x * (end - begin) * last / (length - np.float32(1))

    def nearest(self, i: int, extent: int) -> np.ndarray:
        """[size[i]] int64: the input pixel of each output pixel."""
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
        low = np.minimum(np.floor(x).astype(np.int64), extent - 1)
        return low, np.minimum(low + 1, extent - 1), x - low.astype(np.float32)

    def _stretch(self, i: int, extent: int) -> float:
        """How many times wider the filter is than one pixel of x."""
        return max(1.0, 1 / self.scale(i, extent)) if self.antialias else 1.0

    def _taps(self, i: int, extent: int) -> int:
        reach = {"nearest": 0.5, "linear": 1, "cubic": 2}[self.mode] * self._stretch(i, extent)
        return 2 * math.ceil(reach)

    def taps(self, i: int, extent: int) -> tuple[np.ndarray, np.ndarray]:
        """(pixels [size[i], T] int64, their float32 weights) that make each output pixel along the i-th axis."""
        if self.mode == "nearest":
            index = self.nearest(i, extent)[:, None]
            return index, np.ones(index.shape, np.float32)
        stretch = self._stretch(i, extent)
        if self.mode == "linear" and stretch == 1:
            low, high, part = self.linear(i, extent)
            return np.stack([low, high], 1), np.stack([1 - part, part], 1)
        x = self.source(i, extent)
        half = self._taps(i, extent) // 2
        first = np.floor(x).astype(np.int64)[:, None] + np.arange(1 - half, half + 1)
        distance = (first - x[:, None].astype(np.float64)) / stretch
        weight = cubic_weight(distance, self.cubic_coeff) if self.mode == "cubic" else np.maximum(1 - np.abs(distance), 0)
        if stretch > 1:
            weight /= weight.sum(1, keepdims=True)
        if self.exclude_outside:
            weight = np.where((first >= 0) & (first < extent), weight, 0.0)
            total = weight.sum(1, keepdims=True)
            weight /= np.where(total == 0, 1.0, total)
        return np.clip(first, 0, extent - 1), weight.astype(np.float32)

    def outside(self, i: int, extent: int) -> np.ndarray:
        """[size[i]] bool: output pixels that have the extrapolation value."""
        if self.coordinates != CROP:
            return np.zeros(self.size[i], bool)
        x = self.source(i, extent)
        return (x < 0) | (x > extent - 1)

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        extents = [x.shape[a] for a in self.axes]
        with quiet():
            y = x
            for i, axis in enumerate(self.axes):
                index, weight = self.taps(i, extents[i])
                if self.mode == "nearest":
                    y = np.take(y, index[:, 0], axis)
                    continue
                parts = (np.take(y, index[:, t], axis) * weight[:, t].reshape(-1, *(1,) * (x.ndim - axis - 1))
                         for t in range(index.shape[1]))
                y = sum(parts, np.float32(0))
            for i, axis in enumerate(self.axes):
                out = self.outside(i, extents[i])
                if out.any():
                    y = np.where(out.reshape(-1, *(1,) * (x.ndim - axis - 1)), np.asarray(self.extrapolation, x.dtype), y)
        return [np.ascontiguousarray(y)]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        if self.mode == "nearest":
            return 0
        if self.plain_image:
            return 4 * count(outputs[0].shape)
        shape, total = list(inputs[0].shape), 0
        for i, axis in enumerate(self.axes):
            extent, shape[axis] = shape[axis], self.size[i]
            total += count(shape) * self._taps(i, extent)
        return total

    def strided(self) -> tuple[bool, bool]:
        return self.plain_image, self.plain_image

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        if self.plain_image and len(x.shape) == 4:
            return self._lower_nearest(builder, node) if self.mode == "nearest" else self._lower_image(builder, node)
        return x.contiguous and y.contiguous and self._lower_axes(builder, node)

    def _lower_nearest(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        builder.reserve(8 * sum(self.size))
        index = np.concatenate([self.nearest(0, x.shape[1]), self.nearest(1, x.shape[2])])
        item = DTYPES[x.dtype]
        builder.emit("resize_nearest", [builder.tensor(x.name), builder.tensor(y.name), builder.constant(index)],
                     nbytes=2 * item * y.size, batch=x.shape[0], height=x.shape[1], width=x.shape[2], out_height=y.shape[1],
                     out_width=y.shape[2], pixel=item * x.row, ldx=item * x.ld, ldy=item * y.ld)
        return True

    def _lower_image(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        builder.reserve(24 * sum(self.size))
        (top, bottom, fy), (left, right, fx) = self.linear(0, x.shape[1]), self.linear(1, x.shape[2])
        index, weight = np.concatenate([top, bottom, left, right]), np.concatenate([fy, fx])
        builder.emit("resize_f32", [builder.tensor(x.name), builder.tensor(y.name),
                                    builder.constant(index.astype(np.int64)), builder.constant(weight.astype(np.float32))],
                     nbytes=20 * y.size, batch=x.shape[0], height=x.shape[1], width=x.shape[2], channels=x.row, ldx=x.ld,
                     out_height=y.shape[1], out_width=y.shape[2], ldy=y.ld)
        return True

    def _lower_axes(self, builder: Any, node: Any) -> bool:
        """One step per axis."""
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        builder.reserve(sum(size * (1 + 12 * self._taps(i, x.shape[a]))
                            for i, (a, size) in enumerate(zip(self.axes, self.size, strict=True))))
        if any(self.outside(i, x.shape[a]).any() for i, a in enumerate(self.axes)):
            return False
        shape, source, item = list(x.shape), builder.tensor(x.name), DTYPES[x.dtype]
        for i, axis in enumerate(self.axes):
            extent, shape[axis] = shape[axis], self.size[i]
            outer, inner = count(shape[:axis]), count(shape[axis + 1:])
            last = i == len(self.axes) - 1
            target = builder.tensor(y.name) if last else builder.scratch(item * count(shape))
            nbytes = 2 * item * count(shape)
            if self.mode == "nearest":
                builder.emit("gather", [source, builder.constant(self.nearest(i, extent)), target], nbytes=nbytes, outer=outer,
                             extent=extent, row=item * inner, picks=self.size[i], index_item=8)
            else:
                index, weight = self.taps(i, extent)
                builder.emit("resample_f32", [source, target, builder.constant(np.ascontiguousarray(index * inner)),
                                              builder.constant(np.ascontiguousarray(weight))],
                             macs=count(shape) * index.shape[1], nbytes=nbytes, outer=outer, extent=extent, out=self.size[i],
                             inner=inner, taps=index.shape[1])
            source = target
        return True
