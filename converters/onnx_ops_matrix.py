"""ONNX matrix products: one function each, see `onnx_ops.py` for the calling convention."""

from __future__ import annotations

import numpy as np

from tinynet.converters.onnx_builder import Builder, Malformed, Operator, Refuse, Value


def gemm(b: Builder, a: Value, w: Value, c: Value | None = None, *, alpha: float = 1.0, beta: float = 1.0,
         transA: int = 0, transB: int = 0) -> Value:
    """alpha A' B' + beta C.  A constant B becomes `dense`, with C as its bias where C is one number per column."""
    if a.rank != 2 or w.rank != 2:
        raise Malformed(f"A and B must be matrices, found shapes {list(a.shape)} and {list(w.shape)}")
    if a.dtype != "float32" and (alpha, beta) != (1, 1) and not (alpha == 1 and (c is None or beta == 0)):
        raise Refuse(f"alpha {alpha:g} or beta {beta:g} for {a.dtype}")
    if transA:
        a = b.transpose(a, (1, 0), "transpose_a")
    columns = w.shape[0] if transB else w.shape[1]
    if a.shape[1] != (w.shape[1] if transB else w.shape[0]):
        raise Malformed(f"A of shape {list(a.shape)} does not fit B of shape {list(w.shape)}, transB {transB}")
    if w.known and w.dtype == "float32":
        bias, c = _row_bias(b, c, columns, beta)
        y = b.emit("dense", a, _dense_weights(b, w, bool(transB), alpha), bias)
    else:
        if transB:
            w = b.transpose(w, (1, 0), "transpose_b")
        y = b.emit("matmul", a, w, alpha=float(alpha))
    if c is None or beta == 0:
        return y
    if beta != 1:
        c = b.known(np.float32(beta) * c.data) if c.known else b.emit("mul", c, b.known(np.float32(beta)), part="beta")
    out = b.emit("add", y, c, part="add")
    if out.shape != y.shape:
        raise Malformed(f"C of shape {list(c.shape)} does not broadcast to {list(y.shape)}")
    return out


def _row_bias(b: Builder, c: Value | None, columns: int, beta: float) -> tuple[Value, Value | None]:
    """(bias of a dense layer, what is left to add)."""
    if c is not None and c.known and c.dtype == "float32" and c.shape in ((), (1,), (1, 1), (columns,), (1, columns)):
        if beta == 1:
            return b.derived(c, f"row{columns}", lambda a: np.broadcast_to(a.reshape(-1), (columns,)).copy()), None
        return b.known(np.broadcast_to(np.float32(beta) * c.data.reshape(-1), (columns,)).astype(np.float32),
                       f"{b.stem}_bias"), None
    return b.known(np.zeros(columns, np.float32), f"{b.stem}_bias"), c


def _dense_weights(b: Builder, w: Value, transposed: bool, alpha: float = 1.0) -> Value:
    """[N, K] from B [K, N], or [N, K] if `transposed`."""
    if transposed and alpha == 1:
        return w
    if alpha == 1:
        return b.derived(w, "nk", np.transpose)
    return b.derived(w, f"{'kn' if transposed else 'nk'}{alpha}", lambda a: np.ascontiguousarray(
        (a if transposed else a.T) * np.float32(alpha)), moves=False)


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
    if right.known and right.rank == 2 and right.dtype == x.dtype == "float32":
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


OPERATORS = {
    "Gemm": Operator(gemm, (7, 9, 11, 13)),
    "MatMul": Operator(matmul, (1, 9, 13)),
}
