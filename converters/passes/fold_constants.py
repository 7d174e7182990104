"""Run at conversion what depends on constants alone.

    before:  c = transpose(w)      y = add(x, c)
    after:                         y = add(x, c')        c' = reference(w)

The value comes from the kind's own numpy reference.  A result much larger than what it is made from (an `expand`,
say) stays a node: the file would grow by it.
"""

from __future__ import annotations

import numpy as np

from tinynet.converters.passes.edit import Editor, op_of
from tinynet.graph import DTYPES, Graph

GROWTH_LIMIT = 1 << 20       # bytes that a folded constant may be larger than four times its sources


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        if len(node.outputs) > 1 or not node.inputs or not all(ed.is_constant(name) for name in node.inputs):
            continue
        out = graph.tensors[node.outputs[0]]
        sources = sum(graph.tensors[name].size * DTYPES[graph.tensors[name].dtype] for name in node.inputs)
        if out.size * DTYPES[out.dtype] > 4 * sources + GROWTH_LIMIT or out.name in ed.outputs:
            continue
        value = np.asarray(op_of(node).reference(*(ed.value(name) for name in node.inputs))[0])
        if tuple(value.shape) != tuple(out.shape) or str(value.dtype) != out.dtype:
            continue
        ed.remove(node)
        out.data = np.ascontiguousarray(value).reshape(value.shape)
        count += 1
    ed.finish()
    return count
