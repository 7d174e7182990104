"""Enlarging a tensor at the ends of its axes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need, need_inputs, need_name, need_tuple, quiet

MODES = ("constant", "reflect", "edge", "wrap")
# Longer ways around an axis are left to numpy: each is a step of the program.
MOST_LAPS = 16


@register
class Pad(Op):
    """x with begin[i] elements before and end[i] after along axis i.

    mode `constant` fills with `value`, or with the optional second input, a scalar of x's dtype; `edge` repeats the border;
    `reflect` mirrors without repeating it, by less than the extent; `wrap` goes on at the other end, by any length.
    """

    kind: ClassVar[str] = "pad"
    begin: tuple[int, ...] = ()
    end: tuple[int, ...] = ()
    mode: str = "constant"
    value: float = 0.0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1, 2)
        x = inputs[0]
        need_tuple("begin", self.begin, len(x.shape), 0)
        need_tuple("end", self.end, len(x.shape), 0)
        need_name("mode", self.mode, MODES)
        if len(inputs) == 2:
            need(self.mode == "constant", "no value to fill with unless the mode is constant", self.mode)
            need(inputs[1] == Spec((), x.dtype), f"a scalar of dtype {x.dtype} to fill with",
                 f"{inputs[1].dtype} {list(inputs[1].shape)}")
        for d, begin, end in zip(x.shape, self.begin, self.end, strict=True):
            if self.mode == "reflect":
                need(max(begin, end) < max(d, 1), f"reflect pads below the extent {d}", (begin, end))
            elif self.mode != "constant":
                need(d >= 1 or begin + end == 0, f"an extent of at least 1 in mode {self.mode}", d)
        shape = tuple(d + b + e for d, b, e in zip(x.shape, self.begin, self.end, strict=True))
        return [Spec(shape, x.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x = arrays[0]
        widths = list(zip(self.begin, self.end, strict=True))
        if not widths:
            return [x.copy()]
        if self.mode == "constant":
            return [np.pad(x, widths, constant_values=arrays[1] if len(arrays) == 2 else self.fill(x.dtype))]
        if self.mode != "wrap":
            return [np.pad(x, widths, mode=self.mode)]
        for axis, (before, after) in enumerate(widths):        # numpy before 1.25 wraps pads beyond the extent otherwise
            if before or after:
                x = np.take(x, np.arange(-before, x.shape[axis] + after) % x.shape[axis], axis)
        return [x.copy()]

    def fill(self, dtype: Any) -> np.ndarray:
        with quiet():
            return np.asarray(self.value).astype(dtype)

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        strides = y.strides
        start = sum(begin * s for begin, s in zip(self.begin, strides, strict=True))
        longest = [max(ends) for ends in zip(self.begin, self.end, strict=True)]
        if self.mode == "wrap" and any(n > MOST_LAPS * d for n, d in zip(longest, x.shape, strict=True)):
            return False
        if not builder.copy(x, y, x.shape, x.strides, strides, y_offset=start):
            return False
        fill = None
        if self.mode == "constant":
            fill = builder.tensor(node.inputs[1]) if len(node.inputs) == 2 else builder.constant(self.fill(x.dtype))
        # Axis after axis, each from what y already holds: corners come by themselves.
        shape, at = list(x.shape), start
        for axis, step in enumerate(strides):
            for source, target, size, sign in self.runs(axis, x.shape[axis]):
                shape[axis] = size
                walk = [*strides[:axis], sign * step, *strides[axis + 1:]] if fill is None else [0] * len(shape)
                if not builder.copy(y, y, tuple(shape), tuple(walk), strides, 0 if fill else at + source * step,
                                    at + target * step, fill):
                    return False
            shape[axis] = y.shape[axis]
            at -= self.begin[axis] * step
        return True

    def runs(self, axis: int, d: int) -> list[tuple[int, int, int, int]]:
        """(first source, first target, length, source step) of what is copied along an axis of x with extent d;
        positions count from x's first element there."""
        begin, end = self.begin[axis], self.end[axis]
        if self.mode in ("constant", "edge"):
            found = [(0, -begin, begin, 0), (d - 1, d, end, 0)]
        elif self.mode == "reflect":
            found = [(begin, -begin, begin, -1), (d - 2, d, end, -1)]
        else:
            before = [min(d, begin - at) for at in range(0, begin, d)] if d else []
            after = [min(d, end - at) for at in range(0, end, d)] if d else []
            found = [(d - size, -lap * d - size, size, 1) for lap, size in enumerate(before)]
            found += [(0, d + lap * d, size, 1) for lap, size in enumerate(after)]
        return [run for run in found if run[2]]
