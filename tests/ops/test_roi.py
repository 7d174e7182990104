from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops


def boxes(rng, count, h, w):
    """Left, top, right, bottom, in pixels; some reach outside, some are empty or turned round."""
    return rng.uniform(-2, 1.3 * max(h, w), (count, 4)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 3), h=st.integers(2, 9), w=st.integers(2, 9), c=st.integers(1, 3), count=st.integers(1, 4),
       size=st.tuples(st.integers(1, 4), st.integers(1, 4)), mode=st.sampled_from(["avg", "max"]), samples=st.integers(0, 3),
       scale=st.sampled_from([1.0, 0.5, 0.3]), half=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_align_against_onnxruntime(peer, n, h, w, c, count, size, mode, samples, scale, half, seed):
    rng = np.random.default_rng(seed)
    x, images, rois = peer.normal(seed, n, h, w, c), rng.integers(0, n, count), boxes(rng, count, h, w) / np.float32(scale)
    if half:        # onnxruntime refuses regions that are turned round
        rois = np.concatenate([np.minimum(rois[:, :2], rois[:, 2:]), np.maximum(rois[:, :2], rois[:, 2:])], 1)
    expected = peer.nhwc(peer.run(
        "RoiAlign", [peer.nchw(x), rois, images], opset=16, mode=mode, output_height=size[0], output_width=size[1],
        sampling_ratio=samples, spatial_scale=scale,
        coordinate_transformation_mode="half_pixel" if half else "output_half_pixel"))
    op = ops.make("roi_align", {"size": size, "mode": mode, "samples": samples, "scale": scale, "half_pixel": half})
    # Coordinates up to 20 are off by a few roundings.
    peer.agree(op, [x, rois, images], expected, atol=200 * 2.0 ** -23 * np.abs(x).max())


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 3), h=st.integers(1, 9), w=st.integers(1, 9), c=st.integers(1, 3), count=st.integers(1, 4),
       size=st.tuples(st.integers(1, 4), st.integers(1, 4)), scale=st.sampled_from([1.0, 0.5, 0.3]),
       seed=st.integers(0, 2**32 - 1))
def test_max_pool_against_onnxruntime(peer, n, h, w, c, count, size, scale, seed):
    rng = np.random.default_rng(seed)
    x = peer.normal(seed, n, h, w, c)
    rois = np.concatenate([rng.integers(0, n, (count, 1)), boxes(rng, count, h, w) / scale], 1).astype(np.float32)
    expected = peer.nhwc(peer.run("MaxRoiPool", [peer.nchw(x), rois], pooled_shape=size, spatial_scale=scale))
    peer.agree(ops.make("max_roi_pool", {"size": size, "scale": scale}), [x, rois], expected)


def test_pixels_outside_of_a_region_do_not_matter():
    x = np.full((1, 8, 8, 1), np.nan, np.float32)
    x[0, 2:5, 2:5] = 3
    op = ops.make("roi_align", {"size": (1, 1), "samples": 2, "half_pixel": False})
    assert op.reference(x, np.array([[2, 2, 4, 4]], np.float32), np.array([0]))[0].item() == 3


def test_regions_of_no_use_are_errors():
    x = np.zeros((2, 3, 3, 1), np.float32)
    align, pool = ops.make("roi_align", {}), ops.make("max_roi_pool", {"size": (1, 1)})
    good = np.array([[0, 0, 2, 2]], np.float32)
    for image in (2, -1):
        with pytest.raises(ops.DataError, match=rf"images from 0 to 1, found \[{image}\]"):
            align.reference(x, good, np.array([image]))
        with pytest.raises(ops.DataError, match="images from 0 to 1"):
            pool.reference(x, np.array([[image, 0, 0, 2, 2]], np.float32))
    for bad in (np.nan, np.inf):
        with pytest.raises(ops.DataError, match="rois of finite numbers"):
            align.reference(x, np.full((1, 4), bad, np.float32), np.array([0]))
        with pytest.raises(ops.DataError, match="rois of numbers below"):
            pool.reference(x, np.full((1, 5), bad, np.float32))
    with pytest.raises(ops.DataError, match="a region of at most"):
        align.reference(x, np.array([[0, 0, 1e30, 1e30]], np.float32), np.array([0]))


def test_refusals(peer):
    align, pool = ops.make("roi_align", {}), ops.make("max_roi_pool", {"size": (1, 1)})
    images = ops.Spec((2,), "int64")
    peer.refused(align, (1, 3, 3), (2, 4), images, match="x of shape")
    peer.refused(align, (1, 3, 3, 1), (2, 5), images, match=r"rois of shape \[R, 4\]")
    peer.refused(align, (1, 3, 3, 1), (2, 4), ops.Spec((3,), "int64"), match=r"images of int64 \[2\]")
    peer.refused(ops.make("roi_align", {"mode": "min"}), (1, 3, 3, 1), (2, 4), images, match="mode among")
    peer.refused(pool, (1, 3, 3, 1), (2, 4), match=r"rois of shape \[R, 5\]")
    peer.refused(ops.make("max_roi_pool", {}), (1, 3, 3, 1), (2, 5), match="size of 2")
