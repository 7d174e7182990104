"""kernels/elementwise.pxi: functions of one and two tensors, and batch_norm."""

from __future__ import annotations

import itertools

import bounds
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import SPECIAL, Net, channels, normal, seeds, with_specials

from tinynet import ops
from tinynet.ops.activated import ACTIVATIONS, FUNCTIONS

UNARY = [name for name in FUNCTIONS if name != "none"]
BINARY = ["add", "sub", "mul", "div", "pow", "maximum", "minimum"]
PARAMETERS = {"clip": (-0.75, 1.5), "leaky_relu": (0.1, 0.0), "hard_sigmoid": (0.2, 0.5), "elu": (1.25, 0.0),
              "selu": (1.6732632, 0.0), "celu": (0.7, 0.0), "thresholded_relu": (0.8, 0.0), "shrink": (0.6, 0.3)}


def attributes(kind, alpha, beta):
    """Those that the kind has; celu's alpha is positive where it is native."""
    alpha = abs(alpha) or 1.0 if kind == "celu" else alpha
    fields = ops.kinds()[kind].fields
    return {name: v for name, v in (("alpha", alpha), ("beta", beta), ("threshold", alpha), ("bias", beta)) if name in fields}


def check_unary(kind, x, strided=False, alpha=0.0, beta=0.0):
    op = ops.make(kind, attributes(kind, alpha, beta))
    with np.errstate(all="ignore"):
        expected = np.asarray(op.compute(x.astype(np.float64)), np.float64)
    net = Net(strided)
    net.agree(net.add(kind, net.input(x), **attributes(kind, alpha, beta)), expected,
              bounds.evaluation(kind, x, expected, alpha, beta))


@pytest.mark.parametrize("kind", UNARY)
def test_unary_over_the_whole_line(kind):
    """Every sign, every exponent, and densely where functions bend."""
    magnitudes = np.geomspace(1e-45, 3.4e38, 3001)
    dense = np.linspace(-12, 12, 4001)
    x = np.concatenate([SPECIAL, magnitudes, -magnitudes, dense, np.linspace(-110, 110, 2003)]).astype(np.float32)
    check_unary(kind, x, False, *PARAMETERS.get(kind, (0.0, 0.0)))


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(UNARY), shape=st.lists(channels, max_size=3), strided=st.booleans(), seed=seeds,
       alpha=st.sampled_from([0.0, 0.5, -0.5, 2.0]), beta=st.sampled_from([0.0, 0.75, -1.0]))
def test_unary(kind, shape, strided, seed, alpha, beta):
    check_unary(kind, with_specials(seed, *(d % 7 + 1 for d in shape[:-1]), *shape[-1:]), strided, alpha, beta)


@pytest.mark.parametrize("kind", UNARY)
def test_unary_of_nothing(kind):
    check_unary(kind, np.zeros((2, 0, 3), np.float32))


def wide(array):
    return array.astype(np.float64)


def check_binary(kind, a, b, strided=False, activation="none"):
    attrs = {} if kind == "prelu" else {"activation": activation, "alpha": -0.75, "beta": 1.5}
    linear = ops.make(kind, {})
    with np.errstate(all="ignore"):
        if kind == "pow":
            y = np.asarray(np.power(wide(a), wide(b)))
            error = bounds.evaluation("pow", a, y)
        else:
            y, error = linear.reference(a, b)[0], 0.0      # one IEEE operation: exact
    expected, bound = bounds.activated(activation, y, error, -0.75, 1.5)
    net = Net(strided)
    x = net.input(a)
    z = net.add(kind, x, x if b is a else net.input(b), **attrs)
    net.agree(z, expected, bound)


@st.composite
def broadcasts(draw, one_sided=False):
    """Two shapes that broadcast, of rank 0 to 4; one_sided: the second to the first."""
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 5, 17, 33]), max_size=4))
    keep = [draw(st.sampled_from(["both"] if one_sided and d == 1 else ["both", "both", "a"] if one_sided else
                                 ["both", "both", "a", "b"])) for d in shape]
    a = [1 if k == "b" else d for d, k in zip(shape, keep, strict=True)]
    b = [1 if k == "a" else d for d, k in zip(shape, keep, strict=True)]
    cut = draw(st.integers(0, len(shape)))
    while cut and any(d != 1 for d in b[:cut]):
        cut -= 1
    return tuple(a), tuple(b[cut:])


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(BINARY), shapes=broadcasts(), swap=st.booleans(), strided=st.booleans(),
       activation=st.sampled_from(sorted(ACTIVATIONS)), seed=seeds)
def test_binary(kind, shapes, swap, strided, activation, seed):
    a, b = with_specials(seed, *shapes[0]), with_specials(seed + 1, *shapes[1])
    check_binary(kind, *((b, a) if swap else (a, b)), strided, activation)


@settings(max_examples=20, deadline=None)
@given(shapes=broadcasts(one_sided=True), strided=st.booleans(), seed=seeds)
def test_prelu(shapes, strided, seed):
    check_binary("prelu", with_specials(seed, *shapes[0]), with_specials(seed + 1, *shapes[1]), strided)


@pytest.mark.parametrize("kind", [*BINARY, "prelu"])
def test_binary_on_every_pair_of_special_values(kind):
    pairs = np.array(list(itertools.product(SPECIAL, SPECIAL)), np.float32)
    check_binary(kind, pairs[:, 0].copy(), pairs[:, 1].copy())


@pytest.mark.parametrize("kind", [*BINARY, "prelu"])
def test_binary_forms(kind):
    """Per channel, per picture, per pixel, one number on either side, nothing, the same tensor twice, many axes."""
    x = with_specials(1, 2, 3, 5, 19)
    for shape in [(19,), (2, 1, 1, 1), (1, 3, 5, 1), (2, 1, 1, 19), (1, 3, 1, 19), (), (1,), (2, 3, 5, 19), (1, 1, 1, 1)]:
        other = with_specials(2, *shape)
        check_binary(kind, x, other)
        if kind != "prelu":
            check_binary(kind, other, x)
    check_binary(kind, x[:0], with_specials(2, 19))
    check_binary(kind, x, x)
    check_binary(kind, with_specials(3, 2, 3, 2, 3, 2, 3), with_specials(4, 2, 1, 2, 1, 2, 1))


@pytest.mark.parametrize("kind", [*BINARY, "prelu"])
@pytest.mark.parametrize("pixels, c", [(37, 24), (600, 7), (5, 256), (3, 257)])
def test_binary_with_short_rows(kind, pixels, c):
    """A factor per channel: many pixels at a time, the last ones fewer; one that changes on the way; rows that lie apart."""
    x = with_specials(1, 2, pixels, c)
    for shape in [(c,), (2, 1, c)]:
        factor = with_specials(2, *shape)
        for strided in (False, True):
            check_binary(kind, x, factor, strided)
            if kind != "prelu":
                check_binary(kind, factor, x, strided)


@pytest.mark.parametrize("activation", ["relu", "clip"])
def test_clamp_lets_nan_pass(activation):
    x = np.array([np.nan, 1.0, -np.inf, np.inf, np.nan], np.float32)
    check_binary("add", x, np.zeros(5, np.float32), activation=activation)
    check_binary("maximum", x, np.float32([0, np.nan, 0, 0, np.nan]), activation=activation)
    check_binary("pow", x, np.ones(5, np.float32), activation=activation)


@settings(max_examples=20, deadline=None)
@given(lead=st.lists(st.integers(0, 5), max_size=3), c=channels, activation=st.sampled_from(sorted(ACTIVATIONS)),
       strided=st.booleans(), seed=seeds)
def test_batch_norm(lead, c, activation, strided, seed):
    attrs = {"activation": activation, "alpha": -0.75, "beta": 1.5}
    x = normal(seed, *lead, c)
    if x.size > 3:
        x.reshape(-1)[[0, 1, -1]] = [np.nan, np.inf, -np.inf]
    arrays = [x, normal(seed + 1, c), normal(seed + 2, c)]
    expected, bound = bounds.product(ops.make("batch_norm", attrs), arrays, 2)
    net = Net(strided)
    net.agree(net.add("batch_norm", net.input(x), *(net.constant(a) for a in arrays[1:]), **attrs), expected, bound)
