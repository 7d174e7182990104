"""kernels/reduce.pxi: pools, reductions, softmax, argmax, lrn."""

from __future__ import annotations

import itertools

import bounds
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, channels, normal, seeds, with_non_finite, with_specials

from tinynet import ops

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
POOLS = st.fixed_dictionaries({
    "kernel": st.tuples(st.integers(1, 6), st.integers(1, 6)), "strides": pairs, "dilations": pairs,
    "pads": st.tuples(*[st.integers(0, 7)] * 4)})
EXACT = ("max_pool2d", "reduce_max", "reduce_min", "argmax", "argmin")


def check(kind, x, attrs, terms=0, strided=False, native=True):
    op = ops.make(kind, attrs)
    if kind in EXACT:
        (expected,) = op.reference(x)
        bound = 0.0
    elif kind == "reduce_l2":
        expected, bound = root_of_sum(op, x, terms)
    else:
        expected, bound = bounds.product(op, [x], terms)
    net = Net(strided)
    net.agree(net.add(kind, net.input(x), **attrs), expected, bound, native=native)


def root_of_sum(op, x, terms):
    """A relative error of the sum of squares is halved by the root, which adds one rounding; squares below 2^-149 are lost."""
    (expected,) = op.reference(x.astype(np.float64))
    squares, bound = bounds.product(ops.make("reduce_sum_square", op.attributes()), [x.astype(np.float64)], terms)
    with np.errstate(all="ignore"):
        return expected, np.where(squares > 0, bound / np.sqrt(squares) + bounds.U * expected, np.sqrt(bound))


def fitting(size, attrs):
    return tuple(max(1, size[i], attrs["dilations"][i] * (attrs["kernel"][i] - 1) + 1 - attrs["pads"][i] - attrs["pads"][i + 2])
                 for i in range(2))


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 2), size=st.tuples(st.integers(1, 9), st.integers(1, 10)), c=channels, attrs=POOLS,
       strided=st.booleans(), seed=seeds)
def test_max_pool2d(n, size, c, attrs, strided, seed):
    check("max_pool2d", with_specials(seed, n, *fitting(size, attrs), c), attrs, strided=strided)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 2), size=st.tuples(st.integers(1, 9), st.integers(1, 10)), c=channels, attrs=POOLS,
       extra=st.tuples(st.integers(0, 3), st.integers(0, 3)), include=st.booleans(), strided=st.booleans(), seed=seeds,
       make=st.sampled_from([normal, with_non_finite]))
def test_average_pool2d(n, size, c, attrs, extra, include, strided, seed, make):
    x = make(seed, n, *fitting(size, attrs), c)
    attrs = attrs | {"extra": extra, "count_include_pad": include}
    check("average_pool2d", x, attrs, attrs["kernel"][0] * attrs["kernel"][1] + 2, strided)


@pytest.mark.parametrize("include", [False, True])
def test_average_of_windows_where_nothing_counts(include):
    check("average_pool2d", normal(1, 1, 3, 3, 5), {"kernel": (2, 2), "strides": (2, 2), "pads": (4, 4, 2, 2), "extra": (3, 3),
                                                    "count_include_pad": include}, 6)


@pytest.mark.parametrize("kind", ["max_pool2d", "average_pool2d"])
def test_pools_of_one_pixel_and_of_nothing(kind):
    check(kind, normal(1, 1, 1, 1, 7), {"kernel": (1, 1)}, 3)
    check(kind, normal(1, 1, 1, 1, 7), {"kernel": (3, 3), "pads": (1, 1, 1, 1)}, 11)
    check(kind, normal(1, 0, 4, 4, 7), {"kernel": (2, 2)}, 6)
    check(kind, normal(1, 1, 30, 30, 3), {"kernel": (30, 30)}, 902)


REDUCTIONS = ["reduce_mean", "reduce_sum", "reduce_max", "reduce_min", "reduce_l1", "reduce_l2", "reduce_sum_square"]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), kind=st.sampled_from(REDUCTIONS), keepdims=st.booleans(), seed=seeds,
       shape=st.lists(st.sampled_from([1, 2, 3, 5, 17, 33]), min_size=1, max_size=4))
def test_reductions(data, kind, shape, keepdims, seed):
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    make = data.draw(st.sampled_from([normal, with_non_finite]))
    terms = int(np.prod([shape[a] for a in axes])) + 2 * len(axes)
    check(kind, make(seed, *shape), {"axes": axes, "keepdims": keepdims}, terms)


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize("axes", [(1, 2), (2,), (0, 1, 2), (3,), (1, 2, 3), (1, 3)])
def test_reductions_of_channels_inside_a_wider_tensor(kind, axes):
    """Axes (1, 2) is global pooling; those that end on the channels may run in numpy."""
    x = normal(1, 2, 5, 7, 19)
    check(kind, x, {"axes": axes, "keepdims": False}, x.size, strided=True, native=axes[-1] == 2)


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize("n", [1, 15, 16, 17, 63, 64, 65, 1000, 5000])
def test_long_reductions(kind, n):
    check(kind, normal(n, n), {"axes": (0,)}, n + 1)
    check(kind, normal(n, n, 3), {"axes": (0,)}, n + 1)
    check(kind, normal(n, 3, n), {"axes": (1,)}, n + 1)


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_reductions_with_nan_and_of_nothing(kind):
    for place in (0, 5, 16, 36):
        x = normal(1, 37)
        x[place] = np.nan
        check(kind, x, {"axes": (0,)}, 40)
        check(kind, np.repeat(x[:, None], 3, 1), {"axes": (0,)}, 40)
    check(kind, np.full((2, 20), -np.inf, np.float32), {"axes": (1,)}, 20)
    check(kind, normal(1, 0, 5, 3), {"axes": (1,)}, 5)
    check(kind, normal(1, 2, 0, 3), {"axes": (1,), "keepdims": False}, 5, native=False)
    check(kind, normal(1, 0), {"axes": (0,), "keepdims": False}, 5, native=False)


@pytest.mark.parametrize("kind,dtype", [("reduce_sum", "int64"), ("reduce_max", "uint8"), ("reduce_min", "bool"),
                                        ("argmin", "int8"), ("reduce_prod", "float32"), ("reduce_log_sum_exp", "float32")])
def test_what_has_no_kernel_runs_in_numpy(kind, dtype):
    x = np.asarray(normal(1, 3, 5, 7) * 3).astype(dtype)
    attrs = {"axis": 1} if kind == "argmin" else {"axes": (0, 2)}
    net = Net()
    net.agree(net.add(kind, net.input(x), **attrs), ops.make(kind, attrs).reference(x)[0], native=False)


def test_a_long_mean_rounds_like_a_short_one():
    """Sums go through a second accumulator: 2^20 equal numbers stay exact to a few units, not to 2^20."""
    for shape, axes in [((1 << 20,), (0,)), ((1 << 18, 5), (0,))]:
        net = Net()
        x = np.full(shape, np.float32(0.1))
        y = net.add("reduce_mean", net.input(x), axes=axes)
        net.agree(y, np.full(net.shape(y), np.float32(0.1)), bounds.sums(64 + shape[0] // 64 + 2, 0.1))


def check_softmax(x, axis, kind):
    with np.errstate(all="ignore"):
        z = np.asarray(x - x.max(axis=axis, keepdims=True) if x.size else x, np.float64)
        e = np.exp(z)
        total = e.sum(axis=axis, keepdims=True)
        if kind == "softmax":
            expected = e / total
            bound = bounds.evaluation("softmax", z, expected) + bounds.sums(x.shape[axis], expected)
        else:
            # The sum is off by 4 u in each exp and as a sum; its logarithm by as much, and rounded; then a difference.
            expected = z - np.log(total)
            bound = (4 * bounds.U + bounds.sums(x.shape[axis], 1.0) + bounds.evaluation("log", total, np.log(total))
                     + 2 * bounds.U * np.abs(expected))
    net = Net()
    net.agree(net.add(kind, net.input(x), axis=axis), expected, np.where(np.isfinite(expected), bound, 0))


SOFTMAX = ["softmax", "log_softmax"]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=st.lists(channels, min_size=1, max_size=3), scale=st.sampled_from([0.01, 1, 30, 1000]), seed=seeds,
       make=st.sampled_from([normal, with_non_finite]), kind=st.sampled_from(SOFTMAX))
def test_softmax(data, shape, scale, seed, make, kind):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    check_softmax(make(seed, *shape) * np.float32(scale), axis, kind)


@pytest.mark.parametrize("kind", SOFTMAX)
@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 33, 64, 65, 1000])
def test_softmax_sizes(n, kind):
    check_softmax(normal(n, n), 0, kind)
    check_softmax(normal(n, 3, n), -1, kind)
    check_softmax(-200 - np.abs(normal(n, 3, n)), -1, kind)     # what lies beside a row must not count as 0
    check_softmax(normal(n, n, 3), 0, kind)
    check_softmax(normal(n, 0, n), 1, kind)
    check_softmax(np.full((2, n), -np.inf, np.float32), 1, kind)
    check_softmax(np.full((n, 2), 3e38, np.float32), 0, kind)


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(["argmax", "argmin"]), data=st.data(), shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
       keepdims=st.booleans(), last=st.booleans(), seed=seeds)
def test_argmax_and_argmin(kind, data, shape, keepdims, last, seed):
    """Few different values: ties, NaN and infinities everywhere."""
    values = np.float32([0, -0.0, 1, 1, -1, np.inf, -np.inf, np.nan])
    x = np.random.default_rng(seed).choice(values[:data.draw(st.integers(2, 8))], shape)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    check(kind, x, {"axis": axis, "keepdims": keepdims, "select_last_index": last})


@pytest.mark.parametrize("kind", ["argmax", "argmin"])
@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 64, 65, 130, 259])
def test_argmax_along_rows_and_columns(kind, n):
    """Ties, and NaN at the ends and inside."""
    values = np.float32([0, -0.0, 1, 1, -1, np.inf, -np.inf])
    for last, place in itertools.product([False, True], [None, (0, n - 1), (n // 2, n // 2)]):
        x = np.random.default_rng(n).choice(values[:5 if place else 7], (3, n))
        if place:
            x[1, list(place)] = np.nan
        for inner in (1, 5, 18):
            columns = np.stack([np.roll(x, i, 1) for i in range(inner)], -1)
            check(kind, columns, {"axis": 1, "select_last_index": last})


def test_argmax_of_many_and_of_nothing():
    for last in (False, True):
        check("argmax", normal(1, 1000), {"axis": 0, "select_last_index": last})
        check("argmax", normal(1, 3, 1000, 2), {"axis": 1, "select_last_index": last})
        check("argmax", normal(1, 0, 4), {"axis": 1, "select_last_index": last})


def check_lrn(x, strided=False, **attrs):
    op = ops.make("lrn", attrs)
    (expected,) = op.reference(x.astype(np.float64))
    # The base is a sum of size + 2 positive terms, its error times beta; sqrt or powf, two products and a division follow.
    bound = np.abs(expected) * ((op.size + 3) * op.beta + 8) * bounds.U + bounds.TINY
    net = Net(strided)
    net.agree(net.add("lrn", net.input(x), **attrs), expected, bound)


@settings(max_examples=25, deadline=None)
@given(lead=st.lists(st.integers(0, 4), max_size=2), c=channels, size=st.integers(1, 9),
       alpha=st.sampled_from([1e-4, 0.5, 2.0]), beta=st.sampled_from([0.75, 0.5, 1.0, 0.3]),
       bias=st.sampled_from([1.0, 2.0, 0.25]), strided=st.booleans(), seed=seeds)
def test_lrn(lead, c, size, alpha, beta, bias, strided, seed):
    check_lrn(normal(seed, *lead, c), strided, size=size, alpha=alpha, beta=beta, bias=bias)


def test_lrn_window_wider_than_the_channels_and_nan():
    for size, beta in itertools.product([1, 2, 5, 40], [0.75, 0.6]):
        check_lrn(with_non_finite(1, 2, 3, 21), size=size, beta=beta)
        check_lrn(normal(1, 1, 1, 1, 1), size=size, beta=beta)
