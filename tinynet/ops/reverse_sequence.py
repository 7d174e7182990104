"""Sequences of different lengths, each read backwards."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinynet.ops.base import DataError, Op, Spec, register
from tinynet.ops.checks import need, need_axis, need_inputs


@register
class ReverseSequence(Op):
    """x with the first lengths[b] steps along `time_axis` of every batch entry b in reverse order; the others stay.

    x of any dtype and rank >= 2, lengths [batch] int64, each in [0, steps] (ONNX ReverseSequence).
    """

    kind: ClassVar[str] = "reverse_sequence"
    batch_axis: int = 1
    time_axis: int = 0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        x, lengths = inputs
        need(len(x.shape) >= 2, "x of rank >= 2", x.shape)
        batch, time = need_axis(self.batch_axis, len(x.shape)), need_axis(self.time_axis, len(x.shape))
        need(batch != time, "batch_axis and time_axis that differ", batch)
        need(lengths == Spec((x.shape[batch],), "int64"), f"int64 lengths of shape [{x.shape[batch]}]",
             f"{lengths.dtype} {list(lengths.shape)}")
        return [x]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, lengths = arrays
        steps = x.shape[self.time_axis]
        if lengths.size and not (lengths.min() >= 0 and lengths.max() <= steps):
            raise DataError(f"expected lengths between 0 and {steps}, found {lengths.tolist()[:8]}")
        step = np.arange(steps)[:, None]
        order = np.where(step < lengths, lengths - 1 - step, step)             # [steps, batch]
        moved = np.moveaxis(x, (self.time_axis, self.batch_axis), (0, 1))
        y = moved[order, np.arange(lengths.size)]
        return [np.ascontiguousarray(np.moveaxis(y, (0, 1), (self.time_axis, self.batch_axis)))]

    def index_limits(self, *inputs: Spec) -> dict[int, int]:
        return {1: inputs[0].shape[self.time_axis] + 1}
