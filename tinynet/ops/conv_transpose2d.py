"""Transposed convolution of images: the gradient of conv2d with respect to its input."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from tinynet import layouts
from tinynet.ops.activated import Activated
from tinynet.ops.base import Spec, register
from tinynet.ops.checks import count, need, need_float, need_inputs, need_nhwc, need_shape, need_tuple, quiet, tap
from tinynet.ops.matrix_product import emit_product, rows_geometry, shifted


@register
class ConvTranspose2d(Activated):
    """f(y + b): x [N,H,W,C], w [kh,kw,O,C/groups], b [O], float32 (ONNX ConvTranspose).

    OH = (H - 1) stride + (kh - 1) dilation + 1 + output_padding - top - bottom.  Output channel o of group
    o // (O/groups) reads that group's C/groups input channels.
    """

    kind: ClassVar[str] = "conv_transpose2d"
    constant_inputs: ClassVar[tuple[int, ...]] = (1, 2)
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, ...] = (1, 1)
    output_padding: tuple[int, ...] = (0, 0)
    groups: int = 1

    def _full(self, extents: tuple[int, ...], kernel: tuple[int, ...]) -> list[int]:
        """Height and width before the pads are cut off."""
        return [(extents[i] - 1) * self.strides[i] + (kernel[i] - 1) * self.dilations[i] + 1 + self.output_padding[i]
                for i in range(2)]

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 3)
        need_float(inputs)
        self.check_activation()
        x, w, b = inputs
        n, h, width, c = need_nhwc(x)
        need_tuple("strides", self.strides, 2, 1)
        need_tuple("pads", self.pads, 4, 0)
        need_tuple("dilations", self.dilations, 2, 1)
        need_tuple("output_padding", self.output_padding, 2, 0)
        need(self.groups >= 1 and c % self.groups == 0, f"groups that divide the {c} channels of x", self.groups)
        need(len(w.shape) == 4 and min(w.shape) >= 1, "w of shape [kh, kw, O, C/groups]", w.shape)
        need(w.shape[3] == c // self.groups, f"w of {c // self.groups} input channels per group", w.shape)
        out = w.shape[2]
        need(out % self.groups == 0, f"output channels divisible by {self.groups} groups", out)
        need_shape(b, (out,), "b")
        full = self._full((h, width), w.shape[:2])
        oh, ow = (full[i] - self.pads[i] - self.pads[i + 2] for i in range(2))
        need(oh >= 1 and ow >= 1, f"pads smaller than the full extents {full}", self.pads)
        return [Spec((n, oh, ow, out))]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, w, b = arrays
        n, h, width, c = x.shape
        kh, kw, out, cols = w.shape
        rows = out // self.groups
        full = self._full((h, width), (kh, kw))
        y = np.zeros((n, *full, out), np.float32)
        with quiet():
            for g in range(self.groups):
                source = x[..., g * cols:(g + 1) * cols].reshape(-1, cols)
                matrix = w[:, :, g * rows:(g + 1) * rows].reshape(-1, cols)
                spread = np.dot(source, matrix.T).reshape(n, h, width, kh, kw, rows)
                target = y[..., g * rows:(g + 1) * rows]
                for ky in range(kh):
                    for kx in range(kw):
                        view = tap(target, ky, kx, (h, width), self.strides, self.dilations)
                        view += spread[:, :, :, ky, kx]
            top, left, bottom, right = self.pads
            y = y[:, top:full[0] - bottom, left:full[1] - right] + b
        return [self.activate(y)]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(inputs[0].shape) * count(inputs[1].shape[:3]) // self.groups

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        """Per group: a matrix product gives what each input pixel adds to each of its kh*kw places; then a gather."""
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        kh, kw, out, columns = builder.graph.tensors[node.inputs[1]].shape
        rows, group_out = x.rows, out // self.groups
        panels = -(-kh * kw * group_out // layouts.PANEL) * layouts.PANEL * columns
        x_at, y_at, bias = builder.tensor(x.name), builder.tensor(y.name), builder.tensor(node.inputs[2])
        w = builder.weights(node.inputs[1], layouts.hwoi_panels(self.groups))
        spread = builder.scratch(4 * rows * kh * kw * group_out)
        plain = {"function": 0, "lo": -math.inf, "hi": math.inf, "alpha": 0.0, "beta": 0.0}
        for g in range(self.groups):
            emit_product(
                builder, x=shifted(x_at, g * columns), w=shifted(w, g * panels), bias=None, residual=None, y=spread,
                macs=rows * kh * kw * group_out * columns,
                shape=rows_geometry(rows, columns, kh * kw * group_out, x.ld, kh * kw * group_out, plain),
            )
            builder.emit(
                "col2im_f32", [spread, shifted(bias, g * group_out), shifted(y_at, g * group_out)],
                nbytes=8 * rows * kh * kw * group_out, batch=x.shape[0], height=x.shape[1], width=x.shape[2],
                channels=group_out, kh=kh, kw=kw, out_height=y.shape[1], out_width=y.shape[2], ldy=y.ld,
                stride_h=self.strides[0], stride_w=self.strides[1], pad_top=self.pads[0], pad_left=self.pads[1],
                dilation_h=self.dilations[0], dilation_w=self.dilations[1], **self.epilogue(),
            )
        return True
