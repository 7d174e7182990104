from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.ops.grid_sample import MODES, PADDINGS


def last(x):
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 2), c=st.integers(1, 3), extents=st.tuples(*[st.integers(1, 6)] * 3),
       out=st.tuples(*[st.integers(1, 4)] * 3), solid=st.booleans(), reach=st.sampled_from([0.9, 1.5, 4.0]),
       seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, mode, padding, align, n, c, extents, out, solid, reach, seed):
    rank = 3 if solid and mode != "cubic" else 2         # onnxruntime has no cubic of three axes
    extents, out = extents[:rank], out[:rank]
    x = peer.normal(seed, n, c, *extents)
    grid = np.random.default_rng(seed).uniform(-reach, reach, (n, *out, rank)).astype(np.float32)
    expected = last(peer.run("GridSample", [x, grid], opset=20, mode=mode, padding_mode=padding, align_corners=int(align)))
    op = ops.make("grid_sample", {"mode": mode, "padding": padding, "align_corners": align})
    (found,) = op.reference(last(x), grid)
    assert op.infer(ops.Spec(last(x).shape), ops.Spec(grid.shape)) == [ops.Spec(expected.shape)]
    # Coordinates are off by a few roundings of numbers up to reach * extent; the steepest filter has a slope below 2 per axis.
    bound = 64 * reach * max(extents) * 2.0 ** -23 * np.abs(x).max()
    far = np.abs(found - expected).max(-1) > bound
    if mode == "nearest" or min(extents) == 1:
        # Within rounding of a tie, or of a reflection where one pixel is all, either answer is right.
        pixel = [(grid[..., rank - 1 - i].astype(np.float64) + 1) / 2 * (e - 1) if align else
                 ((grid[..., rank - 1 - i].astype(np.float64) + 1) * e - 1) / 2 for i, e in enumerate(extents)]
        tie = np.any([np.abs(p * 2 - np.rint(p * 2)) < 1e-4 for p in pixel], axis=0)
        far &= ~tie
    assert not far.any(), (found[far][:3], expected[far][:3], grid[far][:3])


def test_places_at_pixels_give_pixels():
    x = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    rows, columns = np.meshgrid(np.linspace(-1, 1, 3), np.linspace(-1, 1, 4), indexing="ij")
    grid = np.stack([columns, rows], -1)[None].astype(np.float32)
    for mode in MODES:
        (y,) = ops.make("grid_sample", {"mode": mode, "align_corners": True}).reference(x, grid)
        np.testing.assert_allclose(y, x, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_places_that_are_not_finite_or_far_away(mode):
    x = np.arange(1, 13, dtype=np.float32).reshape(1, 3, 4, 1)
    grid = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38], np.float32).reshape(1, 5, 1, 1).repeat(2, -1)
    for padding in PADDINGS:
        (y,) = ops.make("grid_sample", {"mode": mode, "padding": padding}).reference(x, grid)
        y = y.reshape(-1)
        if padding == "zeros":
            assert not y.any()
        elif padding == "border":
            assert y.tolist() == [1, 12, 1, 12, 1]
        else:
            assert np.isfinite(y).all() and (y >= -4).all() and (y <= 16).all()


def test_zeros_outside_hide_what_lies_at_the_border():
    x = np.full((1, 2, 2, 1), np.nan, np.float32)
    grid = np.full((1, 1, 1, 2), -5, np.float32)
    assert ops.make("grid_sample", {}).reference(x, grid)[0].item() == 0


@settings(max_examples=30, deadline=None)
@given(data=st.data(), n=st.integers(1, 2), groups=st.integers(1, 2), parts=st.integers(1, 2), each=st.integers(1, 2),
       masked=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_deform_against_the_definition(peer, data, n, groups, parts, each, masked, seed):
    kernel, strides, dilations = (data.draw(st.tuples(st.integers(1, 2), st.integers(1, 3))) for _ in range(3))
    pads = data.draw(st.tuples(*[st.integers(0, 2)] * 4))
    h, w = (max(data.draw(st.integers(1, 5)), d * (k - 1) + 1) for d, k in zip(dilations, kernel, strict=True))
    c = groups * parts * each
    op = ops.make("deform_im2col2d", {"kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads,
                                      "groups": groups, "parts": parts})
    oh, ow = ((e + pads[i] + pads[i + 2] - d * (k - 1) - 1) // s + 1
              for i, (e, d, k, s) in enumerate(zip((h, w), dilations, kernel, strides, strict=True)))
    x = peer.normal(seed, n, h, w, c)
    offset = peer.normal(seed + 1, n, oh, ow, parts * kernel[0] * kernel[1] * 2) * np.float32(1.5)
    mask = peer.normal(seed + 2, n, oh, ow, parts * kernel[0] * kernel[1])
    arrays = [x, offset, mask] if masked else [x, offset]
    (found,) = op.reference(*arrays)
    assert op.infer(*(ops.Spec(a.shape) for a in arrays)) == [ops.Spec(found.shape)]
    found = found.reshape(n, oh, ow, groups, *kernel, c // groups)

    def pixel(b, row, column, channel):
        total = 0.0
        for r in (int(np.floor(row)), int(np.floor(row)) + 1):
            for q in (int(np.floor(column)), int(np.floor(column)) + 1):
                if 0 <= r < h and 0 <= q < w:
                    total += (1 - abs(row - r)) * (1 - abs(column - q)) * float(x[b, r, q, channel])
        return total

    offset = offset.reshape(n, oh, ow, parts, *kernel, 2).astype(np.float64)
    mask = mask.reshape(n, oh, ow, parts, *kernel)
    for b, i, j, g, ky, kx, k in np.ndindex(found.shape):
        channel = g * (c // groups) + k
        part = channel // (c // parts)
        dy, dx = offset[b, i, j, part, ky, kx]
        expected = pixel(b, i * strides[0] + ky * dilations[0] - pads[0] + dy,
                         j * strides[1] + kx * dilations[1] - pads[1] + dx, channel)
        expected *= mask[b, i, j, part, ky, kx] if masked else 1
        assert found[b, i, j, g, ky, kx, k] == pytest.approx(expected, abs=1e-4)


def test_refusals(peer):
    op = ops.make("grid_sample", {})
    peer.refused(op, (1, 3), (1, 3, 2), match="x of shape")
    peer.refused(op, (1, 3, 4, 5), (1, 3, 4, 3), match=r"grid of shape \[1, O1, O2, 2\]")
    peer.refused(op, (1, 3, 4, 5), (2, 3, 4, 2), match="grid of shape")
    peer.refused(op, (1, 3, 4, 5), ops.Spec((1, 3, 4, 2), "int64"), match="float32")
    peer.refused(ops.make("grid_sample", {"mode": "bilinear"}), (1, 3, 4, 5), (1, 3, 4, 2), match="mode among")
    deform = ops.make("deform_im2col2d", {"kernel": (2, 2), "parts": 2})
    peer.refused(deform, (1, 3, 3, 3), (1, 2, 2, 16), match="parts that divide the 3")
    peer.refused(deform, (1, 3, 3, 4), (1, 2, 2, 8), match=r"offset of shape \[1, 2, 2, 16\]")
    peer.refused(deform, (1, 3, 3, 4), (1, 2, 2, 16), (1, 2, 2, 4), match=r"mask of shape \[1, 2, 2, 8\]")
