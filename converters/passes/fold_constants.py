"""Run at conversion what depends on constants alone.

    before:  c = transpose(w)      y = add(x, c)
    after:                         y = add(x, c')        c' = reference(w)

The value comes from the kind's own numpy reference.  A result much larger than what it is made from (an `expand`,
say) stays a node: the file would grow by it.  So does every `expand` of a network with open sizes: they may say how often.
"""

from __future__ import annotations

import numpy as np

from tinynet.converters.integer_constants import rearranged
from tinynet.converters.passes.edit import Editor, op_of
from tinynet.graph import DTYPES, Graph

MOVES = ("reshape", "transpose", "slice", "expand", "depth_to_space", "space_to_depth", "channel_shuffle")
GROWTH_LIMIT = 1 << 20       # bytes that a folded constant may be larger than four times its sources


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        if graph.dims and node.op == "expand":
            continue
        if not node.inputs or not all(ed.is_constant(name) for name in node.inputs):
            continue
        outs = [graph.tensors[name] for name in node.outputs]
        ins = [graph.tensors[name] for name in node.inputs]
        sources, made = (sum(t.size * DTYPES[t.dtype] for t in tensors) for tensors in (ins, outs))
        if made > 4 * sources + GROWTH_LIMIT or not ed.outputs.isdisjoint(node.outputs):
            continue
        values = [np.asarray(v) for v in op_of(node).reference(*(ed.value(name) for name in node.inputs))]
        if any((v.shape, str(v.dtype)) != (tuple(t.shape), t.dtype) for v, t in zip(values, outs, strict=True)):
            continue
        ed.remove(node)
        for out, value in zip(outs, values, strict=True):
            out.data = np.ascontiguousarray(value).reshape(value.shape)
        if node.op in MOVES:
            op = op_of(node)
            outs[0].integers = rearranged(ins[0].integers, lambda a, op=op: op.reference(a)[0])
        count += 1
    ed.finish()
    return count
