"""Scaled dot-product attention: two products with a softmax between them, as one step."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet import layouts
from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import count, need_float, need_inputs
from tinynet.ops.matmul import Matmul, matrix_starts, permuted
from tinynet.ops.matrix_product import run_table
from tinynet.ops.softmax import Softmax

# Scores that stay in the cache: 64 kB, in blocks of rows that every register tile divides.
BLOCK_FLOATS = 16384
BLOCK_ROWS = 24


@register
class Attention(Op):
    """softmax(alpha q k) v along the last axis of the scores: q [..., M, K], k [..., K, N], v [..., N, D] -> [..., M, D].

    float32; leading axes broadcast; the operands are transposed by `perm_q`, `perm_k`, `perm_v` before, the result by
    `perm_y` after (empty: not), as `matmul` does.
    """

    kind: ClassVar[str] = "attention"
    alpha: float = 1.0
    perm_q: tuple[int, ...] = ()
    perm_k: tuple[int, ...] = ()
    perm_v: tuple[int, ...] = ()
    perm_y: tuple[int, ...] = ()

    def _parts(self) -> tuple[Matmul, Softmax, Matmul]:
        return (Matmul(alpha=self.alpha, perm_a=self.perm_q, perm_b=self.perm_k), Softmax(),
                Matmul(perm_b=self.perm_v, perm_y=self.perm_y))

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 3)
        need_float(inputs)
        scores, softmax, weighted = self._parts()
        return weighted.infer(*softmax.infer(*scores.infer(*inputs[:2])), inputs[2])

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        scores, softmax, weighted = self._parts()
        return weighted.reference(*softmax.reference(*scores.reference(*arrays[:2])), arrays[2])

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        scores, _, weighted = self._parts()
        between = scores.infer(*inputs[:2])
        return scores.macs(inputs[:2], between) + weighted.macs([*between, inputs[2]], outputs)

    def lower(self, builder: Any, node: Any) -> bool:
        views = [builder.view(name) for name in (*node.inputs, node.outputs[0])]
        back = tuple(self.perm_y.index(i) for i in range(len(self.perm_y)))
        q, k, v, y = ((permuted(view.shape, perm), permuted(view.strides, perm))
                      for view, perm in zip(views, (self.perm_q, self.perm_k, self.perm_v, back), strict=True))
        (m, width), (n, d), batch = q[0][-2:], v[0][-2:], y[0][:-2]
        if not width or q[1][-1] != 1 and width > 1 or y[1][-1] != 1 and d > 1:
            return False
        matrices = count(batch)
        builder.reserve(32 * matrices)
        starts = np.stack([matrix_starts(shape[:-2], strides[:-2], batch) for shape, strides in (q, k, v, y)], 1)
        (table, k_parts, _), (second, n_parts, _) = run_table([(0, width)]), run_table([(0, n)])
        block = max(1, BLOCK_FLOATS // n // BLOCK_ROWS) * BLOCK_ROWS
        panels = [-(-columns // layouts.PANEL) * layouts.PANEL for columns in (n, d)]
        floats = panels[0] * width + panels[1] * n + -(-min(block, m) * n // 16) * 16
        builder.emit(
            "attention_f32", [*(builder.tensor(view.name) for view in views), builder.scratch(4 * floats * builder.threads),
                              builder.constant(starts), builder.constant(table + second)],
            macs=matrices * m * n * (width + d), batch=matrices, m=m, k=width, n=n, d=d, q_row=q[1][-2],
            k_row=k[1][-2], k_column=1 if n == 1 else k[1][-1], v_row=v[1][-2], v_column=1 if d == 1 else v[1][-1],
            y_row=y[1][-2], k_parts=k_parts, n_parts=n_parts, n_table=len(table), block=block, scratch_floats=floats,
            alpha=self.alpha)
        return True
