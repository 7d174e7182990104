"""8-bit operators: QuantizeLinear, DequantizeLinear, and those that compute on integers, each spelled as DequantizeLinear,
the float32 operator, QuantizeLinear.  The pass `integers` makes integer layers of both spellings.

The operators of com.microsoft are onnxruntime's (its ContribOperators.md says what they mean).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynet.converters import onnx_ops_binary as binary
from tinynet.converters import onnx_ops_convolution as convolution
from tinynet.converters import onnx_ops_math as math
from tinynet.converters import onnx_ops_matrix as matrix
from tinynet.converters import onnx_ops_move as move
from tinynet.converters import onnx_ops_pool as pool
from tinynet.converters import onnx_ops_reduce as reduce
from tinynet.converters.integer_constants import with_steps
from tinynet.converters.onnx_builder import ONNX_DTYPES, Builder, Malformed, Operator, Refuse, Value, normal_axis
from tinynet.ops import ShapeError, Spec, make

QUANTIZED = ("uint8", "int8")
FLOATS = ("float32", "float16", "bfloat16", "float64")


def quantize_linear(b: Builder, x: Value, scale: Value, zero: Value | None = None, *, axis: int = 1, saturate: int = 1,
                    block_size: int = 0, output_dtype: int = 0, precision: int = 0) -> Value:
    """`saturate` only concerns 8-bit floats, and `precision` the division, which is one of float32 here."""
    dtype = ONNX_DTYPES.get(output_dtype) if output_dtype else "uint8" if zero is None else zero.dtype
    if zero is not None and zero.dtype != dtype:
        raise Malformed(f"output_dtype {dtype} and a zero point of type {zero.dtype}")
    _check(x, scale, zero, dtype, block_size)
    if x.dtype != "float32":
        if x.dtype != "int32":
            raise Refuse(f"{x.dtype} data to quantise; float32 and int32 are supported")
        x = b.known(x.data.astype(np.float32)) if x.known else b.emit("cast", x, to="float32", part="cast")
    attrs = _steps(x, scale, zero, axis)
    if attrs is None:
        return _quantize_computed(b, x, scale, zero, dtype, axis)
    if not x.known:
        return b.emit("quantize", x, dtype=dtype, **attrs)
    op = make("quantize", {"dtype": dtype, **attrs})
    try:
        op.infer(Spec(x.shape, x.dtype))
    except ShapeError as error:
        raise Refuse(str(error)) from None
    return b.known(op.reference(x.data)[0])


def dequantize_linear(b: Builder, x: Value, scale: Value, zero: Value | None = None, *, axis: int = 1, block_size: int = 0,
                      output_dtype: int = 0) -> Value:
    """A constant becomes one of float32 that knows its integers."""
    if output_dtype and ONNX_DTYPES.get(output_dtype) not in FLOATS:
        raise Malformed(f"output_dtype {output_dtype} is no float type")
    if zero is not None and zero.dtype != x.dtype:
        raise Malformed(f"integers of type {x.dtype} and a zero point of type {zero.dtype}")
    _check(x, scale, zero, x.dtype, block_size, (*QUANTIZED, "int32"))
    if x.known and scale.known and (zero is None or zero.known):
        zeros = np.zeros((), np.int32) if zero is None else zero.data
        data, integers = with_steps(x.data, *(_along(a, x, axis) for a in (scale.data, zeros)))
        return Value(b.reserve(f"{b.stem}_real"), data.shape, "float32", data, integers=integers)
    attrs = _steps(x, scale, zero, axis)
    if attrs is not None and (x.dtype != "int32" or not any(attrs["zero"])):
        return b.emit("dequantize", x, **attrs)
    real = b.emit("cast", x, to="int32", part="wide")
    if zero is not None:
        wide = b.emit("cast", _broadcast(b, zero, x, axis, "zero"), to="int32", part="wide_zero")
        real = b.emit("sub", real, wide, part="zero")
    return b.emit("mul", b.emit("cast", real, to="float32", part="real"), _broadcast(b, scale, x, axis, "scale"))


def _check(x: Value, scale: Value, zero: Value | None, dtype: str | None, block_size: int,
           allowed: tuple[str, ...] = QUANTIZED) -> None:
    """What both directions share: the types, and how many scales there are."""
    if dtype not in allowed:
        raise Refuse(f"{dtype} integers; {', '.join(allowed)} are supported")
    if block_size or scale.rank > 1:
        raise Refuse("blocked quantisation; one scale, or one for each entry of an axis, is supported")
    if scale.dtype != "float32":
        raise Refuse(f"a scale of type {scale.dtype}; float32 is supported")
    if zero is not None and zero.shape != scale.shape and max(np.prod(zero.shape), np.prod(scale.shape)) > 1:
        raise Malformed(f"a scale of shape {list(scale.shape)} and a zero point of shape {list(zero.shape)}")


def _one(value: Value) -> bool:
    return int(np.prod(value.shape)) == 1


def _axis(value: Value, x: Value, axis: int) -> int:
    """The axis that has one scale per entry."""
    axis = normal_axis(axis, x.rank)
    if x.shape[axis] != value.shape[0]:
        raise Malformed(f"{value.shape[0]} scales for axis {axis} of a tensor of shape {list(x.shape)}")
    return axis


def _steps(x: Value, scale: Value, zero: Value | None, axis: int) -> dict[str, Any] | None:
    """Attributes of the kinds `quantize` and `dequantize`; None where they are computed at run time."""
    if not scale.known or zero is not None and not zero.known:
        return None
    scales = scale.data.astype(np.float32).reshape(-1)
    zeros = np.zeros(scales.shape, np.int32) if zero is None else zero.data.astype(np.int32).reshape(-1)
    return {"scale": tuple(scales.tolist()), "zero": tuple(zeros.tolist()),
            "axis": 0 if _one(scale) else _axis(scale, x, axis)}


def _along(array: np.ndarray, x: Value, axis: int) -> np.ndarray:
    """Scales or zeros, shaped to broadcast with x."""
    if array.size == 1:
        return array.reshape((1,) * x.rank)
    axis = _axis(Value("", array.shape, ""), x, axis)
    return array.reshape(tuple(-1 if a == axis else 1 for a in range(x.rank)))


def _broadcast(b: Builder, value: Value, x: Value, axis: int, part: str) -> Value:
    """As `_along`, for what may be computed."""
    if value.known:
        return b.known(_along(value.data, x, axis))
    if _one(value):
        return b.reshape(value, (), part)
    axis = _axis(value, x, axis)
    return b.reshape(value, tuple(d if a == axis else 1 for a, d in enumerate(x.shape)), part)


def _quantize_computed(b: Builder, x: Value, scale: Value, zero: Value | None, dtype: str, axis: int) -> Value:
    """With a scale or zero that is computed at run time: saturate(round(x / scale) + zero), spelled out."""
    info = np.iinfo(dtype)
    y = b.emit("round", b.emit("div", x, _broadcast(b, scale, x, axis, "scale"), part="steps"), part="round")
    if zero is not None:
        y = b.emit("add", y, b.emit("cast", _broadcast(b, zero, x, axis, "zero"), to="float32", part="zero_float"), part="zero")
    return b.emit("cast", b.emit("clip", y, alpha=float(info.min), beta=float(info.max), part="saturate"), to=dtype)


# The operators on integers.  Every scale is followed by its zero point.


def _back(b: Builder, y: Value, scale: Value, zero: Value | None, like: Value) -> Value:
    """The result as integers; without a zero point of the type that the input has."""
    if zero is None:
        zero = b.known(np.zeros(scale.shape, like.dtype))
    return quantize_linear(b, y, scale, zero)


def qlinear_conv(b: Builder, x: Value, x_scale: Value, x_zero: Value, w: Value, w_scale: Value, w_zero: Value, y_scale: Value,
                 y_zero: Value, bias: Value | None = None, *, auto_pad: str = "NOTSET", dilations: list[int] | None = None,
                 group: int = 1, kernel_shape: list[int] | None = None, pads: list[int] | None = None,
                 strides: list[int] | None = None) -> Value:
    real = dequantize_linear(b, x, x_scale, x_zero)
    weights = dequantize_linear(b, w, w_scale, w_zero, axis=0)
    y = convolution.conv(b, real, weights, _bias(b, bias, x_scale, w_scale), auto_pad=auto_pad, dilations=dilations,
                         group=group, kernel_shape=kernel_shape, pads=pads, strides=strides)
    return quantize_linear(b, y, y_scale, y_zero)


def _bias(b: Builder, bias: Value | None, x_scale: Value, w_scale: Value) -> Value | None:
    """int32, in steps of x_scale * w_scale."""
    if bias is None:
        return None
    return dequantize_linear(b, bias, _product(b, x_scale, w_scale), axis=0)


def _product(b: Builder, one: Value, other: Value) -> Value:
    if one.known and other.known:
        return b.known(one.data.astype(np.float32).reshape(-1) * other.data.astype(np.float32).reshape(-1))
    return b.emit("mul", one, other, part="scale")


def qlinear_matmul(b: Builder, x: Value, x_scale: Value, x_zero: Value, y: Value, y_scale: Value, y_zero: Value,
                   out_scale: Value, out_zero: Value) -> Value:
    """Scales per row of x, per column of y."""
    if x.rank < 2 and not _one(x_scale) or y.rank < 2 and not _one(y_scale) or not _one(out_scale):
        raise Refuse("a scale for each row of a result or of a vector; one scale is supported there")
    left = dequantize_linear(b, x, x_scale, x_zero, axis=-2 if x.rank > 1 else 0)
    right = dequantize_linear(b, y, y_scale, y_zero, axis=-1)
    return quantize_linear(b, matrix.matmul(b, left, right), out_scale, out_zero)


def qgemm(b: Builder, x: Value, x_scale: Value, x_zero: Value, w: Value, w_scale: Value, w_zero: Value,
          bias: Value | None = None, y_scale: Value | None = None, y_zero: Value | None = None, *, alpha: float = 1.0,
          transA: int = 0, transB: int = 0) -> Value:
    """alpha multiplies the bias too; without y_scale the result is float32."""
    scale = w_scale if alpha == 1 else _product(b, w_scale, b.known(np.float32(alpha)))
    weights = dequantize_linear(b, w, scale, w_zero, axis=0 if transB else 1)
    y = matrix.gemm(b, dequantize_linear(b, x, x_scale, x_zero), weights, _bias(b, bias, x_scale, scale), transA=transA,
                    transB=transB)
    return y if y_scale is None else _back(b, y, y_scale, y_zero, x)


def qlinear_add(b: Builder, x: Value, x_scale: Value, x_zero: Value | None, y: Value, y_scale: Value, y_zero: Value | None,
                out_scale: Value, out_zero: Value | None = None) -> Value:
    total = b.emit("add", dequantize_linear(b, x, x_scale, x_zero), dequantize_linear(b, y, y_scale, y_zero))
    return _back(b, total, out_scale, out_zero, x)


def qlinear_mul(b: Builder, x: Value, x_scale: Value, x_zero: Value | None, y: Value, y_scale: Value, y_zero: Value | None,
                out_scale: Value, out_zero: Value | None = None) -> Value:
    product = b.emit("mul", dequantize_linear(b, x, x_scale, x_zero), dequantize_linear(b, y, y_scale, y_zero))
    return _back(b, product, out_scale, out_zero, x)


def qlinear_where(b: Builder, condition: Value, x: Value, x_scale: Value, x_zero: Value, y: Value, y_scale: Value,
                  y_zero: Value, out_scale: Value, out_zero: Value) -> Value:
    chosen = binary.where(b, condition, dequantize_linear(b, x, x_scale, x_zero), dequantize_linear(b, y, y_scale, y_zero))
    return _back(b, chosen, out_scale, out_zero, x)


def qlinear_concat(b: Builder, out_scale: Value, out_zero: Value, *inputs: Value | None, axis: int) -> Value:
    """Each input with its scale and zero point."""
    if not inputs or len(inputs) % 3:
        raise Malformed(f"{len(inputs)} inputs after the output's scale, expected three for each tensor")
    parts = [dequantize_linear(b, *inputs[i:i + 3]) for i in range(0, len(inputs), 3)]
    return _back(b, move.concat(b, *parts, axis=axis), out_scale, out_zero, inputs[0])


def qlinear_average_pool(b: Builder, x: Value, x_scale: Value, x_zero: Value | None, y_scale: Value,
                         y_zero: Value | None = None, *, kernel_shape: list[int], auto_pad: str = "NOTSET",
                         ceil_mode: int = 0, channels_last: int = 0, count_include_pad: int = 0,
                         pads: list[int] | None = None, strides: list[int] | None = None) -> Value:
    real = _channels_second(b, dequantize_linear(b, x, x_scale, x_zero), channels_last)
    y = pool.average_pool(b, real, kernel_shape=kernel_shape, auto_pad=auto_pad, ceil_mode=ceil_mode,
                          count_include_pad=count_include_pad, pads=pads, strides=strides)
    return _back(b, _channels_back(b, y, channels_last), y_scale, y_zero, x)


def qlinear_global_average_pool(b: Builder, x: Value, x_scale: Value, x_zero: Value | None, y_scale: Value,
                                y_zero: Value | None = None, *, channels_last: int = 0) -> Value:
    real = _channels_second(b, dequantize_linear(b, x, x_scale, x_zero), channels_last)
    return _back(b, _channels_back(b, pool.global_average_pool(b, real), channels_last), y_scale, y_zero, x)


def _channels_second(b: Builder, x: Value, channels_last: int) -> Value:
    return b.transpose(x, (0, x.rank - 1, *range(1, x.rank - 1)), "nchw") if channels_last else x


def _channels_back(b: Builder, y: Value, channels_last: int) -> Value:
    return b.transpose(y, (0, *range(2, y.rank), 1), "nhwc") if channels_last else y


def qlinear_reduce_mean(b: Builder, x: Value, x_scale: Value, x_zero: Value | None, y_scale: Value, y_zero: Value | None = None,
                        *, axes: list[int], keepdims: int = 1) -> Value:
    y = reduce.reduction("reduce_mean")(b, dequantize_linear(b, x, x_scale, x_zero), axes=axes, keepdims=keepdims)
    return _back(b, y, y_scale, y_zero, x)


def qlinear_sigmoid(b: Builder, x: Value, x_scale: Value, x_zero: Value | None, y_scale: Value,
                    y_zero: Value | None = None) -> Value:
    return _back(b, b.emit("sigmoid", dequantize_linear(b, x, x_scale, x_zero)), y_scale, y_zero, x)


def qlinear_leaky_relu(b: Builder, x: Value, x_scale: Value, x_zero: Value | None, y_scale: Value,
                       y_zero: Value | None = None, *, alpha: float = 0.01) -> Value:
    return _back(b, math.leaky_relu(b, dequantize_linear(b, x, x_scale, x_zero), alpha=alpha), y_scale, y_zero, x)


def qlinear_softmax(b: Builder, x: Value, x_scale: Value, x_zero: Value | None, y_scale: Value, y_zero: Value, *,
                    axis: int | None = None, opset: int = 13) -> Value:
    """`opset` says whose Softmax it is."""
    b.version = opset
    return _back(b, math.along_axis("softmax")(b, dequantize_linear(b, x, x_scale, x_zero), axis=axis), y_scale, y_zero, x)


_CONTRIBUTED = {
    "QGemm": qgemm,
    "QLinearAdd": qlinear_add,
    "QLinearAveragePool": qlinear_average_pool,
    "QLinearConcat": qlinear_concat,
    "QLinearGlobalAveragePool": qlinear_global_average_pool,
    "QLinearLeakyRelu": qlinear_leaky_relu,
    "QLinearMul": qlinear_mul,
    "QLinearReduceMean": qlinear_reduce_mean,
    "QLinearSigmoid": qlinear_sigmoid,
    "QLinearSoftmax": qlinear_softmax,
    "QLinearWhere": qlinear_where,
}

OPERATORS = {
    "DequantizeLinear": Operator(dequantize_linear, (10, 13, 19, 21, 23, 24, 25, 28)),
    "QLinearConv": Operator(qlinear_conv, (10,)),
    "QLinearMatMul": Operator(qlinear_matmul, (10, 21)),
    "QuantizeLinear": Operator(quantize_linear, (10, 13, 19, 21, 23, 24, 25, 28)),
    # com.microsoft also holds QuantizeLinear and DequantizeLinear, from before ONNX had all of their types.
    "com.microsoft.DequantizeLinear": Operator(dequantize_linear, (0,)),
    "com.microsoft.QuantizeLinear": Operator(quantize_linear, (0,)),
    **{f"com.microsoft.{name}": Operator(function, (0,)) for name, function in _CONTRIBUTED.items()},
}
