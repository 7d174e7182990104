"""Reductions over axes.  Global pooling of images is a reduction over axes (1, 2)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import count, need, need_axis, need_float, need_inputs, quiet


def _reduced(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    return tuple(1 if i in axes else d for i, d in enumerate(shape) if keepdims or i not in axes)


class Reduce(Op):
    """x float32, reduced over `axes`: at least one, non-negative, sorted, none twice."""

    reduction: ClassVar[int] = 2      # of `tn_reduction` in kernels/micro/micro.h: max, min, sum
    axes: tuple[int, ...] = ()
    keepdims: bool = True

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_float(inputs)
        shape, axes = inputs[0].shape, self.axes
        need(len(axes) >= 1 and list(axes) == sorted(set(axes)) and axes[0] >= 0 and axes[-1] < len(shape),
             f"axes sorted, different, between 0 and {len(shape) - 1}, at least one", axes)
        need(all(shape[a] >= 1 for a in axes), "at least one element along the axes", shape)
        return [Spec(_reduced(shape, axes, self.keepdims))]

    def compute(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        with quiet():
            return [np.asarray(self.compute(arrays[0]), np.float32)]

    def strided(self) -> tuple[bool, bool]:
        # Rows that lie apart are fine where whole rows are combined: pooling of images over H and W.
        return len(self.axes) >= 1 and self.axes == tuple(range(self.axes[0], self.axes[0] + len(self.axes))), False

    def lower(self, builder: Any, node: Any) -> bool:
        """One step per run of neighbouring axes, the innermost first."""
        x = builder.view(node.inputs[0])
        if not x.contiguous and self.axes[-1] != len(x.shape) - 2:
            return False
        groups: list[tuple[int, bool]] = []      # (extent, reduced?), neighbours of one sort merged
        for axis, extent in enumerate(x.shape):
            reduced = axis in self.axes
            if groups and groups[-1][1] == reduced:
                groups[-1] = (groups[-1][0] * extent, reduced)
            else:
                groups.append((extent, reduced))
        source, ld = builder.tensor(x.name), x.ld
        while any(reduced for _, reduced in groups):
            at = max(i for i, (_, reduced) in enumerate(groups) if reduced)
            extents = [extent for extent, _ in groups]
            outer, n, inner = count(extents[:at]), extents[at], count(extents[at + 1:])
            del groups[at]
            if any(reduced for _, reduced in groups):
                target = builder.scratch(4 * outer * inner)
            else:
                target = builder.tensor(node.outputs[0])
            builder.emit("reduce_f32", [source, target], nbytes=4 * outer * n * inner, reduction=self.reduction,
                         outer=outer, n=n, inner=inner, ldx=inner if x.contiguous else ld,
                         factor=1.0 / n if self.kind == "reduce_mean" else 1.0)
            source = target
        return True


@register
class ReduceMean(Reduce):
    """Arithmetic mean, summed in float64"""

    kind: ClassVar[str] = "reduce_mean"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return x.mean(axis=self.axes, keepdims=self.keepdims, dtype=np.float64)

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(inputs[0].shape)


@register
class ReduceSum(Reduce):
    """Sum, in float64"""

    kind: ClassVar[str] = "reduce_sum"

    def compute(self, x: np.ndarray) -> np.ndarray:
        return x.sum(axis=self.axes, keepdims=self.keepdims, dtype=np.float64)

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(inputs[0].shape)


@register
class ReduceMax(Reduce):
    """Maximum; NaN if any is"""

    kind: ClassVar[str] = "reduce_max"
    reduction: ClassVar[int] = 0

    def compute(self, x: np.ndarray) -> np.ndarray:
        return x.max(axis=self.axes, keepdims=self.keepdims)


@register
class ReduceMin(Reduce):
    """Minimum; NaN if any is"""

    kind: ClassVar[str] = "reduce_min"
    reduction: ClassVar[int] = 1

    def compute(self, x: np.ndarray) -> np.ndarray:
        return x.min(axis=self.axes, keepdims=self.keepdims)


@register
class Argmax(Op):
    """int64 index of the largest element along `axis`, the first of equals or, with `select_last_index`, the last.

    x float32; NaN counts as the largest.
    """

    kind: ClassVar[str] = "argmax"
    axis: int = 0
    keepdims: bool = True
    select_last_index: bool = False

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        need_float(inputs)
        shape = inputs[0].shape
        axis = need_axis(self.axis, len(shape))
        need(shape[axis] >= 1, "at least one element along the axis", shape)
        return [Spec(_reduced(shape, (axis,), self.keepdims), "int64")]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        if self.select_last_index:
            index = x.shape[self.axis] - 1 - np.argmax(np.flip(x, self.axis), axis=self.axis, keepdims=self.keepdims)
        else:
            index = np.argmax(x, axis=self.axis, keepdims=self.keepdims)
        return [np.asarray(index, np.int64)]

    def lower(self, builder: Any, node: Any) -> bool:
        x = builder.view(node.inputs[0])
        axis = self.axis % len(x.shape)
        builder.emit("argmax_f32", [builder.tensor(x.name), builder.tensor(node.outputs[0])], nbytes=16 * x.size,
                     outer=count(x.shape[:axis]), n=x.shape[axis], inner=count(x.shape[axis + 1:]),
                     last=self.select_last_index)
        return True
