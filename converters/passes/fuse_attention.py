"""Scores, softmax and the product with the values become one layer, which never holds all scores at once.

    before:  matmul(q, k, alpha), softmax(axis -1), matmul(p, v)
    after:   attention(q, k, v, alpha)

The scores must have no other reader.
"""

from __future__ import annotations

from tinynet.converters.passes.edit import Editor
from tinynet.graph import Graph, Node


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        scores = _scores(ed, node) if node.op == "matmul" else None
        if scores is None:
            continue
        attrs = {"perm_q": scores.attrs.get("perm_a"), "perm_k": scores.attrs.get("perm_b"),
                 "perm_v": node.attrs.get("perm_b"), "perm_y": node.attrs.get("perm_y"), "alpha": scores.attrs.get("alpha")}
        y = node.outputs[0]
        ed.replace(y, ed.emit("attention", [*scores.inputs, node.inputs[1]], {k: v for k, v in attrs.items() if v}, stem=y))
        count += 1
    ed.finish()
    return count


def _scores(ed: Editor, node: Node) -> Node | None:
    """The product whose softmax along the last axis is this one's left operand."""
    p = node.inputs[0]
    softmax = ed.made_by(p, "softmax")
    if softmax is None or node.attrs.get("perm_a") or node.attrs.get("alpha", 1.0) != 1 or ed.only_user(p) is None:
        return None
    s = softmax.inputs[0]
    scores = ed.made_by(s, "matmul")
    if scores is None or scores.attrs.get("perm_y") or ed.only_user(s) is None:
        return None
    return scores if softmax.attrs.get("axis", -1) in (-1, len(ed.shape(s)) - 1) else None
