"""ONNX functions of one tensor: one function each, see `onnx_ops.py` for the calling convention."""

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
    normal_axis,
)
from tinynet.converters.onnx_ops_binary import need_same_dtype

FLOAT32_MAX = float(np.finfo(np.float32).max)


def unary(kind: str) -> Callable[[Builder, Value], Value]:
    """Operators of one input without attributes."""
    def function(b: Builder, x: Value) -> Value:
        return b.emit(kind, x)
    return function


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
            need_same_dtype(x, value)
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
    "Mish": Operator(unary("mish"), (18, 22)),
    "Neg": Operator(unary("neg"), (6, 13)),
    "Not": Operator(unary("logical_not"), (1,)),
    "Reciprocal": Operator(unary("reciprocal"), (6, 13)),
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
    "Swish": Operator(swish, (24,)),
    "Tan": Operator(unary("tan"), (7, 22)),
    "Tanh": Operator(unary("tanh"), (6, 13)),
    "ThresholdedRelu": Operator(thresholded_relu, (10, 22)),
}
