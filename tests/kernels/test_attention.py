"""kernels/attention.pxi.

Bound.  A score is off by d = sums(K + 1); softmax multiplies that by at most 2 max(d) relative to each weight, and is off by
its own evaluation (bounds.evaluation: 7 u, and u per term of its sum); the weighted sum adds N roundings.  All relative to
softmax |v|.
"""

from __future__ import annotations

import bounds
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, normal, seeds

from tinynet import ops

extents = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 33, 65]))


def stored(x, perm):
    return np.ascontiguousarray(x.transpose(np.argsort(perm))) if perm else x


def check(q, k, v, native=True, **attrs):
    op = ops.make("attention", attrs)
    perms = [attrs.get(f"perm_{name}", ()) for name in "qkv"]
    scores = np.matmul(q.astype(np.float64), k) * np.float32(op.alpha)
    e = np.exp(scores - scores.max(-1, keepdims=True, initial=-1e30))
    p = e / e.sum(-1, keepdims=True)
    expected, magnitude = np.matmul(p, v), np.matmul(p, np.abs(v))
    off = bounds.sums(q.shape[-1] + 2, np.abs(np.matmul(np.abs(q), np.abs(k)) * op.alpha)).max(initial=0)
    bound = magnitude * (2 * off + (2 * v.shape[-2] + 16) * bounds.U) + 1e-30
    if "perm_y" in attrs:
        expected, bound = (x.transpose(attrs["perm_y"]) for x in (expected, bound))
    net = Net()
    names = [net.input(stored(x, perm)) for x, perm in zip((q, k, v), perms, strict=True)]
    net.agree(net.add("attention", *names, **attrs), expected, bound, native)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), batch=st.sampled_from([(), (1,), (2,), (5,), (2, 3)]), m=extents, width=extents, n=extents, d=extents,
       alpha=st.sampled_from([1.0, 0.125, -0.3]), seed=seeds)
def test_any_order_of_axes(data, batch, m, width, n, d, alpha, seed):
    rank = len(batch) + 2
    every = [tuple(data.draw(st.permutations(range(rank)))) for _ in range(2)]
    rows = [(*data.draw(st.permutations(range(rank - 1))), rank - 1) for _ in range(2)]
    q, k, v = normal(seed, *batch, m, width), normal(seed + 1, *batch, width, n), normal(seed + 2, *batch, n, d)
    check(q, k, v, alpha=alpha, perm_q=rows[0], perm_k=every[0], perm_v=every[1], perm_y=rows[1])


@pytest.mark.parametrize("m,width,n,d", [(1, 1, 1, 1), (100, 36, 256, 36), (197, 64, 197, 64), (3, 800, 900, 5),
                                         (50, 3, 20000, 2)])
def test_blocks_of_rows(m, width, n, d):
    """Rows that fill several blocks, and scores longer than one; one matrix is shared by all threads."""
    for batch in (1, 3):
        check(normal(1, batch, m, width) / 4, normal(2, batch, width, n), normal(3, batch, n, d), alpha=0.5)


def test_keys_and_values_that_all_share():
    check(normal(1, 2, 3, 5, 7), normal(2, 7, 9), normal(3, 3, 9, 4))
    check(normal(1, 5, 7), normal(2, 2, 7, 9), normal(3, 3, 1, 9, 4))


def test_columns_that_lie_apart_run_in_numpy():
    check(normal(1, 5, 7), normal(2, 7, 9), normal(3, 9, 4), native=False, perm_q=(1, 0))
    check(normal(1, 5, 7), normal(2, 7, 9), normal(3, 9, 4), native=False, perm_y=(1, 0))


def test_what_is_not_finite_stays_in_its_row():
    q, k, v = normal(1, 6, 7), normal(2, 7, 20), normal(3, 20, 5)
    q[2, 3] = np.nan
    expected = ops.make("attention", {}).reference(q, k, v)[0]
    assert np.isnan(expected).any(1).tolist() == [False, False, True, False, False, False]
    net = Net()
    net.agree(net.add("attention", *(net.input(x) for x in (q, k, v))), expected, 1e-5)


def test_nothing_at_all():
    check(normal(1, 0, 3, 4), normal(2, 0, 4, 5), normal(3, 0, 5, 2))
    check(normal(1, 2, 0, 4), normal(2, 2, 4, 5), normal(3, 2, 5, 2))
