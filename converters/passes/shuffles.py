"""Pixel and channel shuffles that the source spells as reshape, transpose, reshape.

    before:  reshape [N,C,r,r,H,W], transpose(0,1,4,2,5,3), reshape [N,C,Hr,Wr]
    after:   transpose to NHWC, depth_to_space(r, crd), transpose back
    before:  reshape [N,G,C/G,H,W], transpose(0,2,1,3,4), reshape [N,C,H,W]
    after:   transpose to NHWC, channel_shuffle(G), transpose back

A piece of a chain of moves is compared, in the normal form of `moves.py`, with what each kind would do between its
shapes. So it does not matter how the source spells it, nor whether it works on NCHW or NHWC; the layout pass removes
the transposes.

    before:  reshape [C/2,2,HW], transpose(1,0,2), reshape [2,1,C/2,H,W], slice [j:j+1]
    after:   slice channels j::2, reshape

A slice of one index out of what such a chain makes is taken before the chain, where that is one slice too.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinynet.converters.passes import moves
from tinynet.converters.passes.edit import Editor, op_of
from tinynet.converters.passes.merge_moves import KINDS, emit, links, move_of
from tinynet.graph import Graph, Node

Shape = tuple[int, ...]
Steps = list[tuple[str, tuple[int, ...]]]
MAX_CHAIN = 8


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = sum(_slice_first(ed, node) for node in ed.nodes() if node.op == "slice")
    for node in ed.nodes():
        if ed.alive(node) and node.op == "reshape":
            count += _recognise(ed, node)
    ed.finish()
    return count


def _recognise(ed: Editor, node: Node) -> int:
    """A shuffle that ends at this reshape: the shortest piece of its chain that is one."""
    chain = links(ed, node)[-MAX_CHAIN:]
    for first in range(len(chain) - 2, -1, -1):
        if ed.only_user(chain[first].outputs[0]) is None:
            return 0
        part = chain[first:]
        source = part[0].inputs[0]
        move = move_of(ed, part)
        if move is None or move.is_view or ed.dtype(source) not in ("float32", "uint8"):
            continue
        for kind, attrs, axis in _candidates(move):
            rank = len(move.source)
            to_last = tuple(a for a in range(rank) if a != axis) + (axis,)
            name = source
            if axis != rank - 1:
                name = emit(ed, name, [("transpose", to_last)], node.outputs[0])
            name = ed.emit(kind, [name], attrs, stem=node.outputs[0])
            if axis != rank - 1:
                name = emit(ed, name, [("transpose", moves.inverse(to_last))], node.outputs[0])
            ed.replace(node.outputs[0], name)
            return 1
    return 0


def _candidates(move: moves.Move) -> Iterator[tuple[str, dict, int]]:
    """(kind, attributes, channel axis) of every kind that does what `move` does between its shapes."""
    source, target = move.source, move.target
    if len(source) == len(target) == 4:
        for axis in (3, 1):
            h = 1 if axis == 3 else 2
            r = target[h] // source[h] if source[h] and target[h] % source[h] == 0 else 0
            if r > 1:
                for mode in ("dcr", "crd"):
                    if _same(move, axis, _depth_to_space(source, axis, r, mode)):
                        yield "depth_to_space", {"block": r, "mode": mode}, axis
            r = source[h] // target[h] if target[h] and source[h] % target[h] == 0 else 0
            if r > 1 and _same(move, axis, _space_to_depth(source, axis, r)):
                yield "space_to_depth", {"block": r}, axis
    if source == target and len(source) >= 2:
        for axis in (len(source) - 1, 1):
            for groups in {move.sizes[i] for i in range(len(move.sizes))}:
                if 1 < groups < source[axis] and _same(move, axis, _channel_shuffle(source, axis, groups)):
                    yield "channel_shuffle", {"groups": groups}, axis


def _same(move: moves.Move, axis: int, spelled: Steps | None) -> bool:
    made = moves.chain(move.source, spelled) if spelled else None
    return made is not None and made.same == move.same


def _depth_to_space(shape: Shape, axis: int, r: int, mode: str) -> Steps | None:
    n, c = shape[0], shape[axis]
    h, w = (shape[1], shape[2]) if axis == 3 else (shape[2], shape[3])
    if c % (r * r):
        return None
    c //= r * r
    if axis == 3 and mode == "dcr":
        return [("reshape", (n, h, w, r, r, c)), ("transpose", (0, 1, 3, 2, 4, 5)), ("reshape", (n, h * r, w * r, c))]
    if axis == 3:
        return [("reshape", (n, h, w, c, r, r)), ("transpose", (0, 1, 4, 2, 5, 3)), ("reshape", (n, h * r, w * r, c))]
    if mode == "dcr":
        return [("reshape", (n, r, r, c, h, w)), ("transpose", (0, 3, 4, 1, 5, 2)), ("reshape", (n, c, h * r, w * r))]
    return [("reshape", (n, c, r, r, h, w)), ("transpose", (0, 1, 4, 2, 5, 3)), ("reshape", (n, c, h * r, w * r))]


def _space_to_depth(shape: Shape, axis: int, r: int) -> Steps | None:
    n, c = shape[0], shape[axis]
    h, w = (shape[1], shape[2]) if axis == 3 else (shape[2], shape[3])
    if h % r or w % r:
        return None
    h, w = h // r, w // r
    if axis == 3:
        return [("reshape", (n, h, r, w, r, c)), ("transpose", (0, 1, 3, 2, 4, 5)), ("reshape", (n, h, w, r * r * c))]
    return [("reshape", (n, c, h, r, w, r)), ("transpose", (0, 3, 5, 1, 2, 4)), ("reshape", (n, r * r * c, h, w))]


def _channel_shuffle(shape: Shape, axis: int, groups: int) -> Steps | None:
    if shape[axis] % groups:
        return None
    split = (*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1:])
    perm = [*range(len(split))]
    perm[axis], perm[axis + 1] = axis + 1, axis
    return [("reshape", split), ("transpose", tuple(perm)), ("reshape", shape)]


def _slice_first(ed: Editor, node: Node) -> int:
    """slice(chain(x)) with one index -> chain'(slice'(x)), where x has an axis on which that index is one slice."""
    shape, op = ed.shape(node.inputs[0]), op_of(node)
    cut = [a for a, d in enumerate(shape) if len(range(op.begin[a], op.end[a], op.step[a])) != d]
    if len(cut) != 1 or len(range(op.begin[cut[0]], op.end[cut[0]], op.step[cut[0]])) != 1 \
            or any(op.step[a] < 0 and d > 1 for a, d in enumerate(shape)):
        return 0
    last = ed.made_by(node.inputs[0], *KINDS)
    if last is None:
        return 0
    # One index of an axis: split off as an atom of its own by a reshape that names the axis.
    chain = links(ed, last)
    for first in range(len(chain)):
        source = chain[first].inputs[0]
        move = move_of(ed, chain[first:])
        found = None if move is None or move.is_view else _on_source(move, cut[0], op.begin[cut[0]])
        if found is None:
            continue
        axis, begin, end, step, rest = found
        before = ed.shape(source)
        attrs = {"begin": tuple(begin if a == axis else 0 for a in range(len(before))),
                 "end": tuple(end if a == axis else d for a, d in enumerate(before)),
                 "step": tuple(step if a == axis else 1 for a in range(len(before)))}
        name = ed.emit("slice", [source], attrs, stem=node.outputs[0])
        wanted = moves.chain(ed.shape(name), [*rest, ("reshape", ed.shape(node.outputs[0]))])
        ed.replace(node.outputs[0], emit(ed, name, moves.steps(wanted), node.outputs[0]))
        return 1
    return 0


def _on_source(move: moves.Move, axis: int, index: int) -> tuple[int, int, int, int, Steps] | None:
    """(axis, begin, end, step) of the slice of `move.source` that gives index `index` of target axis `axis`, and the
    moves to do afterwards (without that axis)."""
    size = move.target[axis]
    outer, inner = 1, 1
    for a, d in enumerate(move.target):
        outer, inner = (outer * d, inner) if a < axis else (outer, inner * d) if a > axis else (outer, inner)
    marked = moves.atoms(move, (outer, size, inner))
    if marked is None:
        return None
    sizes, perm, position = marked                  # unreduced: sizes[perm[position]] is the axis
    atom = perm[position]
    begin = 0
    for source_axis, d in enumerate(move.source):
        covered, first = 1, begin
        while begin < len(sizes) and covered < d:
            covered *= sizes[begin]
            begin += 1
        if not first <= atom < begin:
            continue
        if covered != d:
            return None
        high = 1
        for a in range(first, atom):
            high *= sizes[a]
        low = d // (high * size)
        rest: Steps = [("reshape", tuple(1 if a == atom else s for a, s in enumerate(sizes))), ("transpose", perm)]
        if low == 1:
            return source_axis, index, d, size, rest
        if high == 1:
            return source_axis, index * low, (index + 1) * low, 1, rest
        return None
    return None
