"""ONNX reductions: one function each, see `onnx_ops.py` for the calling convention."""

from __future__ import annotations

from collections.abc import Callable

from tinynet.converters.onnx_builder import Builder, Operator, Value, integers, normal_axes, normal_axis


def reduction(kind: str) -> Callable[..., Value]:
    """ReduceMean, ReduceSum, ReduceMax, ReduceMin: axes as attribute or, in newer opsets, as input."""
    def function(b: Builder, x: Value, axes_input: Value | None = None, *, axes: list[int] | None = None,
                 keepdims: int = 1, noop_with_empty_axes: int = 0) -> Value:
        given = b.constant_input(axes_input, "axes")
        if given is not None:
            axes = integers(given, "axes")
        if not axes and noop_with_empty_axes:
            return x
        where = sorted(normal_axes(axes or range(x.rank), x.rank))
        if not where:
            return x
        return b.emit(kind, x, axes=where, keepdims=bool(keepdims))
    return function


def arg_max(b: Builder, x: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
    return b.emit("argmax", x, axis=normal_axis(axis, x.rank), keepdims=bool(keepdims),
                  select_last_index=bool(select_last_index))


OPERATORS = {
    "ArgMax": Operator(arg_max, (1, 11, 12, 13)),
    "ReduceMax": Operator(reduction("reduce_max"), (1, 11, 12, 13, 18, 20)),
    "ReduceMean": Operator(reduction("reduce_mean"), (1, 11, 13, 18)),
    "ReduceMin": Operator(reduction("reduce_min"), (1, 11, 12, 13, 18, 20)),
    "ReduceSum": Operator(reduction("reduce_sum"), (1, 11, 13)),
}
