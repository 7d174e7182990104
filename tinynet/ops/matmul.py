"""Product of two tensors that are both computed at run time."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet import layouts
from tinynet.ops.base import Op, Spec, register
from tinynet.ops.checks import broadcast, count, need, need_float, need_inputs, quiet


@register
class Matmul(Op):
    """a [..., M, K] times b [..., K, N] -> [..., M, N], float32; the leading axes broadcast."""

    kind: ClassVar[str] = "matmul"

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 2)
        need_float(inputs)
        a, b = (spec.shape for spec in inputs)
        need(len(a) >= 2, "a of rank 2 or more", a)
        need(len(b) >= 2 and b[-2] == a[-1], f"b of shape [..., {a[-1]}, N]", b)
        return [Spec((*broadcast(a[:-2], b[:-2]), a[-2], b[-1]))]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        with quiet():
            return [np.matmul(*arrays)]

    def macs(self, inputs: list[Spec], outputs: list[Spec]) -> int:
        return count(outputs[0].shape) * inputs[0].shape[-1]

    def lower(self, builder: Any, node: Any) -> bool:
        a, b, y = (builder.view(n) for n in (*node.inputs, node.outputs[0]))
        (m, k), n = a.shape[-2:], b.shape[-1]
        if not k:
            return False
        batch = y.shape[:-2]
        builder.reserve(16 * count(batch))
        starts = [np.broadcast_to(np.arange(count(v.shape[:-2])).reshape(v.shape[:-2]), batch).reshape(-1)
                  * (v.shape[-2] * v.shape[-1]) for v in (a, b)]
        builder.emit("matmul_f32", [builder.tensor(a.name), builder.tensor(b.name), builder.tensor(y.name),
                                    builder.scratch(4 * -(-n // layouts.PANEL) * layouts.PANEL * k),
                                    builder.constant(np.ascontiguousarray(np.stack(starts, 1), np.int64))],
                     macs=y.size * k, batch=count(batch), m=m, k=k, n=n)
        return True
