"""Layers whose sizes stay open: what conversion at several sizes has in common, with a formula for each number that differs.

The network is converted at sizes that have little in common (odd, even, prime).  If the layers, their names and their
weights are the same each time, only integers such as a reshape's target can differ, and each becomes a product of
extents that are known when the layer runs.  Where that fails (padding that depends on parity, tables made for one size)
the source's operators are stored instead (`onnx_open.py`), which takes any size but is slower to load.

Many networks take only pictures whose sides are multiples of 2, 4, ... 64 (patches, halvings that are undone and joined).
Then the sizes tried are multiples of the smallest such unit that the network takes, and sizes between, which the network
refuses, have to be refused by the layers with their formulas too: they may not take what was never compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tinynet import ops
from tinynet.converters.passes import run_passes
from tinynet.errors import InputError, TinynetError
from tinynet.graph import Formula, Graph, Node, Tensor
from tinynet.sizes import resize, value

# Sizes of the dimensions at each conversion; the k-th name of a kind gets k steps more, of no constant difference or ratio.
BATCHES, PICTURES, OTHERS = (2, 3, 5, 4), (97, 128, 161, 230), (7, 12, 19, 30)
STEPS = (6, 18, 5, 9)
# With a unit: multiples beyond the smallest odd one that is as large as without.
PICTURE_COUNTS, OTHER_COUNTS = (2, 3, 6, 11), (1, 4, 3, 8)
UNITS = (1, 2, 4, 8, 16, 32, 64)

Sizes = dict[str, int]
Shapes = dict[str, tuple[int, ...]]


def _axes(dims: Mapping[str, tuple[int | str, ...]]) -> dict[str, tuple[int, int]]:
    """Name of each open dimension -> (axis, rank) of the first input that has it."""
    found: dict[str, tuple[int, int]] = {}
    for name, extents in dims.items():
        for axis, d in enumerate(extents):
            if isinstance(d, str):
                found.setdefault(d if d != "?" else f"{name}.{axis}", (axis, len(extents)))
    return found


def samples(dims: Mapping[str, tuple[int | str, ...]], unit: int = 1) -> Iterator[Sizes]:
    """Sizes by dimension name, one dictionary per conversion; all but batches are multiples of `unit`."""
    for i in range(len(BATCHES)):
        seen: dict[tuple[int, ...], int] = {}
        sizes = {}
        for key, (axis, rank) in _axes(dims).items():
            values = BATCHES if axis == 0 else PICTURES if rank == 4 else OTHERS
            number, step = seen.get(values, 0), STEPS[i] * seen.get(values, 0)
            seen[values] = number + 1
            counts = PICTURE_COUNTS if rank == 4 else OTHER_COUNTS
            count = values[i] if axis == 0 or unit == 1 else (values[0] // unit | 1) + counts[i]
            sizes[key] = (count + step) * (1 if axis == 0 else unit)
        yield sizes


def between(dims: Mapping[str, tuple[int | str, ...]], unit: int) -> Iterator[Sizes]:
    """Sizes of which one is no multiple of `unit`, by each power of two below it, from either side.  The others are
    multiples of the largest unit, so that what is cut into patches of all pixels together comes out even more often."""
    base = next(samples(dims, UNITS[-1]))
    for key, (axis, _) in _axes(dims).items():
        if axis > 0:
            for offset in sorted({o for u in UNITS if u < unit for o in (u, unit - u)}):
                yield {**base, key: base[key] + offset}


def general(load: Callable[[Shapes], Graph], dims: Mapping[str, tuple[int | str, ...]],
            shapes: Callable[[Sizes], Shapes], default: Shapes) -> Graph | None:
    """One graph for all sizes, at the default ones; None if there is none.

    `load` gives the layers at given shapes, before any rewrite, and raises TinynetError where the network does not take
    them; `shapes` gives the shapes of all inputs for the sizes of the open `dims`.
    """
    for unit in UNITS if any(axis > 0 for axis, _ in _axes(dims).values()) else UNITS[:1]:
        tried = [shapes(sizes) for sizes in samples(dims, unit)]
        try:
            graphs = [load(each) for each in tried]
        except TinynetError:
            continue
        repeats = _repeats(graphs)

        def convert(loaded: Graph, dims: Any = dims, repeats: dict[str, tuple[int, ...]] = repeats) -> Graph:
            _unrepeat(loaded, repeats)
            loaded.dims = dict(dims)
            return run_passes(loaded)

        try:
            graphs = [convert(graph) for graph in graphs]
            graph = _common(graphs, tried, default)
        except InputError:
            return None
        if graph is not None and all(_as_converted(graph, lambda each: convert(load(each)), shapes(sizes))
                                     for sizes in between(dims, unit)):
            return graph
        return None
    return None


def _repeats(graphs: Sequence[Graph]) -> dict[str, tuple[int, ...]]:
    """Constant -> axes along which it is as long as the sizes say, and may be one slice repeated (a class token or an
    initial state for each picture of a batch)."""
    found = {}
    for name, tensor in graphs[0].tensors.items():
        others = [graph.tensors.get(name) for graph in graphs]
        if not all(t is not None and t.is_constant and len(t.shape) == len(tensor.shape) and t.size for t in others):
            continue
        axes = tuple(a for a in range(len(tensor.shape)) if len({t.shape[a] for t in others}) > 1)
        if axes:
            found[name] = axes
    return found


def _is_repeated(data: Any, axes: tuple[int, ...]) -> bool:
    return bool((np.asarray(data) == _slice(data, axes)).all())


def _slice(data: Any, axes: tuple[int, ...]) -> np.ndarray:
    return np.asarray(data)[tuple(slice(0, 1) if a in axes else slice(None) for a in range(np.ndim(data)))]


def _unrepeat(graph: Graph, repeats: Mapping[str, tuple[int, ...]]) -> None:
    """Let an expand layer make each such constant that is repeated, where layers take a computed tensor in its place."""
    weights = {name for node in graph.nodes for i, name in enumerate(node.inputs)
               if i in ops.make(node.op, node.attrs).constant_inputs}
    made = []
    for name, axes in repeats.items():
        tensor = graph.tensors.get(name)
        if tensor is None or name in weights or not tensor.is_constant or not _is_repeated(tensor.data, axes):
            continue
        part = np.ascontiguousarray(_slice(tensor.data, axes))
        one = graph.add(Tensor(graph.unique(f"{name}/one"), part.shape, tensor.dtype, part)).name
        graph.tensors[name] = Tensor(name, tensor.shape, tensor.dtype)
        made.append(Node("expand", f"{name}/repeated", [one], [name], {"shape": tuple(tensor.shape)}))
    graph.nodes = made + graph.nodes


def _as_converted(graph: Graph, convert: Callable[[Shapes], Graph], shapes: Shapes) -> bool:
    """Is the graph with its formulas at these shapes what conversion gives: the same layers, or a refusal?"""
    try:
        found = resize(graph, shapes)
    except InputError:
        found = None
    try:
        wanted = convert(shapes)
    except TinynetError:
        return found is None
    return found is not None and _structure(found) == _structure(wanted) and _attributes(found) == _attributes(wanted) \
        and _shapes(found) == _shapes(wanted)


def _common(graphs: Sequence[Graph], shapes: Sequence[Shapes], default: Shapes) -> Graph | None:
    """What the graphs, converted at `shapes`, have in common, with formulas, at the default shapes."""
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
    ranks = {name: len(t.shape) for name, t in graph.tensors.items()}
    return nodes, constants, graph.inputs, graph.outputs, graph.counts, ranks


def _digest(tensor: Tensor) -> bytes:
    return hashlib.sha256(memoryview(np.ascontiguousarray(tensor.data)).cast("B")).digest() if tensor.size else b""


def _attributes(graph: Graph) -> list[dict[str, Any]]:
    return [node.attrs for node in graph.nodes]


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
    """Formulas that give the wanted numbers, the likeliest first: an extent as it is, then with factors, of what the layer
    itself reads; the same of any tensor before it; then with an offset."""
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
    own = [term for term in terms if term[0][0][0] in near]
    tries = [(fit, some) for some in (own, terms) for fit in (_as_it_is, _with_factors)] + [(_with_offset, terms)]
    for fit, some in tries:
        for factors, products in some:
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
