"""Depthwise convolution of 8-bit integers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet import layouts
from tinynet.ops.base import Spec, register
from tinynet.ops.checks import count, need, need_inputs, need_nhwc, padded, tap, window_extents
from tinynet.ops.requantized import RESULTS, Requantized

MOST_ZERO = 32_639    # of w_zero: w - w_zero fits into 16 bits
SCRATCH = 1024      # bytes for every four taps, by thread: kernels/q_depthwise_conv2d.pxi


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

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        kh, kw, channels = builder.graph.tensors[node.inputs[1]].shape
        w, b, multiplier, *zeros = (builder.weights(n, layouts.PLAIN) for n in node.inputs[1:])
        if zeros and (np.abs(builder.packed(node.inputs[4], layouts.PLAIN).astype(np.int64)) > MOST_ZERO).any():
            return False
        builder.emit(
            "q_depthwise_conv2d",
            [builder.tensor(x.name), w, b, multiplier, zeros[0] if zeros else None, builder.tensor(y.name),
             builder.scratch(builder.threads * SCRATCH * -(-kh * kw // 4))],
            macs=y.size * kh * kw,
            batch=x.shape[0], height=x.shape[1], width=x.shape[2], channels=channels, ldx=x.ld,
            out_height=y.shape[1], out_width=y.shape[2], ldy=y.ld, kh=kh, kw=kw,
            stride_h=self.strides[0], stride_w=self.strides[1], pad_top=self.pads[0], pad_left=self.pads[1],
            dilation_h=self.dilations[0], dilation_w=self.dilations[1],
            x_zero=self.x_zero, y_zero=self.y_zero, low=self.low, high=self.high, result=RESULTS.index(self.dtype),
        )
        return True
