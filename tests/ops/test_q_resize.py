"""Linear resize of quantised images against onnxruntime's Resize between DequantizeLinear and QuantizeLinear."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tinynet import ops

STEPS = st.tuples(st.floats(2 ** -7, 2 ** -2, width=32), st.sampled_from([0, 1, 100, 128, 131, 255]))
# half_pixel_symmetric is not among those of opset 17.
COORDINATES = ["half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners"]


def judge(peer, x, steps, scales, coordinates):
    shift = 128 if x.dtype == np.int8 else 0
    (x_scale, x_zero), (y_scale, y_zero) = steps
    scales = tuple(float(np.float32(s)) for s in scales)
    expected = peer.nhwc(peer.between(
        "Resize", peer.nchw(x), (x_scale, np.array(x_zero - shift, x.dtype)), (y_scale, np.array(y_zero - shift, x.dtype)),
        more=[None, np.array([1, 1, *scales], np.float32)], mode="linear", coordinate_transformation_mode=coordinates))
    op = ops.make("q_resize", {"size": expected.shape[1:3], "scales": scales, "coordinates": coordinates, "x_scale": x_scale,
                               "x_zero": x_zero, "y_scale": y_scale, "y_zero": y_zero})
    stored = x.view(np.uint8) ^ 0x80 if shift else x
    (found,) = op.reference(stored)
    assert op.infer(ops.Spec(x.shape, "uint8")) == [ops.Spec(found.shape, "uint8")] and found.dtype == np.uint8
    expected = expected.view(np.uint8) ^ 0x80 if shift else expected
    off = np.abs(found.astype(int) - expected)
    assert off.max() <= 1 and (off > 0).mean() <= 1e-3, f"{(off > 0).sum()} of {off.size} differ, by {off.max()}"


@settings(max_examples=60, deadline=None)
@given(extents=st.tuples(st.integers(1, 12), st.integers(1, 13)), c=st.integers(1, 9), steps=st.tuples(STEPS, STEPS),
       factors=st.tuples(st.integers(1, 5), st.integers(1, 5)), coordinates=st.sampled_from(COORDINATES),
       dtype=st.sampled_from(["uint8", "int8"]), seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, extents, c, steps, factors, coordinates, dtype, seed):
    judge(peer, peer.integers(seed, dtype, 2, *extents, c), steps, factors, coordinates)


@settings(max_examples=30, deadline=None)
@given(extents=st.tuples(st.integers(3, 12), st.integers(3, 13)), c=st.integers(1, 9), step=STEPS,
       scales=st.tuples(st.floats(0.4, 4), st.floats(0.4, 4)), coordinates=st.sampled_from(COORDINATES[:3]),
       seed=st.integers(0, 2**32 - 1))
def test_scales_with_a_fraction(peer, extents, c, step, scales, coordinates, seed):
    # onnxruntime copies an image whose size stays, whatever its scales say.
    assume(tuple(int(s * d) for s, d in zip(scales, extents, strict=True)) != extents)
    judge(peer, peer.integers(seed, "uint8", 2, *extents, c), (step, step), scales, coordinates)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("zero", [0, 3, 255])
def test_results_between_two_integers(peer, zero, dtype, coordinates):
    """Where the scale does not change, many end there: only the same roundings give the same integers."""
    step = (float(np.float32(0.0371)), zero)
    for factors in [(2, 2), (4, 4)]:
        judge(peer, peer.integers(zero, dtype, 2, 17, 19, 7), (step, step), factors, coordinates)


def test_resize_of_plain_bytes_is_within_a_step(peer):
    """onnxruntime cuts the fraction off there; one between 0 and 1 more or less."""
    x = peer.integers(1, "uint8", 1, 9, 11, 3)
    expected = peer.nhwc(peer.run("Resize", [peer.nchw(x), None, np.array([1, 1, 2, 2], np.float32)], mode="linear"))
    (found,) = ops.make("q_resize", {"size": (18, 22), "scales": (2.0, 2.0)}).reference(x)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_refused(peer):
    attrs = {"size": (8, 10), "scales": (2.0, 2.0)}
    x = ops.Spec((1, 4, 5, 3), "uint8")
    peer.refused(ops.make("q_resize", attrs), (1, 4, 5, 3), match="x of dtype uint8, found float32")
    peer.refused(ops.make("q_resize", attrs), ops.Spec((4, 5, 3), "uint8"), match="x of shape")
    peer.refused(ops.make("q_resize", attrs | {"coordinates": "tf_crop_and_resize"}), x, match="coordinates among")
    peer.refused(ops.make("q_resize", attrs | {"size": (8,)}), x, match="size of 2 integers")
    peer.refused(ops.make("q_resize", attrs | {"scales": (2.0, -1.0)}), x, match="scales of 2 positive")
    peer.refused(ops.make("q_resize", attrs | {"x_scale": 1e-40}), x, match="x_scale, a positive")
    peer.refused(ops.make("q_resize", attrs | {"y_zero": 300}), x, match="y_zero between 0 and 255")


def test_what_it_costs():
    op, x = ops.make("q_resize", {"size": (8, 10), "scales": (2.0, 2.0)}), ops.Spec((1, 4, 5, 3), "uint8")
    assert op.macs([x], op.infer(x)) == 4 * 8 * 10 * 3
