"""ONNX matrix products and normalisations: one function each, see `onnx_ops.py`."""

from __future__ import annotations

import numpy as np

from tinynet.converters.onnx_builder import Builder, Malformed, Operator, Refuse, Value
from tinynet.converters.onnx_window import channels_last


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
    "Gemm": Operator(gemm, (7, 9, 11, 13)),
    "LRN": Operator(lrn, (1, 13)),
    "MatMul": Operator(matmul, (1, 9, 13)),
}
