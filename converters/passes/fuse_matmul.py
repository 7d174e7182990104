"""Transposes and factors join the product of two computed tensors beside them; its kernel reads and writes by strides.

    before:  matmul(q, transpose(k, perm)), mul(0.125), ..., matmul(p, v), transpose(perm)
    after:   matmul(q, k, perm_b perm, alpha 0.125), ..., matmul(p, v, perm_y perm)

Both also reach the product through reshapes that can change places with them:

    before:  k [N,L,D], transpose(0,2,1), mul(c), reshape [N,H,D/H,L], matmul(q, .)
    after:   k [N,L,D], reshape [N,L,H,D/H], matmul(q, ., perm_b (0,2,3,1), alpha c)

A transpose goes only where it costs nothing: the columns of a and of the result stay side by side in memory, and of b the
columns or the rows.  (x s) y and x (y s) become s (x y): rounding differs.
"""

from __future__ import annotations

import math

import numpy as np

from tinynet.converters.passes import moves
from tinynet.converters.passes.edit import Editor, has_activation
from tinynet.converters.passes.merge_moves import emit, links, move_of
from tinynet.graph import Graph, Node

Perm = tuple[int, ...]


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        while node is not None and node.op == "matmul" and ed.alive(node):
            count += sum(_through_moves(ed, node, position) for position in (0, 1))
            change = _input(ed, node, 0) or _input(ed, node, 1) or _output(ed, node)
            if change is None:
                break
            inputs, attrs, old, joined = change
            kept = {k: v for k, v in {**node.attrs, **attrs}.items() if v != (1.0 if k == "alpha" else ())}
            new = ed.emit("matmul", inputs, kept, stem=old)
            ed.replace(old, new)
            ed.remove(joined)           # it would count as a reader of what stands before it
            node = ed.producer.get(new) or ed.producer[old]
            count += 1
    ed.finish()
    return count


def _composed(first: Perm, second: Perm) -> Perm:
    """x.transpose(first).transpose(second); second may be empty."""
    perm = tuple(first[i] for i in second) if second else tuple(first)
    return () if perm == tuple(range(len(perm))) else perm


def _through_moves(ed: Editor, node: Node, position: int) -> int:
    """Bring a factor, or a transpose, that stands before a reshape of an operand next to the product."""
    name = node.inputs[position]
    last = ed.made_by(name, "reshape")
    if last is None or ed.dtype(name) != "float32":
        return 0
    chain = links(ed, last)
    if any(ed.only_user(link.outputs[0]) is None for link in chain):
        return 0
    source = chain[0].inputs[0]
    maker = ed.made_by(source, "mul", "div")
    x, factor = _factor(ed, maker) if maker is not None and ed.only_user(source) is not None else (None, 1.0)
    move = move_of(ed, chain)
    spelled = moves.transposed_last(move) if move is not None else None
    perm = _composed(spelled[1][1], tuple(node.attrs.get("perm_a" if position == 0 else "perm_b", ()))) if spelled else ()
    if not perm or not _free(perm, position):
        spelled = None
    if x is None and spelled is None:
        return 0
    moved = emit(ed, x or source, spelled or [_step(link) for link in chain], name)
    if x is not None:
        stem = f"{name}/scaled"
        moved = ed.emit("mul", [moved, ed.constant(np.float32(factor), stem)], stem=stem)
    ed.set_inputs(node, [moved if i == position else n for i, n in enumerate(node.inputs)])
    for dead in [*reversed(chain), *([maker] if x is not None else [])]:
        ed.remove(dead)             # it would count as a reader of what stands before it
    return 1


def _step(node: Node) -> tuple[str, Perm]:
    return node.op, tuple(node.attrs["perm" if node.op == "transpose" else "shape"])


def _free(perm: Perm, position: int) -> bool:
    """Can the kernel read the operand in this order as it lies?"""
    return len(perm) - 1 in (perm[-1:] if position == 0 else perm[-2:])


def _input(ed: Editor, node: Node, position: int) -> tuple[list[str], dict, str, Node] | None:
    """What stands before an operand: inputs, changed attributes, the tensor that the new product makes, the node that goes."""
    name, key = node.inputs[position], "perm_a" if position == 0 else "perm_b"
    maker = ed.made_by(name, "transpose", "mul", "div")
    if maker is None or ed.only_user(name) is None or ed.dtype(name) != "float32":
        return None
    if maker.op == "transpose":
        perm = _composed(tuple(maker.attrs["perm"]), tuple(node.attrs.get(key, ())))
        if perm and not _free(perm, position):
            return None
        source, attrs = maker.inputs[0], {key: perm}
    else:
        source, factor = _factor(ed, maker)
        if source is None:
            return None
        attrs = {"alpha": node.attrs.get("alpha", 1.0) * factor}
    return [source if i == position else n for i, n in enumerate(node.inputs)], attrs, node.outputs[0], maker


def _output(ed: Editor, node: Node) -> tuple[list[str], dict, str, Node] | None:
    y = node.outputs[0]
    user = ed.only_user(y)
    if user is None or user.op not in ("transpose", "mul", "div") or ed.dtype(y) != "float32":
        return None
    if not ed.can_replace(user.outputs[0], y):
        return None
    if user.op == "transpose":
        before = tuple(node.attrs.get("perm_y", ())) or tuple(range(len(ed.shape(y))))
        perm = _composed(before, tuple(user.attrs["perm"]))
        if perm and perm[-1] != len(perm) - 1:
            return None
        return node.inputs, {"perm_y": perm}, user.outputs[0], node
    source, factor = _factor(ed, user)
    if source != y:
        return None
    return node.inputs, {"alpha": node.attrs.get("alpha", 1.0) * factor}, user.outputs[0], node


def _factor(ed: Editor, node: Node) -> tuple[str | None, float]:
    """(x, c) of x c or x / c with a finite constant of one element."""
    a, b = node.inputs
    for x, other in ((a, b), (b, a)) if node.op == "mul" else ((a, b),):
        c = ed.scalar(other)
        if c is None or ed.is_constant(x) or ed.shape(x) != ed.shape(node.outputs[0]) or has_activation(node):
            continue
        c = c if node.op == "mul" else 1 / c if c else math.inf
        if math.isfinite(c) and c:
            return x, c
    return None, 1.0
