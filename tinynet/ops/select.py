"""Kinds whose result is as long as the data say: a result of the largest size, and `count`, how much of it counts.

What lies beyond `count` along the result's axis is 0.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import count, need, need_axis, need_inputs

COUNT = Spec((), "int64")


def filled(found: np.ndarray, extent: int, axis: int = 0) -> np.ndarray:
    """`found` with zeros after it along `axis` until that is `extent` long."""
    y = np.zeros((*found.shape[:axis], extent, *found.shape[axis + 1:]), found.dtype)
    y[(slice(None),) * axis + (slice(found.shape[axis]),)] = found
    return y


@register
class Compress(Op):
    """x, condition [n] bool with n <= d -> the slices along `axis` whose condition is true, and their count."""

    kind: ClassVar[str] = "compress"
    axis: int = 0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        x, condition = inputs
        axis = need_axis(self.axis, len(x.shape))
        need(condition.dtype == "bool" and len(condition.shape) == 1 and condition.shape[0] <= x.shape[axis],
             f"a bool condition of shape [n], n <= {x.shape[axis]}", f"{condition.dtype} {list(condition.shape)}")
        return [Spec((*x.shape[:axis], condition.shape[0], *x.shape[axis + 1:]), x.dtype), COUNT]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, condition = arrays
        axis = self.axis % x.ndim
        found = np.compress(condition, x, axis)
        return [filled(found, condition.size, axis), np.array(found.shape[axis], np.int64)]


@register
class NonZero(Op):
    """x of rank >= 1 -> int64 [rank, size]: the positions of elements other than 0 in C order, and their count."""

    kind: ClassVar[str] = "non_zero"

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        (x,) = inputs
        need(len(x.shape) >= 1, "x of rank >= 1", x.shape)
        return [Spec((len(x.shape), count(x.shape)), "int64"), COUNT]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        found = np.array(np.nonzero(x), np.int64)
        return [filled(found, x.size, 1), np.array(found.shape[1], np.int64)]


@register
class Unique(Op):
    """The different slices of x along `axis`: they, the first place of each, its number for every slice of x, how often
    each occurs (int64), and how many there are.

    In ascending order if `ordered`, else in the order of their first places (ONNX Unique).
    """

    kind: ClassVar[str] = "unique"
    axis: int = 0
    ordered: bool = True

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        (x,) = inputs
        each = Spec((x.shape[need_axis(self.axis, len(x.shape))],), "int64")
        return [x, each, each, each, COUNT]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        axis, extent = self.axis % x.ndim, x.shape[self.axis]
        if not x.size:
            # Slices without elements are all the same one; an axis of 0 has none.
            values, first, inverse, counts = x.take(range(min(1, extent)), axis), [0], np.zeros(extent), [extent]
            first, counts = first[:extent], counts[:extent]
        else:
            values, first, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True,
                                                       axis=axis)
        first, inverse, counts = (np.asarray(a, np.int64).reshape(-1) for a in (first, inverse, counts))
        if not self.ordered:
            order = np.argsort(first)
            values, first, counts = np.take(values, order, axis), first[order], counts[order]
            inverse = np.argsort(order)[inverse]
        return [filled(values, extent, axis), filled(first, extent), inverse.astype(np.int64), filled(counts, extent),
                np.array(first.size, np.int64)]
