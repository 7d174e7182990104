"""Where the largest pixel of each window lies, and the way back: pooling whose places are remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import count, need, need_data, need_inputs, need_name, need_tuple
from tinynet.ops.pool2d import POOLED, lowest


def _spatial(spec: Spec, what: str) -> tuple[int, ...]:
    need(len(spec.shape) >= 3 and min(spec.shape[1:]) >= 1, f"{what} of shape [N, D1, ..., C]", spec.shape)
    return spec.shape[1:-1]


@register
class MaxPoolIndices(Op):
    """Index of the largest pixel of each window: x [N, D1, ..., C] -> [N, O1, ..., C] int64 (ONNX MaxPool, output Indices).

    An index counts the elements of x as [N, C, D1, ...] in C order, whatever order they lie in, or with `column_major`
    D1 fastest of the spatial axes.  The first of equals wins, NaN is the largest, padding never wins; a window without
    any pixel gives -1.  `pads` is the beginnings of all spatial axes, then their ends.
    """

    kind: ClassVar[str] = "max_pool_indices"
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    column_major: bool = False

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        (x,) = inputs
        need_name("dtype", x.dtype, POOLED)
        extents = _spatial(x, "x")
        rank = len(extents)
        for name, length, least in (("kernel", rank, 1), ("strides", rank, 1), ("pads", 2 * rank, 0),
                                    ("dilations", rank, 1)):
            need_tuple(name, getattr(self, name), length, least)
        return [Spec((x.shape[0], *self._out(extents), x.shape[-1]), "int64")]

    def _out(self, extents: Sequence[int]) -> tuple[int, ...]:
        out = []
        for i, extent in enumerate(extents):
            padded = extent + self.pads[i] + self.pads[i + len(extents)]
            reach = self.dilations[i] * (self.kernel[i] - 1) + 1
            need(padded >= reach, f"a padded spatial axis {i} of at least {reach} (the window)", padded)
            out.append((padded - reach) // self.strides[i] + 1)
        return tuple(out)

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        extents = x.shape[1:-1]
        rank, out = len(extents), self._out(extents)
        best = np.full((x.shape[0], *out, x.shape[-1]), lowest(x.dtype.name), x.dtype)
        at = np.full(best.shape, -1, np.int64)
        steps = [count(extents[:i]) for i in range(rank)] if self.column_major else [
            count(extents[i + 1:]) for i in range(rank)]
        for place in np.ndindex(*self.kernel):
            value, index, seen = x, np.zeros((), np.int64), np.ones((), bool)
            for i, k in enumerate(place):
                where = np.arange(out[i]) * self.strides[i] + k * self.dilations[i] - self.pads[i]
                value = np.take(value, np.clip(where, 0, extents[i] - 1), i + 1)
                shape = (-1, *(1,) * (rank - i))
                index = index + (where * steps[i]).reshape(shape)
                seen = seen & ((where >= 0) & (where < extents[i])).reshape(shape)
            wins = seen & ((at < 0) | (value > best) | ((value != value) & (best == best)))
            best, at = np.where(wins, value, best), np.where(wins, index, at)
        plane = np.arange(x.shape[0]).reshape(-1, *(1,) * (rank + 1)) * x.shape[-1] + np.arange(x.shape[-1])
        return [np.where(at < 0, at, at + plane * count(extents))]

    def moved(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) * count(self.kernel)


@register
class MaxUnpool(Op):
    """Zeros, and each element of x at its index: x, indices [N, D1, ..., C] -> [N, *size, C] float32 (ONNX MaxUnpool).

    Indices are int64 and count as those of `max_pool_indices` do, in a tensor of spatial shape `inner`, which fills the
    beginning of `size` on every axis.  Where two elements have one index, the last in the order [N, C, D1, ...] stays.
    An index outside is an error when the model runs.
    """

    kind: ClassVar[str] = "max_unpool"
    inner: tuple[int, ...] = ()
    size: tuple[int, ...] = ()

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        x, indices = inputs
        need(x.dtype == "float32", "x of dtype float32", x.dtype)
        need(indices == Spec(x.shape, "int64"), f"indices of int64 {list(x.shape)}", tuple(indices))
        rank = len(_spatial(x, "x"))
        need_tuple("inner", self.inner, rank, 1)
        need_tuple("size", self.size, rank, 1)
        need(all(a <= b for a, b in zip(self.inner, self.size, strict=True)), f"size of at least {list(self.inner)}",
             self.size)
        return [Spec((x.shape[0], *self.size, x.shape[-1]))]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, indices = (np.moveaxis(a, -1, 1) for a in arrays)
        n, c = x.shape[:2]
        y = np.zeros((n, c, *self.inner), np.float32)
        outside = (indices < 0) | (indices >= y.size)
        need_data(not outside.any(), f"indices from 0 to {y.size - 1}", indices[outside][:1].tolist())
        y.reshape(-1)[indices.reshape(-1)] = x.reshape(-1)
        result = np.zeros((n, c, *self.size), np.float32)
        result[(..., *(slice(0, d) for d in self.inner))] = y
        return [np.ascontiguousarray(np.moveaxis(result, 1, -1))]
