"""ONNX arithmetic, activations and reductions: one function each, see `onnx_ops.py` for the calling convention."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinynet.converters.onnx_builder import (
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

FLOAT32_MAX = float(np.finfo(np.float32).max)


def unary(kind: str) -> Callable[[Builder, Value], Value]:
    """Operators of one input without attributes."""
    def function(b: Builder, x: Value) -> Value:
        return b.emit(kind, x)
    return function


def binary(kind: str) -> Callable[[Builder, Value, Value], Value]:
    """Add, Sub, Mul: numpy broadcasting."""
    def function(b: Builder, x: Value, y: Value) -> Value:
        _same_dtype(x, y)
        return b.emit(kind, x, y)
    return function


def _same_dtype(x: Value, y: Value) -> None:
    if x.dtype != y.dtype:
        raise Malformed(f"operands of different types {x.dtype} and {y.dtype}")


def chain(kind: str) -> Callable[..., Value]:
    """Max, Min, Sum of any number of inputs, from left to right."""
    def function(b: Builder, *inputs: Value) -> Value:
        if any(x is None for x in inputs):
            raise Malformed("an input is left out")
        y = inputs[0]
        for i, x in enumerate(inputs[1:], start=1):
            _same_dtype(y, x)
            y = b.emit(kind, y, x, part="" if i == len(inputs) - 1 else f"part{i}")
        return y
    return function


def mean(b: Builder, *inputs: Value) -> Value:
    total = chain("add")(b, *inputs)
    return total if len(inputs) == 1 else b.emit("div", total, b.known(np.float32(len(inputs))), part="divide")


def div(b: Builder, x: Value, y: Value) -> Value:
    """Integer division truncates in ONNX; the IR's is only for float32."""
    _same_dtype(x, y)
    if x.dtype != "float32":
        raise Refuse(f"{x.dtype} division at run time")
    return b.emit("div", x, y)


def pow_(b: Builder, x: Value, y: Value) -> Value:
    """The exponent may have a type of its own (opset 12)."""
    if x.dtype != "float32":
        raise Refuse(f"{x.dtype} base at run time")
    if y.dtype != "float32":
        y = b.known(y.data.astype(np.float32)) if y.known else b.emit("cast", y, to="float32", part="cast")
    return b.emit("pow", x, y)


def prelu(b: Builder, x: Value, slope: Value) -> Value:
    try:
        fits = np.broadcast_shapes(x.shape, slope.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise Malformed(f"slope of shape {list(slope.shape)} does not broadcast to {list(x.shape)}")
    return b.emit("prelu", x, slope)


def leaky_relu(b: Builder, x: Value, *, alpha: float = 0.01) -> Value:
    return b.emit("leaky_relu", x, alpha=alpha)


def elu(b: Builder, x: Value, *, alpha: float = 1.0) -> Value:
    return b.emit("elu", x, alpha=alpha)


def hard_sigmoid(b: Builder, x: Value, *, alpha: float = 0.2, beta: float = 0.5) -> Value:
    return b.emit("hard_sigmoid", x, alpha=alpha, beta=beta)


def gelu(b: Builder, x: Value, *, approximate: str = "none") -> Value:
    if approximate != "none":
        raise Refuse(f"approximate = {approximate}")
    return b.emit("gelu", x)


def clip(b: Builder, x: Value, low_input: Value | None = None, high_input: Value | None = None, *,
         min: float | None = None, max: float | None = None) -> Value:  # noqa: A002 (the attributes' names)
    """Bounds are attributes before opset 11 and inputs since.  A missing one, or the largest float32 that old
    exporters write for it, is infinite."""
    low = b.constant_input(low_input, "min")
    high = b.constant_input(high_input, "max")
    low = min if low is None else _scalar(low, "min")
    high = max if high is None else _scalar(high, "max")
    low = -math.inf if low is None or low <= -FLOAT32_MAX else low
    high = math.inf if high is None or high >= FLOAT32_MAX else high
    if math.isnan(low) or math.isnan(high):
        raise Refuse("a bound is NaN")
    if low == -math.inf and high == math.inf:
        return x
    if low == 0 and high == math.inf:
        return b.emit("relu", x)
    # Clip with min > max gives max everywhere.
    return b.emit("clip", x, alpha=low if low <= high else high, beta=high)


def _scalar(array: np.ndarray, what: str) -> float:
    if array.size != 1:
        raise Malformed(f"{what} must be a scalar, found shape {list(array.shape)}")
    return float(array.reshape(-1)[0])


def softmax(b: Builder, x: Value, *, axis: int | None = None) -> Value:
    """One axis since opset 13; before, all axes from `axis` on together."""
    if b.version >= 13:
        return b.emit("softmax", x, axis=normal_axis(-1 if axis is None else axis, x.rank))
    axis = normal_axis(1 if axis is None else axis, x.rank, x.rank)
    if axis == x.rank - 1:
        return b.emit("softmax", x, axis=axis)
    flat = b.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])), "flatten")
    return b.reshape(b.emit("softmax", flat, axis=1), x.shape, "restore")


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


def dropout(b: Builder, x: Value, ratio_input: Value | None = None, training_input: Value | None = None, *,
            ratio: float = 0.5, seed: int = 0) -> Value:
    """Nothing at inference."""
    if any(b.outputs_used[1:]):
        raise Refuse("its mask output is used")
    training = b.constant_input(training_input, "training_mode")
    if training is not None and training.any():
        raise Refuse("training mode; export the model in eval mode")
    return x


def identity(b: Builder, x: Value) -> Value:
    return x


OPERATORS = {
    "Abs": Operator(unary("abs"), (6, 13)),
    "Add": Operator(binary("add"), (7, 13, 14)),
    "ArgMax": Operator(arg_max, (1, 11, 12, 13)),
    "Ceil": Operator(unary("ceil"), (6, 13)),
    "Clip": Operator(clip, (6, 11, 12, 13)),
    "Div": Operator(div, (7, 13, 14)),
    "Dropout": Operator(dropout, (7, 10, 12, 13, 22)),
    "Elu": Operator(elu, (6, 22)),
    "Erf": Operator(unary("erf"), (9, 13)),
    "Exp": Operator(unary("exp"), (6, 13)),
    "Floor": Operator(unary("floor"), (6, 13)),
    "Gelu": Operator(gelu, (20,)),
    "HardSigmoid": Operator(hard_sigmoid, (6, 22)),
    "HardSwish": Operator(unary("hard_swish"), (14, 22)),
    "Identity": Operator(identity, (1, 13, 14, 16, 19, *SHAPE_TYPES)),
    "LeakyRelu": Operator(leaky_relu, (6, 16)),
    "Log": Operator(unary("log"), (6, 13)),
    "Max": Operator(chain("maximum"), (6, 8, 12, 13)),
    "Mean": Operator(mean, (6, 8, 13)),
    "Min": Operator(chain("minimum"), (6, 8, 12, 13)),
    "Mul": Operator(binary("mul"), (7, 13, 14)),
    "Neg": Operator(unary("neg"), (6, 13)),
    "PRelu": Operator(prelu, (7, 9, 16)),
    "Pow": Operator(pow_, (7, 12, 13, 15)),
    "Reciprocal": Operator(unary("reciprocal"), (6, 13)),
    "ReduceMax": Operator(reduction("reduce_max"), (1, 11, 12, 13, 18, 20)),
    "ReduceMean": Operator(reduction("reduce_mean"), (1, 11, 13, 18)),
    "ReduceMin": Operator(reduction("reduce_min"), (1, 11, 12, 13, 18, 20)),
    "ReduceSum": Operator(reduction("reduce_sum"), (1, 11, 13)),
    "Relu": Operator(unary("relu"), (6, 13, 14)),
    "Round": Operator(unary("round"), (11, 22)),
    "Sigmoid": Operator(unary("sigmoid"), (6, 13)),
    "Softmax": Operator(softmax, (1, 11, 13)),
    "Softplus": Operator(unary("softplus"), (1, 22)),
    "Sqrt": Operator(unary("sqrt"), (6, 13)),
    "Sub": Operator(binary("sub"), (7, 13, 14)),
    "Sum": Operator(chain("add"), (6, 8, 13)),
    "Tanh": Operator(unary("tanh"), (6, 13)),
}
