"""Layers whose sizes stay open: what conversion at several sizes has in common, with a formula for each number that differs.

The network is converted at sizes that have little in common (odd, even, prime).  If the layers, their names and their
weights are the same each time, only integers such as a reshape's target can differ, and each becomes a product of
extents that are known when the layer runs.  Where that fails (padding that depends on parity, tables made for one size)
the source's operators are stored instead (`onnx_open.py`), which takes any size but is slower to load.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tinynet.graph import Formula, Graph, Tensor
from tinynet.sizes import resize, value

# Sizes of the dimensions at each conversion; the k-th name of a kind gets k steps more, of no constant difference or ratio.
BATCHES, PICTURES, OTHERS = (2, 3, 5, 4), (97, 128, 161, 230), (7, 12, 19, 30)
STEPS = (6, 19, 4, 9)

Shapes = dict[str, tuple[int, ...]]


def samples(dims: Mapping[str, tuple[int | str, ...]]) -> Iterator[dict[str, int]]:
    """Sizes by dimension name, one dictionary per conversion."""
    kinds: dict[str, tuple[int, ...]] = {}
    for name, extents in dims.items():
        for axis, d in enumerate(extents):
            if isinstance(d, str):
                spatial = len(extents) == 4 and axis > 0
                kinds.setdefault(d if d != "?" else f"{name}.{axis}", BATCHES if axis == 0 else PICTURES if spatial else OTHERS)
    for i in range(len(BATCHES)):
        seen: dict[tuple[int, ...], int] = {}
        sizes = {}
        for key, values in kinds.items():
            sizes[key] = values[i] + STEPS[i] * seen.get(values, 0)
            seen[values] = seen.get(values, 0) + 1
        yield sizes


def general(convert: Callable[[Shapes], Graph], shapes: Sequence[Shapes], default: Shapes) -> Graph | None:
    """One graph for all sizes, at the default ones; None if there is none.  `convert` gives the layers at given shapes."""
    graphs = [convert(each) for each in shapes]
    first = graphs[0]
    if any(_structure(g) != _structure(first) for g in graphs[1:]):
        return None
    formulas = []
    for number, nodes in enumerate(zip(*(g.nodes for g in graphs), strict=True)):
        for name, given in nodes[0].attrs.items():
            values = [node.attrs[name] for node in nodes]
            if all(v == given for v in values):
                continue
            found = _formulas(number, name, values, graphs)
            if found is None:
                return None
            formulas += found
    first.formulas = formulas
    for graph, each in zip(graphs, shapes, strict=True):
        if _shapes(resize(first, each)) != _shapes(graph):
            return None
    result = resize(first, default)
    result.formulas = formulas
    return result


def _structure(graph: Graph) -> Any:
    """All that may not depend on sizes."""
    constants = {name: (t.shape, t.dtype, t.layout, _digest(t)) for name, t in graph.tensors.items() if t.is_constant}
    nodes = [(n.op, n.name, n.inputs, n.outputs,
              {key: len(v) if isinstance(v, tuple) and v and isinstance(v[0], int) else v for key, v in n.attrs.items()})
             for n in graph.nodes]
    return nodes, constants, graph.inputs, graph.outputs, graph.counts, [len(t.shape) for t in graph.tensors.values()]


def _digest(tensor: Tensor) -> bytes:
    return hashlib.sha256(memoryview(np.ascontiguousarray(tensor.data)).cast("B")).digest() if tensor.size else b""


def _shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in graph.tensors.items()}


def _formulas(number: int, attribute: str, values: list[Any], graphs: list[Graph]) -> list[Formula] | None:
    """A formula for each element that differs; None if one has none."""
    if not all(isinstance(v, tuple) and all(type(e) is int for e in v) for v in values):
        return None
    found = []
    for position, wanted in enumerate(zip(*values, strict=True)):
        if len(set(wanted)) > 1:
            formula = next(_candidates(number, attribute, position, wanted, graphs), None)
            if formula is None:
                return None
            found.append(formula)
    return found


def _candidates(number: int, attribute: str, position: int, wanted: Sequence[int], graphs: list[Graph]) -> Iterator[Formula]:
    """Formulas that give the wanted numbers, the likeliest first: an extent as it is, of what the layer itself reads or
    else of any tensor before it; then with factors; then with an offset."""
    node = graphs[0].nodes[number]
    near = [name for name in node.inputs if not graphs[0].tensors[name].is_constant]
    before = [name for earlier in graphs[0].nodes[:number] for name in earlier.outputs]
    terms = []
    for name in dict.fromkeys([*near, *graphs[0].inputs, *reversed(before)]):
        rank = len(graphs[0].tensors[name].shape)
        runs = [(a, a + length) for length in range(1, rank + 1 if name in near else 2) for a in range(rank - length + 1)]
        # The same axis first: cutting, padding and copying keep axes where they are.
        for a, b in sorted(runs, key=lambda run: (run[1] - run[0], run[0] != position)):
            products = [int(np.prod([g.tensors[name].shape[axis] for axis in range(a, b)], dtype=np.int64)) for g in graphs]
            if len(set(products)) > 1 and 0 not in products:
                terms.append((tuple((name, axis) for axis in range(a, b)), products))
    for fit in (_as_it_is, _with_factors, _with_offset):
        for factors, products in terms:
            formula = Formula(number, attribute, position, *fit(products[0], wanted[0]), factors)
            if all(value(formula, g.tensors) == w for g, w in zip(graphs, wanted, strict=True)):
                yield formula


def _as_it_is(extent: int, wanted: int) -> tuple[int, int, int]:
    """(multiplier, divisor, offset)"""
    return 1, 1, 0


def _with_factors(extent: int, wanted: int) -> tuple[int, int, int]:
    common = int(np.gcd(extent, wanted)) or 1
    return wanted // common, extent // common, 0


def _with_offset(extent: int, wanted: int) -> tuple[int, int, int]:
    return 1, 1, wanted - extent
