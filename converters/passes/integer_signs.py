"""int8 becomes uint8: 128 more, with a zero that is 128 more, stands for the same numbers.

    before:  quantize int8 (zero z), reshape, dequantize (zero z)
    after:   quantize uint8 (zero z + 128), reshape, dequantize (zero z + 128)

Only what lies between quantize and dequantize: where a network reads or writes int8 itself, a q_table turns one into the other.
"""

from __future__ import annotations

import numpy as np

from tinynet.converters.passes.edit import Editor, op_of
from tinynet.converters.passes.integer_moves import data_inputs, moves
from tinynet.graph import Graph, Node

_BITS = (np.arange(256) ^ 128).astype(np.uint8)


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    twins: dict[str, str] = {}                      # int8 tensor -> the same as uint8
    wanted = _wanted(ed)
    done: set[int] = set()
    for node in ed.nodes():
        out = node.outputs[0]
        if node.op == "quantize" and ed.dtype(out) == "int8":
            attrs = {**node.attrs, "dtype": "uint8", "zero": _more(node)}
            twins[out] = ed.emit("quantize", node.inputs, attrs, stem=f"{out}/unsigned")
        elif node.op == "dequantize" and ed.dtype(node.inputs[0]) == "int8":
            x = _unsigned(ed, node.inputs[0], twins)
            done.add(id(node))
            ed.replace(out, ed.emit("dequantize", [x], {**node.attrs, "zero": _more(node)}, stem=out))
        elif ed.dtype(out) == "int8" and moves(ed, node) and (
                out in wanted or any(node.inputs[i] in twins for i in data_inputs(node))):
            inputs = list(node.inputs)
            for i in data_inputs(node):
                inputs[i] = _unsigned(ed, inputs[i], twins)
            attrs = node.attrs
            if node.op == "pad":
                attrs = {**attrs, "value": op_of(node).value + 128}
            twins[out] = ed.emit(node.op, inputs, attrs, stem=f"{out}/unsigned")
            done.add(id(node))
    for name, twin in twins.items():
        if name in ed.producer and ed.producer[name].op != "q_table" and (
                name in ed.outputs or any(id(user) not in done for user in ed.users[name])):
            ed.replace(name, other_sign(ed, twin, name))
    count = len(twins) + len(done)
    ed.finish()
    return count


def _wanted(ed: Editor) -> set[str]:
    """int8 tensors that a dequantize reads, perhaps behind moves."""
    found: set[str] = set()
    for node in reversed(ed.nodes()):
        if node.op == "dequantize" and ed.dtype(node.inputs[0]) == "int8":
            found.add(node.inputs[0])
        elif node.outputs[0] in found and moves(ed, node):
            found.update(node.inputs[i] for i in data_inputs(node))
    return found


def _more(node: Node) -> tuple[int, ...]:
    return tuple(zero + 128 for zero in op_of(node).zero)


def other_sign(ed: Editor, name: str, stem: str) -> str:
    """int8 as uint8 or the other way around, for the same numbers."""
    dtype = "uint8" if ed.dtype(name) == "int8" else "int8"
    return ed.emit("q_table", [name, ed.constant(_BITS.view(dtype), "sign_bit")], stem=stem)


def _unsigned(ed: Editor, name: str, twins: dict[str, str]) -> str:
    if name not in twins:
        if ed.is_constant(name):
            twins[name] = ed.constant(_BITS[ed.value(name).view(np.uint8)], f"{name}/unsigned")
        else:
            twins[name] = other_sign(ed, name, f"{name}/unsigned")
    return twins[name]
