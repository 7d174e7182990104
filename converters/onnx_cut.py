"""Cutting an ONNX graph at named tensors, and finding where to cut what cannot be converted."""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import onnx

from tinynet.errors import UsageError

# Layers with weights: what an advice may not cut off, where they can be kept.
_HEAVY = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN", "DeformConv", "Attention"))
# What in-graph post-processing of detectors is recognised by.
_DETECTION = ("NonMaxSuppression", "RoiAlign", "MaxRoiAlign")
# An advice with more tensors than this helps nobody.
MOST_TENSORS = 16
_SOURCE, _SINK = "source", "sink"


def cut(graph: onnx.GraphProto, names: Iterable[str], label: str) -> list[str]:
    """Make `names` the outputs of `graph`, in place; returns notes.  UsageError for a name that no node computes.

    Inputs that nothing reads any more go; the first name in `names` becomes the first output.
    """
    names = [names] if isinstance(names, str) else list(names)
    computed = {output for node in graph.node for output in node.output if output}
    wrong = [name for name in names if name not in computed]
    if wrong:
        raise UsageError(f"{label}: {_unknown(graph, wrong[0], computed)}")
    if len(set(names)) != len(names) or not names:
        raise UsageError(f"{label}: the outputs to cut at must be given once each, found {', '.join(names) or 'none'}")
    declared = {info.name: info for info in graph.output}
    outputs = [declared.get(name) or onnx.ValueInfoProto(name=name) for name in names]
    kept = [onnx.ValueInfoProto.FromString(info.SerializeToString()) for info in outputs]
    before = live_nodes(graph)
    del graph.output[:]
    graph.output.extend(kept)
    after = live_nodes(graph)
    read = {name for i in after for name in reads(graph.node[i])} | set(names)
    weights = {tensor.name for tensor in graph.initializer}
    unused = [info for info in graph.input if info.name not in read and info.name not in weights]
    for info in unused:
        graph.input.remove(info)
    notes = [f"cut at {', '.join(map(repr, names))}: {len(before - after)} of {len(before)} nodes are left out"]
    if unused:
        notes.append(f"nothing reads the inputs {', '.join(repr(info.name) for info in unused)} any more")
    return notes


def _unknown(graph: onnx.GraphProto, name: str, computed: Collection[str]) -> str:
    if name in {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}:
        return f"cannot cut at {name!r}, which is an input or a constant: name a tensor that a node computes"
    close = difflib.get_close_matches(name, computed, n=4, cutoff=0.5)
    by_node = [output for node in graph.node if node.name == name for output in node.output if output]
    found = by_node or close
    hint = f"; did you mean {' or '.join(map(repr, found))}?" if found else f"; its nodes compute {len(computed)} tensors"
    return f"no tensor is called {name!r}{hint}"


def reads(node: onnx.NodeProto) -> Iterable[str]:
    """Every value that a node reads, also inside its subgraphs."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") or attribute.graphs else ():
            yield from (output.name for output in graph.output)
            for inner in graph.node:
                yield from reads(inner)


def live_nodes(graph: onnx.GraphProto) -> set[int]:
    """Indices of the nodes that an output depends on."""
    needed = {output.name for output in graph.output}
    live = set()
    for index in range(len(graph.node) - 1, -1, -1):
        node = graph.node[index]
        if any(output in needed for output in node.output if output):
            live.add(index)
            needed.update(reads(node))
    return live


def advice(graph: onnx.GraphProto, refused: Collection[int]) -> tuple[list[str], str]:
    """(tensors to cut at so that no `refused` node is left, a sentence about it); empty if no cut keeps a layer with weights.

    A smallest set of tensors that separates those layers from everything that depends on a refused node, as late as
    possible; outputs that do not depend on one stay.
    """
    live = sorted(live_nodes(graph))
    tainted = _after(graph, live, set(refused))
    kept = [graph.node[i] for i in live if i not in tainted]
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [info.name for info in graph.input if info.name not in weights]
    computed = set(inputs)           # from the inputs' values, and not from constants and shapes alone
    edges: dict[str, list[str]] = {}
    heavy: list[str] = []
    for node in kept:
        if node.op_type in ("Shape", "Size") or not any(name in computed for name in reads(node)):
            continue
        outputs = [name for name in node.output if name]
        computed.update(outputs)
        if node.op_type in _HEAVY:
            heavy += outputs
        else:
            for name in reads(node):
                if name in computed:
                    edges.setdefault(name, []).extend(outputs)
    needed = {name for i in tainted for name in reads(graph.node[i]) if name in computed}
    names = _separate(edges, [*inputs, *heavy], needed) if heavy and needed else None
    if not names or not set(names) - set(inputs):
        return [], ""
    makers = {name: i for i, node in enumerate(kept) for name in node.output}
    names = sorted((n for n in names if n not in inputs), key=makers.__getitem__)
    names += [info.name for info in graph.output if info.name in computed and info.name not in {*inputs, *names}]
    found = sorted({graph.node[i].op_type for i in tainted} & set(_DETECTION))
    count = f"{len(tainted)} node{'s' * (len(tainted) > 1)}"
    what = f"a detection tail of {count} with {' and '.join(found)}" if found else count
    return names, f"cut the network before them with --outputs {','.join(names)} (leaves out {what})"


def _after(graph: onnx.GraphProto, live: Sequence[int], start: set[int]) -> set[int]:
    """`start` and every live node that depends on one of them."""
    spoiled: set[str] = set()
    found = set()
    for i in live:
        node = graph.node[i]
        if i in start or any(name in spoiled for name in reads(node)):
            found.add(i)
            spoiled.update(name for name in node.output if name)
    return found


def _separate(edges: dict[str, list[str]], sources: Sequence[str], sinks: Collection[str]) -> list[str] | None:
    """The smallest set of tensors through which every path from a source to a sink goes, nearest to the sinks; None if it
    is larger than MOST_TENSORS.  Augmenting paths (Ford and Fulkerson 1956) through tensors that have room for one each;
    a tensor is entered as (name, 0) and left as (name, 1)."""
    room: dict[Any, dict[Any, int]] = {_SOURCE: {}, _SINK: {}}

    def edge(a: Any, b: Any, most: int) -> None:
        room.setdefault(a, {})[b] = most
        room.setdefault(b, {}).setdefault(a, 0)

    for name in {*sources, *sinks, *edges, *(name for outputs in edges.values() for name in outputs)}:
        edge((name, 0), (name, 1), 1)
    for name in sources:
        edge(_SOURCE, (name, 0), MOST_TENSORS + 1)
    for name in sinks:
        edge((name, 1), _SINK, MOST_TENSORS + 1)
    for name, outputs in edges.items():
        for output in outputs:
            edge((name, 1), (output, 0), MOST_TENSORS + 1)
    for _ in range(MOST_TENSORS + 1):
        before = _reached(_SOURCE, lambda a: (b for b, most in room[a].items() if most))
        if _SINK not in before:
            behind = _reached(_SINK, lambda b: (a for a in room[b] if room[a].get(b)))
            return [name for name, left in (place for place in behind if place not in (_SOURCE, _SINK))
                    if left and (name, 0) not in behind]
        at = _SINK
        while at != _SOURCE:
            room[before[at]][at] -= 1
            room[at][before[at]] += 1
            at = before[at]
    return None


def _reached(start: Any, neighbours: Callable[[Any], Iterable[Any]]) -> dict[Any, Any]:
    """Every place that can be reached -> the place before it."""
    found = {start: start}
    queue = deque([start])
    while queue:
        at = queue.popleft()
        for place in neighbours(at):
            if place not in found:
                found[place] = at
                queue.append(place)
    return found
