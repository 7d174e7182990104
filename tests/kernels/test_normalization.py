"""kernels/normalization.pxi: layer_norm, rms_norm, group_norm.

Bound.  With u = 2^-24 and n numbers normalised together: sums run in blocks of 64, so the mean is off by at most
m = (n / 64 + 70) u max|x|, the variance relatively by as much and by m^2.  y = (x - mean) / deviation scale + shift is off by
m / deviation for the mean, by the relative error of the deviation times |y|, and by a handful of roundings.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, channels, normal, seeds, with_non_finite

from tinynet import ops

U = 2.0 ** -24


def check(kind, x, weights, axes, strided=False, computed=False, **attrs):
    """axes: of what is normalised together, x split into groups as `split` says."""
    op = ops.make(kind, attrs)
    (expected,) = op.reference(x, *weights)
    groups = attrs.get("groups", 1)
    split = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups).astype(np.float64)
    with np.errstate(all="ignore"):
        n = int(np.prod([split.shape[a] for a in axes]))
        m = (n / 64 + 70) * U * np.abs(split).max(axes, keepdims=True, initial=0)
        centre = 0 if kind == "rms_norm" else split.mean(axes, keepdims=True)
        deviation = np.sqrt(((split - centre) ** 2).mean(axes, keepdims=True) + op.epsilon)
        y = (split - centre) / deviation
        error = m / deviation + np.abs(y) * ((n / 64 + 80) * U + (m / deviation) ** 2) + 8 * U * np.abs(split) / deviation
        bound = error.reshape(x.shape) * np.abs(weights[0]) + 4 * U * np.abs(expected) + 1e-40
        bound += 4 * U * (np.abs(weights[1]) if len(weights) > 1 else 0)
    net = Net(strided)
    add = net._input if computed else net.constant
    net.agree(net.add(kind, net.input(x), *(add(w) for w in weights), **attrs), expected, bound)


@settings(max_examples=25, deadline=None)
@given(lead=st.lists(st.integers(0, 4), max_size=2), c=channels, offset=st.sampled_from([0, 5, -100]), strided=st.booleans(),
       epsilon=st.sampled_from([1e-5, 1e-2]), computed=st.booleans(), seed=seeds,
       make=st.sampled_from([normal, with_non_finite]))
def test_rows(lead, c, offset, strided, epsilon, computed, seed, make):
    x = (make if 0 not in lead else normal)(seed, *lead, c) + np.float32(offset)
    weights = [normal(seed + 1, c), normal(seed + 2, c)]
    check("layer_norm", x, weights, (-2, -1), strided, computed, epsilon=epsilon)
    check("rms_norm", x, weights[:1], (-2, -1), strided, computed, epsilon=epsilon)


@pytest.mark.parametrize("c", [1000, 4096, 5001])
def test_long_rows(c):
    for offset in (0, 10):
        x = normal(c, 3, c) + np.float32(offset)
        check("layer_norm", x, [normal(1, c), normal(2, c)], (-2, -1))
        check("rms_norm", x, [normal(1, c)], (-2, -1))


@settings(max_examples=25, deadline=None)
@given(n=st.integers(0, 3), pixels=st.lists(st.integers(1, 9), max_size=2), groups=st.integers(1, 18), per=st.integers(1, 17),
       offset=st.sampled_from([0, 5]), strided=st.booleans(), computed=st.booleans(), seed=seeds,
       make=st.sampled_from([normal, with_non_finite]))
def test_group_norm(n, pixels, groups, per, offset, strided, computed, seed, make):
    c = groups * per
    x = (make if n else normal)(seed, n, *pixels, c) + np.float32(offset)
    axes = (*range(1, 1 + len(pixels)), -1)
    check("group_norm", x, [normal(seed + 1, c), normal(seed + 2, c)], axes, strided, computed, groups=groups)


@pytest.mark.parametrize("groups", [1, 4, 32])
def test_large_pictures(groups):
    x = normal(1, 1, 65, 63, 32) + np.float32(2)
    check("group_norm", x, [normal(2, 32), normal(3, 32)], (1, 2, -1), groups=groups)


def test_equal_numbers_give_the_shift():
    for kind, more in (("layer_norm", {}), ("group_norm", {"groups": 3})):
        x = np.full((2, 7, 21), 3, np.float32)
        net = Net()
        y = net.add(kind, net.input(x), net.constant(normal(1, 21)), net.constant(normal(2, 21)), **more)
        net.agree(y, np.broadcast_to(normal(2, 21), x.shape), 1e-5)
