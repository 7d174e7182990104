from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.ops.activated import ACTIVATIONS, apply_activation

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 2), extents=st.tuples(st.integers(1, 9), st.integers(1, 9)), kernel=pairs, strides=pairs,
       dilations=pairs, pads=st.tuples(*[st.integers(0, 3)] * 4), groups=st.integers(1, 3), ins=st.integers(1, 5),
       outs=st.integers(1, 5), residual=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, n, extents, kernel, strides, dilations, pads, groups, ins, outs, residual, seed):
    h, w = (max(e, d * (k - 1) + 1 - a - b) for e, d, k, a, b in zip(extents, dilations, kernel, pads[:2], pads[2:],
                                                                     strict=True))
    x = peer.normal(seed, n, h, w, ins * groups)
    weights = peer.normal(seed + 1, outs * groups, *kernel, ins)
    bias = peer.normal(seed + 2, outs * groups)
    op = ops.make("conv2d", {"strides": strides, "pads": pads, "dilations": dilations, "groups": groups})
    expected = peer.nhwc(peer.run("Conv", [peer.nchw(x), peer.nchw(weights), bias], strides=strides, pads=pads,
                                  dilations=dilations, group=groups))
    arrays = [x, weights, bias]
    if residual:
        arrays.append(peer.normal(seed + 3, *expected.shape))
        expected = expected + arrays[3]
    peer.agree(op, arrays, expected, atol=peer.sum_bound(op, arrays, ins * kernel[0] * kernel[1] + 2))
    specs = [ops.Spec(a.shape) for a in arrays]
    taps = kernel[0] * kernel[1]
    assert op.macs(specs, op.infer(*specs)) == expected.size * taps * ins


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activation_comes_last(peer, name):
    x, w, b, r = peer.normal(1, 1, 3, 4, 5), peer.normal(2, 7, 1, 1, 5), peer.normal(3, 7), peer.normal(4, 1, 3, 4, 7)
    plain = ops.make("conv2d", {}).reference(x, w, b, r)[0]
    fused = ops.make("conv2d", {"activation": name, "alpha": 0.25, "beta": 0.75})
    peer.agree(fused, [x, w, b, r], apply_activation(name, plain, 0.25, 0.75))
    assert name == "none" or not np.array_equal(fused.reference(x, w, b, r)[0], plain)


def test_refusals(peer):
    conv = ops.make("conv2d", {})
    x, w, b = (1, 5, 6, 4), (8, 3, 3, 4), (8,)
    peer.refused(conv, x, w, match="3 to 4 inputs, found 2")
    peer.refused(conv, (5, 6, 4), w, b, match=r"x of shape \[N, H, W, C\], found \[5, 6, 4\]")
    peer.refused(conv, (1, 0, 6, 4), w, b, match="x of shape")
    peer.refused(conv, x, (8, 3, 3, 3), b, match="4 input channels per group")
    peer.refused(conv, x, (8, 36), b, match="w of shape")
    peer.refused(conv, x, w, (7,), match=r"b of shape \[8\], found \[7\]")
    peer.refused(conv, x, w, b, (1, 5, 6, 8), match=r"residual of shape \[1, 3, 4, 8\]")
    peer.refused(conv, ops.Spec(x, "int32"), w, b, match="float32, found int32")
    peer.refused(conv, (1, 2, 6, 4), w, b, match="padded height of at least 3 .the window., found 2")
    peer.refused(conv, (1, 3, 2, 4), w, b, match="padded width")
    peer.refused(ops.make("conv2d", {"groups": 3}), x, w, b, match="groups that divide the 4 channels")
    peer.refused(ops.make("conv2d", {"groups": 0}), x, w, b, match="groups")
    peer.refused(ops.make("conv2d", {"groups": 4}), x, (6, 3, 3, 1), (6,), match="divisible by 4 groups, found 6")
    peer.refused(ops.make("conv2d", {"strides": (1, 0)}), x, w, b, match="strides of 2 integers >= 1")
    peer.refused(ops.make("conv2d", {"pads": (1, 1)}), x, w, b, match="pads of 4")
    peer.refused(ops.make("conv2d", {"pads": (0, -1, 0, 0)}), x, w, b, match="pads of 4 integers >= 0")
    peer.refused(ops.make("conv2d", {"dilations": (0, 1)}), x, w, b, match="dilations")
    peer.refused(ops.make("conv2d", {"activation": "swish"}), x, w, b, match="activation among .*found 'swish'")


def test_infer_is_exact_for_huge_extents():
    specs = ops.Spec((1, 3, 3, 1)), ops.Spec((1, 3, 3, 1)), ops.Spec((1,))
    conv = ops.make("conv2d", {"pads": (2**31 - 1, 0, 2**31 - 1, 0)})
    assert conv.infer(*specs)[0].shape == (1, 2**32 - 1, 1, 1)
    # Beyond, the kernels' 64-bit arithmetic could overflow.
    for name, value in (("pads", (2**31, 0, 0, 0)), ("strides", (2**31, 1)), ("dilations", (1, 2**31))):
        with pytest.raises(ops.ShapeError, match=f"{name} of integers <= 2147483647"):
            ops.make("conv2d", {name: value}).infer(*specs)
