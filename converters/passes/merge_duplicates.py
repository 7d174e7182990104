"""Compute what is the same once.

    before:  a = transpose(x)   b = transpose(x)   f(a)   g(b)
    after:   a = transpose(x)                      f(a)   g(a)

Same kind, same inputs, same attributes.  Small constants with the same bytes become one first, so that nodes reading
them compare equal.
"""

from __future__ import annotations

import numpy as np

from tinynet.converters.passes.edit import Editor, op_of
from tinynet.graph import Graph, Tensor

SMALL = 1 << 14              # bytes; larger constants are rarely equal and cost time to compare


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = _constants(ed)
    seen: dict[tuple, str] = {}
    for node in ed.nodes():
        if len(node.outputs) > 1:
            continue
        key = (node.op, tuple(node.inputs), op_of(node))
        first = seen.setdefault(key, node.outputs[0])
        if first == node.outputs[0]:
            continue
        if ed.can_replace(node.outputs[0], first):
            ed.replace(node.outputs[0], first)
            if node.outputs[0] in ed.outputs:
                seen[key] = node.outputs[0]
            count += 1
    ed.finish()
    return count


def _constants(ed: Editor) -> int:
    seen: dict[tuple, str] = {}
    count = 0
    for name, tensor in list(ed.graph.tensors.items()):
        data = np.asarray(tensor.data) if tensor.is_constant else None
        if data is None or data.nbytes > SMALL:
            continue
        first = seen.setdefault((tensor.shape, tensor.dtype, tensor.layout, data.tobytes(), _origin(tensor)), name)
        if first == name or name in ed.outputs:
            continue
        for node in list(ed.users[name]):
            ed.set_inputs(node, [first if n == name else n for n in node.inputs])
            count += 1
    return count


def _origin(tensor: Tensor) -> tuple[bytes, ...]:
    """The integers behind the constant."""
    found = tensor.integers
    return () if found is None else tuple(np.asarray(a).tobytes() for a in (found.values, found.scale, found.zero))
