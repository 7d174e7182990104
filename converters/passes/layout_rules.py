"""Which kinds do not care in which order their dimensions lie, and what changes when the order does.

`flip(ed, node, position, perm)` asks: if the tensor at `position` of this node (-1: its output, otherwise an input)
were stored as `t.transpose(perm)`, how would the same node have to be written?  The answer names the permutation of
every other tensor and the new attributes, or is None where the kind minds (a convolution) or the wish cannot be
expressed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tinynet.converters.passes import moves
from tinynet.converters.passes.edit import Editor, op_of
from tinynet.graph import Node

Perm = tuple[int, ...]


@dataclass
class Flip:
    """`inputs[i]`: permutation that input i must have (None: as it is); `output` likewise; `attrs`: what changes."""

    inputs: list[Perm | None]
    output: Perm
    attrs: dict[str, Any]


def flip(ed: Editor, node: Node, position: int, perm: Perm) -> Flip | None:
    op = op_of(node)
    rule = _RULES.get(node.op) or (_elementwise if op.elementwise else None)
    return rule(ed, node, op, position, perm) if rule else None


def _elementwise(ed, node, op, position, perm):
    rank = len(ed.shape(node.outputs[0]))
    if len(perm) != rank:
        return None
    # A constant of one element broadcasts the same way in every order; a table has an order of its own.
    inputs = [None if i in op.constant_inputs or ed.is_constant(n) and math.prod(ed.shape(n)) == 1 else perm
              for i, n in enumerate(node.inputs)]
    return Flip(inputs, perm, {})


def _concat(ed, node, op, position, perm):
    return Flip([perm] * len(node.inputs), perm, {"axis": perm.index(op.axis)})


def _along_axis(ed, node, op, position, perm):
    return Flip([perm], perm, {"axis": perm.index(op.axis % len(perm))})


def _per_axis(*names):
    def rule(ed, node, op, position, perm):
        rest = [None] * (len(node.inputs) - 1)          # what a pad fills with
        if position > 0:
            return None
        return Flip([perm, *rest], perm, {name: tuple(getattr(op, name)[p] for p in perm) for name in names})
    return rule


def _steps(ed, node, op, position, perm):
    """quantize, dequantize with a scale for each entry of an axis."""
    return Flip([perm], perm, {"axis": perm.index(op.axis)} if len(op.scale) > 1 else {})


def _expand(ed, node, op, position, perm):
    if len(perm) != len(op.shape):
        return None
    return Flip([perm], perm, {"shape": tuple(op.shape[p] for p in perm)})


def _dropped(perm: Perm, axes: tuple[int, ...]) -> Perm:
    """`perm` without `axes`, renumbered."""
    left = [p for p in perm if p not in axes]
    return tuple(sorted(left).index(p) for p in left)


def _reduce(ed, node, op, position, perm):
    if position < 0 and not op.keepdims:
        return None
    axes = tuple(sorted(perm.index(a) for a in op.axes))
    return Flip([perm], perm if op.keepdims else _dropped(perm, op.axes), {"axes": axes})


def _argmax(ed, node, op, position, perm):
    if position < 0 and not op.keepdims:
        return None
    axis = op.axis % len(ed.shape(node.inputs[0]))
    return Flip([perm], perm if op.keepdims else _dropped(perm, (axis,)), {"axis": perm.index(axis)})


def _gather(ed, node, op, position, perm):
    width = len(ed.shape(node.inputs[1]))
    if position == 1 or (position < 0 and width != 1):
        return None
    axis = op.axis % len(ed.shape(node.inputs[0]))
    out: list[int] = []
    for p in perm:
        out += range(axis, axis + width) if p == axis else [p if p < axis else p + width - 1]
    return Flip([perm, None], tuple(out), {"axis": perm.index(axis)})


def _resize(ed, node, op, position, perm):
    """Pictures stay channels-last; what is resized axis by axis may lie in any order."""
    if op.plain_image:
        return None
    order = sorted(range(len(op.axes)), key=lambda i: perm.index(op.axes[i]))
    picked = {"size": tuple(op.size[i] for i in order)}
    if op.scales:
        picked["scales"] = tuple(op.scales[i] for i in order)
    if op.roi:
        picked["roi"] = tuple(op.roi[i + end] for end in (0, len(order)) for i in order)
    return Flip([perm], perm, {"axes": tuple(perm.index(op.axes[i]) for i in order), **picked})


def _last_axis(ed, node, op, position, perm):
    """Kinds that work along the last axis and treat all others alike; their weights stay as they are."""
    if position > 0 and position in op.constant_inputs or perm[-1] != len(perm) - 1:
        return None
    return Flip([None if i in op.constant_inputs else perm for i in range(len(node.inputs))], perm, {})


def _normalized_rows(ed, node, op, position, perm):
    """Weights, which may be computed, belong to the last axis."""
    if position > 0 or perm[-1] != len(perm) - 1:
        return None
    return Flip([perm, *[None] * (len(node.inputs) - 1)], perm, {})


def _reshape(ed, node, op, position, perm):
    source, target = ed.shape(node.inputs[0]), tuple(op.shape)
    if position < 0:
        first = follow(target, source, perm)
        return None if first is None else Flip([first], perm, {"shape": tuple(target[p] for p in perm)})
    out = follow(source, target, perm)
    return None if out is None else Flip([perm], out, {"shape": tuple(target[p] for p in out)})


def follow(source: Perm, target: Perm, perm: Perm) -> Perm | None:
    """The permutation b with reshape(x).transpose(b) == reshape(x.transpose(perm)) for reshape: source -> target.

    It exists where every dimension of `target` (larger than 1) is made of data that still lies together, in order.
    Dimensions of size 1 may go anywhere; they stay before the dimension that they precede, leading ones in front.
    """
    if math.prod(source) == 0:
        return None
    back = moves.transposed(tuple(source[p] for p in perm), moves.inverse(perm))
    move = moves.compose(back, moves.reshaped(source, target))
    if move is None:
        return None
    place = _places(move)
    if place is None:
        return None
    keys: list[tuple] = []
    for axis in range(len(target)):
        after = next((place[k] for k in range(axis, len(target)) if k in place), None)
        if axis in place:
            keys.append((place[axis], 1, axis))
        elif not any(k in place for k in range(axis)):
            keys.append((-1, 0, axis))
        elif after is not None:
            keys.append((after, 0, axis))
        else:
            keys.append((max((k, place[k]) for k in place)[1], 2, axis))
    return tuple(key[-1] for key in sorted(keys))


def _places(move: moves.Move) -> dict[int, int] | None:
    """Target axis -> where its data begins in the source (as an offset in elements of the flat order), or None where
    a target axis is made of pieces that lie apart."""
    inner = [math.prod(move.sizes[i + 1:]) for i in range(len(move.sizes))]
    total = math.prod(move.source)
    place: dict[int, int] = {}
    atoms = [[p, move.sizes[p]] for p in move.perm]         # what is left of each atom, in target order
    for axis, size in enumerate(move.target):
        if size == 1:
            continue
        if not atoms or atoms[0][1] % size:
            return None
        p, room = atoms[0]
        # The outer part of an atom comes first: the larger its stride, the further in front.
        place[axis] = total - inner[p] * room
        atoms[0][1] = room // size
        if atoms[0][1] == 1:
            atoms.pop(0)
    return place


_RULES = {
    "softmax": _along_axis, "log_softmax": _along_axis, "hardmax": _along_axis, "cumsum": _along_axis, "cumprod": _along_axis,
    "quantize": _steps, "dequantize": _steps, "concat": _concat, "gather": _gather,
    "reshape": _reshape, "expand": _expand, "resize": _resize,
    "slice": _per_axis("begin", "end", "step"), "pad": _per_axis("begin", "end"),
    "argmax": _argmax, "argmin": _argmax, "reduce_mean": _reduce, "reduce_sum": _reduce, "reduce_prod": _reduce,
    "reduce_max": _reduce, "reduce_min": _reduce, "reduce_l1": _reduce, "reduce_l2": _reduce, "reduce_sum_square": _reduce,
    "reduce_log_sum_exp": _reduce,
    "dense": _last_axis, "batch_norm": _last_axis, "lrn": _last_axis, "channel_shuffle": _last_axis,
    "layer_norm": _normalized_rows, "rms_norm": _normalized_rows,
}
