"""Convolution and dense layer of 8-bit integers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet import layouts
from tinynet.ops.base import Spec, register
from tinynet.ops.checks import count, need, need_inputs, need_nhwc, padded, tap, window_extents
from tinynet.ops.q_product import emit_q_product, run_length
from tinynet.ops.q_winograd import choose_size, emit_q_winograd
from tinynet.ops.requantized import Requantized


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

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def weight_layout(self, w: tuple[int, ...]) -> str:
        """The order in which the kernel reads weights of that shape."""
        return layouts.ohwi_quads(self.groups, run_length(w, self.groups, self.dilations[1]))

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        size = choose_size(builder, self, node, x, y)
        if size:
            emit_q_winograd(builder, self, node, size, x, y)
            return True
        w = builder.graph.tensors[node.inputs[1]].shape
        emit_q_product(
            builder, self, node, picture=x.shape[:3], x=x, channels=x.shape[3], w=w, kernel=w[1:3], out=y.shape[1:3], y=y,
            groups=self.groups, strides=self.strides, pads=self.pads, dilations=self.dilations,
        )
        return True


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

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def weight_layout(self, w: tuple[int, ...]) -> str:
        """The order in which the kernel reads weights of that shape."""
        return layouts.ohwi_quads(1, max(1, w[1]))

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        emit_q_product(
            builder, self, node, picture=(1, 1, x.rows), x=x, channels=x.row, w=(y.row, 1, 1, x.row), kernel=(1, 1),
            out=(1, x.rows), y=y, groups=1, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1),
        )
        return True
