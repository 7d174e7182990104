"""Fully connected layer over the last axis."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet import layouts
from tinynet.ops.activations import Activated
from tinynet.ops.base import Spec, register
from tinynet.ops.checks import count, need, need_float, need_inputs, need_shape, quiet
from tinynet.ops.matrix_product import emit_product


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
            y=builder.tensor(y.name), picture=(1, 1, x.rows), ldx=x.ld, channels=x.row, groups=1, group_out=y.row,
            kernel=(1, 1), strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), out=(1, x.rows), ldy=y.ld,
            ld_residual=residual.ld if residual else 0, epilogue=self.epilogue(), macs=y.size * x.row,
        )
        return True
