"""Depthwise convolution of images: one filter per channel."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet import layouts
from tinynet.ops.activated import Activated
from tinynet.ops.base import Spec, register
from tinynet.ops.checks import (
    count,
    need_float,
    need_inputs,
    need_nhwc,
    need_shape,
    padded,
    quiet,
    refuse,
    tap,
    window_extents,
)


@register
class DepthwiseConv2d(Activated):
    """f(conv + b), each channel by its own filter: x [N,H,W,C], w [kh,kw,C], b [C], float32, zero padding."""

    kind: ClassVar[str] = "depthwise_conv2d"
    constant_inputs: ClassVar[tuple[int, ...]] = (1, 2)
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, ...] = (1, 1)

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 3)
        need_float(inputs)
        self.check_activation()
        x, w, b = inputs
        n, h, width, c = need_nhwc(x)
        if len(w.shape) != 3 or w.shape[2] != c:
            refuse(f"w of shape [kh, kw, {c}]", w.shape)
        need_shape(b, (c,), "b")
        oh, ow = window_extents((h, width), w.shape[:2], self.strides, self.pads, self.dilations)
        return [Spec((n, oh, ow, c))]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, w, b = arrays
        out = window_extents(x.shape[1:3], w.shape[:2], self.strides, self.pads, self.dilations)
        x = padded(x, self.pads, 0)
        y = np.zeros((x.shape[0], *out, x.shape[3]), np.float32)
        with quiet():
            for ky in range(w.shape[0]):
                for kx in range(w.shape[1]):
                    y += tap(x, ky, kx, out, self.strides, self.dilations) * w[ky, kx]
            y += b
        return [self.activate(y)]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) * count(inputs[1].shape[:2])

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        kh, kw, channels = builder.graph.tensors[node.inputs[1]].shape
        builder.step(
            "depthwise_conv2d_f32",
            [builder.tensor(x.name), *[builder.weights(n, layouts.PLAIN) for n in node.inputs[1:3]], builder.tensor(y.name)],
            {"batch": x.shape[0], "height": x.shape[1], "width": x.shape[2], "channels": channels, "ldx": x.ld,
             "out_height": y.shape[1], "out_width": y.shape[2], "ldy": y.ld, "kh": kh, "kw": kw,
             "stride_h": self.strides[0], "stride_w": self.strides[1], "pad_top": self.pads[0], "pad_left": self.pads[1],
             "dilation_h": self.dilations[0], "dilation_w": self.dilations[1], **self.epilogue()},
            macs=3 * y.size * kh * kw,    # a third of the speed of a matrix product
        )
        return True
