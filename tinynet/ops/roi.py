"""Regions of interest: rectangles of an image, each pooled to the same few pixels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import count, need, need_data, need_inputs, need_name, need_nhwc, need_tuple, quiet

# Of one region; its numbers come with the data.
MOST_SAMPLES = 1 << 22


def _check_images(images: np.ndarray, n: int) -> None:
    outside = images[(images < 0) | (images >= n)]
    need_data(not outside.size, f"images from 0 to {n - 1}", outside[:1].tolist())


@register
class RoiAlign(Op):
    """x [N,H,W,C], rois [R,4] (left, top, right, bottom), images [R] int64 -> [R,*size,C] float32 (ONNX RoiAlign-16).

    Each of the `size` places of a region is the average (or, in mode max, the largest of the four weighted neighbours) of
    samples x samples points, linear between pixels; 0 samples: as many as pixels.  `half_pixel` shifts the regions by half
    a pixel; without it they are at least one pixel large.  He et al. 2017.
    """

    kind: ClassVar[str] = "roi_align"
    size: tuple[int, ...] = (1, 1)
    mode: str = "avg"
    samples: int = 0
    scale: float = 1.0
    half_pixel: bool = True

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 3)
        x, rois, images = inputs
        *_, c = need_nhwc(x)
        need(x.dtype == rois.dtype == "float32", "x and rois of dtype float32", (x.dtype, rois.dtype))
        need(len(rois.shape) == 2 and rois.shape[1] == 4, "rois of shape [R, 4]", rois.shape)
        need(images == Spec(rois.shape[:1], "int64"), f"images of int64 {list(rois.shape[:1])}", tuple(images))
        need_tuple("size", self.size, 2, 1)
        need_tuple("samples", (self.samples,), 1, 0)
        need_name("mode", self.mode, ("avg", "max"))
        return [Spec((rois.shape[0], *self.size, c))]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, rois, images = arrays
        _check_images(images, x.shape[0])
        need_data(bool(np.isfinite(rois).all()), "rois of finite numbers", "others")
        y = np.zeros((len(rois), *self.size, x.shape[3]), np.float32)
        with quiet():
            edges = rois * np.float32(self.scale) - np.float32(0.5 if self.half_pixel else 0)
            for r, (left, top, right, bottom) in enumerate(edges):
                low, high, part = zip(*(self._points(i, begin, end, x.shape[i + 1]) for i, (begin, end) in enumerate(
                    ((top, bottom), (left, right)))), strict=True)
                if low[0].size and low[1].size:
                    need_data(low[0].size * low[1].size <= MOST_SAMPLES, f"a region of at most {MOST_SAMPLES} samples",
                         low[0].size * low[1].size)
                    pool = self._average if self.mode == "avg" else self._largest
                    y[r] = pool(x[images[r]], low, high, part)
        return [y]

    def _points(self, i: int, begin: np.float32, end: np.float32,
                extent: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the points along one axis, [size[i], samples]: lower and upper neighbour, weights [..., 2] of both."""
        length = end - begin if self.half_pixel else max(end - begin, np.float32(1))
        each = length / np.float32(self.size[i])
        samples = self.samples or max(int(np.ceil(each)), 0)
        need_data(samples * self.size[i] <= MOST_SAMPLES, f"a region of at most {MOST_SAMPLES} samples", samples * self.size[i])
        point = (begin + np.arange(self.size[i], dtype=np.float32)[:, None] * each
                 + (np.arange(samples, dtype=np.float32) + np.float32(0.5)) * each / np.float32(max(samples, 1)))
        inside = (point >= -1) & (point <= extent)
        point = np.clip(point, 0, extent - 1)
        low = np.floor(point).astype(np.int64)
        part = point - low.astype(np.float32)
        return low, np.minimum(low + 1, extent - 1), np.stack([1 - part, part], -1) * inside[..., None]

    def _average(self, x: np.ndarray, low: tuple, high: tuple, part: tuple) -> np.ndarray:
        """The average separates: one matrix per axis."""
        for i in range(2):
            matrix = np.zeros((self.size[i], x.shape[i]), np.float32)
            row = np.arange(self.size[i])[:, None]
            np.add.at(matrix, (row, low[i]), part[i][..., 0])
            np.add.at(matrix, (row, high[i]), part[i][..., 1])
            # Only the pixels that a region reaches: NaN elsewhere is not its business.
            reached = np.flatnonzero(matrix.any(0))
            x = np.moveaxis(np.tensordot(matrix[:, reached], np.take(x, reached, i), (1, i)), 0, i)
        return x / np.float32(low[0].shape[1] * low[1].shape[1])

    def _largest(self, x: np.ndarray, low: tuple, high: tuple, part: tuple) -> np.ndarray:
        best = None
        rows, columns = (tuple(zip((low[i], high[i]), (part[i][..., 0], part[i][..., 1]), strict=True)) for i in range(2))
        for row, of_row in rows:
            for column, of_column in columns:
                weight = (of_row[:, :, None, None] * of_column)[..., None]
                value = (x[row[:, :, None, None], column] * weight).max((1, 3))
                best = value if best is None else np.maximum(best, value)
        return best

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return 4 * count(outputs[0].shape) * max(self.samples, 1) ** 2


@register
class MaxRoiPool(Op):
    """x [N,H,W,C], rois [R,5] (image, left, top, right, bottom, both ends included) -> [R,*size,C] float32: the largest pixel
    in each of the `size` parts of a region (ONNX MaxRoiPool; Girshick 2015).

    Numbers are scaled and rounded to pixels, halves away from zero; parts may overlap; one outside of the image gives 0.
    """

    kind: ClassVar[str] = "max_roi_pool"
    size: tuple[int, ...] = ()
    scale: float = 1.0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        x, rois = inputs
        *_, c = need_nhwc(x)
        need(x.dtype == rois.dtype == "float32", "x and rois of dtype float32", (x.dtype, rois.dtype))
        need(len(rois.shape) == 2 and rois.shape[1] == 5, "rois of shape [R, 5]", rois.shape)
        need_tuple("size", self.size, 2, 1)
        return [Spec((rois.shape[0], *self.size, c))]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, rois = arrays
        need_data(bool((np.abs(rois) < 2 ** 31).all()), "rois of numbers below 2^31", "others")
        images = rois[:, 0].astype(np.int64)
        _check_images(images, x.shape[0])
        y = np.zeros((len(rois), *self.size, x.shape[3]), np.float32)
        scaled = rois[:, 1:] * np.float32(self.scale)
        rounded = np.where(scaled < 0, np.ceil(scaled - 0.5), np.floor(scaled + 0.5))
        for r, (left, top, right, bottom) in enumerate(np.clip(rounded, -2 ** 31, 2 ** 31).astype(np.int64)):
            rows = self._parts(0, top, bottom, x.shape[1])
            columns = self._parts(1, left, right, x.shape[2])
            for i, (y0, y1) in enumerate(rows):
                for j, (x0, x1) in enumerate(columns):
                    if y0 < y1 and x0 < x1:
                        y[r, i, j] = x[images[r], y0:y1, x0:x1].max((0, 1))
        return [y]

    def _parts(self, i: int, begin: int, end: int, extent: int) -> list[tuple[int, int]]:
        each = np.float32(max(end - begin + 1, 1)) / np.float32(self.size[i])
        part = np.arange(self.size[i], dtype=np.float32)
        first = np.clip(np.floor(part * each).astype(np.int64) + begin, 0, extent)
        last = np.clip(np.ceil((part + np.float32(1)) * each).astype(np.int64) + begin, 0, extent)
        return list(zip(first.tolist(), last.tolist(), strict=True))

    def moved(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) + inputs[1].shape[0] * count(inputs[0].shape[1:])
