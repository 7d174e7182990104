"""ONNX operators with weights, and the normalisations: one function each, see `onnx_ops.py`."""

from __future__ import annotations

import numpy as np

from tinynet.converters.onnx_builder import Builder, Malformed, Operator, Refuse, Value
from tinynet.converters.onnx_window import (
    Window,
    channels_last,
    flat_pads,
    from_image,
    read_window,
    split_pads,
    to_image,
    two,
)


def _weights(b: Builder, x: Value, w: Value, bias: Value | None, group: int, kernel_shape: list[int] | None,
             outputs: int) -> Value:
    """Checks that Conv and ConvTranspose share; returns the bias, zeros where the node has none."""
    b.constant_input(w, "weight")
    b.constant_input(bias, "bias")
    if x.rank < 3:
        raise Malformed(f"input of rank {x.rank}, expected at least 3")
    if w.rank != x.rank:
        raise Malformed(f"weight {w.name!r} has rank {w.rank}, the input has rank {x.rank}")
    if x.rank > 4:
        raise Refuse(f"3-D {b.op_type} (input of shape {list(x.shape)}); 1-D and 2-D are supported")
    if kernel_shape is not None and tuple(kernel_shape) != w.shape[2:]:
        raise Malformed(f"kernel_shape {list(kernel_shape)} does not match weight {w.name!r} of shape {list(w.shape)}")
    if group < 1 or outputs % group or x.shape[1] % group:
        raise Malformed(f"group {group} does not divide {x.shape[1]} input and {outputs} output channels")
    if bias is None:
        return b.known(np.zeros(outputs, np.float32), f"{b.stem}_bias")
    if bias.shape != (outputs,):
        raise Malformed(f"bias {bias.name!r} has shape {list(bias.shape)}, expected [{outputs}]")
    return bias


def conv(b: Builder, x: Value, w: Value, bias: Value | None = None, *, auto_pad: str = "NOTSET",
         dilations: list[int] | None = None, group: int = 1, kernel_shape: list[int] | None = None,
         pads: list[int] | None = None, strides: list[int] | None = None) -> Value:
    """Weights [O, C/g, kh, kw]; 1-D runs as a picture of height 1."""
    outputs = w.shape[0] if w.rank else 0
    bias = _weights(b, x, w, bias, group, kernel_shape, outputs)
    channels = x.shape[1]
    if w.shape[1] * group != channels:
        raise Malformed(f"weight {w.name!r} of shape {list(w.shape)}, group {group}, does not fit {channels} channels")
    window = read_window(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    kh, kw = two(window.kernel, 1)
    attrs = {"strides": two(window.strides, 1), "dilations": two(window.dilations, 1),
             "pads": flat_pads(window.begin, window.end)}
    image = to_image(b, x)
    if group > 1 and group == channels == outputs:
        weights = b.derived(w, "hwc", lambda a: np.ascontiguousarray(a.reshape(channels, kh, kw).transpose(1, 2, 0)))
        y = b.emit("depthwise_conv2d", image, weights, bias, **attrs)
    else:
        weights = b.derived(w, "ohwi", lambda a: np.ascontiguousarray(
            a.reshape(outputs, -1, kh, kw).transpose(0, 2, 3, 1)))
        y = b.emit("conv2d", image, weights, bias, groups=group, **attrs)
    return from_image(b, y, x.rank)


def conv_transpose(b: Builder, x: Value, w: Value, bias: Value | None = None, *, auto_pad: str = "NOTSET",
                   dilations: list[int] | None = None, group: int = 1, kernel_shape: list[int] | None = None,
                   output_padding: list[int] | None = None, output_shape: list[int] | None = None,
                   pads: list[int] | None = None, strides: list[int] | None = None) -> Value:
    """Weights [C, O/g, kh, kw]."""
    outputs = w.shape[1] * group if w.rank > 1 else 0
    bias = _weights(b, x, w, bias, group, kernel_shape, outputs)
    channels, n = x.shape[1], x.rank - 2
    if w.shape[0] != channels:
        raise Malformed(f"weight {w.name!r} of shape {list(w.shape)} does not fit {channels} channels")
    extra = tuple(output_padding or (0,) * n)
    if len(extra) != n or min(extra) < 0:
        raise Malformed(f"output_padding must hold {n} numbers >= 0, found {list(extra)}")
    window = read_window(x.shape[2:], w.shape[2:], strides, dilations, None, "NOTSET")
    begin, end, extra = _transpose_pads(x.shape[2:], window, extra, pads, auto_pad, output_shape)
    kh, kw = two(window.kernel, 1)
    weights = b.derived(w, f"hwoi{group}", lambda a: np.ascontiguousarray(
        a.reshape(group, channels // group, outputs // group, kh, kw).transpose(3, 4, 0, 2, 1)
        .reshape(kh, kw, outputs, channels // group)))
    y = b.emit("conv_transpose2d", to_image(b, x), weights, bias, strides=two(window.strides, 1),
               dilations=two(window.dilations, 1), pads=flat_pads(begin, end),
               output_padding=two(extra, 0), groups=group)
    return from_image(b, y, x.rank)


def _transpose_pads(spatial: tuple[int, ...], window: Window, extra: tuple[int, ...], pads: list[int] | None,
                    auto_pad: str, output_shape: list[int] | None) -> tuple[tuple[int, ...], ...]:
    """(begin, end, output_padding) of a ConvTranspose.  With a wanted output size the surplus is cut: the larger
    half at the end for SAME_UPPER, at the beginning otherwise (ConvTranspose-11, the formula under `pads`)."""
    n = len(spatial)
    if output_shape is None:
        if auto_pad in ("NOTSET", ""):
            return *split_pads(pads, n), extra
        if auto_pad == "VALID":
            return (0,) * n, (0,) * n, extra
        if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
            raise Malformed(f"auto_pad {auto_pad!r} is none of NOTSET, SAME_UPPER, SAME_LOWER, VALID")
        output_shape = [size * s for size, s in zip(spatial, window.strides, strict=True)]
    output_shape = output_shape[2:] if len(output_shape) == n + 2 else output_shape
    if len(output_shape) != n:
        raise Malformed(f"output_shape must hold {n} numbers, found {list(output_shape)}")
    begin, end, more = [], [], []
    for size, s, span, pad, wanted in zip(spatial, window.strides, window.span, extra, output_shape, strict=True):
        total = (size - 1) * s + pad + span - wanted
        small = max(total, 0) // 2
        begin.append(small if auto_pad == "SAME_UPPER" else max(total, 0) - small)
        end.append(max(total, 0) - begin[-1])
        more.append(pad + max(-total, 0))
    return tuple(begin), tuple(end), tuple(more)


def gemm(b: Builder, a: Value, w: Value, c: Value | None = None, *, alpha: float = 1.0, beta: float = 1.0,
         transA: int = 0, transB: int = 0) -> Value:
    """alpha A' B' + beta C.  A constant B becomes `dense`, with C as its bias where C is one number per column."""
    if a.rank != 2 or w.rank != 2:
        raise Malformed(f"A and B must be matrices, found shapes {list(a.shape)} and {list(w.shape)}")
    if transA:
        a = b.transpose(a, (1, 0), "transpose_a")
    columns = w.shape[0] if transB else w.shape[1]
    if a.shape[1] != (w.shape[1] if transB else w.shape[0]):
        raise Malformed(f"A of shape {list(a.shape)} does not fit B of shape {list(w.shape)}, transB {transB}")
    if w.known:
        bias, c = _row_bias(c, columns, beta)
        y = b.emit("dense", a, _dense_weights(b, w, bool(transB), alpha), b.known(bias, f"{b.stem}_bias"))
    else:
        if transB:
            w = b.transpose(w, (1, 0), "transpose_b")
        y = b.emit("matmul", a, w)
        if alpha != 1:
            y = b.emit("mul", y, b.known(np.float32(alpha)), part="alpha")
    if c is None or beta == 0:
        return y
    if beta != 1:
        c = b.known(np.float32(beta) * c.data) if c.known else b.emit("mul", c, b.known(np.float32(beta)), part="beta")
    out = b.emit("add", y, c, part="add")
    if out.shape != y.shape:
        raise Malformed(f"C of shape {list(c.shape)} does not broadcast to {list(y.shape)}")
    return out


def _row_bias(c: Value | None, columns: int, beta: float) -> tuple[np.ndarray, Value | None]:
    """(bias of a dense layer, what is left to add)."""
    if c is not None and c.known and c.dtype == "float32" and c.shape in ((), (1,), (1, 1), (columns,), (1, columns)):
        return np.broadcast_to(np.float32(beta) * c.data.reshape(-1), (columns,)).astype(np.float32), None
    return np.zeros(columns, np.float32), c


def _dense_weights(b: Builder, w: Value, transposed: bool, alpha: float = 1.0) -> Value:
    """[N, K] from B [K, N], or [N, K] if `transposed`."""
    if w.dtype != "float32":
        raise Refuse(f"{w.dtype} weights (tensor {w.name!r}); float32 is supported")
    if transposed and alpha == 1:
        return w
    tag = "kn" if transposed else "nk"
    return b.derived(w, tag if alpha == 1 else f"{tag}{alpha}", lambda a: np.ascontiguousarray(
        (a if transposed else a.T) * np.float32(alpha)))


def matmul(b: Builder, x: Value, y: Value) -> Value:
    """numpy.matmul; a constant matrix on the right becomes `dense`."""
    if not x.rank or not y.rank:
        raise Malformed(f"operands of shapes {list(x.shape)} and {list(y.shape)}, expected at least one axis each")
    if x.shape[-1] != y.shape[0 if y.rank == 1 else -2]:
        raise Malformed(f"operands of shapes {list(x.shape)} and {list(y.shape)} do not fit")
    left, right = x, y
    if x.rank == 1:
        left = b.reshape(x, (1, *x.shape), "row") if not x.known else b.known(x.data[None])
    if y.rank == 1:
        right = b.reshape(y, (*y.shape, 1), "column") if not y.known else b.known(y.data[:, None])
    if right.known and right.rank == 2:
        bias = b.known(np.zeros(right.shape[1], np.float32), f"{b.stem}_bias")
        out = b.emit("dense", left, _dense_weights(b, right, False), bias)
    else:
        out = b.emit("matmul", left, right)
    shape = list(out.shape)
    if y.rank == 1:
        del shape[-1]
    if x.rank == 1:
        del shape[-1 if y.rank == 1 else -2]
    return b.reshape(out, tuple(shape), "squeeze")


def batch_normalization(b: Builder, x: Value, scale: Value, shift: Value, mean: Value, var: Value, *,
                        epsilon: float = 1e-5, momentum: float = 0.9, spatial: int = 1,
                        training_mode: int = 0) -> Value:
    """Inference form: (x - mean) / sqrt(var + epsilon) * scale + shift, per channel of axis 1."""
    if training_mode or any(b.outputs_used[1:]):
        raise Refuse("training form (training_mode or the mean/var outputs are used); export the model in eval mode")
    if not spatial:
        raise Refuse("spatial = 0")
    if x.rank < 2:
        raise Malformed(f"input of rank {x.rank}, expected at least 2")
    arrays = []
    for what, value in (("scale", scale), ("bias", shift), ("mean", mean), ("variance", var)):
        array = b.constant_input(value, what)
        if array.shape != (x.shape[1],):
            raise Malformed(f"{what} has shape {list(array.shape)}, expected [{x.shape[1]}]")
        arrays.append(array.astype(np.float64))
    gain = arrays[0] / np.sqrt(arrays[3] + epsilon)
    offset = arrays[1] - arrays[2] * gain
    there, back = channels_last(x.rank)
    y = b.emit("batch_norm", b.transpose(x, there, "to_nhwc"), b.known(gain.astype(np.float32), f"{b.stem}_scale"),
               b.known(offset.astype(np.float32), f"{b.stem}_shift"))
    return b.transpose(y, back, "to_nchw")


def lrn(b: Builder, x: Value, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Value:
    """Local response normalisation across the channels of axis 1."""
    if x.rank < 2:
        raise Malformed(f"input of rank {x.rank}, expected at least 2")
    there, back = channels_last(x.rank)
    y = b.emit("lrn", b.transpose(x, there, "to_nhwc"), size=size, alpha=alpha, beta=beta, bias=bias)
    return b.transpose(y, back, "to_nchw")


OPERATORS = {
    "BatchNormalization": Operator(batch_normalization, (7, 9, 14, 15)),
    "Conv": Operator(conv, (1, 11, 22)),
    "ConvTranspose": Operator(conv_transpose, (1, 11, 22)),
    "Gemm": Operator(gemm, (7, 9, 11, 13)),
    "LRN": Operator(lrn, (1, 13)),
    "MatMul": Operator(matmul, (1, 9, 13)),
}
