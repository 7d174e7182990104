"""ONNX operators that select or place data by numbers computed from data: one function each, see `onnx_ops.py`."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from tinynet.converters.onnx_builder import (
    ONNX_DTYPES,
    SHAPE_TYPES,
    Builder,
    Malformed,
    Operator,
    Refuse,
    Value,
    integers,
    normal_axis,
)
from tinynet.converters.onnx_ops_move import slice_at, static_shape

# Elements of a constant that an operator makes without an input of that size, as in onnx_fold.
MOST_ELEMENTS = 1 << 24


def _indices(b: Builder, x: Value, indices: Value, axis: int) -> Value:
    """Known indices are checked now, and counted from the start of the axis."""
    if indices.dtype not in ("int64", "int32"):
        raise Malformed(f"indices of type {indices.dtype}")
    if not indices.known:
        return indices
    found, depth = indices.data, x.shape[axis]
    if found.size and not (-depth <= int(found.min()) and int(found.max()) < depth):
        raise Malformed(f"index {int(found.min())} to {int(found.max())} is outside axis {axis} of "
                        f"shape {list(x.shape)}")
    return b.known(np.where(found < 0, found + depth, found).astype(np.int64), f"{b.stem}_indices")


def gather(b: Builder, x: Value, indices: Value, *, axis: int = 0) -> Value:
    """One known index is a slice, all others are `gather`."""
    axis = normal_axis(axis, x.rank)
    indices = _indices(b, x, indices, axis)
    if not indices.known or indices.rank:
        return b.emit("gather", x, indices, axis=axis)
    piece = slice_at(b, x, axis, int(indices.data), int(indices.data) + 1, "slice")
    return b.reshape(piece, x.shape[:axis] + x.shape[axis + 1:])


def gather_elements(b: Builder, x: Value, indices: Value, *, axis: int = 0) -> Value:
    axis = normal_axis(axis, x.rank)
    return b.emit("gather_elements", x, _indices(b, x, indices, axis), axis=axis)


def gather_nd(b: Builder, x: Value, indices: Value, *, batch_dims: int = 0) -> Value:
    return b.emit("gather_nd", x, indices, batch_dims=batch_dims)


def scatter_elements(b: Builder, x: Value, indices: Value, updates: Value, *, axis: int = 0,
                     reduction: str = "none") -> Value:
    axis = normal_axis(axis, x.rank)
    return b.emit("scatter_elements", x, _indices(b, x, indices, axis), updates, axis=axis, reduction=reduction)


def scatter_nd(b: Builder, x: Value, indices: Value, updates: Value, *, reduction: str = "none") -> Value:
    return b.emit("scatter_nd", x, indices, updates, reduction=reduction)


def one_hot(b: Builder, indices: Value, depth: Value, values: Value, *, axis: int = -1) -> Value:
    given = b.constant_input(depth, "depth")
    if given.size != 1 or not np.isfinite(given).all():
        raise Malformed(f"depth must be one number, found shape {list(given.shape)}")
    return b.emit("one_hot", indices, values, depth=int(given.reshape(())), axis=normal_axis(axis, indices.rank + 1))


def trilu(b: Builder, x: Value, k: Value | None = None, *, upper: int = 1) -> Value:
    given = b.constant_input(k, "k")
    if given is not None and given.size != 1:
        raise Malformed(f"k must be one number, found shape {list(given.shape)}")
    return b.emit("trilu", x, upper=bool(upper), k=0 if given is None else int(given.reshape(())))


def reverse_sequence(b: Builder, x: Value, lengths: Value, *, batch_axis: int = 1, time_axis: int = 0) -> Value:
    return b.emit("reverse_sequence", x, lengths, batch_axis=batch_axis, time_axis=time_axis)


# Constants


def constant_of_shape(b: Builder, shape: Value, *, value: np.ndarray | None = None) -> Value:
    wanted = integers(b.constant_input(shape, "shape"), "shape")
    value = np.zeros(1, np.float32) if value is None else value
    if min(wanted, default=0) < 0 or value.size != 1:
        raise Malformed(f"shape {list(wanted)}, value of shape {list(value.shape)}")
    return _made(b, wanted, lambda: np.full(wanted, value.reshape(())))


def _made(b: Builder, shape: tuple[int, ...], make: Any) -> Value:
    if math.prod(shape) > MOST_ELEMENTS:
        raise Refuse(f"its constant result of {math.prod(shape)} elements is too large")
    return b.known(make(), f"{b.stem}_value")


def range_(b: Builder, start: Value, limit: Value, delta: Value, *, stash_type: int = 1) -> Value:
    """`stash_type` only concerns 16-bit floats."""
    given = [b.constant_input(v, what) for v, what in ((start, "start"), (limit, "limit"), (delta, "delta"))]
    if any(array.size != 1 or array.dtype != given[0].dtype for array in given):
        raise Malformed("start, limit and delta must be scalars of one type")
    first, last, step = (array.reshape(()).item() for array in given)
    if not step or not all(map(math.isfinite, (first, last, step))):
        raise Malformed(f"no range from {first} to {last} in steps of {step}")
    count = max(0, math.ceil((last - first) / step))
    dtype = given[0].dtype
    # Multiples and not repeated sums: as in the specification's formula.
    return _made(b, (count,), lambda: (first + np.arange(count, dtype=np.int64 if dtype.kind in "iu" else np.float64)
                                       * step).astype(dtype))


def eye_like(b: Builder, x: Value, *, dtype: int | None = None, k: int = 0) -> Value:
    if x.rank != 2:
        raise Malformed(f"an input of rank {x.rank}, expected 2")
    if dtype is None:
        kind = x.dtype
    else:
        if dtype not in ONNX_DTYPES:
            raise Malformed(f"dtype = {dtype} is no tensor type")
        kind = ONNX_DTYPES[dtype]
    rows, columns = shape = static_shape(x)
    return _made(b, shape, lambda: np.eye(rows, columns, max(-rows, min(k, columns)), kind))


# Results as long as the data say


def _counted(value: Value, count: Value, axis: int = 0) -> Value:
    return dataclasses.replace(value, count=count.name, count_axis=axis)


def compress(b: Builder, x: Value, condition: Value, *, axis: int | None = None) -> Value:
    if axis is None:
        x, axis = b.reshape(x, (math.prod(x.shape),), "flat"), 0
    axis = normal_axis(axis, x.rank)
    if condition.dtype != "bool" or condition.rank != 1 or condition.shape[0] > x.shape[axis]:
        raise Malformed(f"a {condition.dtype} condition of shape {list(condition.shape)} for axis {axis} of shape "
                        f"{list(x.shape)}")
    if condition.known:
        return b.emit("gather", x, b.known(np.flatnonzero(condition.data), f"{b.stem}_indices"), axis=axis)
    y, count = b.emit_all("compress", x, condition, axis=axis)
    return _counted(y, count, axis)


def non_zero(b: Builder, x: Value) -> Value:
    """A scalar counts as a vector of one, as in onnxruntime."""
    y, count = b.emit_all("non_zero", x if x.rank else b.reshape(x, (1,), "vector"))
    return _counted(y, count, 1)


def unique(b: Builder, x: Value, *, axis: int | None = None, sorted: int = 1) -> list[Value]:  # noqa: A002
    if axis is None:
        x, axis = b.reshape(x, (math.prod(x.shape),), "flat"), 0
    axis = normal_axis(axis, x.rank)
    y, first, inverse, counts, count = b.emit_all("unique", x, axis=axis, ordered=bool(sorted))
    return [_counted(y, count, axis), _counted(first, count), inverse, _counted(counts, count)]


def non_max_suppression(b: Builder, boxes: Value, scores: Value, limit: Value | None = None, iou: Value | None = None,
                        least: Value | None = None, *, center_point_box: int = 0) -> Value:
    """Without max_output_boxes_per_class nothing is chosen; without a score_threshold every box takes part."""
    if boxes.rank != 3 or scores.rank != 3 or center_point_box not in (0, 1):
        raise Malformed(f"boxes of shape {list(boxes.shape)}, scores of shape {list(scores.shape)}, "
                        f"center_point_box {center_point_box}")
    most = scores.shape[2]
    if limit is None or limit.known:
        number = 0 if limit is None else integers(limit.data, "max_output_boxes_per_class")
        number = number[0] if isinstance(number, tuple) and len(number) == 1 else number
        if not isinstance(number, int):
            raise Malformed(f"max_output_boxes_per_class of shape {list(limit.shape)}")
        most = max(0, min(most, number))
    given = [default if value is None else value for value, default in (
        (limit, b.known(np.array(0, np.int64), f"{b.stem}_limit")),
        (iou, b.known(np.array(0, np.float32), f"{b.stem}_iou")),
        (least, b.known(np.array(-np.inf, np.float32), f"{b.stem}_least")))]
    y, count = b.emit_all("non_max_suppression", boxes, scores, *given, centered=bool(center_point_box),
                          most=scores.shape[0] * scores.shape[1] * most)
    return _counted(y, count)


OPERATORS = {
    "Compress": Operator(compress, (9, 11, 28)),
    "ConstantOfShape": Operator(constant_of_shape, (9, 20, *SHAPE_TYPES)),
    "EyeLike": Operator(eye_like, (9, 22)),
    "Gather": Operator(gather, (1, 11, 13)),
    "GatherElements": Operator(gather_elements, (11, 13)),
    "GatherND": Operator(gather_nd, (11, 12, 13)),
    "NonMaxSuppression": Operator(non_max_suppression, (10, 11)),
    "NonZero": Operator(non_zero, (9, 13)),
    "OneHot": Operator(one_hot, (9, 11, 28)),
    "Range": Operator(range_, (11, 27)),
    "ReverseSequence": Operator(reverse_sequence, (10, 28)),
    "Scatter": Operator(scatter_elements, (9,)),
    "ScatterElements": Operator(scatter_elements, (11, 13, 16, 18)),
    "ScatterND": Operator(scatter_nd, (11, 13, 16, 18)),
    "Trilu": Operator(trilu, (14,)),
    "Unique": Operator(unique, (11, 28)),
}
