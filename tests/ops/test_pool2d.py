from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops


@st.composite
def windows(draw):
    """(extents, kernel, strides, pads, dilations) that onnxruntime accepts: each pad is smaller than the kernel."""
    kernel, strides, dilations = (draw(st.tuples(st.integers(1, 4), st.integers(1, 4))) for _ in range(3))
    pads = tuple(draw(st.integers(0, k - 1)) for k in kernel * 2)
    extents = tuple(max(draw(st.integers(1, 11)), d * (k - 1) + 1 - a - b)
                    for d, k, a, b in zip(dilations, kernel, pads[:2], pads[2:], strict=True))
    return extents, kernel, strides, pads, dilations


def ceil_rows(extents, out, kernel, strides, pads, dilations):
    """Rows and columns below and right of the padded image that the windows of a ceil_mode output reach into."""
    return tuple(max(0, (out[i] - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1
                     - extents[i] - pads[i] - pads[i + 2]) for i in range(2))


@settings(max_examples=40, deadline=None)
@given(window=windows(), n=st.integers(1, 2), c=st.integers(1, 5), ceil_mode=st.booleans(),
       seed=st.integers(0, 2**32 - 1))
def test_max_pool_against_onnxruntime(peer, window, n, c, ceil_mode, seed):
    extents, kernel, strides, pads, dilations = window
    x = peer.normal(seed, n, *extents, c)
    expected = peer.nhwc(peer.run("MaxPool", [peer.nchw(x)], kernel_shape=kernel, strides=strides, pads=pads,
                                  dilations=dilations, ceil_mode=int(ceil_mode)))
    if ceil_mode:
        more = ceil_rows(extents, expected.shape[1:3], kernel, strides, pads, dilations)
        pads = (pads[0], pads[1], pads[2] + more[0], pads[3] + more[1])
    # A window that sees no pixel: -inf here, the lowest float in onnxruntime.
    expected = np.where(expected == np.finfo(np.float32).min, -np.float32(np.inf), expected)
    op = ops.make("max_pool2d", {"kernel": kernel, "strides": strides, "pads": pads, "dilations": dilations})
    peer.agree(op, [x], expected)
    assert op.macs([ops.Spec(x.shape)], [ops.Spec(expected.shape)]) == 0


@settings(max_examples=60, deadline=None)
@given(window=windows(), n=st.integers(1, 2), c=st.integers(1, 5), ceil_mode=st.booleans(),
       include=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_average_pool_against_onnxruntime(peer, window, n, c, ceil_mode, include, seed):
    extents, kernel, strides, pads, dilations = window
    x = peer.normal(seed, n, *extents, c)
    expected = peer.nhwc(peer.run("AveragePool", [peer.nchw(x)], opset=19, kernel_shape=kernel, strides=strides,
                                  pads=pads, dilations=dilations, ceil_mode=int(ceil_mode),
                                  count_include_pad=int(include)))
    extra = ceil_rows(extents, expected.shape[1:3], kernel, strides, pads, dilations) if ceil_mode else (0, 0)
    op = ops.make("average_pool2d", {"kernel": kernel, "strides": strides, "pads": pads, "dilations": dilations,
                                     "extra": extra, "count_include_pad": include})
    taps = kernel[0] * kernel[1]
    # The same sum on both sides in any order, then one division.
    peer.agree(op, [x], expected, atol=2 * (taps + 1) * 2.0 ** -24 * np.abs(x).max())
    assert op.macs([ops.Spec(x.shape)], [ops.Spec(expected.shape)]) == expected.size * taps


@pytest.mark.parametrize("kind", ["max_pool2d", "average_pool2d"])
def test_nan_and_infinity_reach_every_window_that_sees_them(kind):
    x = np.zeros((1, 5, 6, 2), np.float32)
    x[0, 1, 2, 0], x[0, 4, 5, 1] = np.nan, np.inf
    (y,) = ops.make(kind, {"kernel": (2, 2), "pads": (1, 1, 1, 1)}).reference(x)
    seen = np.zeros((6, 7), bool)
    seen[1:3, 2:4] = True
    assert np.array_equal(np.isnan(y[0, ..., 0]), seen) and not np.isnan(y[0, ..., 1]).any()
    seen = np.zeros((6, 7), bool)
    seen[4:, 5:] = True
    assert np.array_equal(np.isposinf(y[0, ..., 1]), seen)


def test_padding_never_wins_and_windows_without_pixels(peer):
    x = np.full((1, 1, 1, 1), -7, np.float32)
    kernel = {"kernel": (1, 1), "pads": (1, 0, 0, 2)}
    expected = np.array([[-np.inf] * 3, [-7, -np.inf, -np.inf]], np.float32).reshape(1, 2, 3, 1)
    peer.agree(ops.make("max_pool2d", kernel), [x], expected)
    for include in (False, True):
        average = ops.make("average_pool2d", {**kernel, "count_include_pad": include})
        peer.agree(average, [x], np.where(np.isinf(expected), np.float32(0), expected))


def test_extra_rows_never_count(peer):
    x = np.full((1, 3, 3, 1), 6, np.float32)
    op = ops.make("average_pool2d", {"kernel": (2, 2), "strides": (2, 2), "extra": (1, 1), "count_include_pad": True})
    peer.agree(op, [x], np.full((1, 2, 2, 1), 6, np.float32))
    padded = ops.make("average_pool2d", {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 1, 1),
                                         "count_include_pad": True})
    peer.agree(padded, [x], np.array([[6, 3], [3, 1.5]], np.float32).reshape(1, 2, 2, 1))


@pytest.mark.parametrize("kind", ["max_pool2d", "average_pool2d"])
def test_refusals(peer, kind):
    def op(**attrs):
        return ops.make(kind, {"kernel": (2, 2), **attrs})

    peer.refused(ops.make(kind, {}), (1, 4, 5, 3), match=r"kernel of 2 integers >= 1, found \[\]")
    peer.refused(op(), (4, 5, 3), match="x of shape")
    peer.refused(op(), (1, 1, 5, 3), match="padded height of at least 2 .the window., found 1")
    peer.refused(op(), ops.Spec((1, 4, 5, 3), "int64"), match="float32.*found '?int64")
    peer.refused(op(strides=(0, 1)), (1, 4, 5, 3), match="strides")
    peer.refused(op(pads=(0, 0, 0, -1)), (1, 4, 5, 3), match="pads")
    peer.refused(op(dilations=(1, 1, 1)), (1, 4, 5, 3), match="dilations")
    peer.refused(op(dilations=(1, 5)), (1, 4, 5, 3), match="padded width of at least 6")


def test_extra_is_checked(peer):
    peer.refused(ops.make("average_pool2d", {"kernel": (2, 2), "extra": (-1, 0)}), (1, 4, 5, 3), match="extra of 2")
