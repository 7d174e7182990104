"""Pooling of images by windows.  Pooling over whole images is a reduction (reduce.py)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.graph import DTYPES
from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import FLIPS, count, need_float, need_inputs, need_name, need_nhwc, padded, quiet, tap, window_extents

POOLED = ("float32", "uint8", "int8")


def lowest(dtype: str) -> float:
    """What never wins a maximum."""
    return -np.inf if dtype == "float32" else int(np.iinfo(dtype).min)


def lower_pool(builder: Any, node: Any, op: Any, kernel: str, **more: Any) -> bool:
    x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
    top, left, bottom, right = op.pads
    builder.emit(
        kernel, [builder.tensor(x.name), builder.tensor(y.name)], nbytes=DTYPES[x.dtype] * y.size * count(op.kernel),
        batch=x.shape[0], height=x.shape[1], width=x.shape[2],
        channels=x.row, ldx=x.ld, out_height=y.shape[1], out_width=y.shape[2], ldy=y.ld, kh=op.kernel[0],
        kw=op.kernel[1], stride_h=op.strides[0], stride_w=op.strides[1], pad_top=top, pad_left=left,
        pad_bottom=bottom, pad_right=right, dilation_h=op.dilations[0], dilation_w=op.dilations[1], **more,
    )
    return True


def average_counts(op: Any, extents: tuple[int, ...], out: tuple[int, int]) -> np.ndarray:
    """[OH, OW, 1] float32: what the sum of each window is divided by, at least 1."""
    counting = []
    for i in range(2):
        place = np.arange(out[i])[:, None] * op.strides[i] + np.arange(op.kernel[i]) * op.dilations[i]
        first, last = op.pads[i], op.pads[i] + extents[i]
        if op.count_include_pad:
            first, last = 0, last + op.pads[i + 2]
        counting.append(((place >= first) & (place < last)).sum(axis=1))
    return np.maximum(np.outer(*counting), 1)[:, :, None].astype(np.float32)


@register
class MaxPool2d(Op):
    """Maximum per window and channel: x [N,H,W,C] float32, uint8 or int8 (ONNX MaxPool).

    Padding never wins, NaN always does, and a window without any pixel gives -inf (integers: the lowest one).
    """

    kind: ClassVar[str] = "max_pool2d"
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, ...] = (1, 1)

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_name("dtype", inputs[0].dtype, POOLED)
        n, h, w, c = need_nhwc(inputs[0])
        return [Spec((n, *window_extents((h, w), self.kernel, self.strides, self.pads, self.dilations), c), inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        out = window_extents(x.shape[1:3], self.kernel, self.strides, self.pads, self.dilations)
        low = lowest(x.dtype.name)
        x = padded(x, self.pads, low)
        y = np.full((x.shape[0], *out, x.shape[3]), low, x.dtype)
        for ky in range(self.kernel[0]):
            for kx in range(self.kernel[1]):
                np.maximum(y, tap(x, ky, kx, out, self.strides, self.dilations), out=y)
        return [y]

    def moved(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) * count(self.kernel)

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        dtype = builder.view(node.inputs[0]).dtype
        if dtype == "float32":
            return lower_pool(builder, node, self, "pool2d_f32", average=False, count_include_pad=False)
        return lower_pool(builder, node, self, "pool2d_u8", average=False, count_include_pad=False,
                          flip=FLIPS["max", dtype], x_zero=0, y_zero=0, shift=0, x_scale=1.0, y_scale=1.0)


@register
class AveragePool2d(Op):
    """Sum per window and channel over the number of places that count: x [N,H,W,C] float32 (ONNX AveragePool).

    Pixels count; `pads` count with `count_include_pad`; `extra` (bottom, right: what ceil_mode adds) never does.
    A window where nothing counts gives 0, as in onnxruntime.
    """

    kind: ClassVar[str] = "average_pool2d"
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, ...] = (1, 1)
    extra: tuple[int, ...] = (0, 0)
    count_include_pad: bool = False

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_float(inputs)
        n, h, w, c = need_nhwc(inputs[0])
        out = window_extents((h, w), self.kernel, self.strides, self.pads, self.dilations, self.extra)
        return [Spec((n, *out, c))]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        h, w = x.shape[1:3]
        out = window_extents((h, w), self.kernel, self.strides, self.pads, self.dilations, self.extra)
        top, left, bottom, right = self.pads
        x = padded(x, (top, left, bottom + self.extra[0], right + self.extra[1]), 0)
        divisor = average_counts(self, (h, w), out)
        y = np.zeros((x.shape[0], *out, x.shape[3]), np.float32)
        with quiet():
            for ky in range(self.kernel[0]):
                for kx in range(self.kernel[1]):
                    y += tap(x, ky, kx, out, self.strides, self.dilations)
            return [y / divisor]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) * count(self.kernel)

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        return lower_pool(builder, node, self, "pool2d_f32", average=True, count_include_pad=self.count_include_pad)
