"""kernels/depthwise_conv2d.pxi."""

from __future__ import annotations

import bounds
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, channels, normal, seeds, with_non_finite

from tinynet import ops
from tinynet.ops.activated import ACTIVATIONS

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def run(seed, n, size, kernel, c, strided=False, make=normal, **attrs):
    reach = [d * (k - 1) + 1 for d, k in zip(attrs.get("dilations", (1, 1)), kernel, strict=True)]
    pads = attrs.get("pads", (0, 0, 0, 0))
    size = [max(1, size[i], reach[i] - pads[i] - pads[i + 2]) for i in range(2)]
    arrays = [make(seed, n, *size, c), normal(seed + 1, *kernel, c), normal(seed + 2, c)]
    net = Net(strided)
    expected, bound = bounds.product(ops.make("depthwise_conv2d", attrs), arrays, kernel[0] * kernel[1] + 1)
    x, w, b = net.input(arrays[0]), net.constant(arrays[1]), net.constant(arrays[2])
    net.agree(net.add("depthwise_conv2d", x, w, b, **attrs), expected, bound, native=kernel[0] <= 64)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 2), size=st.tuples(st.integers(1, 10), st.integers(1, 12)), c=channels, strides=pairs, dilations=pairs,
       kernel=st.tuples(st.integers(1, 7), st.integers(1, 7)), pads=st.tuples(*[st.integers(0, 8)] * 4),
       strided=st.booleans(), activation=st.sampled_from(sorted(ACTIVATIONS)), seed=seeds)
def test_any_geometry(n, size, c, strides, dilations, kernel, pads, strided, activation, seed):
    run(seed, n, size, kernel, c, strided, strides=strides, dilations=dilations, pads=pads, activation=activation,
        alpha=-0.75, beta=1.5)


@settings(max_examples=40, deadline=None)
@given(size=st.tuples(st.integers(1, 12), st.integers(1, 17)), c=channels, side=st.sampled_from([3, 5]),
       stride=st.integers(1, 2), stride_h=st.integers(1, 3), pads=st.tuples(*[st.integers(0, 3)] * 4), strided=st.booleans(),
       activation=st.sampled_from(["none", "relu", "clip", "hard_swish"]), seed=seeds)
def test_unrolled_kernels(size, c, side, stride, stride_h, pads, strided, activation, seed):
    run(seed, 1, size, (side, side), c, strided, strides=(stride_h, stride), pads=pads, activation=activation, alpha=-0.5,
        beta=0.5)


@settings(max_examples=20, deadline=None)
@given(size=st.tuples(st.integers(7, 13), st.integers(7, 17)), c=channels, side=st.sampled_from([3, 5]),
       dilations=st.tuples(st.integers(1, 4), st.integers(2, 4)), pads=st.tuples(*[st.integers(0, 5)] * 4),
       strided=st.booleans(), seed=seeds)
def test_dilation_as_interleaved_convolutions(size, c, side, dilations, pads, strided, seed):
    """Each of them has padding and width of its own."""
    run(seed, 1, size, (side, side), c, strided, dilations=dilations, pads=pads)


@settings(max_examples=15, deadline=None)
@given(c=channels, side=st.integers(1, 5), pads=st.tuples(*[st.integers(0, 3)] * 4), seed=seeds,
       activation=st.sampled_from(["none", "relu", "clip", "sigmoid"]))
def test_nan_and_infinity_pass(c, side, pads, seed, activation):
    run(seed, 1, (6, 9), (side, side), c, make=with_non_finite, pads=pads, activation=activation, alpha=-0.5, beta=0.5)


@pytest.mark.parametrize("n, size, kernel, pads", [
    (1, (1, 1), (3, 3), (1, 1, 1, 1)), (1, (1, 1), (1, 1), (9, 9, 9, 9)), (0, (5, 5), (3, 3), (0, 0, 0, 0)),
    (1, (70, 2), (64, 1), (0, 0, 0, 0)), (1, (70, 2), (65, 1), (0, 0, 0, 0)), (1, (2, 2), (3, 3), (4, 4, 4, 4))])
def test_extremes(n, size, kernel, pads):
    run(1, n, size, kernel, 17, pads=pads)
    run(2, n, size, kernel, 5, pads=pads, strides=(3, 2))


def test_reads_weights_of_its_own_channel_only():
    """Every channel is a delta at another tap, so that a wrong tap or channel is a whole number off."""
    c = 35
    x = np.arange(6 * 7 * c, dtype=np.float32).reshape(1, 6, 7, c)
    w = np.zeros((3, 3, c), np.float32)
    w.reshape(9, c)[np.arange(c) % 9, np.arange(c)] = 1
    net = Net()
    y = net.add("depthwise_conv2d", net.input(x), net.constant(w), net.constant(np.zeros(c, np.float32)))
    expected = np.stack([x[0, k // 3:k // 3 + 4, k % 3:k % 3 + 5, i] for i, k in enumerate(np.arange(c) % 9)], -1)[None]
    net.agree(y, expected)
