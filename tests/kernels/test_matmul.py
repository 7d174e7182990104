"""kernels/matmul.pxi: products of two computed tensors, however their axes lie."""

from __future__ import annotations

import bounds
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, normal, seeds, with_non_finite

from tinynet import ops

extents = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 33, 65]))


def check(a, b, native=True, **attrs):
    op = ops.make("matmul", attrs)
    (expected,) = op.reference(a.astype(np.float64), b.astype(np.float64))
    (magnitude,) = op.reference(np.abs(a), np.abs(b))
    k = a.shape[op.perm_a[-1] if op.perm_a else -1]
    net = Net()
    net.agree(net.add("matmul", net.input(a), net.input(b), **attrs), expected, bounds.sums(k + 1, np.abs(magnitude)), native)


def stored(x, perm):
    """What is x after a transpose by perm."""
    return np.ascontiguousarray(x.transpose(np.argsort(perm)))


@settings(max_examples=30, deadline=None)
@given(data=st.data(), batch=st.sampled_from([(), (1,), (2,), (5,), (2, 3)]), m=extents, k=extents, n=extents,
       alpha=st.sampled_from([1.0, 0.125, -0.3]), seed=seeds, make=st.sampled_from([normal, with_non_finite]))
def test_any_order_of_axes(data, batch, m, k, n, alpha, seed, make):
    rank = len(batch) + 2
    a, b = make(seed, *batch, m, k), normal(seed + 1, *batch, k, n)
    perm_a, perm_b, perm_y = (tuple(data.draw(st.permutations(range(rank)))) for _ in range(3))
    lies = perm_y[-1] == rank - 1 or n == 1
    if data.draw(st.booleans()):      # y's columns side by side: the kernel's own case
        perm_y = (*data.draw(st.permutations(range(rank - 1))), rank - 1)
        lies = True
    check(stored(a, perm_a), stored(b, perm_b), lies, alpha=alpha, perm_a=perm_a, perm_b=perm_b, perm_y=perm_y)


@settings(max_examples=20, deadline=None)
@given(data=st.data(), m=extents, k=extents, n=extents, seed=seeds)
def test_batches_that_broadcast(data, m, k, n, seed):
    full = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    shapes = []
    for _ in range(2):
        rank = data.draw(st.integers(0, len(full)))
        shapes.append([data.draw(st.sampled_from([1, d])) for d in full[len(full) - rank:]])
    check(normal(seed, *shapes[0], m, k), normal(seed + 1, *shapes[1], k, n))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("m,k,n", [(1, 700, 65), (3, 2000, 20), (400, 30, 70), (50, 1030, 130), (197, 64, 197)])
def test_sizes_beyond_a_block(m, k, n, transposed):
    """More columns of a than one part holds, more rows than one block; whole matrices, and shared ones."""
    perm = (0, 2, 1) if transposed else ()
    for batch in (1, 2, 5):
        a, b = normal(1, batch, m, k), normal(2, batch, k, n)
        check(a, stored(b, perm) if perm else b, perm_b=perm)


def test_nothing_at_all():
    check(normal(1, 0, 3, 4), normal(2, 0, 4, 5))
    check(normal(1, 2, 0, 4), normal(2, 2, 4, 5))
    check(normal(1, 2, 3, 0), normal(2, 2, 0, 5), native=False)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers_run_in_numpy(dtype):
    info = np.iinfo(dtype)
    a, b = (np.random.default_rng(i).integers(info.min, info.max, s, dtype) for i, s in enumerate(((2, 3, 4), (4, 5))))
    net = Net()
    net.agree(net.add("matmul", net.input(a), net.input(b)), np.matmul(a, b), native=False)


def test_a_matrix_times_itself():
    x = normal(1, 3, 20, 20)
    net = Net()
    name = net.input(x)
    y = net.add("matmul", name, name, perm_b=(0, 2, 1))
    net.agree(y, x @ x.transpose(0, 2, 1), bounds.sums(20, np.abs(x) @ np.abs(x).transpose(0, 2, 1)))
