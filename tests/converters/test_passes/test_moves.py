from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet.converters.passes import moves
from tinynet.converters.passes.layout_rules import follow


def run(source, steps):
    x = np.arange(math.prod(source)).reshape(source)
    for op, argument in steps:
        x = x.reshape(argument) if op == "reshape" else x.transpose(argument)
    return x


@st.composite
def chains(draw):
    """A shape and up to five reshapes and transposes; reshapes split, join and insert ones."""
    source = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)))
    shape, steps = source, []
    for _ in range(draw(st.integers(0, 5))):
        if draw(st.booleans()):
            perm = tuple(draw(st.permutations(range(len(shape)))))
            steps.append(("transpose", perm))
            shape = tuple(shape[p] for p in perm)
        else:
            factors = [f for d in shape for f in draw(st.sampled_from([(d,), (2, d // 2) if d % 2 == 0 else (d,)]))]
            new = [factors[0]] if factors else []
            for f in factors[1:]:
                if draw(st.booleans()):
                    new[-1] *= f
                else:
                    new.append(f)
            if draw(st.booleans()):
                new.insert(draw(st.integers(0, len(new))), 1)
            shape = tuple(new)
            steps.append(("reshape", shape))
    return source, steps


@settings(max_examples=80, deadline=None)
@given(chains())
def test_a_chain_does_what_its_steps_do_in_at_most_three(case):
    source, steps = case
    move = moves.chain(source, steps)
    if move is None:  # cut where no common refinement exists: nothing to compare
        return
    want = run(source, steps)
    spelled = moves.steps(move)
    assert len(spelled) <= min(3, max(len(steps), 1))
    np.testing.assert_array_equal(run(source, spelled), want)
    assert move.is_view == (want.reshape(-1) == np.arange(want.size)).all()
    np.testing.assert_array_equal(
        run(want.shape, moves.steps(move.inverse())).reshape(-1), np.argsort(want.reshape(-1), kind="stable")
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([1, 2]), min_size=2, max_size=4), st.data())
def test_equal_normal_forms_are_equal_functions(shape, data):
    """Dimensions of 1 and 2: many different permutations do the same, and all results have as many elements."""
    source, flat = tuple(shape), (math.prod(shape),)
    one, two = (
        [("transpose", tuple(data.draw(st.permutations(range(len(source)))))), ("reshape", flat)] for _ in "ab"
    )
    same = moves.chain(source, one).same == moves.chain(source, two).same
    assert same == bool((run(source, one) == run(source, two)).all())


def test_pieces_without_common_refinement_are_refused():
    assert moves.compose(moves.transposed((2, 3), (1, 0)), moves.transposed((2, 3), (1, 0))) is None


@pytest.mark.parametrize(
    "source, steps, expected",
    [
        ((1, 48, 44, 44), [("reshape", (24, 2, 1936)), ("transpose", (1, 0, 2))], 2),
        ((1, 8, 1, 1), [("transpose", (0, 2, 3, 1))], 1),
        ((2, 3, 4), [("transpose", (0, 2, 1)), ("transpose", (0, 2, 1))], 0),
        ((1, 3, 4, 5), [("transpose", (0, 2, 3, 1)), ("reshape", (20, 3))], 2),
    ],
)
def test_length_of_the_shortest_spelling(source, steps, expected):
    assert len(moves.steps(moves.chain(source, steps))) == expected


@settings(max_examples=50, deadline=None)
@given(chains(), st.data())
def test_follow_keeps_the_data_of_a_reshape_together(case, data):
    source, steps = case
    target = next((argument for op, argument in steps if op == "reshape"), None)
    if target is None or math.prod(target) != math.prod(source) or len(target) > 5:
        return
    perm = tuple(data.draw(st.permutations(range(len(source)))))
    out = follow(source, target, perm)
    x = np.arange(math.prod(source)).reshape(source)
    views = [
        b
        for b in _permutations(len(target))
        if (x.transpose(perm).reshape(-1) == x.reshape(target).transpose(b).reshape(-1)).all()
    ]
    assert out in views if out is not None else not views


def _permutations(n):
    return itertools.permutations(range(n))
