"""Transposes and factors join the product of two computed tensors beside them; its kernel reads and writes by strides.

    before:  matmul(q, transpose(k, perm)), mul(0.125), ..., matmul(p, v), transpose(perm)
    after:   matmul(q, k, perm_b perm, alpha 0.125), ..., matmul(p, v, perm_y perm)

A transpose goes only where it costs nothing: the columns of a and of the result stay side by side in memory, and of b the
columns or the rows.  (x s) y and x (y s) become s (x y): rounding differs.
"""

from __future__ import annotations

import math

from tinynet.converters.passes.edit import Editor, has_activation
from tinynet.graph import Graph, Node

Perm = tuple[int, ...]


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        while node is not None and node.op == "matmul" and ed.alive(node):
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


def _input(ed: Editor, node: Node, position: int) -> tuple[list[str], dict, str, Node] | None:
    """What stands before an operand: inputs, changed attributes, the tensor that the new product makes, the node that goes."""
    name, key = node.inputs[position], "perm_a" if position == 0 else "perm_b"
    maker = ed.made_by(name, "transpose", "mul", "div")
    if maker is None or ed.only_user(name) is None or ed.dtype(name) != "float32":
        return None
    if maker.op == "transpose":
        perm = _composed(tuple(maker.attrs["perm"]), tuple(node.attrs.get(key, ())))
        rank = len(ed.shape(name))
        if perm and rank - 1 not in (perm[-1:] if position == 0 else perm[-2:]):
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
