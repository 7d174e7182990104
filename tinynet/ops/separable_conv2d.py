"""Depthwise convolution and the 1x1 convolution that reads it, as one layer: the pair never meets in memory."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet import layouts
from tinynet.ops.activated import ACTIVATIONS, FUNCTIONS, Activated, clamp_of
from tinynet.ops.base import Spec, register
from tinynet.ops.checks import count, need, need_inputs, need_name, need_shape
from tinynet.ops.conv2d import Conv2d
from tinynet.ops.depthwise_conv2d import DepthwiseConv2d

# The pair is made where the tensor between the two would leave L2, and a band of it fits there beside the 1x1 weights,
# which every band reads again (512 -> 512 channels, 1 MB of weights: a fifth slower than two layers).
LEAST_BYTES = 1 << 20
MOST_WEIGHT_BYTES = 256 * 1024
BAND_BYTES = 160 * 1024
FIRST_BAND_BYTES = 320 * 1024      # with the rows of the convolution before them
MOST_CHANNELS = 768      # one part of the product's columns (matrix_product.WHOLE)


@register
class SeparableConv2d(Activated):
    """f(g(depthwise(x)) w + b + residual): x [N,H,W,C], wd [kh,kw,C], bd [C], w [O,1,1,C], b [O], residual [N,OH,OW,O]
    (optional), float32.  g is `inner_activation` with `inner_alpha`, `inner_beta` (Howard et al. 2017, MobileNets).

    Files hold the two layers; the plan joins them where that saves a pass through memory.
    """

    kind: ClassVar[str] = "separable_conv2d"
    constant_inputs: ClassVar[tuple[int, ...]] = (1, 2, 3, 4)
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    inner_activation: str = "none"
    inner_alpha: float = 0.0
    inner_beta: float = 0.0

    def _depthwise(self) -> DepthwiseConv2d:
        return DepthwiseConv2d(strides=self.strides, pads=self.pads, activation=self.inner_activation, alpha=self.inner_alpha,
                               beta=self.inner_beta)

    def _pointwise(self) -> Conv2d:
        return Conv2d(activation=self.activation, alpha=self.alpha, beta=self.beta)

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 5, 6)
        need_name("inner_activation", self.inner_activation, ACTIVATIONS)
        middle = self._depthwise().infer(*inputs[:3])
        need(len(inputs[3].shape) == 4, "w of shape [O, 1, 1, C]", inputs[3].shape)
        need_shape(inputs[3], (inputs[3].shape[0], 1, 1, middle[0].shape[3]), "w")
        return self._pointwise().infer(*middle, *inputs[3:])

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        return self._pointwise().reference(*self._depthwise().reference(*arrays[:3]), *arrays[3:])

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        pixels = count(outputs[0].shape[:3])
        return pixels * (count(inputs[1].shape) + outputs[0].shape[3] * inputs[1].shape[2])

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def inplace(self) -> tuple[int, ...]:
        return (5,)

    def lower(self, builder: Any, node: Any) -> bool:
        x = builder.view(node.inputs[0])
        return self._emit(builder, node, builder.tensor(x.name), x.shape, x.ld, node.inputs[1:])

    def _emit(self, builder: Any, node: Any, x: Any, shape: tuple[int, ...], ldx: int, rest: list[str],
              first: Any = None) -> bool:
        """x: operand of the picture that is read; shape, ldx: of the depthwise part's input; rest: its weights and all that
        follow; first: the convolution that makes that input, if there is one (inverted_bottleneck.py)."""
        y = builder.view(node.outputs[0])
        kh, kw, channels = builder.graph.tensors[rest[0]].shape
        if channels > MOST_CHANNELS:
            return False
        residual = builder.view(rest[4]) if len(rest) == 5 else None
        row, row_before = y.shape[2] * channels, shape[2] * channels if first else 0
        most = FIRST_BAND_BYTES if first else BAND_BYTES
        band = max(1, min(y.shape[1], most // (4 * (row + self.strides[0] * row_before))))
        if 1 < band < y.shape[1]:
            band -= band % 2    # the kernel makes two rows at a time
        # Scratch of one thread: depthwise rows, rows of the first convolution, what that one needs.
        padded = band * row + ((band - 1) * self.strides[0] + kh) * row_before
        scratch = padded + (first.scratch if first else 0)
        lo, hi = clamp_of(self.inner_activation, self.inner_alpha, self.inner_beta)
        builder.step(
            "separable_conv2d_f32",
            [x, *[builder.weights(n, layouts.PLAIN) for n in rest[:2]],
             *((builder.weights(rest[2], layouts.ohwi_panels()), builder.tensor(rest[3])) if rest[2:] else (None, None)),
             builder.tensor(residual.name) if residual else None, builder.tensor(y.name),
             builder.scratch(4 * scratch * builder.threads), *(first.operands if first else ())],
            {"batch": shape[0], "height": shape[1], "width": shape[2], "channels": channels, "ldx": ldx,
             "out_height": y.shape[1], "out_width": y.shape[2], "kh": kh, "kw": kw, "stride_h": self.strides[0],
             "stride_w": self.strides[1], "pad_top": self.pads[0], "pad_left": self.pads[1],
             "inner_function": FUNCTIONS.index(self.inner_activation), "inner_lo": lo, "inner_hi": hi,
             "inner_alpha": self.inner_alpha, "inner_beta": self.inner_beta, "out_channels": y.row, "ldy": y.ld,
             "ld_residual": residual.ld if residual else 0, "band": band, "scratch": scratch, "padded": padded,
             **self.epilogue()},
            macs=y.rows * channels * (3 * kh * kw + (y.row if rest[2:] else 0)) + (first.macs if first else 0),
        )
        return True
