"""Product of two tensors that are both computed at run time."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import numpy as np

from tinynet import layouts
from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import broadcast, count, need, need_inputs, quiet
from tinynet.ops.matrix_product import run_table

DTYPES = ("float32", "int64", "int32")


def permuted(values: tuple[int, ...], perm: tuple[int, ...], what: str = "perm") -> tuple[int, ...]:
    """Shape or strides after a transpose by perm; as they are if it is empty."""
    if not perm:
        return values
    need(sorted(perm) == list(range(len(values))), f"{what} that orders {len(values)} axes", perm)
    return tuple(values[p] for p in perm)


@register
class Matmul(Op):
    """alpha a b: a [..., M, K], b [..., K, N] -> [..., M, N]; the leading axes broadcast.

    `perm_a`, `perm_b`: the product is of the operands transposed so; `perm_y`: its result is transposed so (empty: as it
    is).  float32, int64 or int32, both the same; integers wrap around and have alpha 1.
    """

    kind: ClassVar[str] = "matmul"
    alpha: float = 1.0
    perm_a: tuple[int, ...] = ()
    perm_b: tuple[int, ...] = ()
    perm_y: tuple[int, ...] = ()

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        dtype = inputs[0].dtype
        need(dtype in DTYPES, f"a of dtype {', '.join(DTYPES)}", dtype)
        need(inputs[1].dtype == dtype, f"b of dtype {dtype}", inputs[1].dtype)
        need(dtype == "float32" or self.alpha == 1, f"alpha 1 for {dtype}", self.alpha)
        for name, spec in zip("ab", inputs, strict=True):
            need(len(spec.shape) >= 2, f"{name} of rank 2 or more", spec.shape)
        a = permuted(inputs[0].shape, self.perm_a, "perm_a")
        b = permuted(inputs[1].shape, self.perm_b, "perm_b")
        need(b[-2] == a[-1], f"b of shape [..., {a[-1]}, N]", b)
        return [Spec(permuted((*broadcast(a[:-2], b[:-2]), a[-2], b[-1]), self.perm_y, "perm_y"), dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        a, b = (x.transpose(perm) if perm else x for x, perm in zip(arrays, (self.perm_a, self.perm_b), strict=True))
        with quiet():
            y = np.matmul(a, b)
            if self.alpha != 1:
                y = y * np.float32(self.alpha)
        return [np.ascontiguousarray(y.transpose(self.perm_y)) if self.perm_y else y]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        axis = self.perm_a[-1] if self.perm_a else -1
        return count(outputs[0].shape) * inputs[0].shape[axis]

    def lower(self, builder: Any, node: Any) -> bool:
        """A table holds where each matrix begins; rows and columns lie at any distance, but y's columns side by side."""
        views = [builder.view(n) for n in (*node.inputs, node.outputs[0])]
        back = tuple(self.perm_y.index(i) for i in range(len(self.perm_y)))
        a, b, y = ((permuted(v.shape, perm), permuted(v.strides, perm))
                   for v, perm in zip(views, (self.perm_a, self.perm_b, back), strict=True))
        (m, k), n, batch = a[0][-2:], b[0][-1], y[0][:-2]
        if not k or views[0].dtype != "float32" or y[1][-1] != 1 and n > 1:
            return False
        matrices = count(batch)
        builder.reserve(24 * matrices)
        starts = np.stack([matrix_starts(shape[:-2], strides[:-2], batch) for shape, strides in (a, b, y)], 1)
        table, parts, _ = run_table([(0, k)])
        in_rows = a[1][-1] == 1 or k == 1
        packed = -(-n // layouts.PANEL) * layouts.PANEL * k + (0 if in_rows else -(-m * k // 16) * 16)
        copies = builder.threads if matrices > 1 else 1
        builder.emit(
            "matmul_f32", [*(builder.tensor(v.name) for v in views), builder.scratch(4 * packed * copies),
                           builder.constant(starts), builder.constant(table)],
            macs=views[2].size * k, batch=matrices, m=m, k=k, n=n, a_row=a[1][-2], a_column=1 if in_rows else a[1][-1],
            b_row=b[1][-2], b_column=1 if n == 1 else b[1][-1], y_row=y[1][-2], parts=parts, packed_floats=packed,
            alpha=self.alpha)
        return True


def matrix_starts(shape: tuple[int, ...], strides: tuple[int, ...], batch: tuple[int, ...]) -> np.ndarray:
    """Where every matrix of a broadcast batch begins, in elements."""
    shape, strides = ((fill,) * (len(batch) - len(v)) + tuple(v) for v, fill in ((shape, 1), (strides, 0)))
    starts = np.zeros(batch, np.int64)
    for axis, (extent, stride) in enumerate(zip(shape, strides, strict=True)):
        if extent > 1:
            starts += (np.arange(extent) * stride).reshape(-1, *itertools.repeat(1, len(batch) - axis - 1))
    return starts.reshape(-1)
