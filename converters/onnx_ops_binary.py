"""ONNX functions of two and more tensors, element by element: see `onnx_ops.py` for the calling convention."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinynet.converters.onnx_builder import Builder, Malformed, Operator, Value


def binary(kind: str, swap: bool = False) -> Callable[[Builder, Value, Value], Value]:
    """Operators of two inputs without attributes; `swap`: with their places exchanged."""
    def function(b: Builder, x: Value, y: Value) -> Value:
        need_same_dtype(x, y)
        return b.emit(kind, *((y, x) if swap else (x, y)))
    return function


def need_same_dtype(x: Value, y: Value) -> None:
    if x.dtype != y.dtype:
        raise Malformed(f"operands of different types {x.dtype} and {y.dtype}")


def logic(kind: str) -> Callable[[Builder, Value, Value], Value]:
    """And, Or, Xor: the arithmetic of bits, on truth values."""
    def function(b: Builder, x: Value, y: Value) -> Value:
        for value in (x, y):
            if value.dtype != "bool":
                raise Malformed(f"an operand of type {value.dtype}, expected bool")
        return b.emit(kind, x, y)
    return function


def chain(kind: str) -> Callable[..., Value]:
    """Max, Min, Sum of any number of inputs, from left to right."""
    def function(b: Builder, *inputs: Value) -> Value:
        if any(x is None for x in inputs):
            raise Malformed("an input is left out")
        y = inputs[0]
        for i, x in enumerate(inputs[1:], start=1):
            need_same_dtype(y, x)
            y = b.emit(kind, y, x, part="" if i == len(inputs) - 1 else f"part{i}")
        return y
    return function


def mean(b: Builder, *inputs: Value) -> Value:
    total = chain("add")(b, *inputs)
    return total if len(inputs) == 1 else b.emit("div", total, b.known(np.float32(len(inputs))), part="divide")


def pow_(b: Builder, x: Value, y: Value) -> Value:
    """The exponent may have a type of its own (opset 12).  The kernel takes float32: a constant that can be one becomes it."""
    if x.dtype == "float32" and y.dtype != "float32" and y.known:
        exact = y.data.astype(np.float32)
        if np.array_equal(exact.astype(np.float64), y.data):
            y = b.known(exact)
    return b.emit("pow", x, y)


def mod(b: Builder, x: Value, y: Value, *, fmod: int = 0) -> Value:
    need_same_dtype(x, y)
    if fmod not in (0, 1):
        raise Malformed(f"fmod = {fmod}")
    if x.dtype == "float32" and not fmod and b.version < 28:
        raise Malformed("floating point operands need fmod = 1")
    return b.emit("mod", x, y, fmod=bool(fmod))


def bit_shift(b: Builder, x: Value, y: Value, *, direction: str) -> Value:
    need_same_dtype(x, y)
    if direction not in ("LEFT", "RIGHT"):
        raise Malformed(f"direction {direction!r}, expected LEFT or RIGHT")
    return b.emit("bit_shift", x, y, right=direction == "RIGHT")


def where(b: Builder, condition: Value, x: Value, y: Value) -> Value:
    if condition.dtype != "bool":
        raise Malformed(f"a condition of type {condition.dtype}, expected bool")
    need_same_dtype(x, y)
    return b.emit("where", condition, x, y)


def prelu(b: Builder, x: Value, slope: Value) -> Value:
    need_same_dtype(x, slope)
    try:
        fits = np.broadcast_shapes(x.shape, slope.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise Malformed(f"slope of shape {list(slope.shape)} does not broadcast to {list(x.shape)}")
    if x.dtype == "float32":
        return b.emit("prelu", x, slope)
    negative = b.emit("greater", b.known(np.zeros((), x.dtype)), x, part="negative")
    return b.emit("where", negative, b.emit("mul", x, slope, part="scaled"), x)


OPERATORS = {
    "Add": Operator(binary("add"), (7, 13, 14)),
    "And": Operator(logic("bitwise_and"), (7,)),
    "BitShift": Operator(bit_shift, (11, 28)),
    "BitwiseAnd": Operator(binary("bitwise_and"), (18,)),
    "BitwiseOr": Operator(binary("bitwise_or"), (18,)),
    "BitwiseXor": Operator(binary("bitwise_xor"), (18,)),
    "Div": Operator(binary("div"), (7, 13, 14)),
    "Equal": Operator(binary("equal"), (7, 11, 13, 19)),
    "Greater": Operator(binary("greater"), (7, 9, 13)),
    "GreaterOrEqual": Operator(binary("greater_equal"), (12, 16)),
    "Less": Operator(binary("greater", swap=True), (7, 9, 13)),
    "LessOrEqual": Operator(binary("greater_equal", swap=True), (12, 16)),
    "Max": Operator(chain("maximum"), (6, 8, 12, 13)),
    "Mean": Operator(mean, (6, 8, 13)),
    "Min": Operator(chain("minimum"), (6, 8, 12, 13)),
    "Mod": Operator(mod, (10, 13, 28)),
    "Mul": Operator(binary("mul"), (7, 13, 14)),
    "Or": Operator(logic("bitwise_or"), (7,)),
    "PRelu": Operator(prelu, (7, 9, 16)),
    "Pow": Operator(pow_, (7, 12, 13, 15)),
    "Sub": Operator(binary("sub"), (7, 13, 14)),
    "Sum": Operator(chain("add"), (6, 8, 13)),
    "Where": Operator(where, (9, 16)),
    "Xor": Operator(logic("bitwise_xor"), (7,)),
}
