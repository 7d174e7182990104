"""Normalisations whose statistics are computed at run time."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import count, need, need_float, need_inputs, need_shape, quiet


def _normalized(x: np.ndarray, axes: tuple[int, ...], epsilon: float, center: bool = True) -> np.ndarray:
    """float64: (x - mean) / sqrt(mean((x - mean)^2) + epsilon)."""
    x = x.astype(np.float64)
    if center:
        x = x - x.mean(axis=axes, keepdims=True)
    return x / np.sqrt((x * x).mean(axis=axes, keepdims=True) + epsilon)


class Normalization(Op):
    """float32; scale (and shift) [C] belong to the last axis of x."""

    epsilon: float = 1e-5

    def check(self, inputs: tuple[Spec, ...], names: tuple[str, ...], rank: int) -> None:
        need_inputs(inputs, 1 + len(names))
        need_float(inputs)
        shape = inputs[0].shape
        need(len(shape) >= rank and shape[-1] >= 1, f"x of rank {rank} or more, with at least one channel", shape)
        for spec, name in zip(inputs[1:], names, strict=True):
            need_shape(spec, shape[-1:], name)
        need(self.epsilon >= 0, "epsilon of 0 or more", self.epsilon)

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return 2 * count(inputs[0].shape)

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def inplace(self) -> tuple[int, ...]:
        return (0,)


@register
class LayerNorm(Normalization):
    """(x - mean) / sqrt(variance + epsilon) scale + shift, statistics over the last axis: x [..., C], scale [C], shift [C]."""

    kind: ClassVar[str] = "layer_norm"

    def infer(self, *inputs: Spec) -> list[Spec]:
        self.check(inputs, ("scale", "shift"), 1)
        return [inputs[0]]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, scale, shift = arrays
        with quiet():
            return [(_normalized(x, (-1,), self.epsilon) * scale + shift).astype(np.float32)]

    def lower(self, builder: Any, node: Any) -> bool:
        _emit_rows(builder, node, [builder.tensor(n) for n in node.inputs[1:]], True, self.epsilon)
        return True


@register
class RmsNorm(Normalization):
    """x / sqrt(mean(x^2) + epsilon) scale, the mean over the last axis: x [..., C], scale [C]."""

    kind: ClassVar[str] = "rms_norm"

    def infer(self, *inputs: Spec) -> list[Spec]:
        self.check(inputs, ("scale",), 1)
        return [inputs[0]]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, scale = arrays
        with quiet():
            return [(_normalized(x, (-1,), self.epsilon, center=False) * scale).astype(np.float32)]

    def lower(self, builder: Any, node: Any) -> bool:
        _emit_rows(builder, node, [builder.tensor(node.inputs[1]), None], False, self.epsilon)
        return True


def _emit_rows(builder: Any, node: Any, weights: list, center: bool, epsilon: float) -> None:
    x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
    builder.emit("normalize_f32", [builder.tensor(x.name), *weights, builder.tensor(y.name)], nbytes=16 * x.size,
                 rows=x.rows, channels=x.row, ldx=x.ld, ldy=y.ld, center=center, epsilon=epsilon)


@register
class GroupNorm(Normalization):
    """(x - mean) / sqrt(variance + epsilon) scale + shift: x [N, ..., C], scale [C], shift [C].

    Statistics over all pixels of a picture and the C / groups neighbouring channels of a group.  groups = C is instance
    normalisation.
    """

    kind: ClassVar[str] = "group_norm"
    groups: int = 1

    def infer(self, *inputs: Spec) -> list[Spec]:
        self.check(inputs, ("scale", "shift"), 2)
        shape = inputs[0].shape
        need(self.groups >= 1 and shape[-1] % self.groups == 0, f"groups that divide {shape[-1]} channels", self.groups)
        need(count(shape[1:]) >= 1, "at least one pixel", shape)
        return [inputs[0]]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, scale, shift = arrays
        split = x.reshape(x.shape[0], count(x.shape[1:-1]), self.groups, x.shape[-1] // self.groups)
        with quiet():
            return [(_normalized(split, (1, 3), self.epsilon).reshape(x.shape) * scale + shift).astype(np.float32)]

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        batch = x.shape[0]
        builder.emit(
            "group_norm_f32", [*(builder.tensor(n) for n in node.inputs), builder.tensor(y.name),
                               builder.scratch(8 * batch * x.row)],
            nbytes=24 * x.size, batch=batch, pixels=count(x.shape[1:-1]), channels=x.row, ldx=x.ld, ldy=y.ld,
            groups=self.groups, epsilon=self.epsilon)
        return True
