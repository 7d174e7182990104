"""kernels/q_matmul.pxi: products of two computed tensors of bytes, bit for bit on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, seeds

from tinynet import ops

extents = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 33, 50, 65]))
zeros = st.one_of(st.sampled_from([0, 127, 128, 255]), st.integers(0, 255))


def some_bytes(seed, *shape):
    """Any bytes, or extreme ones only."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 256, shape) if seed % 2 else rng.choice([0, 255], shape)).astype(np.uint8)


def check(a, b, native=True, given_zeros=None, **attrs):
    op = ops.make("q_matmul", attrs)
    extra = [] if given_zeros is None else [np.array(z, np.uint8) for z in given_zeros]
    (expected,) = op.reference(a, b, *extra)
    net = Net()
    net.agree(net.add("q_matmul", *(net.input(array) for array in (a, b, *extra)), **attrs), expected, 0.0, native)


def stored(x, perm):
    """What is x after a transpose by perm."""
    return np.ascontiguousarray(x.transpose(np.argsort(perm)))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), batch=st.sampled_from([(), (1,), (2,), (5,), (2, 3)]), m=extents, k=extents, n=extents, a_zero=zeros,
       b_zero=zeros, y_zero=zeros, spread=st.floats(-1, 1), dtype=st.sampled_from(["uint8", "uint8", "float32", "int32"]),
       seed=seeds)
def test_any_order_of_axes(data, batch, m, k, n, a_zero, b_zero, y_zero, spread, dtype, seed):
    rank = len(batch) + 2
    perm_a, perm_b, perm_y = (tuple(data.draw(st.permutations(range(rank)))) for _ in range(3))
    lies = perm_y[-1] == rank - 1 or n == 1
    if data.draw(st.booleans()):      # y's columns side by side: the kernel's own case
        perm_y = (*data.draw(st.permutations(range(rank - 1))), rank - 1)
        lies = True
    multiplier = float(np.float32(10 ** spread / (74 * np.sqrt(k))))
    low, high = data.draw(st.sampled_from([(0, 255), (y_zero, 255), (3, 200)]))
    check(stored(some_bytes(seed, *batch, m, k), perm_a), stored(some_bytes(seed + 1, *batch, k, n), perm_b), lies,
          perm_a=perm_a, perm_b=perm_b, perm_y=perm_y, a_zero=a_zero, b_zero=b_zero, y_zero=y_zero, low=low, high=high,
          multiplier=multiplier, dtype=dtype)


@settings(max_examples=20, deadline=None)
@given(data=st.data(), m=extents, k=extents, n=extents, pair=st.tuples(zeros, zeros), seed=seeds)
def test_batches_that_broadcast_and_zeros_at_run_time(data, m, k, n, pair, seed):
    full = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    shapes = []
    for _ in range(2):
        rank = data.draw(st.integers(0, len(full)))
        shapes.append([data.draw(st.sampled_from([1, d])) for d in full[len(full) - rank:]])
    check(some_bytes(seed, *shapes[0], m, k), some_bytes(seed + 1, *shapes[1], k, n), given_zeros=pair, dtype="int32")


@pytest.mark.parametrize("m,k,n", [(1, 700, 65), (400, 32, 70), (197, 66, 197), (3, 33024, 17)])
@pytest.mark.parametrize("zero", [0, 255])
def test_sizes_beyond_a_block(m, k, n, zero):
    a, b = np.full((m, k), 255 - zero, np.uint8), np.full((k, n), 255 - zero, np.uint8)
    a[0, 0] = b[0, 0] = 7
    check(a, b, a_zero=zero, b_zero=zero, dtype="int32")


@pytest.mark.parametrize("shapes", [((0, 3), (3, 4)), ((2, 3), (3, 0)), ((2, 0), (0, 4))])
def test_nothing(shapes):
    a, b = (np.zeros(s, np.uint8) for s in shapes)
    check(a, b, bool(shapes[0][1]), y_zero=9)
