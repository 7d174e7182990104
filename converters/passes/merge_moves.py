"""Chains of reshapes and transposes become the shortest one that does the same (`moves.py` has the algebra).

    before:  transpose(0,3,1,2), transpose(0,2,3,1)              after:  nothing
    before:  reshape [1,48,1936], reshape [1,48,44,44]           after:  reshape [1,48,44,44]
    before:  x [1,1,1,64], transpose(0,3,1,2)                    after:  reshape [1,64,1,1]

A chain is followed upwards from each of its nodes, also past tensors that others read, as long as no byte more is
moved.
"""

from __future__ import annotations

from tinynet.converters.passes import moves
from tinynet.converters.passes.edit import Editor, op_of
from tinynet.graph import Graph, Node

KINDS = ("reshape", "transpose")


def apply(graph: Graph) -> int:
    ed = Editor(graph)
    count = 0
    for node in ed.nodes():
        if node.op in KINDS and ed.alive(node) and not _goes_on(ed, node):
            count += _shorten(ed, node)
    ed.finish()
    return count


def _goes_on(ed: Editor, node: Node) -> bool:
    """Will a longer chain through this node be looked at?  Then leave it to that one."""
    user = ed.only_user(node.outputs[0])
    return user is not None and user.op in KINDS


def links(ed: Editor, node: Node) -> list[Node]:
    """The moves that lead to `node`, first one first, `node` last."""
    chain = [node]
    while (before := ed.made_by(chain[0].inputs[0], *KINDS)) is not None:
        chain.insert(0, before)
    return chain


def move_of(ed: Editor, chain: list[Node]) -> moves.Move | None:
    return moves.chain(ed.shape(chain[0].inputs[0]), [
        (n.op, tuple(op_of(n).perm if n.op == "transpose" else op_of(n).shape)) for n in chain])


def emit(ed: Editor, source: str, spelled: list[tuple[str, tuple[int, ...]]], stem: str) -> str:
    for op, argument in spelled:
        source = ed.emit(op, [source], {"perm" if op == "transpose" else "shape": argument}, stem=stem)
    return source


def _shorten(ed: Editor, node: Node) -> int:
    chain = links(ed, node)
    best, best_price = None, (0, 0, 0)
    for first in range(len(chain)):
        part = chain[first:]
        move = move_of(ed, part)
        if move is None:
            continue
        spelled = moves.steps(move)
        freed = _freed(ed, part)
        # Net change of (transposes that move data, nodes, nodes called transpose); what others read is not freed.
        price = (int(not move.is_view) - sum(_is_real(ed, n) for n in freed), len(spelled) - len(freed),
                 sum(op == "transpose" for op, _ in spelled) - sum(n.op == "transpose" for n in freed))
        if price < best_price and (spelled or ed.can_replace(node.outputs[0], part[0].inputs[0])):
            best, best_price = (part[0].inputs[0], spelled), price
    if best is None:
        return 0
    ed.replace(node.outputs[0], emit(ed, *best, stem=node.outputs[0]))
    return 1


def _freed(ed: Editor, part: list[Node]) -> list[Node]:
    freed = [part[-1]]
    for node in reversed(part[:-1]):
        if ed.only_user(node.outputs[0]) is not freed[-1]:
            break
        freed.append(node)
    return freed


def _is_real(ed: Editor, node: Node) -> bool:
    return node.op == "transpose" and not moves.transposed(ed.shape(node.inputs[0]), tuple(node.attrs["perm"])).is_view
