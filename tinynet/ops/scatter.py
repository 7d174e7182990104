"""Writing by indices: x with some elements or slices replaced by, or combined with, updates."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import need, need_axis, need_inputs, need_name, quiet
from tinynet.ops.gather import Gather, along_axis, index_tuple, need_indices, need_inside

REDUCTIONS: dict[str, Any] = {"none": None, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def scattered(x: np.ndarray, places: tuple[np.ndarray, ...], updates: np.ndarray, reduction: str) -> np.ndarray:
    """A copy of x in which `places` hold `updates`; where one place is named twice the last update stays."""
    y = x.copy()
    if not updates.size:
        return y
    if reduction == "none":
        # Assignment through index arrays keeps the last of equal places (numpy documents it), in C order of `updates`.
        y[places] = updates
    elif x.dtype == np.bool_ and reduction in ("add", "mul"):
        (np.logical_or if reduction == "add" else np.logical_and).at(y, places, updates)
    else:
        with quiet():
            REDUCTIONS[reduction].at(y, places, updates)
    return y


class Scatter(Op):
    """x, indices, updates -> x's shape; reduction none, add, mul, max or min (NaN wins in max and min)."""

    reduction: str = "none"

    def check(self, inputs: tuple[Spec, ...]) -> None:
        need_inputs(inputs, 3)
        x, indices, updates = inputs
        need_indices(indices)
        need_name("reduction", self.reduction, tuple(REDUCTIONS))
        need(updates.dtype == x.dtype, f"updates of dtype {x.dtype}", updates.dtype)


@register
class ScatterElements(Scatter):
    """y = x, then y[indices[i, j, k], j, k] = updates[i, j, k] (for axis 0) (ONNX ScatterElements).

    reduction none, add, mul, max or min; with none, where one place is named twice the last update stays.
    """

    kind: ClassVar[str] = "scatter_elements"
    axis: int = 0

    def infer(self, *inputs: Spec) -> list[Spec]:
        self.check(inputs)
        x, indices, updates = inputs
        need_axis(self.axis, len(x.shape))
        need_inside(x.shape, indices.shape, self.axis % len(x.shape))
        need(updates.shape == indices.shape, f"updates of shape {list(indices.shape)}", updates.shape)
        return [x]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, indices, updates = arrays
        return [scattered(x, along_axis(indices, x.shape, self.axis), updates, self.reduction)]

    index_limits = Gather.index_limits


@register
class ScatterNd(Scatter):
    """y = x, then y[indices[i]] = updates[i] for every index tuple i: whole slices, or elements (ONNX ScatterND).

    reduction none, add, mul, max or min; with none, where one place is named twice the last update stays.
    """

    kind: ClassVar[str] = "scatter_nd"

    def infer(self, *inputs: Spec) -> list[Spec]:
        self.check(inputs)
        x, indices, updates = inputs
        need(len(indices.shape) >= 1 and 0 <= indices.shape[-1] <= len(x.shape),
             f"index tuples of at most {len(x.shape)} along the last axis", indices.shape)
        shape = (*indices.shape[:-1], *x.shape[indices.shape[-1]:])
        need(updates.shape == shape, f"updates of shape {list(shape)}", updates.shape)
        return [x]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, indices, updates = arrays
        places = index_tuple(indices, x.shape[:indices.shape[-1]])
        return [scattered(x, places, updates, self.reduction)]

    def index_limits(self, *inputs: Spec) -> dict[int, int]:
        x, indices, _ = inputs
        return {1: min(x.shape[:indices.shape[-1]], default=1)}
