"""A dense layer that is only taken apart again is one layer per part, each of which lies in memory by itself.

    before:  y = dense(x, w [3 D, K], b), slice y[..., 0:D], slice y[..., D:2 D], ..., a reshape or transpose after each
    after:   dense(x, w[0:D], b[0:D]), dense(x, w[D:2 D], b[D:2 D]), ...

Only where every part is reshaped or transposed (queries, keys and values into heads): a reshape of columns would have to
copy them, what else reads columns does so where they lie.  The parts may not overlap.
"""

from __future__ import annotations

from tinynet.converters.passes.edit import Editor, has_activation, op_of
from tinynet.graph import Graph, Node


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        parts = _parts(ed, node) if node.op == "dense" else None
        for cut, begin, end in parts or ():
            x, w, b = node.inputs
            inputs = [x, *(ed.rearranged(c, lambda a, begin=begin, end=end: a[begin:end], f"{c}/part") for c in (w, b))]
            y = cut.outputs[0]
            ed.replace(y, ed.emit("dense", inputs, node.attrs, stem=y))
            count += 1
    ed.finish()
    return count


def _parts(ed: Editor, node: Node) -> list[tuple[Node, int, int]] | None:
    """(slice, begin, end) of every reader, along the last axis; None if that is not all that happens to the result."""
    y = node.outputs[0]
    cuts = ed.users[y]
    if y in ed.outputs or len(cuts) < 2 or len(node.inputs) != 3 or has_activation(node):
        return None
    shape, parts = ed.shape(y), []
    for cut in cuts:
        if cut.op != "slice" or cut.outputs[0] in ed.outputs:
            return None
        op = op_of(cut)
        full = op.begin[:-1] == (0,) * (len(shape) - 1) and op.end[:-1] == tuple(shape[:-1]) and set(op.step) == {1}
        readers = ed.users[cut.outputs[0]]
        if not full or not readers or any(reader.op not in ("reshape", "transpose") for reader in readers):
            return None
        parts.append((cut, op.begin[-1], op.end[-1]))
    ordered = sorted((begin, end) for _, begin, end in parts)
    apart = all(a[1] <= b[0] for a, b in zip(ordered, ordered[1:], strict=False))
    return parts if apart else None
