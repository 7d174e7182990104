"""A product with constant weights is a dense layer.

    before:  matmul(x [..., K], w [K, N])
    after:   dense(x, w^T [N, K], 0)
"""

from __future__ import annotations

import numpy as np

from tinynet.converters.passes.edit import Editor
from tinynet.graph import Graph


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        if node.op != "matmul" or not ed.is_constant(node.inputs[1]) or ed.is_constant(node.inputs[0]):
            continue
        if len(ed.shape(node.inputs[1])) != 2 or ed.dtype(node.inputs[1]) != "float32":
            continue
        x, w = node.inputs
        weights = ed.rearranged(w, np.transpose, f"{w}/dense")
        bias = ed.constant(np.zeros(ed.shape(w)[1], np.float32), f"{w}/bias")
        ed.replace(node.outputs[0], ed.emit("dense", [x, weights, bias], stem=node.outputs[0]))
        count += 1
    ed.finish()
    return count
