"""Convolution and dense layer of 8-bit integers: exact sums in int32, one float32 multiplication per output."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import (
    count,
    need,
    need_inputs,
    need_name,
    need_nhwc,
    need_shape,
    padded,
    quiet,
    refuse,
    tap,
    window_extents,
)
from tinynet.ops.quantize import MOST_PRODUCTS, need_zero, to_integers


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
        need_name("dtype", self.dtype, ("uint8", "float32", "int32"))
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


@register
class QConv2d(Requantized):
    """Convolution (see Requantized): x uint8 [N,H,W,C] padded with x_zero, w int8 [O,kh,kw,C/groups] -> [N,OH,OW,O]."""

    kind: ClassVar[str] = "q_conv2d"
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, ...] = (1, 1)
    groups: int = 1

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 4, 5)
        x, w = inputs[:2]
        n, h, width, c = need_nhwc(x)
        need(self.groups >= 1 and c % self.groups == 0, f"groups that divide the {c} channels of x", self.groups)
        need(len(w.shape) == 4 and min(w.shape) >= 1, "w of shape [O, kh, kw, C/groups]", w.shape)
        need(w.shape[3] == c // self.groups, f"w of {c // self.groups} input channels per group", w.shape)
        need(w.shape[0] % self.groups == 0, f"output channels divisible by {self.groups} groups", w.shape[0])
        self.check(inputs, w.shape[0], count(w.shape[1:]))
        out = window_extents((h, width), w.shape[1:3], self.strides, self.pads, self.dilations)
        return [Spec((n, *out, w.shape[0]), self.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, w = arrays[:2]
        out = window_extents(x.shape[1:3], w.shape[1:3], self.strides, self.pads, self.dilations)
        # float64 holds these sums exactly, and has a fast product
        x = padded(x, self.pads, self.x_zero).astype(np.float64)
        centred = w.astype(np.float64)
        if len(arrays) == 5:
            centred -= arrays[4][:, None, None, None]
        rows, cols = w.shape[0] // self.groups, w.shape[3]
        acc = np.zeros((x.shape[0], *out, w.shape[0]))
        for g in range(self.groups):
            mine = slice(g * rows, (g + 1) * rows)
            for ky in range(w.shape[1]):
                for kx in range(w.shape[2]):
                    seen = tap(x[..., g * cols:(g + 1) * cols], ky, kx, out, self.strides, self.dilations)
                    acc[..., mine] += np.dot(seen, centred[mine, ky, kx].T)
        return self.finish(acc, arrays)

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) * count(inputs[1].shape[1:])


@register
class QDepthwiseConv2d(Requantized):
    """Convolution of each channel by its own filter (see Requantized): x uint8 [N,H,W,C] padded with x_zero, w int8
    [kh,kw,C]; b, multiplier and w_zero [C]."""

    kind: ClassVar[str] = "q_depthwise_conv2d"
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, ...] = (1, 1)

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 4, 5)
        x, w = inputs[:2]
        n, h, width, c = need_nhwc(x)
        need(len(w.shape) == 3 and w.shape[2] == c, f"w of shape [kh, kw, {c}]", w.shape)
        self.check(inputs, c, count(w.shape[:2]))
        out = window_extents((h, width), w.shape[:2], self.strides, self.pads, self.dilations)
        return [Spec((n, *out, c), self.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, w = arrays[:2]
        out = window_extents(x.shape[1:3], w.shape[:2], self.strides, self.pads, self.dilations)
        x = padded(x, self.pads, self.x_zero).astype(np.int64)
        centred = w.astype(np.int64) - (arrays[4] if len(arrays) == 5 else 0)
        acc = np.zeros((x.shape[0], *out, x.shape[3]), np.int64)
        for ky in range(w.shape[0]):
            for kx in range(w.shape[1]):
                acc += tap(x, ky, kx, out, self.strides, self.dilations) * centred[ky, kx]
        return self.finish(acc, arrays)

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) * count(inputs[1].shape[:2])


@register
class QDense(Requantized):
    """Dense layer over the last axis (see Requantized): x uint8 [..., K], w int8 [N, K] -> [..., N]."""

    kind: ClassVar[str] = "q_dense"

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 4, 5)
        x, w = inputs[:2]
        need(len(x.shape) >= 1, "x of shape [..., K]", x.shape)
        need(len(w.shape) == 2 and w.shape[1] == x.shape[-1], f"w of shape [N, {x.shape[-1]}]", w.shape)
        self.check(inputs, w.shape[0], w.shape[1])
        return [Spec((*x.shape[:-1], w.shape[0]), self.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, w = arrays[:2]
        centred = w.astype(np.float64)
        if len(arrays) == 5:
            centred -= arrays[4][:, None]
        acc = np.dot(x.reshape(count(x.shape[:-1]), w.shape[1]).astype(np.float64), centred.T)
        return self.finish(acc.reshape(*x.shape[:-1], w.shape[0]), arrays)

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) * inputs[1].shape[1]
