"""Depthwise convolution of 8-bit integers."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.ops.base import Spec, register
from tinynet.ops.checks import count, need, need_inputs, need_nhwc, padded, tap, window_extents
from tinynet.ops.requantized import Requantized


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
