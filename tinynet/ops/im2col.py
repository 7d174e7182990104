"""Windows of an image side by side, and their sum back into an image: what convolutions are matrix products between."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import count, need, need_float, need_inputs, need_nhwc, need_tuple, quiet, tap, window_extents


@register
class Im2col2d(Op):
    """x [N,H,W,C] -> [N,OH,OW,groups kh kw C/groups]: the pixels of each window, without padding, of every dtype.

    y[..., g, ky, kx, c] = x[n, oy stride + ky dilation, ox stride + kx dilation, g C/groups + c].
    """

    kind: ClassVar[str] = "im2col2d"
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = (1, 1)
    dilations: tuple[int, ...] = (1, 1)
    groups: int = 1

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        n, h, w, c = need_nhwc(inputs[0])
        need(self.groups >= 1 and c % self.groups == 0, f"groups that divide the {c} channels of x", self.groups)
        out = window_extents((h, w), self.kernel, self.strides, (0, 0, 0, 0), self.dilations)
        return [Spec((n, *out, count(self.kernel) * c), inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        n, h, w, c = x.shape
        kh, kw = self.kernel
        out = window_extents((h, w), self.kernel, self.strides, (0, 0, 0, 0), self.dilations)
        y = np.empty((n, *out, self.groups, kh, kw, c // self.groups), x.dtype)
        for ky in range(kh):
            for kx in range(kw):
                y[:, :, :, :, ky, kx] = tap(x, ky, kx, out, self.strides, self.dilations).reshape(
                    n, *out, self.groups, c // self.groups)
        return [y.reshape(n, *out, kh * kw * c)]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        kh, kw = self.kernel
        each = x.row // self.groups
        window = (x.strides[1] * self.dilations[0], x.strides[2] * self.dilations[1], 1)
        places = (x.strides[0], x.strides[1] * self.strides[0], x.strides[2] * self.strides[1])
        order = (kw * each, each, 1)
        if builder.copy(x, y, (*y.shape[:3], self.groups, kh, kw, each), (*places, each, *window),
                        (*y.strides[:3], kh * kw * each, *order)):
            return True
        for g in range(self.groups):       # Six loops at most: the kernel has as many.
            builder.copy(x, y, (*y.shape[:3], kh, kw, each), (*places, *window), (*y.strides[:3], *order),
                         x_offset=g * each, y_offset=g * kh * kw * each)
        return True


@register
class Col2im2d(Op):
    """x [N,H,W,kh kw C] -> [N,*size,C] float32: adds the pixels of each window to the places that they belong to.

    x[n, y, x, ky, kx] is added to row y stride + ky dilation - top, column x stride + kx dilation - left; what falls
    outside of `size` is left out.  `pads` is top, left (ONNX Col2Im; the second half of a transposed convolution).
    """

    kind: ClassVar[str] = "col2im2d"
    size: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0)
    dilations: tuple[int, ...] = (1, 1)

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_float(inputs)
        n, _, _, c = need_nhwc(inputs[0])
        for name, least in (("size", 1), ("kernel", 1), ("strides", 1), ("pads", 0), ("dilations", 1)):
            need_tuple(name, getattr(self, name), 2, least)
        need(c % count(self.kernel) == 0, f"channels divisible by the {count(self.kernel)} places of a window", c)
        return [Spec((n, *self.size, c // count(self.kernel)))]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        n, h, w, c = x.shape
        kh, kw = self.kernel
        parts = x.reshape(n, h, w, kh, kw, c // (kh * kw))
        y = np.zeros((n, *self.size, c // (kh * kw)), np.float32)
        with quiet():
            for ky in range(kh):
                rows, to_rows = self._inside(0, ky, h)
                for kx in range(kw):
                    columns, to_columns = self._inside(1, kx, w)
                    y[:, to_rows, to_columns] += parts[:, rows, columns, ky, kx]
        return [y]

    def _inside(self, i: int, k: int, extent: int) -> tuple[slice, slice]:
        """(windows whose tap k along spatial axis i falls into the image, the places where they fall)."""
        step, shift = self.strides[i], k * self.dilations[i] - self.pads[i]
        first = max(0, -(shift // step))
        last = min(extent, -((shift - self.size[i]) // step))
        if first >= last:
            return slice(0), slice(0)
        return slice(first, last), slice(first * step + shift, (last - 1) * step + shift + 1, step)

    def _tiles(self, extents: tuple[int, ...]) -> bool:
        """Does every place of the output belong to one window?  Then there is nothing to add."""
        return (self.kernel == self.strides and self.pads == (0, 0) and self.dilations == (1, 1)
                and self.size == tuple(e * k for e, k in zip(extents, self.kernel, strict=True)))

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(inputs[0].shape)

    def strided(self) -> tuple[bool, bool]:
        return False, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        if self._tiles(x.shape[1:3]):
            (n, h, w), (kh, kw), c, (ys, xs) = x.shape[:3], self.kernel, y.row, y.strides[1:3]
            return builder.copy(x, y, (n, h, kh, w, kw, c), (*x.strides[:2], kw * c, x.strides[2], c, 1),
                                (y.strides[0], kh * ys, ys, kw * xs, xs, 1))
        builder.reserve(4 * y.row)
        builder.emit(
            "col2im_f32", [builder.tensor(x.name), builder.constant(np.zeros(y.row, np.float32)), builder.tensor(y.name)],
            nbytes=8 * x.size, batch=x.shape[0], height=x.shape[1], width=x.shape[2], channels=y.row, kh=self.kernel[0],
            kw=self.kernel[1], out_height=y.shape[1], out_width=y.shape[2], ldy=y.ld, stride_h=self.strides[0],
            stride_w=self.strides[1], pad_top=self.pads[0], pad_left=self.pads[1], dilation_h=self.dilations[0],
            dilation_w=self.dilations[1], function=0, lo=-np.inf, hi=np.inf, alpha=0.0, beta=0.0,
        )
        return True
