from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import memory
from tinynet.memory import ALIGN, Block, MemoryMap, align, lower_bound, plan

K = 64 * 10


@st.composite
def lives(draw):
    count = draw(st.integers(0, 25))
    blocks = []
    for i in range(count):
        first = draw(st.integers(0, 20))
        blocks.append(Block(f"t{i}", draw(st.one_of(st.integers(0, 5000), st.sampled_from([0, 1, 63, 64, 65, 4096]))), first,
                            first + draw(st.integers(0, 6))))
    return blocks


def busiest(blocks):
    return max((sum(align(b.nbytes) for b in blocks if b.first <= step <= b.last) for step in range(40)), default=0)


def check(blocks, found: MemoryMap):
    for i, (b, at) in enumerate(zip(blocks, found.offsets, strict=True)):
        assert at % ALIGN == 0 and at >= 0
        for other, place in list(zip(blocks, found.offsets, strict=True))[:i]:
            together = b.first <= other.last and other.first <= b.last and b.nbytes and other.nbytes
            assert not together or at + b.nbytes <= place or place + other.nbytes <= at, (b, at, other, place)
    assert found.arena_bytes == max((at + align(b.nbytes) for b, at in zip(blocks, found.offsets, strict=True)), default=0)
    assert found.lower_bound == busiest(blocks) <= found.arena_bytes


@settings(max_examples=150, deadline=None)
@given(lives())
def test_blocks_that_live_together_lie_apart(blocks):
    found = plan(blocks)
    check(blocks, found)
    assert found.blocks == blocks
    assert plan(list(blocks)) == found


@settings(max_examples=50, deadline=None)
@given(lives())
def test_never_worse_than_no_sharing(blocks):
    assert plan(blocks).arena_bytes <= sum(align(b.nbytes) for b in blocks)


@pytest.mark.parametrize("blocks, arena", [
    ([], 0),
    ([Block("a", 0, 0, 3)], 0),
    ([Block("a", 1, 0, 0)], 64),
    ([Block("a", 64, 0, 0), Block("b", 65, 1, 1)], 128),
    # a chain: two buffers, the largest neighbours decide
    ([Block(f"t{i}", size, i, i + 1) for i, size in enumerate([K, 3 * K, 2 * K, 4 * K, K])], 6 * K),
    # a skip connection over a chain
    ([Block("skip", K, 0, 4), Block("a", K, 1, 2), Block("b", K, 2, 3), Block("c", K, 3, 4)], 3 * K),
    # all together
    ([Block(f"t{i}", K, 0, 9) for i in range(7)], 7 * K),
    # a small one first must not push the large ones apart
    ([Block("small", 64, 0, 2), Block("x", 4 * K, 0, 0), Block("y", 4 * K, 1, 1), Block("z", 4 * K, 2, 2)], 4 * K + 64),
])
def test_known_cases_are_exact(blocks, arena):
    found = plan(blocks)
    check(blocks, found)
    assert found.arena_bytes == found.lower_bound == arena


def test_fragmentation_is_found_out():
    """Placed by time, b lands on top of a and c finds no gap; by size everything fits the bound."""
    blocks = [Block("a", K, 0, 1), Block("b", K, 1, 3), Block("c", 2 * K, 2, 3)]
    assert plan(blocks).arena_bytes == 3 * K == lower_bound(blocks)


def test_the_topmost_block_is_placed_first_until_nothing_is_lost():
    """By size, by breadth and by time there is a gap: the two large ones lie at the bottom, and c finds no place beside a."""
    blocks = [Block("a", K, 1, 4), Block("b", 4 * K, 2, 3), Block("c", 2 * K, 4, 7), Block("d", 4 * K, 5, 5)]
    with mock.patch("tinynet.memory.MOST_ROUNDS", 0):
        assert plan(blocks).arena_bytes == 7 * K
    found = plan(blocks)
    check(blocks, found)
    assert found.arena_bytes == found.lower_bound == 6 * K


def test_gaps_are_used_best_fit_first():
    """The tail of 2K fits under the one gap of 2K, not into the larger one."""
    blocks = [Block("base", 3 * K, 0, 0), Block("wall", 5 * K, 0, 9), Block("late", 2 * K, 1, 1), Block("later", 3 * K, 2, 2)]
    found = plan(blocks)
    check(blocks, found)
    assert found.arena_bytes == 8 * K


def test_only_lives_that_touch_exclude_each_other():
    """Written at step 1 and read last at step 1: both are needed then."""
    assert plan([Block("a", 64, 0, 1), Block("b", 64, 1, 2)]).arena_bytes == 128
    assert plan([Block("a", 64, 0, 0), Block("b", 64, 1, 2)]).arena_bytes == 64


def test_map_prints_every_block_and_the_bound():
    found = plan([Block("first", 100, 0, 1), Block("second", 200, 1, 2)])
    found.scratch_bytes, found.constant_bytes, found.output_bytes, found.weight_bytes = 11, 22, 33, 44
    lines = str(found).splitlines()
    assert len(lines) == 1 + 2 + 5
    assert "first" in lines[1] and "0-1" in lines[1] and "second" in lines[2] and "200" in lines[2]
    assert "384 bytes" in lines[3] and "0.0 % above the lower bound of 384" in lines[3]
    assert [line.split()[-2] for line in lines[4:]] == ["11", "22", "33", "44"]
    assert found.run_bytes == 384 + 11 + 22 + 33
    assert "at the lower bound of 0" in str(plan([]))


@pytest.mark.parametrize("count, last, quick", [(3000, lambda i: i + 2, False), (400, lambda i: 400, False),
                                                (1000, lambda i: 1000, True)])
def test_what_is_searched_is_bounded_by_the_blocks_that_live_together(count, last, quick):
    blocks = [Block(str(i), 64 + 64 * (i * 7919 % 97), i, last(i)) for i in range(count)]
    with mock.patch.object(memory, "_reuse", wraps=memory._reuse) as reuse:
        plan(blocks)
    assert reuse.called == quick


@settings(max_examples=50, deadline=None)
@given(lives())
def test_the_quick_way_of_very_large_graphs(blocks):
    with mock.patch.object(memory, "MOST_PAIRS", -1):
        check(blocks, plan(blocks))
