"""Convolution of images and the fully connected layer, with bias, an optional residual and an activation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tinynet import layouts
from tinynet.ops.activated import Activated
from tinynet.ops.base import Spec, register
from tinynet.ops.checks import (
    count,
    need,
    need_float,
    need_inputs,
    need_nhwc,
    need_shape,
    padded,
    quiet,
    refuse,
    window_extents,
)
from tinynet.ops.matrix_product import emit_product, geometry, rows_geometry
from tinynet.ops.winograd import SIZES, choose_size, emit_winograd

if TYPE_CHECKING:
    from tinynet.ops.matrix_product import Geometry


@register
class Conv2d(Activated):
    """f(conv + b + residual): x [N,H,W,C], w [O,kh,kw,C/groups], b [O], residual [N,OH,OW,O] (optional), float32.

    Cross-correlation over zero padding (ONNX Conv).  `pads` is top, left, bottom, right.  `planar`: x is [N,C,H,W] (the
    plan puts the transpose of a network's input into the convolution that reads it).
    """

    kind: ClassVar[str] = "conv2d"
    constant_inputs: ClassVar[tuple[int, ...]] = (1, 2)
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, ...] = (1, 1)
    groups: int = 1
    planar: bool = False

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 3, 4)
        need_float(inputs)
        self.check_activation()
        x, w, b = inputs[:3]
        n, h, width, c = need_nhwc(x)
        if self.planar:
            c, h, width = h, width, c
        groups = self.groups
        if groups < 1 or c % groups:
            refuse(f"groups that divide the {c} channels of x", groups)
        need(len(w.shape) == 4 and min(w.shape) >= 1, "w of shape [O, kh, kw, C/groups]", w.shape)
        out = w.shape[0]
        if w.shape[3] != c // groups:
            refuse(f"w of {c // groups} input channels per group", w.shape)
        if out % groups:
            refuse(f"output channels divisible by {groups} groups", out)
        need_shape(b, (out,), "b")
        oh, ow = window_extents((h, width), w.shape[1:3], self.strides, self.pads, self.dilations)
        y = (n, oh, ow, out)
        if len(inputs) == 4:
            need_shape(inputs[3], y, "residual")
        return [Spec(y)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, w, b = arrays[:3]
        if self.planar:
            x = x.transpose(0, 2, 3, 1)
        oh, ow = window_extents(x.shape[1:3], w.shape[1:3], self.strides, self.pads, self.dilations)
        x = np.ascontiguousarray(padded(x, self.pads, 0))
        rows, cols = w.shape[0] // self.groups, w.shape[3]
        y = np.empty((x.shape[0], oh, ow, w.shape[0]), np.float32)
        with quiet():
            for g in range(self.groups):
                windows = self._windows(x[..., g * cols:(g + 1) * cols], oh, ow, w.shape[1:3])
                matrix = w[g * rows:(g + 1) * rows].reshape(rows, -1)
                for image in range(x.shape[0]):
                    # One image at a time bounds the copy that reshape makes of its overlapping windows.
                    product = np.dot(windows[image].reshape(oh * ow, -1), matrix.T)
                    y[image, ..., g * rows:(g + 1) * rows] = product.reshape(oh, ow, rows)
            y += b
            if len(arrays) == 4:
                y += arrays[3]
        return [self.activate(y)]

    def _windows(self, x: np.ndarray, oh: int, ow: int, kernel: tuple[int, ...]) -> np.ndarray:
        """View [N, OH, OW, kh, kw, C] of padded x."""
        sn, sh, sw, sc = x.strides
        return np.lib.stride_tricks.as_strided(
            x,
            (x.shape[0], oh, ow, kernel[0], kernel[1], x.shape[3]),
            (sn, sh * self.strides[0], sw * self.strides[1], sh * self.dilations[0], sw * self.dilations[1], sc),
            writeable=False,
        )

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) * count(inputs[1].shape[1:])

    def strided(self) -> tuple[bool, bool]:
        return not self.planar, True

    def inplace(self) -> tuple[int, ...]:
        return (3,)

    def geometry(self, x: Any, w: tuple[int, ...], out: tuple[int, int], ldy: int, ld_residual: int = 0,
                 banded: bool = False) -> Geometry:
        """matrix_product.geometry of the product of x (a view) with weights of shape w."""
        n, height, width, channels = (*x.shape[:1], *x.shape[2:], x.shape[1]) if self.planar else x.shape
        return geometry(
            picture=(n, height, width), ldx=channels if self.planar else x.ld, channels=channels, groups=self.groups,
            group_out=w[0] // self.groups, kernel=w[1:3], strides=self.strides, pads=self.pads, dilations=self.dilations,
            out=out, ldy=ldy, ld_residual=ld_residual, epilogue=self.epilogue(), planar=self.planar, banded=banded,
        )

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        w = builder.graph.tensors[node.inputs[1]].shape
        residual = builder.view(node.inputs[3]) if len(node.inputs) == 4 else None
        size = self._winograd_size(builder, x, y, w)
        if size:
            emit_winograd(builder, size=size, x=x, weights=node.inputs[1], bias=builder.tensor(node.inputs[2]),
                          residual=residual, y=y, pads=self.pads, epilogue=self.epilogue(), macs=y.size * count(w[1:]))
            return True
        emit_product(
            builder, x=builder.tensor(x.name), w=builder.weights(node.inputs[1], layouts.ohwi_panels(self.groups)),
            bias=builder.tensor(node.inputs[2]), residual=builder.tensor(residual.name) if residual else None,
            y=builder.tensor(y.name), macs=y.size * count(w[1:]),
            shape=self.geometry(x, w, y.shape[1:3], y.ld, residual.ld if residual else 0, banded=bool(builder.between)),
        )
        return True

    def may_use_winograd(self, w: tuple[int, ...]) -> bool:
        """w: shape of the weights, [O, kh, kw, C]."""
        return (w[1:3] == (3, 3) and self.strides == (1, 1) and self.dilations == (1, 1) and self.groups == 1
                and not self.planar)

    def _winograd_size(self, builder: Any, x: Any, y: Any, w: tuple[int, ...]) -> int:
        """Outputs per side of a Winograd tile, or 0: direct."""
        if not self.may_use_winograd(w) or not x.size or not y.size:
            return 0
        if isinstance(builder.winograd, dict):
            return builder.winograd.get(builder.node_name, 0)
        if builder.winograd in SIZES:
            return builder.winograd
        return choose_size(y.shape[0], y.shape[1:3], w[3], w[0]) if builder.winograd else 0


@register
class Dense(Activated):
    """f(x w^T + b + residual): x [..., K], w [N, K], b [N], residual [..., N] (optional), float32."""

    kind: ClassVar[str] = "dense"
    constant_inputs: ClassVar[tuple[int, ...]] = (1, 2)

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 3, 4)
        need_float(inputs)
        self.check_activation()
        x, w, b = inputs[:3]
        need(len(x.shape) >= 1, "x of shape [..., K]", x.shape)
        need(len(w.shape) == 2 and w.shape[1] == x.shape[-1], f"w of shape [N, {x.shape[-1]}]", w.shape)
        need_shape(b, w.shape[:1], "b")
        y = (*x.shape[:-1], w.shape[0])
        if len(inputs) == 4:
            need_shape(inputs[3], y, "residual")
        return [Spec(y)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, w, b = arrays[:3]
        with quiet():
            y = np.dot(x.reshape(count(x.shape[:-1]), w.shape[1]), w.T).reshape(*x.shape[:-1], w.shape[0])
            y += b
            if len(arrays) == 4:
                y += arrays[3]
        return [self.activate(y)]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) * inputs[1].shape[1]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def inplace(self) -> tuple[int, ...]:
        return (3,)

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        residual = builder.view(node.inputs[3]) if len(node.inputs) == 4 else None
        emit_product(
            builder, x=builder.tensor(x.name), w=builder.weights(node.inputs[1], layouts.ohwi_panels()),
            bias=builder.tensor(node.inputs[2]), residual=builder.tensor(residual.name) if residual else None,
            y=builder.tensor(y.name), macs=y.size * x.row,
            shape=rows_geometry(x.rows, x.row, y.row, x.ld, y.ld, self.epilogue(), residual.ld if residual else 0),
        )
        return True
