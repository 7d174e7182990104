"""kernels/q_depthwise_conv2d.pxi: every level gives the reference's bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, channels, seeds

from tinynet import ops
from tinynet.ops.requantized import RESULTS

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
pads = st.tuples(*[st.integers(0, 3)] * 4)
# 64 + 32 + 16 channels and one less or more: blocks of every width in one tensor.
wide = st.one_of(channels, st.sampled_from([79, 80, 96, 111, 112, 113, 127, 128, 129]))
byte = st.sampled_from([0, 1, 127, 128, 254, 255])
limits = st.sampled_from([(0, 255), (10, 200), (0, 0), (255, 255), (128, 255)])


def data(rng, kind, shape, low, high, dtype):
    """Over the whole range, its ends more often, or one end alone."""
    if kind == "low" or kind == "high":
        return np.full(shape, low if kind == "low" else high, dtype)
    x = rng.integers(low, high + 1, shape)
    return np.where(rng.random(shape) < 0.1, rng.choice([low, high], shape), x).astype(dtype)


def arrays(seed, n, size, kernel, c, x="any", w="any", zeros=0, result="uint8"):
    """x, w, b, multiplier and perhaps w_zero up to `zeros`; for uint8, most outputs lie inside the range."""
    rng = np.random.default_rng(seed)
    spread = 255 * 73 * np.sqrt(np.prod(kernel)) if x == w == "any" else 255 * 128 * np.prod(kernel)
    b = rng.integers(-spread, spread, c) if seed % 4 else rng.choice([-2 ** 31, 2 ** 31 - 1], c)
    multiplier = rng.uniform(0, 128 / spread, c) if seed % 5 else rng.choice([0.0, 1e-38, 1.0, 3e38], c)
    found = [data(rng, x, (n, *size, c), 0, 255, np.uint8), data(rng, w, (*kernel, c), -128, 127, np.int8),
             b.astype(np.int32), multiplier.astype(np.float32)]
    return found + [rng.integers(-zeros, zeros + 1, c).astype(np.int32)] if zeros else found


def widened(net, array):
    """The array as channels inside a wider tensor, so that pixels lie further apart than they are long."""
    filler = np.full((*array.shape[:-1], 5), 77, array.dtype)
    name = net.input(np.concatenate([filler[..., :1], array, filler[..., 1:]], -1))
    return net.cut(name, 1, 1 + array.shape[-1])


def run(found, strided=False, native=True, **attrs):
    net = Net()
    x = widened(net, found[0]) if strided else net.input(found[0])
    y = net.add("q_depthwise_conv2d", x, *(net.constant(a) for a in found[1:]), **attrs)
    (expected,) = ops.make("q_depthwise_conv2d", attrs).reference(*found)
    if strided and expected.size:
        sides = [np.full((*expected.shape[:-1], n), 9, expected.dtype) for n in (2, 1)]
        y = net.add("concat", net.input(sides[0]), y, net.input(sides[1]), axis=3)
        expected = np.concatenate([sides[0], expected, sides[1]], -1)
    net.agree(y, expected, native=native)


def fitting(size, kernel, pads, dilations=(1, 1)):
    """`size`, or as much more as the window needs."""
    return [max(1, size[i], dilations[i] * (kernel[i] - 1) + 1 - pads[i] - pads[i + 2]) for i in range(2)]


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 2), size=st.tuples(st.integers(1, 12), st.integers(1, 21)), c=wide, side=st.sampled_from([3, 5]),
       stride=st.integers(1, 2), pads=pads, zeros=st.tuples(byte, byte), limits=limits, strided=st.booleans(),
       result=st.sampled_from(["uint8", *RESULTS]), w_zero=st.sampled_from([0, 0, 128, 32_639]), seed=seeds)
def test_unrolled_kernels(n, size, c, side, stride, pads, zeros, limits, strided, result, w_zero, seed):
    size = fitting(size, (side, side), pads)
    run(arrays(seed, n, size, (side, side), c, zeros=w_zero), strided, strides=(stride, stride), pads=pads, x_zero=zeros[0],
        y_zero=zeros[1], low=limits[0], high=limits[1], dtype=result)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 2), size=st.tuples(st.integers(1, 10), st.integers(1, 12)), c=wide, strides=pairs, dilations=pairs,
       kernel=st.tuples(st.integers(1, 7), st.integers(1, 7)), pads=st.tuples(*[st.integers(0, 8)] * 4), strided=st.booleans(),
       zeros=st.tuples(byte, byte), limits=limits, result=st.sampled_from(["uint8", *RESULTS]),
       w_zero=st.sampled_from([0, 0, 128, 32_639]), seed=seeds)
def test_any_geometry(n, size, c, strides, dilations, kernel, pads, strided, zeros, limits, result, w_zero, seed):
    size = fitting(size, kernel, pads, dilations)
    run(arrays(seed, n, size, kernel, c, zeros=w_zero), strided, strides=strides, dilations=dilations, pads=pads,
        x_zero=zeros[0], y_zero=zeros[1], low=limits[0], high=limits[1], dtype=result)


@pytest.mark.parametrize("kernel, stride", [((3, 3), 1), ((3, 3), 2), ((5, 5), 1), ((5, 5), 2), ((2, 4), 1), ((1, 1), 1)])
@pytest.mark.parametrize("w", ["low", "high"])
@pytest.mark.parametrize("x, x_zero", [("high", 255), ("high", 0), ("low", 255)])
def test_saturating_data(kernel, stride, w, x, x_zero):
    """255 x -128 in every tap: what 16 bits hold of two products, and what a signed byte holds of x, is exceeded."""
    found = arrays(1, 1, (9, 11), kernel, 81, x, w)
    run(found, strides=(stride, stride), pads=(2, 1, 1, 2), x_zero=x_zero, dtype="int32")
    run(found, strides=(stride, stride), pads=(2, 1, 1, 2), x_zero=x_zero, y_zero=128)


@pytest.mark.parametrize("n, size, kernel, pads", [
    (1, (1, 1), (3, 3), (1, 1, 1, 1)), (1, (1, 1), (1, 1), (9, 9, 9, 9)), (0, (5, 5), (3, 3), (0, 0, 0, 0)),
    (1, (70, 2), (64, 1), (0, 0, 0, 0)), (1, (2, 70), (2, 65), (0, 0, 0, 0)), (1, (2, 2), (3, 3), (4, 4, 4, 4)),
    (1, (1, 40), (3, 3), (1, 30, 1, 30)), (2, (33, 3), (5, 5), (9, 2, 9, 2)), (1, (1, 1), (300, 200), (150, 99, 150, 101))])
@pytest.mark.parametrize("c", [3, 17, 66])
def test_extremes(n, size, kernel, pads, c):
    run(arrays(2, n, size, kernel, c), pads=pads, x_zero=200, y_zero=9)
    run(arrays(3, n, size, kernel, c, zeros=128), pads=pads, strides=(3, 2), x_zero=200, y_zero=9)


@pytest.mark.parametrize("kernel, strides, dilations, pads", [
    ((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)), ((3, 3), (2, 1), (1, 1), (0, 0, 1, 2)), ((5, 3), (1, 1), (2, 3), (2, 7, 2, 0)),
    ((1, 9), (1, 1), (1, 2), (0, 20, 3, 20)), ((2, 2), (1, 2), (1, 1), (1, 0, 0, 1))])
@pytest.mark.parametrize("c", [1, 3, 7, 8, 15])
def test_few_channels_of_long_rows(kernel, strides, dilations, pads, c):
    run(arrays(c + 1, 2, (6, 70), kernel, c), strides=strides, dilations=dilations, pads=pads, x_zero=130, y_zero=7)


def test_zeros_of_weights_beyond_16_bits_run_as_reference():
    found = arrays(3, 1, (5, 5), (3, 3), 18, zeros=2 ** 31 - 1)
    run(found, native=False, x_zero=3, y_zero=9)


@pytest.mark.parametrize("kernel, stride, dilation", [
    ((3, 3), 1, 1), ((3, 3), 2, 1), ((5, 5), 1, 1), ((5, 5), 2, 1), ((3, 2), 1, 2)])
def test_reads_pixels_and_weights_of_its_own_channel_only(kernel, stride, dilation):
    """Every channel is a delta at another tap."""
    c, taps = 113, kernel[0] * kernel[1]
    x = np.random.default_rng(1).integers(0, 256, (1, 13, 15, c)).astype(np.uint8)
    w = np.zeros((*kernel, c), np.int8)
    w.reshape(taps, c)[np.arange(c) % taps, np.arange(c)] = 1
    attrs = {"strides": (stride, stride), "dilations": (dilation, dilation)}
    found = [x, w, np.zeros(c, np.int32), np.ones(c, np.float32)]
    (expected,) = ops.make("q_depthwise_conv2d", attrs).reference(*found)
    rows, columns = expected.shape[1:3]
    for i in range(c):
        ky, kx = (dilation * k for k in divmod(i % taps, kernel[1]))
        seen = x[0, ky:ky + stride * rows:stride, kx:kx + stride * columns:stride, i]
        assert (expected[0, ..., i] == seen[:rows, :columns]).all()
    run(found, **attrs)
