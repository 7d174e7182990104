"""Selection by indices: whole slices along one axis, single elements, or slices by index tuples."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.graph import DTYPES
from tinynet.ops.base import DataError, Op, Spec, register
from tinynet.ops.checks import count, need, need_axis, need_inputs

INDEX_DTYPES = ("int64", "int32")


def need_indices(spec: Spec) -> None:
    need(spec.dtype in INDEX_DTYPES, "indices of dtype int64 or int32", spec.dtype)


def valid(extent: int) -> str:
    return f"expected indices between {-extent} and {extent - 1}" if extent else "expected no index into an empty axis"


def wrapped(indices: np.ndarray, extent: int) -> np.ndarray:
    """Indices into an axis of that extent, counted from its start.  DataError for one outside [-extent, extent)."""
    if indices.size:
        low, high = int(indices.min()), int(indices.max())
        if low < -extent or high >= extent:
            raise DataError(f"{valid(extent)}, found {low if low < -extent else high}")
    return np.where(indices < 0, indices.astype(np.int64) + extent, indices)


def index_tuple(indices: np.ndarray, extents: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Tuples along the last axis of `indices` as one array of positions per indexed axis."""
    return tuple(wrapped(indices[..., i], d) for i, d in enumerate(extents))


@register
class Gather(Op):
    """numpy.take(x, indices, axis): x of any dtype, indices int64 or int32 of any shape.

    Every index lies in [-d, d); a negative one counts from the end of the axis.  Another one is a DataError when the
    model runs; `infer` knows shapes only.
    """

    kind: ClassVar[str] = "gather"
    axis: int = 0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        x, indices = inputs
        need_indices(indices)
        axis = need_axis(self.axis, len(x.shape))
        return [Spec((*x.shape[:axis], *indices.shape, *x.shape[axis + 1:]), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, indices = arrays
        return [np.asarray(np.take(x, wrapped(indices, x.shape[self.axis]), axis=self.axis))]

    def index_limits(self, *inputs: Spec) -> dict[int, int]:
        return {1: inputs[0].shape[self.axis]}

    def failure(self, *inputs: Spec) -> str:
        return f"{valid(inputs[0].shape[self.axis])}, found another one"

    def lower(self, builder: Any, node: Any) -> bool:
        x, indices, y = (builder.view(n) for n in (*node.inputs, node.outputs[0]))
        axis = self.axis % len(x.shape)
        row = count(x.shape[axis + 1:]) * DTYPES[x.dtype]
        builder.emit("gather", [builder.tensor(n) for n in (x.name, indices.name, y.name)],
                     nbytes=2 * DTYPES[y.dtype] * y.size, outer=count(x.shape[:axis]), extent=x.shape[axis], row=row,
                     picks=indices.size, index_item=DTYPES[indices.dtype])
        return True


@register
class GatherElements(Op):
    """y[i, j, k] = x[indices[i, j, k], j, k] (for axis 0); indices have x's rank and y's shape (ONNX GatherElements)."""

    kind: ClassVar[str] = "gather_elements"
    axis: int = 0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        x, indices = inputs
        need_indices(indices)
        need_axis(self.axis, len(x.shape))
        need_inside(x.shape, indices.shape, self.axis % len(x.shape))
        return [Spec(indices.shape, x.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, indices = arrays
        return [x[along_axis(indices, x.shape, self.axis)]]

    index_limits = Gather.index_limits


def need_inside(shape: tuple[int, ...], indices: tuple[int, ...], axis: int) -> None:
    need(len(indices) == len(shape) and all(i == axis or n <= d for i, (n, d) in enumerate(zip(indices, shape, strict=True))),
         f"indices of a shape inside {list(shape)} except along axis {axis}", indices)


def along_axis(indices: np.ndarray, shape: tuple[int, ...], axis: int) -> tuple[np.ndarray, ...]:
    """The index arrays with which x[...] reads or writes element by element along `axis`."""
    places = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    places[axis] = wrapped(indices, shape[axis])
    return tuple(places)


@register
class GatherNd(Op):
    """Slices x[b, indices[b, ..., :]] for every b among the first `batch_dims` axes (ONNX GatherND)."""

    kind: ClassVar[str] = "gather_nd"
    batch_dims: int = 0

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        x, indices = inputs
        need_indices(indices)
        b = self.batch_dims
        need(0 <= b < max(1, min(len(x.shape), len(indices.shape))), "batch_dims below both ranks", b)
        need(len(indices.shape) >= 1 and 1 <= indices.shape[-1] <= len(x.shape) - b,
             f"index tuples of 1 to {len(x.shape) - b} along the last axis", indices.shape)
        need(x.shape[:b] == indices.shape[:b], f"indices that begin with the shape {list(x.shape[:b])}", indices.shape)
        return [Spec((*indices.shape[:-1], *x.shape[b + indices.shape[-1]:]), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        x, indices = arrays
        b, width = self.batch_dims, indices.shape[-1]
        batch = np.ogrid[tuple(slice(d) for d in indices.shape[:-1])][:b]
        return [np.asarray(x[(*batch, *index_tuple(indices, x.shape[b:b + width]))])]

    def index_limits(self, *inputs: Spec) -> dict[int, int]:
        x, indices = inputs
        return {1: min(x.shape[self.batch_dims:self.batch_dims + indices.shape[-1]])}
