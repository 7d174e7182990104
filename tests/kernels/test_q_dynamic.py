"""kernels/q_dynamic.pxi: the bits of the numpy reference on every level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, channels, seeds

from tinynet import kernels, ops
from tinynet.graph import Node

NAMES = ("y", "scale", "zero")


def check(x):
    """All three results, on every level and thread count."""
    op = ops.make("dynamic_quantize", {})
    expected = dict(zip(NAMES, op.reference(x), strict=True))
    net = Net()
    source = net.input(x)
    for name, spec in zip(NAMES, op.infer(ops.Spec(x.shape)), strict=True):
        net._tensor(name, spec.shape, spec.dtype)
    net.graph.nodes.append(Node("dynamic_quantize", "q", [source], list(NAMES), {}))
    for level in kernels.available():
        for threads in (1, 2, 3):
            with kernels.use_isa(level):
                model = net.model(*NAMES, threads=threads)
            assert not model.plan.python_steps
            found = model.run(net.feed)
            for name in NAMES:
                np.testing.assert_array_equal(found[name], expected[name], f"{name} on {level} with {threads} threads")


@settings(max_examples=30, deadline=None)
@given(shape=st.lists(channels, max_size=3), exponent=st.floats(-44, 37), shift=st.floats(-4, 4), ties=st.booleans(),
       nans=st.booleans(), seed=seeds)
def test_dynamic_quantize(shape, exponent, shift, ties, nans, seed):
    """Data to one side of 0 and to both; the range down to denormal numbers."""
    rng = np.random.default_rng(seed)
    x = (rng.integers(-300, 300, shape) / 2 if ties else rng.standard_normal(shape)) + shift
    x = (x * 10.0 ** exponent).astype(np.float32)
    check(np.where(rng.random(shape) < 0.1, np.float32(np.nan), x) if nans else np.asarray(x))


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 33, 100])
@pytest.mark.parametrize("place", [0, -1])
def test_the_ends_of_the_range_wherever_they_are(n, place):
    for value in (-7.5, 300.0):
        x = np.linspace(-1, 1, n, dtype=np.float32)
        if n:
            x[place] = value
        check(x)


@pytest.mark.parametrize("value", [0.0, -0.0, np.nan, 3.0, -3.0, 1e-45, 3.4028235e38])
def test_one_value(value):
    check(np.full((3, 20), value, np.float32))


@settings(max_examples=20, deadline=None)
@given(shape=st.lists(channels, min_size=1, max_size=3), zero=st.integers(0, 255), seed=seeds)
def test_correction(shape, zero, seed):
    rng = np.random.default_rng(seed)
    acc, sums = (rng.integers(-2 ** 31, 2 ** 31, s).astype(np.int32) for s in (shape, shape[-1:]))
    arrays = acc, np.array(zero, np.uint8), sums
    (expected,) = ops.make("q_correct", {}).reference(*arrays)
    net = Net()
    net.agree(net.add("q_correct", *(net.input(a) for a in arrays)), expected)
