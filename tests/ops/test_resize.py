from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.ops.resize import COORDINATES, NEAREST_MODES

MODES = [("nearest", nearest) for nearest in NEAREST_MODES] + [("linear", "round_prefer_floor")]


def check(peer, x, mode, coordinates, nearest, scales=None, size=None):
    n, h, w, c = x.shape
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": nearest}
    if size is None:
        inputs = [peer.nchw(x), None, np.array([1, 1, *scales], np.float32)]
    else:
        inputs = [peer.nchw(x), None, None, np.array([n, c, *size], np.int64)]
        scales = [float(np.float32(out) / np.float32(extent)) for out, extent in zip(size, (h, w), strict=True)]
    expected = peer.nhwc(peer.run("Resize", inputs, opset=19, **attributes))
    op = ops.make("resize", {"size": expected.shape[1:3], "scales": scales, "mode": mode, "coordinates": coordinates,
                             "nearest_mode": nearest})
    # Linear: the coordinates are a few roundings of numbers up to the extent, and the weights inherit their error.
    bound = 4 * max(h, w) * 2.0 ** -23 * np.abs(x).max() * 2 if mode == "linear" else 0
    peer.agree(op, [x], expected, atol=bound)
    macs = op.macs([ops.Spec(x.shape)], [ops.Spec(expected.shape)])
    assert macs == (4 * expected.size if mode == "linear" else 0)


@pytest.mark.parametrize("mode, nearest", MODES)
@pytest.mark.parametrize("coordinates", COORDINATES)
@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 2), h=st.integers(1, 9), w=st.integers(1, 9), c=st.integers(1, 3), oh=st.integers(1, 20),
       ow=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_to_a_size_against_onnxruntime(peer, mode, nearest, coordinates, n, h, w, c, oh, ow, seed):
    check(peer, peer.normal(seed, n, h, w, c), mode, coordinates, nearest, size=(oh, ow))


@pytest.mark.parametrize("mode, nearest", MODES)
@pytest.mark.parametrize("coordinates", COORDINATES)
@settings(max_examples=15, deadline=None)
@given(h=st.integers(2, 9), w=st.integers(2, 9), scales=st.tuples(*[st.sampled_from(
       [0.5, 0.6, 0.75, 1.0, 1.3, 1.5, 2.0, 2.6, 3.0, 4.0])] * 2), seed=st.integers(0, 2**32 - 1))
def test_by_scales_against_onnxruntime(peer, mode, nearest, coordinates, h, w, scales, seed):
    # onnxruntime copies where the extents stay the same, even by a scale like 1.3, which moves the coordinates.
    assume(scales == (1, 1) or (int(np.float32(scales[0]) * h), int(np.float32(scales[1]) * w)) != (h, w))
    check(peer, peer.normal(seed, 1, h, w, 2), mode, coordinates, nearest, scales=scales)


@pytest.mark.parametrize("nearest, expected", [("round_prefer_floor", 14), ("round_prefer_ceil", 15)])
def test_a_tie_that_float32_misses_is_a_tie(peer, nearest, expected):
    # (4 + 1/2) 20/6 - 1/2 = 14.5; with the scale 6/20 rounded to float32 it comes out as 14.499999.
    x = np.arange(20, dtype=np.float32).reshape(1, 1, 20, 1)
    check(peer, x, "nearest", "half_pixel", nearest, size=(1, 6))
    op = ops.make("resize", {"size": (1, 6), "scales": (1.0, float(np.float32(6) / np.float32(20))),
                             "nearest_mode": nearest})
    assert op.source(1, 20)[4] < 14.5
    assert op.nearest(1, 20)[4] == expected


def test_nan_stays_where_it_is():
    x = np.array([1, np.nan, 2], np.float32).reshape(1, 1, 3, 1)
    (y,) = ops.make("resize", {"size": (1, 6), "scales": (1.0, 2.0), "coordinates": "asymmetric",
                               "nearest_mode": "floor"}).reference(x)
    assert np.isnan(y.reshape(-1)).tolist() == [False, False, True, True, False, False]


def test_refusals(peer):
    def op(**attrs):
        return ops.make("resize", {"size": (4, 6), "scales": (2.0, 2.0), **attrs})

    peer.refused(ops.make("resize", {}), (1, 2, 3, 4), match="size of 2 integers >= 1")
    peer.refused(op(), (2, 3, 4), match="x of shape")
    peer.refused(op(size=(0, 3)), (1, 2, 3, 4), match="size of 2")
    peer.refused(op(scales=(2.0,)), (1, 2, 3, 4), match="scales of 2 positive numbers")
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        peer.refused(op(scales=(2.0, bad)), (1, 2, 3, 4), match="scales of 2 positive numbers")
    peer.refused(op(mode="cubic"), (1, 2, 3, 4), match="mode among linear, nearest, found 'cubic'")
    peer.refused(op(coordinates="tf_crop_and_resize"), (1, 2, 3, 4), match="coordinates among")
    peer.refused(op(nearest_mode="round"), (1, 2, 3, 4), match="nearest_mode among")
    peer.refused(op(), ops.Spec((1, 2, 3, 4), "uint8"), match="float32")
