"""Averages of quantised images, by windows and over all pixels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import count, need, need_inputs, need_nhwc, padded, quiet, refuse, tap, window_extents
from tinynet.ops.pool2d import average_counts, lower_pool
from tinynet.ops.quantize import need_scale, need_zero, to_integers

# Of bytes that an int32 holds the sum of.
MOST_BYTES = (2 ** 31 - 1) // 255


class QAverage(Op):
    """What the two kinds share: x uint8 -> uint8, each with a scale and a zero."""

    x_scale: float = 1.0
    x_zero: int = 0
    y_scale: float = 1.0
    y_zero: int = 0

    def check(self, inputs: tuple[Spec, ...]) -> None:
        need_inputs(inputs, 1)
        if inputs[0].dtype != "uint8":
            refuse("x of dtype uint8", inputs[0].dtype)
        for name in ("x", "y"):
            need_scale(f"{name}_scale", getattr(self, f"{name}_scale"))
            need_zero(f"{name}_zero", getattr(self, f"{name}_zero"))

    def multiplier(self, pixels: int) -> np.float32:
        """x_scale / (y_scale pixels), each operation rounded to float32."""
        with quiet():
            return np.float32(self.x_scale) / (np.float32(self.y_scale) * np.float32(pixels))

    def mean(self, x: np.ndarray, keepdims: bool = True) -> np.ndarray:
        """Over all axes of x [N, D1, ..., C] but the first and the last."""
        axes = tuple(range(1, x.ndim - 1))
        pixels = count(x.shape[1:-1])
        acc = x.sum(axis=axes, keepdims=keepdims, dtype=np.int64) - self.x_zero * pixels
        with quiet():
            return to_integers(acc.astype(np.float32) * self.multiplier(pixels), self.y_zero, 0, 255)

    def lower_mean(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        pixels = count(x.shape[1:-1])
        builder.emit("mean_u8", [builder.tensor(x.name), builder.tensor(y.name)], nbytes=x.size, outer=x.shape[0], n=pixels,
                     channels=x.row, ldx=x.ld, ldy=y.ld, x_zero=self.x_zero, y_zero=self.y_zero,
                     multiplier=float(self.multiplier(pixels)))
        return True

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(inputs[0].shape)

    def strided(self) -> tuple[bool, bool]:
        return True, True


@register
class QGlobalAveragePool(QAverage):
    """Mean over all pixels: x uint8 [N, D1, ..., C] -> uint8 [N, 1, ..., C], without keepdims [N, C] (com.microsoft
    QLinearGlobalAveragePool): to_integers((sum of x - x_zero) x_scale / (y_scale pixels))."""

    kind: ClassVar[str] = "q_global_average_pool"
    keepdims: bool = True

    def infer(self, *inputs: Spec) -> list[Spec]:
        self.check(inputs)
        shape = inputs[0].shape
        need(len(shape) >= 3 and min(shape[1:]) >= 1, "x of shape [N, D1, ..., C]", shape)
        need(count(shape[1:-1]) <= MOST_BYTES, f"at most {MOST_BYTES} pixels (int32 holds no larger sum)", shape)
        return [Spec((shape[0], *(1,) * (len(shape) - 2 if self.keepdims else 0), shape[-1]), "uint8")]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        return [self.mean(arrays[0], self.keepdims)]

    def lower(self, builder: Any, node: Any) -> bool:
        return self.lower_mean(builder, node)


@register
class QAveragePool2d(QAverage):
    """Average per window and channel (average_pool2d, com.microsoft QLinearAveragePool): x uint8 [N,H,W,C].

    The reals x_scale (x - x_zero) are added row by row, the sum is divided by what counts, then by y_scale, y_zero is added,
    each operation rounded to float32, and the result rounded half to even: sums of bytes would be exact, but half of 2x2
    windows end between two integers, and there onnxruntime's roundings decide.  `signed` says that the source's tensors
    were int8: then y_zero - 128 is added before, and 128 after rounding.  A window that is the whole image is
    q_global_average_pool, also in onnxruntime.
    """

    kind: ClassVar[str] = "q_average_pool2d"
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, ...] = (1, 1)
    extra: tuple[int, ...] = (0, 0)
    count_include_pad: bool = False
    signed: bool = False

    def infer(self, *inputs: Spec) -> list[Spec]:
        self.check(inputs)
        n, h, w, c = need_nhwc(inputs[0])
        need(h * w <= MOST_BYTES, f"at most {MOST_BYTES} pixels (int32 holds no larger sum)", (h, w))
        out = window_extents((h, w), self.kernel, self.strides, self.pads, self.dilations, self.extra)
        return [Spec((n, *out, c), "uint8")]

    def whole(self, extents: tuple[int, ...]) -> bool:
        return self.kernel == extents and not any(self.pads) and not any(self.extra)

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        if self.whole(x.shape[1:3]):
            return [self.mean(x)]
        out = window_extents(x.shape[1:3], self.kernel, self.strides, self.pads, self.dilations, self.extra)
        divisor = average_counts(self, x.shape[1:3], out)
        top, left, bottom, right = self.pads
        shift = 128 if self.signed else 0
        with quiet():
            real = np.float32(self.x_scale) * (x.astype(np.int32) - self.x_zero).astype(np.float32)
            real = padded(real, (top, left, bottom + self.extra[0], right + self.extra[1]), 0)
            y = np.zeros((x.shape[0], *out, x.shape[3]), np.float32)
            for ky in range(self.kernel[0]):
                for kx in range(self.kernel[1]):
                    y += tap(real, ky, kx, out, self.strides, self.dilations)
            y = y / divisor / np.float32(self.y_scale) + np.float32(self.y_zero - shift)
        return [to_integers(y, shift, 0, 255)]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) * count(self.kernel)

    def lower(self, builder: Any, node: Any) -> bool:
        if self.whole(builder.view(node.inputs[0]).shape[1:3]):
            return self.lower_mean(builder, node)
        return lower_pool(builder, node, self, "pool2d_u8", average=True, count_include_pad=self.count_include_pad, flip=0,
                          x_zero=self.x_zero, y_zero=self.y_zero, shift=128 if self.signed else 0, x_scale=self.x_scale,
                          y_scale=self.y_scale)
