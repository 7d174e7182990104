"""Do what works element by element before a reshape, not after it, so that it can join the layer above.

    before:  conv2d, reshape [N,1,L,C] -> [N,L,C], relu, reshape [N,L,C] -> [N,1,L,C], conv2d
    after:   conv2d, relu, reshape, reshape, conv2d                 (the two reshapes then cancel)

    f(reshape(x)) = reshape(f(x));  batch_norm if the last axis stays;  reshape(x) + reshape(y) = reshape(x + y)

Reshapes only move down, so this ends.  dequantize stays below: bytes are reshaped, and nothing joins it (`integer_moves`).
"""

from __future__ import annotations

import math

from tinynet.converters.passes.edit import Editor, op_of
from tinynet.graph import Graph, Node


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        inputs = _above(ed, node)
        if inputs is None:
            continue
        out = node.outputs[0]
        name = ed.emit(node.op, inputs, node.attrs, stem=f"{out}/flat")
        ed.replace(out, ed.emit("reshape", [name], {"shape": ed.shape(out)}, stem=out))
        count += 1
    ed.finish()
    return count


def _above(ed: Editor, node: Node) -> list[str] | None:
    """The inputs with which `node` can work above the reshape that feeds it; None if it cannot."""
    if not op_of(node).elementwise and node.op != "batch_norm" or node.op == "dequantize":
        return None
    reshapes = {i: maker for i, name in enumerate(node.inputs)
                if (maker := ed.made_by(name, "reshape")) is not None and not ed.is_constant(maker.inputs[0])}
    if not reshapes or any(ed.only_user(maker.outputs[0]) is None for maker in reshapes.values()):
        return None
    if node.op == "cast" or any(ed.shape(node.inputs[i]) != ed.shape(node.outputs[0]) for i in reshapes):
        return None
    sources = {ed.shape(maker.inputs[0]) for maker in reshapes.values()}
    if len(sources) != 1:
        return None
    source, after = next(iter(sources)), ed.shape(node.outputs[0])
    same_last = bool(source and after) and source[-1] == after[-1]
    if node.op == "batch_norm" and not same_last:
        return None
    for i, name in enumerate(node.inputs):
        if i in reshapes or i in op_of(node).constant_inputs:
            continue
        shape = ed.shape(name)
        if not ed.is_constant(name) or len(shape) > len(source) or math.prod(shape[:-1]) != 1:
            return None
        if math.prod(shape) != 1 and not same_last:
            return None
    return [reshapes[i].inputs[0] if i in reshapes else name for i, name in enumerate(node.inputs)]
