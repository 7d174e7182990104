"""kernels/q_pool.pxi: pools, reductions and linear resize of 8-bit tensors, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, channels, seeds

from tinynet import ops
from tinynet.ops.resize import COORDINATES

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
WINDOWS = st.fixed_dictionaries({
    "kernel": st.one_of(st.sampled_from([(2, 2), (3, 3)]), st.tuples(st.integers(1, 6), st.integers(1, 6))),
    "strides": pairs, "dilations": pairs, "pads": st.tuples(*[st.integers(0, 7)] * 4)})
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 10))
ZEROS = st.one_of(st.sampled_from([0, 255]), st.integers(0, 255))
# Near one another, so that results are spread; and far apart, so that they saturate.
SCALES = st.one_of(st.floats(0.0078125, 0.25, width=32), st.sampled_from([2.0 ** -125, 3.4028234663852886e38, 1.0, 0.25]))
STEP = float(np.float32(0.0371))
STEPS = st.fixed_dictionaries({"x_scale": SCALES, "x_zero": ZEROS, "y_scale": SCALES, "y_zero": ZEROS})


def drawn_bytes(seed, dtype, *shape):
    """Over the whole range, its ends often."""
    info = np.iinfo(dtype)
    r = np.random.default_rng(seed)
    x = r.integers(info.min, info.max, shape, dtype, endpoint=True)
    return np.where(r.random(shape) < 0.2, r.choice([info.min, info.max], shape), x).astype(dtype)


def check(kind, x, attrs, strided=False, native=True):
    (expected,) = ops.make(kind, attrs).reference(x)
    net = Net(strided)
    net.agree(net.add(kind, net.input(x), **attrs), expected, native=native)


def fitting(size, attrs):
    return tuple(max(1, size[i], attrs["dilations"][i] * (attrs["kernel"][i] - 1) + 1 - attrs["pads"][i] - attrs["pads"][i + 2])
                 for i in range(2))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 2), size=SIZES, c=channels, attrs=WINDOWS, dtype=st.sampled_from(["uint8", "uint8", "int8"]),
       strided=st.booleans(), seed=seeds)
def test_max_pool2d(n, size, c, attrs, dtype, strided, seed):
    check("max_pool2d", drawn_bytes(seed, dtype, n, *fitting(size, attrs), c), attrs, strided)


@pytest.mark.parametrize("c", [1, 3, 4, 5, 7, 8, 13, 16, 17, 31, 32, 33, 64, 67, 128, 130, 197])
@pytest.mark.parametrize("kernel, stride, pad", [(2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 1, 1), (2, 1, 0), (5, 1, 2)])
def test_max_pools_of_networks(c, kernel, stride, pad):
    """Rows of whole windows between edges, the shortcuts for 2x2 and 3x3, and every length of what is left of the channels."""
    attrs = {"kernel": (kernel, kernel), "strides": (stride, stride), "pads": (pad, pad, pad, pad)}
    check("max_pool2d", drawn_bytes(c, "uint8", 1, 9, 12, c), attrs, strided=c % 2 == 0)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 2), size=SIZES, c=channels, attrs=WINDOWS, steps=STEPS,
       extra=st.tuples(st.integers(0, 3), st.integers(0, 3)), include=st.booleans(),
       signed=st.booleans(), strided=st.booleans(), seed=seeds)
def test_average_pool2d(n, size, c, attrs, steps, extra, include, signed, strided, seed):
    attrs = attrs | steps | {"extra": extra, "count_include_pad": include, "signed": signed}
    check("q_average_pool2d", drawn_bytes(seed, "uint8", n, *fitting(size, attrs), c), attrs, strided)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("zero, kernel", [(0, (2, 2)), (1, (2, 3)), (127, (4, 3)), (128, (2, 2)), (255, (2, 3))])
def test_averages_between_two_integers(zero, kernel, signed):
    """The same scale on both sides: every fourth 2x2 window is one, and the order of the two divisions decides some others."""
    x = drawn_bytes(zero, "uint8", 1, 16, 18, 37)
    check("q_average_pool2d", x, {"kernel": kernel, "strides": (2, 2), "x_scale": STEP, "x_zero": zero,
                                  "y_scale": STEP, "y_zero": zero, "signed": signed})


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 3), size=SIZES, c=channels, steps=STEPS, keepdims=st.booleans(), strided=st.booleans(), seed=seeds)
def test_global_average_pool(n, size, c, steps, keepdims, strided, seed):
    check("q_global_average_pool", drawn_bytes(seed, "uint8", n, *size, c), steps | {"keepdims": keepdims}, strided)


@pytest.mark.parametrize("pixels", [1, 255, 256, 257, 511, 512, 513, 1000])
@pytest.mark.parametrize("c", [3, 16, 70, 300])
def test_long_sums_of_the_largest(pixels, c):
    """16-bit sums are emptied in time."""
    x = np.full((1, pixels, c), 255, np.uint8)
    x[:, :, ::3] = drawn_bytes(pixels, "uint8", 1, pixels, len(range(0, c, 3)))
    check("q_global_average_pool", x, {"x_scale": 0.5, "x_zero": 3, "y_scale": 0.5})
    check("q_average_pool2d", x.reshape(1, 1, pixels, c), {"kernel": (1, pixels), "x_scale": 0.5, "y_scale": 0.5, "y_zero": 3})


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 2), size=SIZES, c=channels, steps=STEPS, out=st.tuples(st.integers(1, 13), st.integers(1, 14)),
       coordinates=st.sampled_from(COORDINATES), strided=st.booleans(), seed=seeds)
def test_linear_resize(n, size, c, steps, out, coordinates, strided, seed):
    attrs = steps | {"size": out, "scales": tuple(float(np.float32(o / d)) for o, d in zip(out, size, strict=True)),
                     "coordinates": coordinates}
    check("q_resize", drawn_bytes(seed, "uint8", n, *size, c), attrs, strided)


@pytest.mark.parametrize("scales", [(2.0, 2.0), (4.0, 0.5), (1.0, 3.0)])
@pytest.mark.parametrize("zero", [0, 131, 255])
def test_linear_resize_between_two_integers(scales, zero):
    x = drawn_bytes(zero, "uint8", 2, 7, 10, 21)
    size = tuple(int(s * d) for s, d in zip(scales, (7, 10), strict=True))
    attrs = {"size": size, "scales": scales, "coordinates": "asymmetric", "x_scale": STEP, "x_zero": zero, "y_scale": STEP,
             "y_zero": zero}
    check("q_resize", x, attrs)
    check("q_resize", x, attrs, strided=True)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("kind", ["reduce_max", "reduce_min"])
@settings(max_examples=20, deadline=None)
@given(data=st.data(), keepdims=st.booleans(), seed=seeds,
       shape=st.lists(st.sampled_from([1, 2, 3, 5, 17, 33, 70]), min_size=1, max_size=4))
def test_extremes(data, kind, dtype, shape, keepdims, seed):
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    check(kind, drawn_bytes(seed, dtype, *shape), {"axes": axes, "keepdims": keepdims})


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("kind", ["reduce_max", "reduce_min"])
def test_extremes_of_images_inside_a_wider_tensor(kind, dtype):
    x = drawn_bytes(1, dtype, 2, 5, 7, 19)
    for axes in [(1, 2), (2,), (0, 1, 2)]:
        check(kind, x, {"axes": axes, "keepdims": False}, strided=True)
    check(kind, x[:, :0], {"axes": (1,)}, native=False)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("kind", ["argmax", "argmin"])
@settings(max_examples=20, deadline=None)
@given(data=st.data(), keepdims=st.booleans(), last=st.booleans(), few=st.booleans(), seed=seeds,
       shape=st.lists(st.sampled_from([1, 2, 3, 5, 16, 33, 70]), min_size=1, max_size=4))
def test_places(data, kind, dtype, shape, keepdims, last, few, seed):
    x = drawn_bytes(seed, dtype, *shape)
    x = x % 2 if few else x
    check(kind, x.astype(dtype), {"axis": data.draw(st.integers(-len(shape), len(shape) - 1)), "keepdims": keepdims,
                                  "select_last_index": last})


@pytest.mark.parametrize("kind, attrs", [("max_pool2d", {"kernel": (2, 2)}), ("q_average_pool2d", {"kernel": (2, 2)}),
                                         ("q_global_average_pool", {}), ("q_resize", {"size": (5, 6), "scales": (1.25, 1.5)})])
def test_no_images(kind, attrs):
    check(kind, np.zeros((0, 4, 4, 7), np.uint8), attrs)
