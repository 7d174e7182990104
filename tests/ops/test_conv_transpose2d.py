from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.ops.activated import apply_activation

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def from_onnx(weights, groups):
    """[C, O/g, kh, kw] -> [kh, kw, O, C/g]"""
    c, rows, kh, kw = weights.shape
    parts = weights.reshape(groups, c // groups, rows, kh, kw).transpose(3, 4, 0, 2, 1)
    return np.ascontiguousarray(parts.reshape(kh, kw, groups * rows, c // groups))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), n=st.integers(1, 2), h=st.integers(1, 6), w=st.integers(1, 6), kernel=pairs, strides=pairs,
       dilations=pairs, groups=st.integers(1, 3), ins=st.integers(1, 4), outs=st.integers(1, 4),
       seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, data, n, h, w, kernel, strides, dilations, groups, ins, outs, seed):
    extra = tuple(data.draw(st.integers(0, s - 1)) for s in strides)
    full = [(e - 1) * s + d * (k - 1) + 1 + p
            for e, s, d, k, p in zip((h, w), strides, dilations, kernel, extra, strict=True)]
    before = [data.draw(st.integers(0, min(2, f - 1))) for f in full]
    after = [data.draw(st.integers(0, min(2, f - 1 - b))) for f, b in zip(full, before, strict=True)]
    pads = (*before, *after)
    x = peer.normal(seed, n, h, w, ins * groups)
    weights = peer.normal(seed + 1, ins * groups, outs, *kernel)
    bias = peer.normal(seed + 2, outs * groups)
    expected = peer.nhwc(peer.run("ConvTranspose", [peer.nchw(x), weights, bias], strides=strides, pads=pads,
                                  dilations=dilations, group=groups, output_padding=extra))
    op = ops.make("conv_transpose2d", {"strides": strides, "pads": pads, "dilations": dilations,
                                       "output_padding": extra, "groups": groups})
    arrays = [x, from_onnx(weights, groups), bias]
    peer.agree(op, arrays, expected, atol=peer.sum_bound(op, arrays, ins * kernel[0] * kernel[1] + 1))
    specs = [ops.Spec(a.shape) for a in arrays]
    assert op.macs(specs, op.infer(*specs)) == n * h * w * groups * ins * outs * kernel[0] * kernel[1]


def test_activation_comes_last(peer):
    arrays = [peer.normal(1, 1, 3, 4, 6), peer.normal(2, 2, 2, 5, 6), peer.normal(3, 5)]
    plain = ops.make("conv_transpose2d", {"strides": (2, 2)}).reference(*arrays)[0]
    fused = ops.make("conv_transpose2d", {"strides": (2, 2), "activation": "leaky_relu", "alpha": 0.1})
    peer.agree(fused, arrays, apply_activation("leaky_relu", plain, 0.1))


def test_refusals(peer):
    x, w, b = (1, 5, 6, 4), (3, 3, 8, 4), (8,)

    def op(**attrs):
        return ops.make("conv_transpose2d", attrs)

    peer.refused(op(), x, w, match="3 inputs, found 2")
    peer.refused(op(), x, (3, 3, 8, 5), b, match="w of 4 input channels per group")
    peer.refused(op(), x, (3, 3, 8), b, match="w of shape")
    peer.refused(op(), x, w, (4,), match="b of shape")
    peer.refused(op(groups=3), x, w, b, match="groups that divide")
    peer.refused(op(groups=4), x, (3, 3, 6, 1), (6,), match="divisible by 4 groups")
    peer.refused(op(pads=(4, 0, 3, 0)), x, w, b, match=r"pads smaller than the full extents \[7, 8\]")
    peer.refused(op(output_padding=(-1, 0)), x, w, b, match="output_padding of 2 integers >= 0")
    peer.refused(op(strides=(0, 1)), x, w, b, match="strides")
    peer.refused(op(dilations=(1,)), x, w, b, match="dilations")
    peer.refused(op(activation="x"), x, w, b, match="activation")
