"""Group normalisation that the source spells as instance normalisation of a reshaped image works on the image itself.

    before:  x [N,C,H,W], reshape [N,G,L], transpose(0,2,1), group_norm(groups G), transpose(0,2,1), reshape [N,C,H,W]
    after:   x [N,C,H,W], transpose to NHWC, group_norm(groups G) of C channels, transpose back

The layout pass removes the transposes.  Chains of moves are compared in the normal form of `moves.py`.
"""

from __future__ import annotations

import numpy as np

from tinynet.converters.passes import moves
from tinynet.converters.passes.edit import Editor, op_of
from tinynet.converters.passes.merge_moves import KINDS, emit, links, move_of
from tinynet.graph import Graph, Node


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = sum(_recognise(ed, node) for node in ed.nodes() if node.op == "group_norm")
    ed.finish()
    return count


def _recognise(ed: Editor, node: Node) -> int:
    shape, groups = ed.shape(node.inputs[0]), op_of(node).groups
    last = ed.made_by(node.inputs[0], *KINDS)
    if last is None or len(shape) != 3 or shape[-1] != groups or not all(ed.is_constant(name) for name in node.inputs[1:]):
        return 0
    before = links(ed, last)
    for first in range(len(before)):
        source = before[first].inputs[0]
        image, move = ed.shape(source), move_of(ed, before[first:])
        if move is None or len(image) < 3 or len(image) == 3 and image[1] == groups or not _by_groups(move, groups):
            continue
        y = _restored(ed, node, move)
        if y is not None:
            return _emit(ed, node, source, y)
    return 0


def _by_groups(move: moves.Move, groups: int) -> bool:
    """Is it x [N,C,...] -> [N, L, G], each group's channels in one column?"""
    image = move.source
    if image[0] != move.target[0] or image[1] % groups:
        return False
    split = moves.chain(image, [("reshape", (image[0], groups, move.target[1])), ("transpose", (0, 2, 1))])
    return split is not None and split.same == move.same


def _restored(ed: Editor, node: Node, move: moves.Move) -> str | None:
    """The tensor in which what the normalisation gives has the order of x again, and nothing before it has a reader."""
    name, after = node.outputs[0], []
    while (user := ed.only_user(name)) is not None and user.op in KINDS:
        after.append(user)
        name = user.outputs[0]
        back = move_of(ed, after)
        if back is not None and back.same == move.inverse().same:
            return name
    return None


def _emit(ed: Editor, node: Node, x: str, y: str) -> int:
    rank, channels = len(ed.shape(x)), ed.shape(x)[1]
    to_last = (0, *range(2, rank), 1)
    name = emit(ed, x, [("transpose", to_last)], y)
    weights = [np.repeat(ed.value(w), channels // op_of(node).groups) for w in node.inputs[1:]]
    name = ed.emit("group_norm", [name, *(ed.constant(w, f"{y}/weights") for w in weights)], node.attrs, stem=y)
    ed.replace(y, emit(ed, name, [("transpose", moves.inverse(to_last))], y))
    return 1
