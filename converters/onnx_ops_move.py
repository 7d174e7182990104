"""ONNX operators that only move data or say something about shapes: one function each, see `onnx_ops.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynet.converters.onnx_builder import (
    ONNX_DTYPES,
    RUNTIME_DTYPES,
    SHAPE_TYPES,
    Builder,
    Malformed,
    Operator,
    Refuse,
    Value,
    integers,
    normal_axes,
    normal_axis,
)


def constant(b: Builder, *, value: Any = None, value_float: float | None = None, value_floats: Sequence | None = None,
             value_int: int | None = None, value_ints: Sequence | None = None, value_string: Any = None,
             value_strings: Any = None, sparse_value: Any = None) -> Value:
    if value is not None:
        array = value
    elif value_float is not None or value_floats is not None:
        array = np.array(value_float if value_floats is None else value_floats, np.float32)
    elif value_int is not None or value_ints is not None:
        array = np.array(value_int if value_ints is None else value_ints, np.int64)
    else:
        raise Refuse("a string or sparse constant" if value_string is not None or value_strings is not None
                     or sparse_value is not None else "it has no value")
    return b.known(array, f"{b.stem}_value")


def static_shape(x: Value) -> tuple[int, ...]:
    """For operators that make constants of shapes."""
    if x.count is not None:
        raise Refuse(f"how large its input {x.name!r} is depends on the data")
    return x.shape


def shape(b: Builder, x: Value, *, start: int = 0, end: int | None = None) -> Value:
    """Shapes are static, so this is always a constant."""
    return b.known(np.array(static_shape(x)[start:end], np.int64), f"{b.stem}_value")


def size(b: Builder, x: Value) -> Value:
    return b.known(np.array(math.prod(static_shape(x)), np.int64), f"{b.stem}_value")


def cast(b: Builder, x: Value, *, to: int, saturate: int = 1, round_mode: str = "up") -> Value:
    """`saturate` and `round_mode` only concern 8-bit floats."""
    if to not in ONNX_DTYPES:
        raise Malformed(f"to = {to} is no tensor type")
    return _cast(b, x, ONNX_DTYPES[to])


def cast_like(b: Builder, x: Value, like: Value, *, saturate: int = 1, round_mode: str = "up") -> Value:
    return _cast(b, x, like.dtype)


def _cast(b: Builder, x: Value, dtype: str) -> Value:
    if dtype == x.dtype:
        return x
    if dtype not in RUNTIME_DTYPES:
        raise Refuse(f"cast to {dtype} at run time; export the model as float32")
    return b.emit("cast", x, to=dtype)


def transpose(b: Builder, x: Value, *, perm: Sequence[int] | None = None) -> Value:
    perm = tuple(range(x.rank))[::-1] if perm is None else tuple(perm)
    if sorted(perm) != list(range(x.rank)):
        raise Malformed(f"perm {list(perm)} does not order the axes of a tensor of rank {x.rank}")
    return b.transpose(x, perm)


def concat(b: Builder, *inputs: Value, axis: int) -> Value:
    if any(x is None for x in inputs):
        raise Malformed("an input is left out")
    axis = normal_axis(axis, inputs[0].rank)
    return inputs[0] if len(inputs) == 1 else b.emit("concat", *inputs, axis=axis)


def reshape(b: Builder, x: Value, target: Value, *, allowzero: int = 0) -> Value:
    """0 copies the input's dimension unless allowzero, one -1 takes what is left."""
    wanted = list(integers(b.constant_input(target, "shape"), "shape"))
    if not allowzero:
        if any(d == 0 and i >= x.rank for i, d in enumerate(wanted)):
            raise Malformed(f"shape {wanted} copies a dimension that the input of shape {list(x.shape)} lacks")
        wanted = [x.shape[i] if d == 0 else d for i, d in enumerate(wanted)]
    total = math.prod(x.shape)
    rest = math.prod(d for d in wanted if d != -1)
    if wanted.count(-1) == 1 and rest > 0 and total % rest == 0:
        wanted[wanted.index(-1)] = total // rest
    if any(d < 0 for d in wanted) or math.prod(wanted) != total:
        raise Malformed(f"{list(x.shape)} ({total} elements) cannot take the shape {wanted}")
    return b.reshape(x, tuple(wanted))


def flatten(b: Builder, x: Value, *, axis: int = 1) -> Value:
    axis = normal_axis(axis, x.rank, x.rank)
    return b.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def squeeze(b: Builder, x: Value, axes_input: Value | None = None, *, axes: Sequence[int] | None = None) -> Value:
    given = b.constant_input(axes_input, "axes")
    if given is not None:
        axes = integers(given, "axes")
    if axes is None:
        axes = [i for i, d in enumerate(static_shape(x)) if d == 1]
    gone = normal_axes(axes, x.rank)
    if any(x.shape[axis] != 1 for axis in gone):
        raise Malformed(f"axes {list(axes)} of shape {list(x.shape)} are not all 1")
    return b.reshape(x, tuple(d for i, d in enumerate(x.shape) if i not in gone))


def unsqueeze(b: Builder, x: Value, axes_input: Value | None = None, *, axes: Sequence[int] | None = None) -> Value:
    given = b.constant_input(axes_input, "axes")
    axes = axes if given is None else integers(given, "axes")
    if axes is None:
        raise Malformed("axes are missing")
    rank = x.rank + len(axes)
    new = normal_axes(axes, rank)
    rest = iter(x.shape)
    return b.reshape(x, tuple(1 if i in new else next(rest) for i in range(rank)))


def expand(b: Builder, x: Value, target: Value) -> Value:
    wanted = integers(b.constant_input(target, "shape"), "shape")
    try:
        out = np.broadcast_shapes(static_shape(x), wanted)
    except ValueError:
        raise Malformed(f"{list(x.shape)} does not broadcast with {list(wanted)}") from None
    return x if out == x.shape else b.emit("expand", x, shape=out)


def tile(b: Builder, x: Value, repeats: Value) -> Value:
    """As expand over axes of 1, one before each axis that is repeated."""
    counts = integers(b.constant_input(repeats, "repeats"), "repeats")
    if len(counts) != x.rank or min(counts, default=0) < 0:
        raise Malformed(f"repeats {list(counts)} for an input of rank {x.rank}")
    if any(n != 1 and d != 1 for n, d in zip(counts, x.shape, strict=True)):
        pairs = [(n, d) for n, d in zip(counts, x.shape, strict=True)]
        apart = [e for n, d in pairs for e in ((d,) if n == 1 else (1, d))]
        wide = [e for n, d in pairs for e in ((d,) if n == 1 else (n, d))]
        x = b.emit("expand", b.reshape(x, tuple(apart), "apart"), shape=wide, part="repeat")
        return b.reshape(x, tuple(n * d for n, d in pairs))
    shape = tuple(n * d for n, d in zip(counts, x.shape, strict=True))
    return x if shape == x.shape else b.emit("expand", x, shape=shape)


def _slice(b: Builder, x: Value, begin: Sequence[int], end: Sequence[int], step: Sequence[int],
           part: str = "") -> Value:
    counts = [len(range(*bounds)) for bounds in zip(begin, end, step, strict=True)]
    # An empty range may begin anywhere; the kind wants it to be inside.
    begin, end, step = zip(*(bounds if n else (0, 0, 1) for n, bounds in zip(
        counts, zip(begin, end, step, strict=True), strict=True)), strict=True) if counts else ((), (), ())
    if all(n == d and s > 0 for n, d, s in zip(counts, x.shape, step, strict=True)):
        return x
    return b.emit("slice", x, begin=begin, end=end, step=step, part=part)


def slice_at(b: Builder, x: Value, axis: int, first: int, last: int, part: str) -> Value:
    """Elements first .. last - 1 of one axis."""
    begin, end = [0] * x.rank, list(x.shape)
    begin[axis], end[axis] = first, last
    return _slice(b, x, begin, end, [1] * x.rank, part)


def slice_(b: Builder, x: Value, starts_input: Value | None = None, ends_input: Value | None = None,
           axes_input: Value | None = None, steps_input: Value | None = None, *, starts: Sequence[int] | None = None,
           ends: Sequence[int] | None = None, axes: Sequence[int] | None = None) -> Value:
    """Python's clamping per axis; attributes before opset 10, inputs since."""
    lists = []
    for what, value, given in (("starts", starts_input, starts), ("ends", ends_input, ends),
                               ("axes", axes_input, axes), ("steps", steps_input, None)):
        array = b.constant_input(value, what)
        lists.append(given if array is None else integers(array, what))
    starts, ends, axes, steps = lists
    if starts is None or ends is None:
        raise Malformed("starts or ends are missing")
    where = normal_axes(range(len(starts)) if axes is None else axes, x.rank)
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(where) == len(steps) or 0 in steps:
        raise Malformed(f"starts {list(starts)}, ends {list(ends)}, axes {list(where)}, steps {list(steps)} do not fit")
    begin, end, step = [0] * x.rank, list(x.shape), [1] * x.rank
    for axis, first, last, stride in zip(where, starts, ends, steps, strict=True):
        begin[axis], end[axis], step[axis] = slice(first, last, stride).indices(x.shape[axis])
    return _slice(b, x, begin, end, step)


def split(b: Builder, x: Value, sizes_input: Value | None = None, *, axis: int = 0,
          split: Sequence[int] | None = None, num_outputs: int | None = None) -> list[Value | None]:
    """One slice per output that is used.  Without sizes all parts are equal, since opset 18 the last may be smaller."""
    axis = normal_axis(axis, x.rank)
    depth, count = x.shape[axis], len(b.outputs_used)
    given = b.constant_input(sizes_input, "split")
    sizes = split if given is None else integers(given, "split")
    if sizes is None:
        if num_outputs not in (None, count) or (b.version < 18 and depth % count):
            raise Malformed(f"axis {axis} of shape {list(x.shape)} cannot be split into {count} outputs")
        part = -(-depth // count)
        sizes = [min(part, max(depth - i * part, 0)) for i in range(count)]
    if len(sizes) != count or sum(sizes) != depth or min(sizes) < 0:
        raise Malformed(f"sizes {list(sizes)} do not add up to axis {axis} of shape {list(x.shape)} in {count} outputs")
    outputs: list[Value | None] = []
    position = 0
    for i, extent in enumerate(sizes):
        outputs.append(slice_at(b, x, axis, position, position + extent, f"part{i}") if b.outputs_used[i] else None)
        position += extent
    return outputs


def pad(b: Builder, x: Value, pads_input: Value | None = None, value_input: Value | None = None,
        axes_input: Value | None = None, *, mode: str = "constant", pads: Sequence[int] | None = None,
        value: float = 0.0) -> Value:
    """Negative pads cut, before others are added."""
    if mode not in ("constant", "reflect", "edge") and (mode != "wrap" or b.version < 19):
        raise Malformed(f"mode {mode!r}")
    given = b.constant_input(pads_input, "pads")
    pads = pads if given is None else integers(given, "pads")
    axes = b.constant_input(axes_input, "axes")
    where = normal_axes(range(x.rank) if axes is None else integers(axes, "axes"), x.rank)
    if pads is None or len(pads) != 2 * len(where):
        raise Malformed(f"pads {None if pads is None else list(pads)} for {len(where)} axes")
    begin, end = [0] * x.rank, [0] * x.rank
    for i, axis in enumerate(where):
        begin[axis], end[axis] = pads[i], pads[i + len(where)]
    if min(begin + end, default=0) < 0:
        x, begin, end = _cut(b, x, begin, end)
    if not any(begin + end):
        return x
    if mode == "reflect" and any(max(lo, hi) >= d for lo, hi, d in zip(begin, end, x.shape, strict=True) if lo or hi):
        raise Refuse(f"reflect pads {begin} and {end} reach beyond the input of shape {list(x.shape)}")
    if mode != "constant":
        return b.emit("pad", x, begin=begin, end=end, mode=mode)
    fill = _fill(b, x, value_input)
    if isinstance(fill, Value):
        return b.emit("pad", x, fill, begin=begin, end=end)
    return b.emit("pad", x, begin=begin, end=end, value=value if fill is None else fill)


def _cut(b: Builder, x: Value, begin: list[int], end: list[int]) -> tuple[Value, list[int], list[int]]:
    first = [max(-lo, 0) for lo in begin]
    last = [d - max(-hi, 0) for hi, d in zip(end, x.shape, strict=True)]
    if any(lo > hi for lo, hi in zip(first, last, strict=True)):
        raise Malformed(f"pads {begin} and {end} cut more than there is from shape {list(x.shape)}")
    cut = _slice(b, x, first, last, [1] * x.rank, "cut")
    return cut, [max(lo, 0) for lo in begin], [max(hi, 0) for hi in end]


def _fill(b: Builder, x: Value, value: Value | None) -> Value | float | None:
    """What constant mode fills with: a number, or a scalar where that is not exact or computed at run time."""
    if value is None or 0 in value.shape:
        return None
    if math.prod(value.shape) != 1 or value.dtype != x.dtype:
        raise Malformed(f"constant_value must be a {x.dtype} scalar, found {value.dtype} of shape {list(value.shape)}")
    if not value.known:
        return b.reshape(value, (), "fill")
    number = value.data.reshape(()).item()
    return float(number) if not isinstance(number, int) or int(float(number)) == number else \
        b.known(value.data.reshape(()), f"{b.stem}_fill")


OPERATORS = {
    "Cast": Operator(cast, (6, 9, 13, 19, *SHAPE_TYPES)),
    "CastLike": Operator(cast_like, (15, 19, *SHAPE_TYPES)),
    "Concat": Operator(concat, (4, 11, 13)),
    "Constant": Operator(constant, (1, 9, 11, 12, 13, 19, *SHAPE_TYPES)),
    "Expand": Operator(expand, (8, 13)),
    "Flatten": Operator(flatten, (1, 9, 11, 13, *SHAPE_TYPES)),
    "Pad": Operator(pad, (2, 11, 13, 18, 19, *SHAPE_TYPES)),
    "Reshape": Operator(reshape, (5, 13, 14, 19, *SHAPE_TYPES)),
    "Shape": Operator(shape, (1, 13, 15, 19, *SHAPE_TYPES)),
    "Size": Operator(size, (1, 13, 19, *SHAPE_TYPES)),
    "Slice": Operator(slice_, (1, 10, 11, 13)),
    "Split": Operator(split, (2, 11, 13, 18)),
    "Squeeze": Operator(squeeze, (1, 11, 13, *SHAPE_TYPES)),
    "Tile": Operator(tile, (6, 13)),
    "Transpose": Operator(transpose, (1, 13, *SHAPE_TYPES)),
    "Unsqueeze": Operator(unsqueeze, (1, 11, 13, *SHAPE_TYPES)),
}
