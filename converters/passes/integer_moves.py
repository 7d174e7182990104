"""Bytes are moved, not floats: dequantize sinks below what moves or compares, quantize rises above it.

    before:  dequantize(x), max_pool2d, transpose, quantize          before:  conv2d, max_pool2d, quantize
    after:   max_pool2d(x), transpose, dequantize, quantize          after:   conv2d, quantize, max_pool2d

    dequantize(x), quantize with the same scale and zero    ->  x

Both grow with their input (a scale is positive), so that the largest stays the largest.  A concat of tensors with different
scales takes the quantize that follows instead.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynet.converters.passes.edit import Editor, op_of
from tinynet.graph import Graph, Node
from tinynet.ops import ShapeError, make

MOVES = {"reshape", "transpose", "slice", "expand", "depth_to_space", "space_to_depth", "channel_shuffle", "gather",
         "gather_elements", "gather_nd", "im2col2d", "reverse_sequence", "concat", "pad", "resize", "max_pool2d", "reduce_max",
         "reduce_min", "where"}
# Which of several things is the largest does not depend on the scale.
PLACES = {"argmax", "argmin", "max_pool_indices"}


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        if not ed.alive(node):
            continue
        if node.op == "quantize":
            count += _meets(ed, node) or _rises(ed, node)
        elif node.op in PLACES:
            count += _places(ed, node)
        elif node.op in MOVES and ed.dtype(node.outputs[0]) == "float32":
            count += _sinks(ed, node)
    ed.finish()
    return count


def data_inputs(node: Node) -> list[int]:
    """The inputs that are moved; the others are conditions and indices, or what a pad fills with."""
    if node.op == "concat":
        return list(range(len(node.inputs)))
    return [1, 2] if node.op == "where" else [0]


def moves(ed: Editor, node: Node) -> bool:
    """Does each element of the output come from the input (or, of a pad, from its attribute)?"""
    if node.op not in MOVES:
        return False
    op = op_of(node)
    if node.op == "resize":
        return op.mode == "nearest" and op.coordinates != "tf_crop_and_resize"
    if node.op == "pad":
        return len(node.inputs) == 1
    if node.op in ("max_pool2d", "reduce_max", "reduce_min"):
        return math.prod(ed.shape(node.inputs[0])) > 0 and (node.op != "max_pool2d" or _no_empty_window(op))
    return True


def _no_empty_window(op: Any) -> bool:
    return op.dilations == (1, 1) and all(pad < op.kernel[i % 2] for i, pad in enumerate(op.pads)) or not any(op.pads)


def one_step(node: Node | None) -> tuple[float, int] | None:
    """(scale, zero) of a quantize or dequantize that has one of each, and uint8 for its integers."""
    if node is None or node.op not in ("quantize", "dequantize"):
        return None
    op = op_of(node)
    return (op.scale[0], op.zero[0]) if len(op.scale) == 1 else None


def behind(ed: Editor, name: str) -> tuple[str, float, int, str] | None:
    """(integers, scale, zero, their dtype) behind a float32 tensor: of 8 bits, with one scale."""
    maker = ed.made_by(name, "dequantize")
    step = one_step(maker)
    if step is None or ed.dtype(maker.inputs[0]) == "int32":
        return None
    return maker.inputs[0], *step, ed.dtype(maker.inputs[0])


def dequantized(ed: Editor, name: str) -> tuple[str, float, int] | None:
    """As `behind`, of uint8."""
    found = behind(ed, name)
    return found[:3] if found is not None and found[3] == "uint8" else None


def _emit(ed: Editor, node: Node, inputs: list[str], attrs: dict[str, Any], stem: str) -> str | None:
    """The node on other inputs; None where the kind does not take them."""
    try:
        make(node.op, attrs).infer(*(ed.spec(name) for name in inputs))
    except ShapeError:
        return None
    return ed.emit(node.op, inputs, attrs, stem=stem)


def _attributes(node: Node, scale: float, zero: int, dtype: str, exact: bool) -> dict[str, Any] | None:
    """Of the node on integers; None where a pad fills with what is none, if it has to be `exact`."""
    if node.op != "pad" or op_of(node).mode != "constant":
        return node.attrs
    value = np.float32(op_of(node).value)
    filled, = make("quantize", {"scale": (scale,), "zero": (zero,), "dtype": dtype}).reference(value)
    if exact and np.float32(int(filled) - zero) * np.float32(scale) != value:
        return None
    return {**node.attrs, "value": float(filled)}


def _sinks(ed: Editor, node: Node) -> int:
    places = data_inputs(node)
    found = [behind(ed, node.inputs[i]) for i in places]
    if found[0] is None or any(f is None or f[1:] != found[0][1:] for f in found) or not moves(ed, node):
        return 0
    _, scale, zero, dtype = found[0]
    attrs = _attributes(node, scale, zero, dtype, exact=True)
    if attrs is None:
        return 0
    out = node.outputs[0]
    inputs = list(node.inputs)
    for place, each in zip(places, found, strict=True):
        inputs[place] = each[0]
    moved = _emit(ed, node, inputs, attrs, f"{out}/integers")
    if moved is None:
        return 0
    ed.replace(out, ed.emit("dequantize", [moved], {"scale": (scale,), "zero": (zero,)}, stem=out))
    return 1


def _rises(ed: Editor, node: Node) -> int:
    """quantize of what a move made, where the move has no other reader."""
    y, step = node.inputs[0], one_step(node)
    mover = ed.producer.get(y)
    if mover is None or step is None or ed.only_user(y) is None or not moves(ed, mover) \
            or all(ed.is_constant(name) for name in mover.inputs):
        return 0
    places = data_inputs(mover)
    if len(places) > 1 and not any(ed.made_by(mover.inputs[i], "dequantize", "quantize") or is_layer(ed, mover.inputs[i])
                                   for i in places):
        return 0
    attrs = _attributes(mover, *step, ed.dtype(node.outputs[0]), exact=False)
    out = node.outputs[0]
    inputs = list(mover.inputs)
    for i in places:
        inputs[i] = ed.emit("quantize", [inputs[i]], node.attrs, stem=f"{inputs[i]}/integers")
    moved = _emit(ed, mover, inputs, attrs, out)
    if moved is None:
        return 0
    ed.replace(out, moved)
    return 1


def is_layer(ed: Editor, name: str) -> bool:
    return ed.made_by(name, "conv2d", "depthwise_conv2d", "dense") is not None


def _places(ed: Editor, node: Node) -> int:
    found = behind(ed, node.inputs[0])
    if found is None:
        return 0
    made = _emit(ed, node, [found[0], *node.inputs[1:]], node.attrs, node.outputs[0])
    if made is None:
        return 0
    ed.replace(node.outputs[0], made)
    return 1


def _meets(ed: Editor, node: Node) -> int:
    """quantize(dequantize(x)) with the same steps."""
    found, step = behind(ed, node.inputs[0]), one_step(node)
    out = node.outputs[0]
    if found is None or step is None or found[1:] != (*step, ed.dtype(out)) or not ed.can_replace(out, found[0]):
        return 0
    ed.replace(out, found[0])
    return 1
