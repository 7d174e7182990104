"""Comparison, and the choice that follows from it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynet.graph import DTYPES
from tinynet.ops.base import Op, Spec, register
from tinynet.ops.binary import Pair, loops
from tinynet.ops.checks import NUMERIC, broadcast, need, need_inputs

# In the order of `tn_comparison` in kernels/micro/micro.h.
COMPARISONS = ("equal", "greater", "greater_equal")


class Comparison(Pair):
    """a, b of one dtype -> bool of their broadcast shape; False where either is NaN."""

    result: ClassVar[str] = "bool"

    def lower(self, builder: Any, node: Any) -> bool:
        views = [builder.view(n) for n in (*node.inputs, node.outputs[0])]
        params = loops(builder, views) if views[0].dtype == "float32" else None
        if params is None:
            return False
        builder.emit("compare_f32", [builder.tensor(v.name) for v in views], nbytes=9 * views[-1].size,
                     function=COMPARISONS.index(self.kind), **params)
        return True


@register
class Equal(Comparison):
    """a == b; also of bool"""

    kind: ClassVar[str] = "equal"
    dtypes: ClassVar[tuple[str, ...]] = (*NUMERIC, "bool")

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a == b


@register
class Greater(Comparison):
    """a > b"""

    kind: ClassVar[str] = "greater"

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a > b


@register
class GreaterEqual(Comparison):
    """a >= b"""

    kind: ClassVar[str] = "greater_equal"

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a >= b


@register
class Where(Op):
    """a where the condition (bool) holds, else b; a and b of one dtype, any; all three broadcast."""

    kind: ClassVar[str] = "where"
    elementwise: ClassVar[bool] = True

    def infer(self, *inputs: Spec) -> list[Spec]:
        need_inputs(inputs, 3)
        condition, a, b = inputs
        need(condition.dtype == "bool", "a condition of dtype bool", condition.dtype)
        need(a.dtype == b.dtype, f"both choices of dtype {a.dtype}", b.dtype)
        return [Spec(broadcast(broadcast(condition.shape, a.shape), b.shape), a.dtype)]

    def reference(self, *arrays: np.ndarray) -> list[np.ndarray]:
        return [np.where(*arrays)]

    def strided(self) -> tuple[bool, bool]:
        return True, True

    def inplace(self) -> tuple[int, ...]:
        return (1, 2)

    def lower(self, builder: Any, node: Any) -> bool:
        views = [builder.view(n) for n in (*node.inputs, node.outputs[0])]
        params = loops(builder, views)
        item = DTYPES[views[-1].dtype]
        if params is None or item not in (1, 4, 8):
            return False
        builder.emit("where", [builder.tensor(v.name) for v in views], nbytes=(1 + 3 * item) * views[-1].size, item=item,
                     **params)
        return True
