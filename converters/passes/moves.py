"""The algebra of reshapes and transposes.

Any chain of them is one permutation of *atoms*:

    y = x.reshape(sizes).transpose(perm).reshape(target)

where no size is 1 and no two neighbours stay neighbours in the same order (they would be one atom).  In this form
two chains do the same exactly when their `sizes` and `perm` are equal; a chain is a mere view when there is at most
one atom.

    [1,48,44,44] reshape [24,2,1936], transpose (1,0,2), reshape [2,24,44,44]   =   sizes (24,2,1936), perm (1,0,2)
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Move:
    source: tuple[int, ...]
    target: tuple[int, ...]
    sizes: tuple[int, ...]
    perm: tuple[int, ...]

    @property
    def is_view(self) -> bool:
        return len(self.perm) <= 1

    @property
    def same(self) -> tuple[tuple[int, ...], ...]:
        """Equal for two moves exactly when they do the same."""
        return self.target, self.sizes, self.perm

    def inverse(self) -> Move:
        return Move(self.target, self.source, tuple(self.sizes[p] for p in self.perm), inverse(self.perm))


def inverse(perm: tuple[int, ...]) -> tuple[int, ...]:
    back = [0] * len(perm)
    for i, p in enumerate(perm):
        back[p] = i
    return tuple(back)


def reshaped(source: tuple[int, ...], target: tuple[int, ...]) -> Move:
    return Move(source, target, *_reduce([math.prod(source)], [0]))


def transposed(source: tuple[int, ...], perm: tuple[int, ...]) -> Move:
    return Move(source, tuple(source[p] for p in perm), *_reduce(list(source), list(perm)))


def compose(first: Move, second: Move) -> Move | None:
    """`second` after `first`; None where the two cut the data at places that have no common refinement
    ([2,3] and [3,2] of the same six values), or where there is no data."""
    total = math.prod(first.source)
    if total == 0:
        return None
    middle = [first.sizes[p] for p in first.perm]
    cuts = _cuts(middle) | _cuts(second.sizes)
    ordered = sorted(cuts | {total})
    if any(b % a for a, b in zip(ordered, ordered[1:], strict=False)):
        return None
    made, read = _pieces(middle, cuts), _pieces(second.sizes, cuts)
    sizes = [size for group in made for _, size in group]
    source_order = [label for out in inverse(first.perm) for label, _ in made[out]]
    target_order = [label for atom in second.perm for label, _ in read[atom]]
    place = {label: i for i, label in enumerate(source_order)}
    reduced = _reduce([sizes[label] for label in source_order], [place[label] for label in target_order])
    return Move(first.source, second.target, *reduced)


def chain(source: tuple[int, ...], steps: list[tuple[str, tuple[int, ...]]]) -> Move | None:
    """The move that ("reshape", shape) and ("transpose", perm) steps make together."""
    move: Move | None = reshaped(source, source)
    for op, argument in steps:
        if move is None:
            return None
        step = reshaped(move.target, argument) if op == "reshape" else transposed(move.target, argument)
        move = compose(move, step)
    return move


def steps(move: Move) -> list[tuple[str, tuple[int, ...]]]:
    """The shortest spelling: nothing, reshape, transpose, or transpose with reshapes around it."""
    if move.is_view:
        return [("reshape", move.target)] if move.source != move.target else []
    atoms = tuple(move.sizes[p] for p in move.perm)
    best = [("reshape", move.sizes)] if move.sizes != move.source else []
    best += [("transpose", move.perm)] + ([("reshape", move.target)] if atoms != move.target else [])
    direct = _direct(move)
    if direct is not None:
        shape = tuple(move.source[p] for p in direct)
        spelled = [("transpose", direct)] + ([("reshape", move.target)] if shape != move.target else [])
        best = min(spelled, best, key=len)
    back = _direct(move.inverse())
    if back is not None:
        shape = tuple(move.target[p] for p in back)
        spelled = ([("reshape", shape)] if shape != move.source else []) + [("transpose", inverse(back))]
        best = min(best, spelled, key=len)
    return best


def transposed_last(move: Move) -> list[tuple[str, tuple[int, ...]]] | None:
    """The spelling reshape, transpose (the reshape also where it changes nothing), if there is one."""
    back = None if move.is_view else _direct(move.inverse())
    if back is None:
        return None
    return [("reshape", tuple(move.target[p] for p in back)), ("transpose", inverse(back))]


def _cuts(sizes) -> set[int]:
    """Products of the last sizes: where the flat data is cut, counted from its end."""
    cuts, product = {1}, 1
    for size in reversed(sizes):
        product *= size
        cuts.add(product)
    return cuts


def _pieces(sizes, cuts: set[int]) -> list[list[tuple[int, int]]]:
    """Each size cut further at `cuts`: (label, size) pieces, labels counted from the left."""
    high, label, out = math.prod(sizes), 0, []
    for size in sizes:
        low = high // size
        bounds = [high, *sorted((c for c in cuts if low < c < high), reverse=True), low]
        out.append([])
        for a, b in zip(bounds, bounds[1:], strict=False):
            out[-1].append((label, a // b))
            label += 1
        high = low
    return out


def _reduce(sizes: list[int], perm: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Drop atoms of size 1 and join those that stay neighbours."""
    perm = [p for p in perm if sizes[p] != 1]
    rank = {p: i for i, p in enumerate(sorted(perm))}
    kept = [sizes[p] for p in sorted(perm)]
    order = [rank[p] for p in perm]
    groups: list[list[int]] = []
    for p in order:
        if groups and groups[-1][-1] + 1 == p:
            groups[-1].append(p)
        else:
            groups.append([p])
    by_source = sorted(groups)
    place = {group[0]: i for i, group in enumerate(by_source)}
    return (tuple(math.prod(kept[p] for p in group) for group in by_source),
            tuple(place[group[0]] for group in groups))


def _direct(move: Move) -> tuple[int, ...] | None:
    """A permutation of the dimensions of `source` that brings the data in order, dimensions of size 1 placed so that
    the result is `target` where that is possible; None where a dimension would have to be split."""
    if not _cuts(move.sizes) <= _cuts(move.source):
        return None
    atoms: list[list[int]] = [[] for _ in move.sizes]
    atom, room = 0, move.sizes[0]
    for axis, size in enumerate(move.source):
        if size == 1:
            continue
        if room == 1:
            atom += 1
            room = move.sizes[atom]
        atoms[atom].append(axis)
        room //= size
    order = [axis for p in move.perm for axis in atoms[p]]
    ones = [axis for axis, size in enumerate(move.source) if size == 1]
    if len(move.target) == len(move.source):
        rest, spare, perm = list(order), list(ones), []
        for size in move.target:
            queue = spare if size == 1 else rest
            if not queue or move.source[queue[0]] != size:
                break
            perm.append(queue.pop(0))
        else:
            return tuple(perm)
    return tuple(ones + order)


def atoms(move: Move, split: tuple[int, int, int]) -> tuple[tuple[int, ...], tuple[int, ...], int] | None:
    """(sizes, perm, position): `move` with atoms cut so finely that the middle one of the target's three parts
    `split` = (outer, size, inner) is exactly the atom at `position` in target order, and so that every dimension of
    the source is made of whole atoms.  None where that cannot be said."""
    target_cuts = _cuts(split)
    source_cuts = _cuts(move.source)
    sizes, perm = list(move.sizes), list(move.perm)
    ordered = [sizes[p] for p in perm]
    fine = _refined(ordered, target_cuts)
    if fine is None:
        return None
    labels = [[(p, k) for k in range(len(group))] for p, group in zip(perm, fine, strict=True)]
    size_of = {(p, k): s for p, group in zip(perm, fine, strict=True) for k, s in enumerate(group)}
    in_source = sorted(size_of)
    again = _refined([size_of[label] for label in in_source], source_cuts)
    if again is None:
        return None
    new_sizes: list[int] = []
    place: dict[tuple[int, int], list[int]] = {}
    for label, group in zip(in_source, again, strict=True):
        place[label] = list(range(len(new_sizes), len(new_sizes) + len(group)))
        new_sizes += group
    order = [i for group in labels for label in group for i in place[label]]
    outer, position = 1, 0
    while outer < split[0]:
        outer *= new_sizes[order[position]]
        position += 1
    if outer != split[0] or position == len(order) or new_sizes[order[position]] != split[1]:
        return None
    return tuple(new_sizes), tuple(order), position


def _refined(sizes: list[int], cuts: set[int]) -> list[list[int]] | None:
    total = math.prod(sizes)
    ordered = sorted(c for c in _cuts(sizes) | cuts | {total})
    if any(b % a for a, b in zip(ordered, ordered[1:], strict=False)):
        return None
    return [[size for _, size in group] for group in _pieces(sizes, cuts)]
