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
    _same_dtype(x, slope)
    try:
        fits = np.broadcast_shapes(x.shape, slope.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise Malformed(f"slope of shape {list(slope.shape)} does not broadcast to {list(x.shape)}")
    if x.dtype == "float32":
        return b.emit("prelu", x, slope)
    zero = _zero(b, x)
    negative = b.emit("mul", b.emit("minimum", x, zero, part="negative"), slope, part="slope")
    return b.emit("add", b.emit("maximum", x, zero, part="positive"), negative)


def _zero(b: Builder, x: Value) -> Value:
    return b.known(np.zeros((), x.dtype), f"{b.stem}_zero")


def relu(b: Builder, x: Value) -> Value:
    return b.emit("relu", x) if x.dtype == "float32" else b.emit("maximum", x, _zero(b, x))


def leaky_relu(b: Builder, x: Value, *, alpha: float = 0.01) -> Value:
    return b.emit("leaky_relu", x, alpha=alpha)


def elu(b: Builder, x: Value, *, alpha: float = 1.0) -> Value:
    return b.emit("elu", x, alpha=alpha)


def celu(b: Builder, x: Value, *, alpha: float = 1.0) -> Value:
    return b.emit("celu", x, alpha=alpha)


def selu(b: Builder, x: Value, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Value:
    return b.emit("selu", x, alpha=alpha, gamma=gamma)


def thresholded_relu(b: Builder, x: Value, *, alpha: float = 1.0) -> Value:
    return b.emit("thresholded_relu", x, alpha=alpha)


def shrink(b: Builder, x: Value, *, lambd: float = 0.5, bias: float = 0.0) -> Value:
    return b.emit("shrink", x, threshold=lambd, bias=bias)


def hard_sigmoid(b: Builder, x: Value, *, alpha: float = 0.2, beta: float = 0.5) -> Value:
    return b.emit("hard_sigmoid", x, alpha=alpha, beta=beta)


def gelu(b: Builder, x: Value, *, approximate: str = "none") -> Value:
    if approximate not in ("none", "tanh"):
        raise Malformed(f"approximate is {approximate!r}, expected 'none' or 'tanh'")
    return b.emit("gelu" if approximate == "none" else "gelu_tanh", x)


def swish(b: Builder, x: Value, *, alpha: float = 1.0) -> Value:
    if alpha == 1:
        return b.emit("silu", x)
    scaled = b.emit("mul", x, b.known(np.float32(alpha)), part="scale")
    return b.emit("mul", x, b.emit("sigmoid", scaled, part="gate"))


def is_inf(b: Builder, x: Value, *, detect_negative: int = 1, detect_positive: int = 1) -> Value:
    return b.emit("is_inf", x, negative=bool(detect_negative), positive=bool(detect_positive))


def clip(b: Builder, x: Value, low_input: Value | None = None, high_input: Value | None = None, *,
         min: float | None = None, max: float | None = None) -> Value:  # noqa: A002 (the attributes' names)
    """Bounds are attributes before opset 11 and inputs since.  A missing one, or the largest float32 that old
    exporters write for it, is infinite."""
    for value, what in ((low_input, "min"), (high_input, "max")):
        if value is not None:
            _same_dtype(x, value)
            if math.prod(value.shape) != 1:
                raise Malformed(f"{what} must be a scalar, found shape {list(value.shape)}")
    known = all(v is None or v.known for v in (low_input, high_input))
    if x.dtype != "float32" or not known:
        return _clip_by_tensors(b, x, low_input, high_input)
    low = min if low_input is None else float(low_input.data.reshape(-1)[0])
    high = max if high_input is None else float(high_input.data.reshape(-1)[0])
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


def _clip_by_tensors(b: Builder, x: Value, low: Value | None, high: Value | None) -> Value:
    """Bounds of integers, which the attributes of `clip` cannot hold exactly, or bounds computed at run time."""
    if low is not None:
        x = b.emit("maximum", x, _number(b, low, "low"), part="" if high is None else "low")
    return x if high is None else b.emit("minimum", x, _number(b, high, "high"))


def _number(b: Builder, x: Value, part: str) -> Value:
    """A tensor of one element with rank 0, which never adds a dimension."""
    return b.known(x.data.reshape(())) if x.known else b.reshape(x, (), f"{part}_bound")


def along_axis(kind: str) -> Callable[..., Value]:
    """Softmax, LogSoftmax, Hardmax: one axis since opset 13; before, all axes from `axis` on together."""
    def function(b: Builder, x: Value, *, axis: int | None = None) -> Value:
        if b.version >= 13:
            return b.emit(kind, x, axis=normal_axis(-1 if axis is None else axis, x.rank))
        axis = normal_axis(1 if axis is None else axis, x.rank, x.rank)
        if axis == x.rank - 1:
            return b.emit(kind, x, axis=axis)
        flat = b.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])), "flatten")
        return b.reshape(b.emit(kind, flat, axis=1), x.shape, "restore")
    return function


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
            ratio: float = 0.5, seed: int = 0) -> list[Value]:
    """Nothing at inference, where the mask says so: all true since opset 12, all false or 0 before, as in onnxruntime."""
    training = b.constant_input(training_input, "training_mode")
    if training is not None and training.any():
        ratio_data = b.constant_input(ratio_input, "ratio")
        if ratio_data is None or ratio_data.any():
            raise Refuse("training mode; export the model in eval mode")
    if not any(b.outputs_used[1:]):
        return [x]
    return [x, b.known(np.full(x.shape, b.version >= 12, x.dtype if b.version < 10 else bool), f"{b.stem}_mask")]


def identity(b: Builder, x: Value) -> Value:
    return x


OPERATORS = {
    "Abs": Operator(unary("abs"), (6, 13)),
    "Acos": Operator(unary("acos"), (7, 22)),
    "Acosh": Operator(unary("acosh"), (9, 22)),
    "Add": Operator(binary("add"), (7, 13, 14)),
    "ArgMax": Operator(arg_max, (1, 11, 12, 13)),
    "Asin": Operator(unary("asin"), (7, 22)),
    "Asinh": Operator(unary("asinh"), (9, 22)),
    "Atan": Operator(unary("atan"), (7, 22)),
    "Atanh": Operator(unary("atanh"), (9, 22)),
    "BitwiseNot": Operator(unary("bitwise_not"), (18,)),
    "Ceil": Operator(unary("ceil"), (6, 13)),
    "Celu": Operator(celu, (12, 28)),
    "Clip": Operator(clip, (6, 11, 12, 13)),
    "Cos": Operator(unary("cos"), (7, 22)),
    "Cosh": Operator(unary("cosh"), (9, 22)),
    "Div": Operator(div, (7, 13, 14)),
    "Dropout": Operator(dropout, (7, 10, 12, 13, 22)),
    "Elu": Operator(elu, (6, 22)),
    "Erf": Operator(unary("erf"), (9, 13)),
    "Exp": Operator(unary("exp"), (6, 13)),
    "Floor": Operator(unary("floor"), (6, 13)),
    "Gelu": Operator(gelu, (20,)),
    "HardSigmoid": Operator(hard_sigmoid, (6, 22)),
    "HardSwish": Operator(unary("hard_swish"), (14, 22)),
    "Hardmax": Operator(along_axis("hardmax"), (1, 11, 13)),
    "Identity": Operator(identity, (1, 13, 14, 16, 19, *SHAPE_TYPES)),
    "IsInf": Operator(is_inf, (10, 20)),
    "IsNaN": Operator(unary("is_nan"), (9, 13, 20)),
    "LeakyRelu": Operator(leaky_relu, (6, 16)),
    "Log": Operator(unary("log"), (6, 13)),
    "LogSoftmax": Operator(along_axis("log_softmax"), (1, 11, 13)),
    "Max": Operator(chain("maximum"), (6, 8, 12, 13)),
    "Mean": Operator(mean, (6, 8, 13)),
    "Min": Operator(chain("minimum"), (6, 8, 12, 13)),
    "Mish": Operator(unary("mish"), (18, 22)),
    "Mul": Operator(binary("mul"), (7, 13, 14)),
    "Neg": Operator(unary("neg"), (6, 13)),
    "Not": Operator(unary("logical_not"), (1,)),
    "PRelu": Operator(prelu, (7, 9, 16)),
    "Pow": Operator(pow_, (7, 12, 13, 15)),
    "Reciprocal": Operator(unary("reciprocal"), (6, 13)),
    "ReduceMax": Operator(reduction("reduce_max"), (1, 11, 12, 13, 18, 20)),
    "ReduceMean": Operator(reduction("reduce_mean"), (1, 11, 13, 18)),
    "ReduceMin": Operator(reduction("reduce_min"), (1, 11, 12, 13, 18, 20)),
    "ReduceSum": Operator(reduction("reduce_sum"), (1, 11, 13)),
    "Relu": Operator(relu, (6, 13, 14)),
    "Round": Operator(unary("round"), (11, 22)),
    "Selu": Operator(selu, (6, 22)),
    "Shrink": Operator(shrink, (9,)),
    "Sigmoid": Operator(unary("sigmoid"), (6, 13)),
    "Sign": Operator(unary("sign"), (9, 13)),
    "Sin": Operator(unary("sin"), (7, 22)),
    "Sinh": Operator(unary("sinh"), (9, 22)),
    "Softmax": Operator(along_axis("softmax"), (1, 11, 13)),
    "Softplus": Operator(unary("softplus"), (1, 22)),
    "Softsign": Operator(unary("softsign"), (1, 22)),
    "Sqrt": Operator(unary("sqrt"), (6, 13)),
    "Sub": Operator(binary("sub"), (7, 13, 14)),
    "Sum": Operator(chain("add"), (6, 8, 13)),
    "Swish": Operator(swish, (24,)),
    "Tan": Operator(unary("tan"), (7, 22)),
    "Tanh": Operator(unary("tanh"), (6, 13)),
    "ThresholdedRelu": Operator(thresholded_relu, (10, 22)),
}
