"""Which layers compute in integers.

First by speed: each layer has a price in float and in integers, and so has every tensor that changes between them; the
cheapest assignment is a minimum cut.  The prices (`costs.py`) are a fixed table, so that the same input gives the same file on
every machine; for the target `any` a layer stays float where integers would be slower on all of them.

Then by accuracy, from measured errors: `refine`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tinynet.converters.passes.mincut import INFINITE, Cut
from tinynet.converters.quantize import kinds
from tinynet.converters.quantize.calibrate import Statistics
from tinynet.converters.quantize.costs import COSTS
from tinynet.converters.quantize.scheme import MOST_APART
from tinynet.errors import UsageError
from tinynet.graph import Graph, Node
from tinynet.ops import Spec, make

TARGETS = ("any", "x86", "x86-avx2", "arm")

UNSUPPORTED = "no integer kind"
TAIL = "prepares the outputs"
KEPT = "--keep"
SLOWER = "int8 would be slower"
RANGES = "its inputs' ranges differ"
ACCURACY = "int8 loses too much"


def choose(graph: Graph, statistics: dict[str, Statistics], target: str,
           keep: Iterable[str]) -> tuple[set[str], dict[str, str]]:
    """(first outputs of the layers that become integers, first output -> why it stays float)."""
    reasons: dict[str, str] = {}
    kept = _kept(graph, keep)
    tail = kinds.tail(graph)
    for node in graph.nodes:
        out = node.outputs[0]
        if out in kept:
            reasons[out] = KEPT
        elif not kinds.can_be_integer(graph, node):
            reasons[out] = UNSUPPORTED
        elif out in tail:
            reasons[out] = TAIL
        elif node.op == "concat" and _apart(graph, node, statistics):
            reasons[out] = RANGES
    integer = None
    for table in _tables(target):
        found = _cheapest(graph, reasons, table)
        integer = found if integer is None else integer | found
    for node in graph.nodes:
        if node.outputs[0] not in integer:
            reasons.setdefault(node.outputs[0], SLOWER)
    return integer, {out: why for out, why in reasons.items() if out not in integer}


def _tables(target: str) -> list[dict[str, Any]]:
    if target not in TARGETS:
        raise UsageError(f"target: expected one of {', '.join(TARGETS)}, found {target!r}")
    return [COSTS[name] for name in (TARGETS[1:] if target == "any" else (target,))]


def _kept(graph: Graph, keep: Iterable[str]) -> set[str]:
    """First outputs of the layers with these names; the name of a layer also stands for the parts it was split into."""
    found: set[str] = set()
    for wanted in keep:
        matching = {n.outputs[0] for n in graph.nodes if wanted in (n.name, *n.outputs, _whole(n.name))}
        if not matching:
            raise UsageError(f"keep: no layer is called {wanted!r}; `tinynet inspect MODEL.tnb --layers` lists them")
        found |= matching
    return found


def _whole(name: str) -> str:
    """Of the layer that a part was split from (prepare.py)."""
    parts = name.split("/")
    while len(parts) > 1 and parts[-1] in kinds.PARTS:
        parts.pop()
    return "/".join(parts)


def _apart(graph: Graph, node: Node, statistics: dict[str, Statistics]) -> bool:
    """Would a common scale ruin an input of this concat?  Boxes and scores of a detector never share one; what a linear
    layer reads it rounds with one scale anyway."""
    if all(kinds.is_linear(reader) for reader in graph.consumers()[node.outputs[0]]):
        return False
    spans = [statistics[name].high - statistics[name].low for name in kinds.computed(graph, node)]
    return max(spans) > MOST_APART * min(spans)


def _cheapest(graph: Graph, reasons: dict[str, str], table: dict[str, Any]) -> set[str]:
    cut = Cut()
    readers = graph.consumers()
    variable = {}
    for node in graph.nodes:
        out = node.outputs[0]
        real, integer = _prices(graph, node, table)
        variable[out] = cut.variable(no=real, yes=INFINITE if out in reasons else integer)
    outside = cut.variable(yes=INFINITE)
    for name in graph.inputs:
        _change(cut, graph, name, outside, [variable[n.outputs[0]] for n in readers[name]], table, False)
    for node in graph.nodes:
        for name in node.outputs:
            reading = [variable[n.outputs[0]] for n in readers[name]] + [outside] * (name in graph.outputs)
            _change(cut, graph, name, variable[node.outputs[0]], reading, table, kinds.is_linear(node))
    _, yes = cut.solve()
    return {out for out, v in variable.items() if v in yes}


def _change(cut: Cut, graph: Graph, name: str, maker: int, reading: list[int], table: dict[str, Any], linear: bool) -> None:
    tensor = graph.tensors[name]
    if reading and tensor.dtype == "float32" and tensor.size:
        price = table["convert"] * tensor.size
        # An integer linear layer can store float32 itself.
        cut.disagree(maker, sorted(set(reading)), price, 0 if linear else price)


def _prices(graph: Graph, node: Node, table: dict[str, Any]) -> tuple[int, int]:
    specs = [Spec(graph.tensors[n].shape, graph.tensors[n].dtype) for n in node.inputs]
    made = [Spec(graph.tensors[n].shape, graph.tensors[n].dtype) for n in node.outputs]
    op = make(node.op, node.attrs)
    if kinds.is_linear(node):
        macs = op.macs(specs, made)
        fast = node.op == "conv2d" and op.may_use_winograd(specs[1].shape) and min(specs[1].shape[0], specs[1].shape[3]) >= 16
        kind = "winograd" if fast else node.op
        return macs * table["float"][kind], macs * table["integer"][kind]
    kind = "moving" if kinds.is_moving(graph, node) else "unary" if kinds.is_unary(graph, node) else "mixing"
    size = max(graph.tensors[n].size for n in (*kinds.computed(graph, node), *node.outputs))
    return size * table["float"][kind], size * table["integer"][kind]
