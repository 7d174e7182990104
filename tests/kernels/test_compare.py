"""kernels/compare.pxi: comparison of two tensors, and choice between two by a third."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import SPECIAL, Net, normal, seeds, with_specials

from tinynet import kernels, ops

COMPARISONS = ["equal", "greater", "greater_equal"]


def check(kind, *arrays, strided=False, native=True):
    (expected,) = ops.make(kind, {}).reference(*arrays)
    net = Net(strided)
    found = net.add(kind, *(net.input(a) for a in arrays))
    net.agree(found, np.asarray(expected), native=native)


def filled(seed, dtype, shape):
    """Every bit pattern may occur; of float32: NaN with every payload too."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    size = np.dtype(dtype).itemsize
    return np.ascontiguousarray(rng.integers(0, 256, (*shape, size), np.uint8)).view(dtype).reshape(shape)


@st.composite
def broadcasts(draw, count):
    """`count` shapes that broadcast, of rank 0 to 5."""
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 5, 17, 33]), max_size=5).filter(lambda s: np.prod(s) < 20000))
    shapes = []
    for _ in range(count):
        own = [d if draw(st.booleans()) else 1 for d in shape]
        while own and own[0] == 1 and draw(st.booleans()):
            own.pop(0)
        shapes.append(tuple(own))
    return shapes


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(COMPARISONS), shapes=broadcasts(2), strided=st.booleans(), seed=seeds)
def test_comparison(kind, shapes, strided, seed):
    a, b = (np.round(with_specials(seed + i, *s)) for i, s in enumerate(shapes))      # many are equal
    check(kind, np.asarray(a), np.asarray(b), strided=strided)


@pytest.mark.parametrize("kind", COMPARISONS)
def test_comparison_of_every_pair_of_special_values(kind):
    pairs = np.array(list(itertools.product(SPECIAL, SPECIAL)), np.float32)
    check(kind, pairs[:, 0].copy(), pairs[:, 1].copy())
    for value in SPECIAL:
        check(kind, pairs[:, 0].copy(), np.float32([value]))
        check(kind, np.asarray(value), pairs[:, 0].copy())


@pytest.mark.parametrize("kind", COMPARISONS)
@pytest.mark.parametrize("n", [1, 3, 4, 7, 8, 15, 16, 17, 63, 64, 65, 1000])
def test_comparison_lengths(kind, n):
    a = np.round(normal(n, n))
    check(kind, a, np.round(normal(n + 1, n)))
    check(kind, a, a.copy())
    check(kind, a[None, :0], a[:0])


@pytest.mark.parametrize("kind", COMPARISONS)
@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_other_types_run_in_numpy(kind, dtype):
    check(kind, filled(1, dtype, (3, 5)), filled(2, dtype, (5,)), native=False)


@settings(max_examples=40, deadline=None)
@given(dtype=st.sampled_from(["float32", "int32", "int64", "uint8", "int8", "bool"]), shapes=broadcasts(3),
       strided=st.booleans(), seed=seeds)
def test_where(dtype, shapes, strided, seed):
    condition = np.random.default_rng(seed).integers(0, 2, shapes[0]).astype(bool)
    check("where", condition, *(filled(seed + i, dtype, s) for i, s in enumerate(shapes[1:])), strided=strided)


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "int8"])
def test_where_keeps_every_bit(dtype):
    """Signalling NaN too, which arithmetic would turn into quiet ones."""
    bits = np.uint32([0x7F800001, 0xFF800001, 0x7FC12345, 0x00000001, 0x80000000])
    x = np.resize(bits, 80).view(dtype)[:37].copy()
    net = Net()
    y = net.add("where", net.input(np.arange(37) % 3 == 0), net.input(x), net.input(x[:1]))
    z = net.add("where", net.input(np.array(True)), net.input(x), net.input(x[:1]))
    expected = net.reference(y, z)
    for level in kernels.available(integers=False):
        with kernels.use_isa(level):
            model = net.model(y, z)
        found = model.run(net.feed)
        assert not model.plan.python_steps
        assert [found[n].tobytes() for n in (y, z)] == [expected[n].tobytes() for n in (y, z)], level


def test_where_forms():
    """A mask over keys, over queries, one for all; a number on either side; nothing; the result over either input."""
    x = with_specials(1, 2, 3, 5, 19)
    for mask in [(19,), (5, 19), (2, 1, 1, 19), (2, 1, 5, 1), (), (1,), (2, 3, 5, 19)]:
        condition = np.random.default_rng(1).integers(0, 2, mask).astype(bool)
        for other in [(), (19,), (2, 3, 5, 19)]:
            check("where", condition, x, with_specials(2, *other))
            check("where", condition, with_specials(2, *other), x)
    check("where", np.ones((0, 3), bool), x[0, 0, 0, :3], x[0, 0, 0, :1])
    net = Net()
    a, b = (net.add("neg", net.input(normal(i, 4, 37))) for i in range(2))
    chosen = net.add("where", net.add("greater", a, b), a, b)
    end = net.add("neg", chosen)
    net.agree(end, -np.maximum(*(-normal(i, 4, 37) for i in range(2))))
    places = net.model(end).plan.storage.places
    assert places[chosen].root in (places[a].root, places[b].root)


def test_more_loops_than_the_kernel_has_run_in_numpy():
    shapes = [tuple(2 if i % 2 else 1 for i in range(9)), tuple(1 if i % 2 else 2 for i in range(9)), (2,) * 9]
    a, b = normal(1, *shapes[0]), normal(2, *shapes[1])
    check("greater", a, b, native=False)
    check("where", np.ones(shapes[0], bool), b, normal(3, *shapes[2]), native=False)
