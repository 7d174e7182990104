"""A convolution, the depthwise one that reads it and the 1x1 convolution behind that, as one layer."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet import layouts
from tinynet.kernels import engine
from tinynet.ops.activated import ACTIVATIONS
from tinynet.ops.base import Spec, register
from tinynet.ops.checks import count, need, need_name
from tinynet.ops.conv2d import Conv2d
from tinynet.ops.separable_conv2d import SeparableConv2d
from tinynet.record import Record

# The first convolution joins in where the tensor behind it would take most of a 1 MiB L2, or leave it.
LEAST_BYTES = 512 * 1024


class First(Record):
    """What the kernel needs of the first convolution; `scratch`: floats per thread."""

    __slots__ = ("operands", "scratch", "macs")

    def __init__(self, operands: list[Any], scratch: int, macs: int):
        self.operands = operands
        self.scratch = scratch
        self.macs = macs


@register
class InvertedBottleneck(SeparableConv2d):
    """f(g(depthwise(h(conv(x)))) w + b + residual): x [N,H,W,I], wf [C,kh,kw,I], bf [C], wd [kh,kw,C], bd [C], w [O,1,1,C],
    b [O], residual [N,OH,OW,O] (optional), float32; h, strides and pads of the first convolution and `planar` (its x is
    [N,I,H,W]) are the attributes that begin with `first_` (Sandler et al. 2018, MobileNetV2: its C is several times I and O).

    Without w, b and residual the depthwise layer's g(...) is the result.  Files hold the layers one by one; the plan joins them
    where the widest tensor of a network would go through memory.
    """

    kind: ClassVar[str] = "inverted_bottleneck"
    constant_inputs: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5, 6)
    first_strides: tuple[int, ...] = (1, 1)
    first_pads: tuple[int, ...] = (0, 0, 0, 0)
    first_planar: bool = False
    first_activation: str = "none"
    first_alpha: float = 0.0
    first_beta: float = 0.0

    def _first(self) -> Conv2d:
        return Conv2d(**{name: getattr(self, f"first_{name}") for name in
                         ("strides", "pads", "planar", "activation", "alpha", "beta")})

    def infer(self, *inputs: Spec) -> list[Spec]:
        need(len(inputs) in (5, 7, 8), "5, 7 or 8 inputs", len(inputs))
        need_name("first_activation", self.first_activation, ACTIVATIONS)
        between = self._first().infer(*inputs[:3])
        if len(inputs) > 5:
            return super().infer(*between, *inputs[3:])
        need_name("inner_activation", self.inner_activation, ACTIVATIONS)
        return self._depthwise().infer(*between, *inputs[3:])

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        between = self._first().reference(*arrays[:3])
        if len(arrays) > 5:
            return super().reference(*between, *arrays[3:])
        return self._depthwise().reference(*between, *arrays[3:])

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        between = self._first().infer(*inputs[:3])
        after = super().macs if len(inputs) > 5 else self._depthwise().macs
        return count(between[0].shape) * count(inputs[1].shape[1:]) + after([*between, *inputs[3:]], outputs)

    def strided(self) -> tuple[bool, bool]:
        return not self.first_planar, True

    def inplace(self) -> tuple[int, ...]:
        return (7,)

    def lower(self, builder: Any, node: Any) -> bool:
        x, tensors = builder.view(node.inputs[0]), builder.graph.tensors
        w = tensors[node.inputs[1]].shape
        op = self._first()
        (between,) = op.infer(*(Spec(tensors[n].shape) for n in node.inputs[:3]))
        params, table, nbytes = op.geometry(x, w, between.shape[1:3], w[0], banded=True)
        first = First(
            [builder.weights(node.inputs[1], layouts.ohwi_panels()), builder.tensor(node.inputs[2]),
             builder.constant(np.frombuffer(engine.packed_params("conv2d_f32", params), np.int64)), builder.constant(table)],
            nbytes // 4, count(between.shape) * count(w[1:]))
        return self._emit(builder, node, builder.tensor(x.name), between.shape, w[0], node.inputs[3:], first)
