"""The self-test that every file carries: a seed for the inputs, and a few dozen of the outputs they gave at conversion.

It costs a few hundred bytes and tells on any board whether this build computes what the converter saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinynet import ops

if TYPE_CHECKING:
    from tinynet.graph import Graph
    from tinynet.model import Model

SAMPLES = 32
# Difference that is still called equal, relative to the range of the sampled outputs: instruction sets round differently.
TOLERANCE = 1e-3


# Kinds whose output holds nothing but elements of their first input.
_HANDED_ON = frozenset(("reshape", "transpose", "slice", "expand", "gather", "concat", "cast"))


def index_limits(graph: Graph) -> dict[str, int]:
    """Tensors that are indices, or become some by being moved about -> the extent below which they have to stay."""
    limits: dict[str, int] = {}

    def limit(name: str, extent: int) -> None:
        limits[name] = min(extent, limits.get(name, extent))

    for node in reversed(() if graph.source else graph.nodes):
        specs = [ops.Spec(graph.tensors[n].shape, graph.tensors[n].dtype) for n in node.inputs]
        for i, extent in ops.make(node.op, node.attrs).index_limits(*specs).items():
            limit(node.inputs[i], extent)
        if node.op in _HANDED_ON and node.outputs[0] in limits:
            for name in node.inputs if node.op == "concat" else node.inputs[:1]:
                limit(name, limits[node.outputs[0]])
    return limits


def inputs(model: Model, seed: int) -> dict[str, np.ndarray]:
    """An array per input: floats in [-1, 1), integers over their range (0..255 at most, and inside what they index), from
    integer arithmetic alone, so that they are the same with every numpy version and on every machine."""
    arrays, limits = {}, index_limits(model.graph)
    for number, info in enumerate(model.inputs):
        count = int(np.prod(info.shape, dtype=np.int64))
        x = np.arange(count, dtype=np.uint64) + np.uint64((seed * 1000003 + number * 7919) % 2 ** 32)
        # The finaliser of MurmurHash3 (public domain, A. Appleby): neighbouring integers become unrelated ones.
        for shift, factor in ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53)):
            x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
        x ^= x >> np.uint64(33)
        if info.dtype.startswith("float"):
            values = (x >> np.uint64(40)).astype(np.float64) / 2 ** 23 - 1
        elif info.dtype == "bool":
            values = x >> np.uint64(63)
        else:
            values = (x >> np.uint64(57)).astype(np.int64) if info.dtype == "int8" else x >> np.uint64(56)
            if info.name in limits:
                values = values % values.dtype.type(max(1, min(limits[info.name], 256)))
        arrays[info.name] = values.astype(info.dtype).reshape(info.shape)
    return arrays


def _flat(outputs: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(v, np.float64).reshape(-1) for v in outputs.values()] or [np.zeros(0)])


def record(model: Model, seed: int) -> tuple[list[int], list[float]]:
    """(indices into all outputs one after the other, their values): evenly spread, at most SAMPLES."""
    flat = _flat(model.run(inputs(model, seed)))
    index = np.unique(np.linspace(0, flat.size - 1, min(SAMPLES, flat.size)).astype(np.int64)) if flat.size else []
    return [int(i) for i in index], [float(flat[i]) for i in index]


def check(model: Model) -> float | None:
    """Largest difference from the recorded outputs relative to their range, inf if NaN does not match; None: no record."""
    index: Sequence[int] = model.meta.selftest_index
    if not index or len(index) != len(model.meta.selftest_value):
        return None
    flat = _flat(model.run(inputs(model, model.meta.selftest_seed)))
    if max(index) >= flat.size:
        return float("inf")
    expected, found = np.array(model.meta.selftest_value), flat[list(index)]
    if (np.isfinite(expected) != np.isfinite(found)).any():
        return float("inf")
    finite = np.isfinite(expected)
    if not finite.any():
        return 0.0
    scale = max(float(np.abs(expected[finite]).max()), 1e-30)
    return float(np.abs(expected[finite] - found[finite]).max()) / scale
