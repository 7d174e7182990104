"""Where each block of a run's memory lies: lifetimes in, offsets out.  Pure functions of integers.

Two blocks may share bytes if no step needs both.  The order in which blocks are placed decides how good the result is;
three orders are tried and the best is kept: by size (Pisarchyk & Lee 2020, arXiv 2001.03288, "greedy by size"), by the
size alive at their busiest step ("greedy by breadth"), and by time.  Each block goes into the smallest gap that fits
between the blocks that overlap it in time, or on top of them.  While the best is above the lower bound, the block at its top
is placed first and all others after it, a few times.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, chain

from tinynet.record import Record

ALIGN = 64
# The search looks at every pair of blocks that live together, about a microsecond each.  Graphs with more of them are no
# networks (DenseNet-121 has 307), and get the quick way.
MOST_PAIRS = 200_000
MOST_ROUNDS = 16    # of placing the topmost block first


class Block(Record):
    __slots__ = ("name", "nbytes", "first", "last")

    def __init__(self, name: str, nbytes: int, first: int, last: int):
        self.name = name
        self.nbytes = nbytes
        self.first = first          # step that writes it first
        self.last = last            # step that reads it last, >= first


class MemoryMap(Record):
    """Offsets of the blocks in one arena.

    `arena_bytes` is what the activations need, `lower_bound` the largest sum of blocks that live at the same time: no
    layout can be smaller.  `scratch_bytes` (padded pictures, column buffers, packed operands), `constant_bytes` (tables and
    weights built at load), `output_bytes` (the arrays that a run returns) and `weight_bytes` (mapped from the file) come on
    top.
    """

    __slots__ = ("blocks", "offsets", "arena_bytes", "lower_bound", "scratch_bytes", "constant_bytes", "weight_bytes",
                 "output_bytes")

    def __init__(self, blocks: list[Block], offsets: list[int], arena_bytes: int, lower_bound: int,
                 scratch_bytes: int = 0, constant_bytes: int = 0, weight_bytes: int = 0, output_bytes: int = 0):
        self.blocks = blocks
        self.offsets = offsets
        self.arena_bytes = arena_bytes
        self.lower_bound = lower_bound
        self.scratch_bytes = scratch_bytes
        self.constant_bytes = constant_bytes
        self.weight_bytes = weight_bytes
        self.output_bytes = output_bytes

    @property
    def run_bytes(self) -> int:
        """What one run needs besides the weights and its inputs: what `max_ram` limits."""
        return self.arena_bytes + self.scratch_bytes + self.constant_bytes + self.output_bytes

    def __str__(self) -> str:
        lines = ["  offset       bytes   steps  tensor"]
        for i in sorted(range(len(self.blocks)), key=lambda i: (self.blocks[i].first, self.offsets[i])):
            b = self.blocks[i]
            lines.append(f"{self.offsets[i]:>8} {b.nbytes:>11}  {b.first:>3}-{b.last:<3} {b.name}")
        over = f"{100 * (self.arena_bytes / self.lower_bound - 1):.1f} % above" if self.lower_bound else "at"
        lines += [
            f"arena            {self.arena_bytes:>12} bytes, {over} the lower bound of {self.lower_bound}",
            f"scratch          {self.scratch_bytes:>12} bytes",
            f"built at load    {self.constant_bytes:>12} bytes",
            f"outputs          {self.output_bytes:>12} bytes",
            f"weights, mapped  {self.weight_bytes:>12} bytes",
        ]
        return "\n".join(lines)


def align(nbytes: int) -> int:
    return -(-nbytes // ALIGN) * ALIGN


def lower_bound(blocks: list[Block]) -> int:
    """Largest sum of sizes, each rounded up to the alignment, alive at one step."""
    change: dict[int, int] = {}
    for b in blocks:
        change[b.first] = change.get(b.first, 0) + align(b.nbytes)
        change[b.last + 1] = change.get(b.last + 1, 0) - align(b.nbytes)
    peak = alive = 0
    for step in sorted(change):
        alive += change[step]
        peak = max(peak, alive)
    return peak


def _place(blocks: list[Block], order: list[int]) -> tuple[list[int], int]:
    offsets = [0] * len(blocks)
    # Step -> (offset, end) of what is placed and lives then, and of what begins then.  What overlaps a block in time lives at
    # its first step or begins later: a few blocks, however deep the network is.
    steps = max((b.last for b in blocks), default=0) + 1
    living: list[list[tuple[int, int]]] = [[] for _ in range(steps)]
    beginning: list[list[tuple[int, int]]] = [[] for _ in range(steps)]
    total = 0
    for i in order:
        b, size = blocks[i], align(blocks[i].nbytes)
        best, best_gap, cursor = -1, -1, 0
        for offset, end in sorted(chain(living[b.first], *beginning[b.first + 1:b.last + 1])):
            gap = offset - cursor
            if gap >= size and (best < 0 or gap < best_gap):
                best, best_gap = cursor, gap
            cursor = max(cursor, end)
        offsets[i] = best if best >= 0 else cursor
        place = offsets[i], offsets[i] + size
        beginning[b.first].append(place)
        for step in living[b.first:b.last + 1]:
            step.append(place)
        total = max(total, offsets[i] + size)
    return offsets, total


def _reuse(blocks: list[Block]) -> tuple[list[int], int]:
    """Offsets by time alone: a block takes the place of a dead one of its size, or a new place."""
    import heapq

    offsets = [0] * len(blocks)
    alive: list[tuple[int, int]] = []              # last step, block
    free: dict[int, list[int]] = {}                # size -> offsets
    total = 0
    for i in sorted(range(len(blocks)), key=lambda i: blocks[i].first):
        while alive and alive[0][0] < blocks[i].first:
            _, dead = heapq.heappop(alive)
            free.setdefault(align(blocks[dead].nbytes), []).append(offsets[dead])
        size = align(blocks[i].nbytes)
        if free.get(size):
            offsets[i] = free[size].pop()
        else:
            offsets[i] = total
            total += size
        heapq.heappush(alive, (blocks[i].last, i))
    return offsets, total


def _pairs(blocks: list[Block]) -> int:
    """How many pairs live together, those that begin together counted twice."""
    change = [0] * (max((b.last for b in blocks), default=0) + 2)
    for b in blocks:
        change[b.first] += 1
        change[b.last + 1] -= 1
    alive = list(accumulate(change))
    return sum(alive[b.first] for b in blocks)


def plan(blocks: list[Block]) -> MemoryMap:
    """Offsets for the blocks, multiples of ALIGN."""
    pairs = _pairs(blocks)
    if pairs > MOST_PAIRS:
        return MemoryMap(list(blocks), *_reuse(blocks), lower_bound(blocks))
    everything = range(len(blocks))
    steps = max((b.last for b in blocks), default=0) + 1
    alive = [0] * (steps + 1)
    for b in blocks:
        alive[b.first] += b.nbytes
        alive[b.last + 1] -= b.nbytes
    for i in range(1, steps + 1):
        alive[i] += alive[i - 1]
    orders: list[Callable[[int], tuple[int, int]]] = [
        lambda i: (-blocks[i].nbytes, blocks[i].first),
        lambda i: (-max(alive[blocks[i].first:blocks[i].last + 1]), -blocks[i].nbytes),
        lambda i: (blocks[i].first, -blocks[i].nbytes),
    ]
    bound = lower_bound(blocks)
    offsets, total = [], -1
    for order in orders:
        found, size = _place(blocks, sorted(everything, key=order))
        if total < 0 or size < total:
            offsets, total = found, size
        if total == bound:
            break
    promoted = sorted(everything, key=orders[0])
    for _ in range(min(MOST_ROUNDS, MOST_PAIRS // max(pairs, 1))):
        if total == bound:
            break
        found, size = _place(blocks, promoted)
        if size < total:
            offsets, total = found, size
        top = max(everything, key=lambda i: found[i] + blocks[i].nbytes)
        promoted.remove(top)
        promoted.insert(0, top)
    return MemoryMap(list(blocks), offsets, max(total, 0), bound)
