"""Product of two tensors of 8-bit integers that are both computed at run time."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from tinynet import kernels, layouts
from tinynet.kernels import engine
from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import broadcast, count, need, need_name, quiet, refuse
from tinynet.ops.matmul import matrix_starts, permuted
from tinynet.ops.quantize import need_zero, to_integers
from tinynet.ops.requantized import RESULTS

# Of products of two differences of uint8 that an int32 holds whatever they are: (2^31 - 1) // 255^2.
MOST_PRODUCTS = 33_025
COPIED_ROWS = 96            # of a, at a time


@register
class QMatmul(Op):
    """a uint8 [..., M, K], b uint8 [..., K, N] -> [..., M, N], the leading axes broadcast: acc = sum of
    (a - a_zero) (b - b_zero) in int32; then with `dtype`

    uint8     y = clamp(round(acc multiplier) + y_zero) to [low, high] (to_integers)
    float32   y = acc multiplier
    int32     y = acc

    `multiplier` is a float32: for uint8 a_scale * b_scale / y_scale in that order (ONNX QLinearMatMul).  Two further inputs,
    uint8 of one element each, are the zeros where these are computed at run time (ONNX MatMulInteger).  `perm_a`, `perm_b`,
    `perm_y` as in matmul.
    """

    kind: ClassVar[str] = "q_matmul"
    perm_a: tuple[int, ...] = ()
    perm_b: tuple[int, ...] = ()
    perm_y: tuple[int, ...] = ()
    a_zero: int = 0
    b_zero: int = 0
    multiplier: float = 1.0
    y_zero: int = 0
    low: int = 0
    high: int = 255
    dtype: str = "uint8"

    def infer(self, *inputs: Spec) -> list[Spec]:
        need(len(inputs) in (2, 4), "2 or 4 inputs", len(inputs))
        for name, spec in zip(("a", "b", "a_zero", "b_zero"), inputs, strict=False):
            if spec.dtype != "uint8":
                refuse(f"{name} of dtype uint8", spec.dtype)
        for name, spec in zip("ab", inputs, strict=False):
            need(len(spec.shape) >= 2, f"{name} of rank 2 or more", spec.shape)
        for name, spec in zip(("a_zero", "b_zero"), inputs[2:], strict=False):
            need(spec.shape in ((), (1,)), f"{name} of one element", spec.shape)
        for name in ("a_zero", "b_zero", "y_zero"):
            need_zero(name, getattr(self, name))
        need(len(inputs) == 2 or not (self.a_zero or self.b_zero), "zeros 0 beside those that are inputs",
             (self.a_zero, self.b_zero))
        need(math.isfinite(self.multiplier) and self.multiplier >= 0 and float(np.float32(self.multiplier)) == self.multiplier,
             "a multiplier that is a float32 and not negative", self.multiplier)
        need(0 <= self.low <= self.high <= 255, "0 <= low <= high <= 255", (self.low, self.high))
        need_name("dtype", self.dtype, ("uint8", "float32", "int32"))
        a, b = permuted(inputs[0].shape, self.perm_a, "perm_a"), permuted(inputs[1].shape, self.perm_b, "perm_b")
        need(b[-2] == a[-1], f"b of shape [..., {a[-1]}, N]", b)
        need(a[-1] <= MOST_PRODUCTS, f"at most {MOST_PRODUCTS} products per sum (int32 holds no more)", a[-1])
        return [Spec(permuted((*broadcast(a[:-2], b[:-2]), a[-2], b[-1]), self.perm_y, "perm_y"), self.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        zeros = [int(z.reshape(())) for z in arrays[2:]] or [self.a_zero, self.b_zero]
        # float64 holds these sums exactly, and has a fast product
        a, b = (x.transpose(perm or range(x.ndim)).astype(np.float64) - zero
                for x, perm, zero in zip(arrays[:2], (self.perm_a, self.perm_b), zeros, strict=True))
        with quiet():
            acc = np.matmul(a, b).astype(np.int32)
            if self.perm_y:
                acc = np.ascontiguousarray(acc.transpose(self.perm_y))
            if self.dtype == "int32":
                return [acc]
            real = acc.astype(np.float32) * np.float32(self.multiplier)
        return [real if self.dtype == "float32" else to_integers(real, self.y_zero, self.low, self.high)]

    def lower(self, builder: Any, node: Any) -> bool:
        """A table holds where each matrix begins; rows and columns lie at any distance, but y's columns side by side."""
        names = (*node.inputs[:2], node.outputs[0])
        views = [builder.view(name) for name in names]
        back = tuple(self.perm_y.index(i) for i in range(len(self.perm_y)))
        a, b, y = ((permuted(v.shape, perm), permuted(v.strides, perm))
                   for v, perm in zip(views, (self.perm_a, self.perm_b, back), strict=True))
        (m, k), n, batch = a[0][-2:], b[0][-1], y[0][:-2]
        if not k or y[1][-1] != 1 and n > 1:
            return False
        matrices = count(batch)
        builder.reserve(24 * matrices)
        starts = np.stack([matrix_starts(shape[:-2], strides[:-2], batch) for shape, strides in (a, b, y)], 1)
        quads, width = -(-k // layouts.QUAD), -(-n // layouts.PANEL) * layouts.PANEL
        copies = min(m, COPIED_ROWS) if k % layouts.QUAD or a[1][-1] != 1 else 0
        copied, packed = 4 * quads * copies, 8 * quads * engine.int8_level(kernels.isa())[0]
        scratch = width * (4 * quads + 12) + sum(-(-nbytes // 64) * 64 for nbytes in (copied, packed))
        zeros = [builder.tensor(name) for name in node.inputs[2:]] or [None, None]
        builder.emit(
            "q_matmul", [*(builder.tensor(name) for name in names), builder.scratch(scratch * builder.threads),
                         builder.constant(starts), *zeros],
            macs=views[2].size * k // 4, batch=matrices, m=m, k=k, n=n, a_row=a[1][-2], a_column=a[1][-1], b_row=b[1][-2],
            b_column=b[1][-1], y_row=y[1][-2], result=RESULTS.index(self.dtype), a_zero=self.a_zero, b_zero=self.b_zero,
            y_zero=self.y_zero, low=self.low, high=self.high, small=self.multiplier < 1, quads=quads, copies=copies,
            scratch_bytes=scratch, multiplier=self.multiplier)
        return True

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) * inputs[0].shape[self.perm_a[-1] if self.perm_a else -1]
