"""Means of integers.

    dequantize(x), average_pool2d, quantize                       ->  q_average_pool2d
    dequantize(x), reduce_mean over all pixels, quantize          ->  q_global_average_pool
    dequantize(x), linear resize, quantize                        ->  q_resize

Comes before int8 becomes uint8: between two integers it decides in which of them the source rounds (`signed`).
"""

from __future__ import annotations

from typing import Any

from tinynet.converters.passes.edit import Editor, has_activation, op_of
from tinynet.converters.passes.integer_moves import behind, one_step
from tinynet.converters.passes.integer_signs import other_sign
from tinynet.graph import Graph, Node
from tinynet.ops import ShapeError, make


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        if ed.alive(node) and node.op in ("average_pool2d", "reduce_mean", "resize"):
            count += _average(ed, node)
    ed.finish()
    return count


def _average(ed: Editor, node: Node) -> int:
    x, follower, kind = behind(ed, node.inputs[0]), ed.only_user(node.outputs[0]), _kind(ed, node)
    step = one_step(follower) if follower is not None and follower.op == "quantize" else None
    if x is None or step is None or kind is None or ed.dtype(follower.outputs[0]) != x[3]:
        return 0
    signed = x[3] == "int8"
    shift = 128 if signed else 0
    name, attrs = kind
    attrs |= {"x_scale": x[1], "x_zero": x[2] + shift, "y_scale": step[0], "y_zero": step[1] + shift}
    if signed and name == "q_average_pool2d":
        attrs["signed"] = True
    source, out = x[0], follower.outputs[0]
    try:
        make(name, attrs).infer(ed.spec(source).replaced(dtype="uint8"))
    except ShapeError:                              # no picture, or more pixels than an int32 holds the sum of
        return 0
    if signed:
        source = other_sign(ed, source, f"{source}/unsigned")
    made = ed.emit(name, [source], attrs, stem=out)
    ed.replace(out, other_sign(ed, made, out) if signed else made)
    return 1


def _kind(ed: Editor, node: Node) -> tuple[str, dict[str, Any]] | None:
    """(kind of integers, attributes without the scales)."""
    op = op_of(node)
    if node.op == "average_pool2d":
        return None if has_activation(node) else ("q_average_pool2d", dict(node.attrs))
    if node.op == "reduce_mean":
        rank = len(ed.shape(node.inputs[0]))
        if rank < 3 or op.axes != tuple(range(1, rank - 1)):
            return None
        return "q_global_average_pool", {"keepdims": op.keepdims}
    if op.mode != "linear" or op.antialias or op.axes != (1, 2) or op.coordinates == "tf_crop_and_resize":
        return None
    return "q_resize", {"size": op.size, "scales": op.scales, "coordinates": op.coordinates}
