"""kernels/sampling.pxi: resize along any axes, and grid_sample.  Windows side by side and back: the copy and col2im."""

from __future__ import annotations

import bounds
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, channels, normal, seeds, with_non_finite

from tinynet import ops
from tinynet.ops.grid_sample import MODES, PADDINGS, TAPS

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def run(kind, arrays, attrs, bound=0.0, strided=False, native=True):
    (expected,) = ops.make(kind, attrs).reference(*arrays)
    net = Net(strided)
    net.agree(net.add(kind, *(net.input(a) for a in arrays), **attrs), expected, bound, native=native)


def resized(x, axes, size, **attrs):
    """Bound: per axis a sum of T products, of weights whose magnitudes add up to less than 2."""
    attrs = {"axes": axes, "size": size, "scales": tuple(s / x.shape[a] for s, a in zip(size, axes, strict=True)), **attrs}
    op = ops.make("resize", attrs)
    terms = sum(op.taps(i, x.shape[a])[0].shape[1] for i, a in enumerate(axes))
    finite = np.abs(x[np.isfinite(x)]).max(initial=0)
    run("resize", [x], attrs, bounds.sums(terms, 2.0 ** len(axes) * finite) if attrs["mode"] != "nearest" else 0.0)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 2), h=st.integers(1, 6), w=st.integers(1, 6), c=channels, oh=st.integers(1, 9), ow=st.integers(1, 9),
       antialias=st.booleans(), exclude=st.booleans(), seed=seeds)
def test_cubic_images(n, h, w, c, oh, ow, antialias, exclude, seed):
    resized(normal(seed, n, h, w, c), (1, 2), (oh, ow), mode="cubic", antialias=antialias, exclude_outside=exclude)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("shape, axes, size", [
    ((2, 3, 4, 5, 6), (1, 2, 3), (5, 6, 7)), ((2, 3, 4, 5, 6), (2, 4), (3, 13)), ((7, 5), (0, 1), (4, 17)),
    ((40,), (0,), (17,)), ((2, 3, 33), (1, 2), (5, 21))])
def test_any_axes(mode, shape, axes, size):
    resized(normal(1, *shape), axes, size, mode=mode)
    resized(with_non_finite(2, *shape), axes, size, mode=mode)


def test_rows_that_lie_apart_and_what_has_no_kernel():
    x, attrs = normal(1, 2, 3, 20), {"axes": (1, 2), "size": (5, 30), "scales": (5 / 3, 1.5), "mode": "linear"}
    run("resize", [x], attrs, bounds.sums(4, 4 * np.abs(x).max()), strided=True, native=False)
    crop = {**attrs, "coordinates": "tf_crop_and_resize", "roi": (0.0, 0.0, 1.5, 1.0), "extrapolation": 3.0}
    run("resize", [x], crop, bounds.sums(4, 4 * np.abs(x).max()), native=False)
    run("resize", [x], {**crop, "roi": (0.0, 0.1, 1.0, 0.9)}, bounds.sums(4, 4 * np.abs(x).max()))
    run("resize", [np.arange(120, dtype=np.uint8).reshape(2, 3, 20)], {**attrs, "mode": "nearest"}, native=False)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=8, deadline=None)
@given(n=st.integers(1, 2), h=st.integers(1, 6), w=st.integers(1, 6), c=channels, out=pairs, strided=st.booleans(), seed=seeds)
def test_grid_sample(mode, padding, align, n, h, w, c, out, strided, seed):
    x = normal(seed, n, h, w, c)
    # Sums of few bits: every coordinate is exact, ties and pixels are among them.
    grid = (np.random.default_rng(seed).integers(-40, 41, (n, *out, 2)) / 16).astype(np.float32)
    attrs = {"mode": mode, "padding": padding, "align_corners": align}
    net = Net(strided)
    (expected,) = ops.make("grid_sample", attrs).reference(x, grid)
    # A weight is off by some u for every rounding in it; two of them and the sum make the output.
    bound = bounds.sums(TAPS[mode] ** 2 + 16, 4 * np.abs(x).max()) if mode != "nearest" else 0.0
    net.agree(net.add("grid_sample", net.input(x), net._input(grid), **attrs), expected, bound)


@pytest.mark.parametrize("mode", MODES)
def test_grid_sample_of_special_values(mode):
    x = with_non_finite(3, 1, 3, 4, 18)
    places = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, -0.0, 1, -1, 0.25], np.float32)
    grid = np.stack(np.meshgrid(places, places), -1)[None]
    finite = np.abs(x[np.isfinite(x)]).max()
    for padding in PADDINGS:
        run("grid_sample", [x, grid], {"mode": mode, "padding": padding},
            bounds.sums(TAPS[mode] ** 2 + 16, 4 * finite) if mode != "nearest" else 0.0)


def test_grid_sample_of_volumes_runs_in_numpy():
    run("grid_sample", [normal(1, 2, 3, 4, 5, 6), normal(2, 2, 3, 2, 2, 3)], {}, native=False)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 2), more=pairs, kernel=pairs, strides=pairs, dilations=pairs, groups=st.integers(1, 3),
       each=st.sampled_from([1, 3, 16, 17]), dtype=st.sampled_from(["float32", "int64", "uint8"]), strided=st.booleans())
def test_im2col(n, more, kernel, strides, dilations, groups, each, dtype, strided):
    h, w = (d * (k - 1) + m for d, k, m in zip(dilations, kernel, more, strict=True))
    x = (np.arange(n * h * w * groups * each) % 251).astype(dtype).reshape(n, h, w, groups * each)
    run("im2col2d", [x], {"kernel": kernel, "strides": strides, "dilations": dilations, "groups": groups}, strided=strided)


@settings(max_examples=20, deadline=None)
@given(data=st.data(), n=st.integers(1, 2), h=st.integers(1, 4), w=st.integers(1, 4), kernel=pairs, strides=pairs,
       dilations=pairs, pads=st.tuples(st.integers(0, 3), st.integers(0, 3)), c=channels, strided=st.booleans(), seed=seeds)
def test_col2im(data, n, h, w, kernel, strides, dilations, pads, c, strided, seed):
    size = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    x = normal(seed, n, h, w, kernel[0] * kernel[1] * c)
    net = Net(strided)
    attrs = {"size": size, "kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads}
    # The same sums in the same order.
    net.agree(net.add("col2im2d", net._input(x), **attrs), ops.make("col2im2d", attrs).reference(x)[0])


@pytest.mark.parametrize("kernel, c", [((2, 2), 17), ((3, 1), 1), ((1, 2), 33), ((2, 3), 4)])
def test_col2im_of_windows_that_do_not_overlap(kernel, c):
    """A copy; one more row or column of output, and it is none."""
    x = normal(1, 2, 3, 4, kernel[0] * kernel[1] * c)
    for more in ((0, 0), (0, 1), (1, 0)):
        attrs = {"size": (3 * kernel[0] + more[0], 4 * kernel[1] + more[1]), "kernel": kernel, "strides": kernel}
        net = Net(strided=True)
        net.agree(net.add("col2im2d", net._input(x), **attrs), ops.make("col2im2d", attrs).reference(x)[0])
