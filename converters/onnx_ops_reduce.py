"""ONNX reductions, running sums and the like: see `onnx_ops.py` for the calling convention."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinynet.converters.onnx_builder import (
    Builder,
    Malformed,
    Operator,
    Value,
    integers,
    normal_axes,
    normal_axis,
)


def reduction(kind: str) -> Callable[..., Value]:
    """Reduce*: axes as attribute or, in newer opsets, as input.  None means all, or with noop_with_empty_axes none: then each
    element is a set of its own."""
    def function(b: Builder, x: Value, axes_input: Value | None = None, *, axes: list[int] | None = None,
                 keepdims: int = 1, noop_with_empty_axes: int = 0) -> Value:
        given = b.constant_input(axes_input, "axes")
        if given is not None:
            axes = integers(given, "axes")
        where = sorted(normal_axes(axes or (() if noop_with_empty_axes else range(x.rank)), x.rank))
        if where:
            return b.emit(kind, x, axes=where, keepdims=bool(keepdims))
        if kind in ("reduce_mean", "reduce_sum", "reduce_prod", "reduce_max", "reduce_min"):
            return x
        return b.emit(kind, b.reshape(x, (*x.shape, 1), "sets"), axes=(x.rank,), keepdims=False)
    return function


def reduce_log_sum(b: Builder, x: Value, axes_input: Value | None = None, **attributes: int) -> Value:
    return b.emit("log", reduction("reduce_sum")(b, x, axes_input, **attributes))


def arg(kind: str) -> Callable[..., Value]:
    """ArgMax, ArgMin."""
    def function(b: Builder, x: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
        return b.emit(kind, x, axis=normal_axis(axis, x.rank), keepdims=bool(keepdims),
                      select_last_index=bool(select_last_index))
    return function


def cumulate(kind: str) -> Callable[..., Value]:
    """CumSum, CumProd."""
    def function(b: Builder, x: Value, axis_input: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
        axis = _one(b.constant_input(axis_input, "axis"), "axis")
        return b.emit(kind, x, axis=normal_axis(axis, x.rank), exclusive=bool(exclusive), reverse=bool(reverse))
    return function


def top_k(b: Builder, x: Value, k_input: Value | None = None, *, axis: int = -1, k: int | None = None,
          largest: int = 1, sorted: int = 1) -> list[Value]:  # noqa: A002 (the attribute's name)
    """k is an attribute before opset 10 and an input since.  Sorted always: without, any order will do."""
    k = k if k_input is None else _one(b.constant_input(k_input, "K"), "K")
    if x.rank == 0:
        raise Malformed("its input is a scalar")
    axis = normal_axis(axis, x.rank)
    if k is None or not 0 <= k <= x.shape[axis]:
        raise Malformed(f"K = {k} of {x.shape[axis]} elements along axis {axis}")
    return b.emit_all("topk", x, axis=axis, k=k, largest=bool(largest))


def _one(array: np.ndarray, what: str) -> int:
    found = integers(array, what)
    if len(found) != 1:
        raise Malformed(f"{what} must be one number, found {len(found)}")
    return found[0]


def lp_normalization(b: Builder, x: Value, *, axis: int = -1, p: int = 2) -> Value:
    """x / |x|; 0 where the norm is 0, as x / inf is."""
    if p not in (1, 2):
        raise Malformed(f"p = {p}, expected 1 or 2")
    norm = b.emit(f"reduce_l{p}", x, axes=(normal_axis(axis, x.rank),), part="norm")
    zero = b.emit("equal", norm, b.known(np.float32(0)), part="zero")
    return b.emit("div", x, b.emit("where", zero, b.known(np.float32(math.inf)), norm, part="divisor"))


def mean_variance_normalization(b: Builder, x: Value, *, axes: list[int] | tuple[int, ...] = (0, 2, 3)) -> Value:
    """(x - mean) / (standard deviation + 1e-9), the variance from the differences: that of ONNX's formula cancels."""
    where = sorted(normal_axes(axes, x.rank))
    if not where:
        raise Malformed("no axes")
    difference = b.emit("sub", x, b.emit("reduce_mean", x, axes=where, part="mean"), part="difference")
    squares = b.emit("mul", difference, difference, part="squares")
    deviation = b.emit("sqrt", b.emit("reduce_mean", squares, axes=where, part="variance"), part="deviation")
    return b.emit("div", difference, b.emit("add", deviation, b.known(np.float32(1e-9)), part="divisor"))


_SINCE_18 = (1, 11, 13, 18)

OPERATORS = {
    "ArgMax": Operator(arg("argmax"), (1, 11, 12, 13)),
    "ArgMin": Operator(arg("argmin"), (1, 11, 12, 13)),
    "CumProd": Operator(cumulate("cumprod"), (26,)),
    "CumSum": Operator(cumulate("cumsum"), (11, 14)),
    "LpNormalization": Operator(lp_normalization, (1, 22)),
    "MeanVarianceNormalization": Operator(mean_variance_normalization, (9, 13)),
    "ReduceL1": Operator(reduction("reduce_l1"), _SINCE_18),
    "ReduceL2": Operator(reduction("reduce_l2"), _SINCE_18),
    "ReduceLogSum": Operator(reduce_log_sum, (*_SINCE_18, 28)),
    "ReduceLogSumExp": Operator(reduction("reduce_log_sum_exp"), (*_SINCE_18, 28)),
    "ReduceMax": Operator(reduction("reduce_max"), (1, 11, 12, 13, 18, 20)),
    "ReduceMean": Operator(reduction("reduce_mean"), _SINCE_18),
    "ReduceMin": Operator(reduction("reduce_min"), (1, 11, 12, 13, 18, 20)),
    "ReduceProd": Operator(reduction("reduce_prod"), _SINCE_18),
    "ReduceSum": Operator(reduction("reduce_sum"), (1, 11, 13)),
    "ReduceSumSquare": Operator(reduction("reduce_sum_square"), _SINCE_18),
    "TopK": Operator(top_k, (1, 10, 11, 24)),
}
