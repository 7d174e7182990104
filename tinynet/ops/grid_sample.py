"""Reading images at places that are computed: grid_sample, and the windows of a deformable convolution."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import count, need, need_float, need_inputs, need_name, need_nhwc, need_tuple, quiet, window_extents
from tinynet.ops.resize import cubic_weight

MODES = ("nearest", "linear", "cubic")
PADDINGS = ("zeros", "border", "reflection")
TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
# Farther outside than any pixel, and small enough for exact arithmetic on indices; also where NaN lies.
FAR = np.float32(2.0 ** 30)


def gather(x: np.ndarray, index: list[np.ndarray], weight: list[np.ndarray]) -> np.ndarray:
    """[N, P, C]: sums over the products of taps of all axes.  x [N, D1, ..., C]; per axis: pixels [N, P, T] (what lies
    outside counts as 0) and their weights."""
    n, extents = x.shape[0], x.shape[1:-1]
    flat = x.reshape(n, -1, x.shape[-1])
    batch = np.arange(n)[:, None]
    y = np.zeros((*index[0].shape[:2], x.shape[-1]), np.float32)
    for taps in itertools.product(*(range(i.shape[2]) for i in index)):
        at, w, inside = np.int64(0), np.float32(1), np.True_
        for axis, t in enumerate(taps):
            pixel = index[axis][..., t]
            at = at * extents[axis] + np.clip(pixel, 0, extents[axis] - 1)
            w = w * weight[axis][..., t]
            inside = inside & (pixel >= 0) & (pixel < extents[axis])
        y += np.where(inside[..., None], flat[batch, at] * w[..., None], np.float32(0))
    return y


def neighbours(position: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """(pixels int64, weights float32), both [..., T], around positions in pixels."""
    if mode == "nearest":
        return np.rint(position).astype(np.int64)[..., None], np.ones((*position.shape, 1), np.float32)
    low = np.floor(position)
    part = position - low
    if mode == "linear":
        return low.astype(np.int64)[..., None] + np.arange(2), np.stack([1 - part, part], -1)
    pixel = low.astype(np.int64)[..., None] + np.arange(-1, 3)
    distance = part.astype(np.float64)[..., None] - np.arange(-1, 3)
    return pixel, cubic_weight(distance, -0.75).astype(np.float32)


def near(position: np.ndarray) -> np.ndarray:
    return np.clip(np.where(position == position, position, -FAR), -FAR, FAR)


@register
class GridSample(Op):
    """x [N, D1, ..., C] read at grid [N, O1, ..., rank] -> [N, O1, ..., C], float32 (ONNX GridSample-20).

    A place of the grid names the last spatial axis first, from -1 to 1: the centres of the outermost pixels with
    `align_corners`, else their outer edges.  Outside lie zeros, the pixel at the border, or the image's reflection.
    A place that is NaN lies far outside.
    """

    kind: ClassVar[str] = "grid_sample"
    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = False

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        need_float(inputs)
        x, grid = inputs
        need(len(x.shape) >= 3 and min(x.shape[1:]) >= 1, "x of shape [N, D1, ..., C]", x.shape)
        rank = len(x.shape) - 2
        need(len(grid.shape) == rank + 2 and grid.shape[0] == x.shape[0] and grid.shape[-1] == rank,
             f"grid of shape [{x.shape[0]}, {', '.join(f'O{i + 1}' for i in range(rank))}, {rank}]", grid.shape)
        need_name("mode", self.mode, MODES)
        need_name("padding", self.padding, PADDINGS)
        return [Spec((*grid.shape[:-1], x.shape[-1]))]

    def _position(self, place: np.ndarray, extent: int) -> np.ndarray:
        """Pixels, float32, from places -1 .. 1; reflected or not."""
        one, two, length = np.float32(1), np.float32(2), np.float32(extent)
        if self.align_corners:
            x, low, high = (place + one) / two * (length - one), np.float32(0), length - one
        else:
            x, low, high = ((place + one) * length - one) / two, np.float32(-0.5), length - np.float32(0.5)
        x = near(x)
        if self.mode == "nearest":
            x = np.rint(x)
        if self.padding != "reflection":
            return x
        beyond = np.maximum(low - x, x - high)
        span = high - low
        times = np.floor(beyond / span) if span else np.zeros_like(x)
        rest = beyond - times * span if span else np.zeros_like(x)
        from_low = (x < low) == (times % 2 == 0)
        return np.where(beyond > 0, np.where(from_low, low + rest, high - rest), x)

    def _pixels(self, pixel: np.ndarray, extent: int) -> np.ndarray:
        """Neighbours beyond the border are inside again, except where zeros lie.  The place itself is not moved to the border,
        as in PyTorch and onnxruntime: cubic would see another slope there."""
        if self.padding == "border":
            return np.clip(pixel, 0, extent - 1)
        if self.padding == "reflection" and self.align_corners:
            pixel = pixel % max(2 * extent - 2, 1)
            return np.minimum(pixel, max(2 * extent - 2, 1) - pixel) if extent > 1 else pixel
        if self.padding == "reflection":
            pixel = pixel % (2 * extent)
            return np.minimum(pixel, 2 * extent - 1 - pixel)
        return pixel

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, grid = arrays
        rank = x.ndim - 2
        index, weight = [], []
        with quiet():
            for axis in range(rank):
                place = grid[..., rank - 1 - axis].reshape(x.shape[0], -1)
                pixel, part = neighbours(self._position(place, x.shape[axis + 1]), self.mode)
                index.append(self._pixels(pixel, x.shape[axis + 1]))
                weight.append(part)
            return [gather(x, index, weight).reshape(*grid.shape[:-1], x.shape[-1])]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) * TAPS[self.mode] ** (len(inputs[0].shape) - 2)

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, grid, y = (builder.view(n) for n in (*node.inputs, node.outputs[0]))
        if len(x.shape) != 4 or not grid.contiguous:
            return False
        builder.emit("grid_sample_f32", [builder.tensor(v.name) for v in (x, grid, y)],
                     macs=self.macs([x], [y]), nbytes=20 * y.size, batch=x.shape[0], height=x.shape[1], width=x.shape[2],
                     channels=x.row, ldx=x.ld, pixels=y.rows // max(y.shape[0], 1), ldy=y.ld, taps=TAPS[self.mode],
                     padding=PADDINGS.index(self.padding), align_corners=self.align_corners)
        return True


@register
class DeformIm2col2d(Op):
    """im2col2d whose every pixel is moved: x [N,H,W,C], offset [N,OH,OW,parts kh kw 2], mask [N,OH,OW,parts kh kw] (optional)
    -> [N,OH,OW,groups kh kw C/groups], float32 (the first half of ONNX DeformConv; Zhu et al. 2019).

    The offset (row, column) is added to where the window's pixel lies, and the image read there, linear between pixels and
    0 outside; times the mask.  The C channels are cut into `parts` that have offsets of their own, and into `groups` for the
    convolution behind, which orders the result.  An offset that is NaN points outside.
    """

    kind: ClassVar[str] = "deform_im2col2d"
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, ...] = (1, 1)
    groups: int = 1
    parts: int = 1

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2, 3)
        need_float(inputs)
        n, h, w, c = need_nhwc(inputs[0])
        for what in ("groups", "parts"):
            pieces = getattr(self, what)
            need(pieces >= 1 and c % pieces == 0, f"{what} that divide the {c} channels of x", pieces)
        need_tuple("pads", self.pads, 4, 0)
        out = window_extents((h, w), self.kernel, self.strides, self.pads, self.dilations)
        places = self.parts * count(self.kernel)
        for name, spec, each in zip(("offset", "mask"), inputs[1:], (2, 1), strict=False):
            need(spec.shape == (n, *out, places * each), f"{name} of shape {[n, *out, places * each]}", spec.shape)
        return [Spec((n, *out, count(self.kernel) * c))]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, offset = arrays[:2]
        n, oh, ow = offset.shape[:3]
        kh, kw = self.kernel
        each = x.shape[-1] // self.parts
        y = np.empty((n, oh, ow, kh, kw, x.shape[-1]), np.float32)
        offset = offset.reshape(n, oh, ow, self.parts, kh, kw, 2)
        mask = None if len(arrays) < 3 else arrays[2].reshape(n, oh, ow, self.parts, kh, kw, 1)
        with quiet():
            for part, ky, kx in itertools.product(range(self.parts), range(kh), range(kw)):
                rows = np.arange(oh)[:, None] * self.strides[0] + ky * self.dilations[0] - self.pads[0]
                columns = np.arange(ow) * self.strides[1] + kx * self.dilations[1] - self.pads[1]
                moved = offset[:, :, :, part, ky, kx]
                index, weight = zip(*(neighbours(near(np.float32(p) + moved[..., i]).reshape(n, -1), "linear")
                                      for i, p in enumerate((rows, columns))), strict=True)
                channels = slice(part * each, (part + 1) * each)
                value = gather(x[..., channels], list(index), list(weight)).reshape(n, oh, ow, each)
                y[:, :, :, ky, kx, channels] = value if mask is None else value * mask[:, :, :, part, ky, kx]
        grouped = y.reshape(n, oh, ow, kh * kw, self.groups, -1).swapaxes(3, 4)
        return [np.ascontiguousarray(grouped).reshape(n, oh, ow, -1)]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return 4 * count(outputs[0].shape)
