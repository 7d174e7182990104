"""Products of 8-bit integers whose scales and zeros may be computed when the network runs: DynamicQuantizeLinear,
MatMulInteger, ConvInteger, and onnxruntime's joined forms of them (com.microsoft)."""

from __future__ import annotations

import numpy as np

from tinynet.converters.onnx_builder import Builder, Malformed, Operator, Refuse, Value
from tinynet.converters.onnx_window import flat_pads, from_image, read_window, to_image, two


def dynamic_quantize_linear(b: Builder, x: Value) -> list[Value]:
    if x.dtype != "float32":
        raise Malformed(f"data of type {x.dtype}, expected float32")
    return b.emit_all("dynamic_quantize", x)


def matmul_integer(b: Builder, x: Value, w: Value, x_zero: Value | None = None, w_zero: Value | None = None) -> Value:
    """numpy.matmul of (x - x_zero) and (w - w_zero) in int32."""
    if x.rank < 1 or w.rank < 1 or x.shape[-1] != w.shape[0 if w.rank == 1 else -2]:
        raise Malformed(f"operands of shapes {list(x.shape)} and {list(w.shape)} do not fit")
    if x.rank < 2 or w.rank < 2:
        raise Refuse(f"operands of rank {x.rank} and {w.rank}; matrices are supported")
    left, x_zero = _unsigned(b, x, x_zero, "x")
    if w.known and w.rank == 2 and (w_zero is None or w_zero.known) and not x.known:
        columns = w.shape[1]
        return _sums(b, "q_dense", left, x_zero, np.ascontiguousarray(w.data.T), _zeros(w_zero, columns, w))
    right, w_zero = _unsigned(b, w, w_zero, "w")
    if x_zero.known and w_zero.known:
        zeros = {"a_zero": int(x_zero.data.reshape(())), "b_zero": int(w_zero.data.reshape(()))}
        return b.emit("q_matmul", left, right, **zeros, dtype="int32")
    return b.emit("q_matmul", left, right, x_zero, w_zero, dtype="int32")


def conv_integer(b: Builder, x: Value, w: Value, x_zero: Value | None = None, w_zero: Value | None = None, *,
                 auto_pad: str = "NOTSET", dilations: list[int] | None = None, group: int = 1,
                 kernel_shape: list[int] | None = None, pads: list[int] | None = None,
                 strides: list[int] | None = None) -> Value:
    """Weights [O, C/g, k1, ...], constant; pixels beyond an edge are x_zero."""
    if x.rank not in (3, 4):
        raise Refuse(f"an input of rank {x.rank}; rank 3 and 4 are supported")
    if not w.known or w_zero is not None and not w_zero.known:
        raise Refuse("weights that are computed at run time")
    if w.rank != x.rank or kernel_shape is not None and tuple(kernel_shape) != w.shape[2:]:
        raise Malformed(f"weights of shape {list(w.shape)} do not fit an input of rank {x.rank}, kernel_shape {kernel_shape}")
    outputs, window = w.shape[0], read_window(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    if group < 1 or outputs % group or w.shape[1] * group != x.shape[1]:
        raise Malformed(f"weights of shape {list(w.shape)}, group {group}, do not fit {x.shape[1]} channels")
    image, x_zero = _unsigned(b, x, x_zero, "x")
    image = to_image(b, image)
    edges = flat_pads(window.begin, window.end)
    if not x_zero.known and any(edges):
        top, left, bottom, right = edges
        image = b.emit("pad", image, b.reshape(x_zero, (), "fill"), part="pad", begin=(0, top, left, 0),
                       end=(0, bottom, right, 0))
        edges = (0, 0, 0, 0)
    attrs = {"strides": two(window.strides, 1), "dilations": two(window.dilations, 1), "pads": edges}
    weights = w.data.reshape(outputs, -1, *two(window.kernel, 1)).transpose(0, 2, 3, 1)
    y = _sums(b, "q_conv2d", image, x_zero, np.ascontiguousarray(weights), _zeros(w_zero, outputs, w), groups=group, **attrs)
    return from_image(b, y, x.rank)


def dynamic_quantize_matmul(b: Builder, x: Value, w: Value, w_scale: Value, w_zero: Value | None = None,
                            bias: Value | None = None) -> Value:
    integers, scale, zero = dynamic_quantize_linear(b, x)
    return matmul_integer_to_float(b, integers, w, scale, w_scale, zero, w_zero, bias)


def matmul_integer_to_float(b: Builder, x: Value, w: Value, x_scale: Value, w_scale: Value, x_zero: Value | None = None,
                            w_zero: Value | None = None, bias: Value | None = None) -> Value:
    """The sums times x_scale * w_scale, plus a bias of float32."""
    scale = (b.known(x_scale.data * w_scale.data) if x_scale.known and w_scale.known
             else b.emit("mul", x_scale, w_scale, part="scale"))
    y = b.emit("cast", matmul_integer(b, x, w, x_zero, w_zero), to="float32", part="real")
    y = b.emit("mul", y, scale, part="scaled")
    return y if bias is None else b.emit("add", y, bias, part="bias")


def _unsigned(b: Builder, x: Value, zero: Value | None, what: str) -> tuple[Value, Value]:
    """(integers, their zero of one element), both uint8: 128 is added to int8 ones."""
    if x.dtype not in ("uint8", "int8"):
        raise Malformed(f"{what} of type {x.dtype}, expected uint8 or int8")
    if zero is None:
        zero = b.known(np.zeros((), x.dtype))
    if zero.dtype != x.dtype:
        raise Malformed(f"{what} of type {x.dtype} and a zero point of type {zero.dtype}")
    if zero.shape not in ((), (1,)):
        raise Refuse(f"a zero point of shape {list(zero.shape)} for {what}; one is supported there")
    return tuple(v if v.dtype == "uint8" else _flip(b, v) for v in (x, zero))


def _flip(b: Builder, x: Value) -> Value:
    if x.known:
        return b.known(x.data.view(np.uint8) ^ np.uint8(128))
    return b.emit("q_table", x, b.known(np.arange(256, dtype=np.uint8) ^ np.uint8(128)), part="unsigned")


def _zeros(zero: Value | None, outputs: int, w: Value) -> np.ndarray:
    """int32, one per output channel."""
    if zero is None:
        return np.zeros(outputs, np.int32)
    if zero.dtype != w.dtype:
        raise Malformed(f"weights of type {w.dtype} and a zero point of type {zero.dtype}")
    values = zero.data.astype(np.int32).reshape(-1)
    if zero.rank > 1 or len(values) not in (1, outputs):
        raise Refuse(f"zero points of shape {list(zero.shape)} for weights with {outputs} output channels")
    return np.broadcast_to(values, (outputs,))


def _sums(b: Builder, kind: str, x: Value, x_zero: Value, w: np.ndarray, w_zero: np.ndarray, **attrs: object) -> Value:
    """int32 sums of (x - x_zero) (w - w_zero); the output channels are the first axis of w."""
    if w.dtype not in (np.uint8, np.int8):
        raise Malformed(f"weights of type {w.dtype}, expected uint8 or int8")
    if w.dtype == np.uint8:
        w, w_zero = (w ^ np.uint8(128)).view(np.int8), w_zero - np.int32(128)
    outputs = w.shape[0]
    sums = w.sum(tuple(range(1, w.ndim)), dtype=np.int64) - w_zero.astype(np.int64) * (w.size // max(outputs, 1))
    offset = x_zero.data.astype(np.int64).reshape(()) * sums if x_zero.known else np.zeros(outputs)
    inputs = [b.known(w, f"{b.stem}_w"), b.known(-offset.astype(np.int32), f"{b.stem}_b"),
              b.known(np.ones(outputs, np.float32), f"{b.stem}_one")]
    if w_zero.any():
        inputs.append(b.known(np.ascontiguousarray(w_zero, np.int32), f"{b.stem}_w_zero"))
    y = b.emit(kind, x, *inputs, x_zero=int(x_zero.data.reshape(())) if x_zero.known else 0, dtype="int32", **attrs)
    return y if x_zero.known else b.emit("q_correct", y, x_zero, b.known(sums.astype(np.int32), f"{b.stem}_sums"), part="zero")


OPERATORS = {
    "ConvInteger": Operator(conv_integer, (10,)),
    "DynamicQuantizeLinear": Operator(dynamic_quantize_linear, (11,)),
    "MatMulInteger": Operator(matmul_integer, (10,)),
    "com.microsoft.DynamicQuantizeMatMul": Operator(dynamic_quantize_matmul, (0,)),
    "com.microsoft.MatMulIntegerToFloat": Operator(matmul_integer_to_float, (0,)),
}
