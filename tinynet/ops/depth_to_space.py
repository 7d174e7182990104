"""Kinds that move values between channels and places, or reorder channels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need, need_inputs, need_name, need_nhwc


@register
class DepthToSpace(Op):
    """x [N,H,W,C] of any dtype -> [N, H block, W block, C / block^2] (ONNX DepthToSpace).

    Channels of x count (by, bx, c) in mode `dcr` and (c, by, bx) in mode `crd`.
    """

    kind: ClassVar[str] = "depth_to_space"
    block: int = 0
    mode: str = "dcr"

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        n, h, w, c = need_nhwc(inputs[0])
        block = self.block
        need(block >= 1, "block >= 1", block)
        need_name("mode", self.mode, ("dcr", "crd"))
        need(c % (block * block) == 0, f"channels divisible by block^2 = {block * block}", c)
        return [Spec((n, h * block, w * block, c // (block * block)), inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        n, h, w, c = x.shape
        b, out = self.block, c // self.block ** 2
        if self.mode == "dcr":
            parts = x.reshape(n, h, w, b, b, out).transpose(0, 1, 3, 2, 4, 5)
        else:
            parts = x.reshape(n, h, w, out, b, b).transpose(0, 1, 4, 2, 5, 3)
        return [parts.reshape(n, h * b, w * b, out)]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        n, h, w, _ = x.shape
        b, out = self.block, y.row
        ys, xs = y.strides, x.strides
        by, bx, c = (b * out, out, 1) if self.mode == "dcr" else (b, 1, b * b)
        return builder.copy(x, y, (n, h, b, w, b, out), (xs[0], xs[1], by, xs[2], bx, c),
                            (ys[0], b * ys[1], ys[1], b * ys[2], ys[2], 1))


@register
class SpaceToDepth(Op):
    """x [N,H,W,C] of any dtype -> [N, H / block, W / block, block^2 C] (ONNX SpaceToDepth).

    Channels of the output count (by, bx, c) in mode `dcr` and (c, by, bx) in mode `crd`.
    """

    kind: ClassVar[str] = "space_to_depth"
    block: int = 0
    mode: str = "dcr"

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        n, h, w, c = need_nhwc(inputs[0])
        block = self.block
        need(block >= 1, "block >= 1", block)
        need(h % block == 0 and w % block == 0, f"height and width divisible by block = {block}", (h, w))
        need_name("mode", self.mode, ("dcr", "crd"))
        return [Spec((n, h // block, w // block, c * block * block), inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        n, h, w, c = x.shape
        b = self.block
        order = (0, 1, 3, 2, 4, 5) if self.mode == "dcr" else (0, 1, 3, 5, 2, 4)
        parts = x.reshape(n, h // b, b, w // b, b, c).transpose(order)
        return [parts.reshape(n, h // b, w // b, b * b * c)]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        n, h, w, _ = y.shape
        b, c = self.block, x.row
        ys, xs = y.strides, x.strides
        by, bx, each = (b * c, c, 1) if self.mode == "dcr" else (b, 1, b * b)
        return builder.copy(x, y, (n, h, b, w, b, c), (xs[0], b * xs[1], xs[1], b * xs[2], xs[2], 1),
                            (ys[0], ys[1], by, ys[2], bx, each))


@register
class ChannelShuffle(Op):
    """Channel g (C/groups) + j of x [..., C], any dtype, goes to j groups + g (Zhang et al. 2017, ShuffleNet)."""

    kind: ClassVar[str] = "channel_shuffle"
    groups: int = 0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        (x,) = inputs
        need(len(x.shape) >= 1, "x of shape [..., C]", x.shape)
        need(self.groups >= 1 and x.shape[-1] % self.groups == 0,
             f"groups that divide the {x.shape[-1]} channels of x", self.groups)
        return [x]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        split = x.reshape(*x.shape[:-1], self.groups, x.shape[-1] // self.groups)
        return [split.swapaxes(-1, -2).reshape(x.shape)]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        each = x.row // self.groups
        return builder.copy(x, y, (x.rows, each, self.groups), (x.ld, 1, each), (y.ld, self.groups, 1))
