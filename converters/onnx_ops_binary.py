"""ONNX functions of two and more tensors, element by element: see `onnx_ops.py` for the calling convention."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinynet.converters.onnx_builder import Builder, Malformed, Operator, Refuse, Value


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


OPERATORS = {
    "Add": Operator(binary("add"), (7, 13, 14)),
    "Div": Operator(div, (7, 13, 14)),
    "Max": Operator(chain("maximum"), (6, 8, 12, 13)),
    "Mean": Operator(mean, (6, 8, 13)),
    "Min": Operator(chain("minimum"), (6, 8, 12, 13)),
    "Mul": Operator(binary("mul"), (7, 13, 14)),
    "PRelu": Operator(prelu, (7, 9, 16)),
    "Pow": Operator(pow_, (7, 12, 13, 15)),
    "Sub": Operator(binary("sub"), (7, 13, 14)),
    "Sum": Operator(chain("add"), (6, 8, 13)),
}
