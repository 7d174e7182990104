"""Kinds that cut, repeat or rename the shape of a tensor and compute nothing.  They take every dtype."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import broadcast, count, need, need_inputs


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(count(shape[i + 1:]) for i in range(len(shape)))


@register
class Slice(Op):
    """Elements range(begin, end, step) along every axis; the three tuples have x's rank.

    begin lies in [0, d), end in [-1, d]; end = -1, only with a negative step, means "past the start".
    """

    kind: ClassVar[str] = "slice"
    begin: tuple[int, ...] = ()
    end: tuple[int, ...] = ()
    step: tuple[int, ...] = ()

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        (x,) = inputs
        for name in ("begin", "end", "step"):
            values = getattr(self, name)
            need(len(values) == len(x.shape), f"{name} of {len(x.shape)} integers", values)
        shape = []
        for d, begin, end, step in zip(x.shape, self.begin, self.end, self.step, strict=True):
            need(step != 0, "step other than 0", self.step)
            need(0 <= begin < max(d, 1), f"begin between 0 and {d - 1}", begin)
            lowest = 0 if step > 0 else -1
            need(lowest <= end <= d, f"end between {lowest} and {d} for step {step}", end)
            # begin = 0 is no element of an empty axis, whatever end = -1 says.
            shape.append(len(range(begin, end, step)) if d else 0)
        return [Spec(tuple(shape), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        (x,) = arrays
        index = tuple(slice(b, None if e == -1 else e, s)
                      for b, e, s in zip(self.begin, self.end, self.step, strict=True))
        return [x[index].copy()]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        start = sum(begin * s for begin, s in zip(self.begin, x.strides, strict=True))
        if builder.in_place(y, x, start):
            return True
        steps = tuple(s * step for s, step in zip(x.strides, self.step, strict=True))
        return builder.copy(x, y, y.shape, steps, y.strides, x_offset=start)


@register
class Reshape(Op):
    """The same elements in C order under a new static shape; flatten, squeeze and unsqueeze are this kind too."""

    kind: ClassVar[str] = "reshape"
    shape: tuple[int, ...] = ()

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        (x,) = inputs
        need(all(d >= 0 for d in self.shape), "shape without negative extents", self.shape)
        need(count(self.shape) == count(x.shape), f"shape of {count(x.shape)} elements, as in {list(x.shape)}",
             self.shape)
        return [Spec(self.shape, x.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        return [arrays[0].reshape(self.shape)]

    def strided(self) -> tuple[bool, bool]:
        return True, False

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        link = builder.storage.links.get(y.name)
        if link is not None and link.parent == x.name:
            return True
        return builder.copy(x, y, x.shape, x.strides, contiguous_strides(x.shape))


@register
class Expand(Op):
    """numpy.broadcast_to(x, shape)"""

    kind: ClassVar[str] = "expand"
    shape: tuple[int, ...] = ()

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        (x,) = inputs
        need(all(d >= 0 for d in self.shape), "shape without negative extents", self.shape)
        need(broadcast(x.shape, self.shape) == self.shape, f"shape that {list(x.shape)} broadcasts to", self.shape)
        return [Spec(self.shape, x.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        return [np.broadcast_to(arrays[0], self.shape).copy()]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        lead = len(y.shape) - len(x.shape)
        strides = [0 if d == 1 else s for d, s in zip(x.shape, x.strides, strict=True)]
        return builder.copy(x, y, y.shape, (*(0,) * lead, *strides), y.strides)


@register
class Transpose(Op):
    """Axis i of the output is axis perm[i] of x, any dtype."""

    kind: ClassVar[str] = "transpose"
    perm: tuple[int, ...] = ()

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 1)
        (x,) = inputs
        need(sorted(self.perm) == list(range(len(x.shape))), f"perm that orders {len(x.shape)} axes", self.perm)
        return [Spec(tuple(x.shape[p] for p in self.perm), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        return [arrays[0].transpose(self.perm).copy()]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def lower(self, builder: Any, node: Any) -> bool:
        x, y = builder.view(node.inputs[0]), builder.view(node.outputs[0])
        return builder.copy(x, y, y.shape, tuple(x.strides[p] for p in self.perm), y.strides)
