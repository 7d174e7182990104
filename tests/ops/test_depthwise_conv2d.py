from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.ops.activated import apply_activation

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 2), extents=st.tuples(st.integers(1, 9), st.integers(1, 9)), kernel=pairs, strides=pairs,
       dilations=pairs, pads=st.tuples(*[st.integers(0, 3)] * 4), channels=st.integers(1, 19),
       seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, n, extents, kernel, strides, dilations, pads, channels, seed):
    h, w = (max(e, d * (k - 1) + 1 - a - b) for e, d, k, a, b in zip(extents, dilations, kernel, pads[:2], pads[2:],
                                                                     strict=True))
    arrays = [peer.normal(seed, n, h, w, channels), peer.normal(seed + 1, *kernel, channels),
              peer.normal(seed + 2, channels)]
    op = ops.make("depthwise_conv2d", {"strides": strides, "pads": pads, "dilations": dilations})
    expected = peer.nhwc(peer.run("Conv", [peer.nchw(arrays[0]), arrays[1].transpose(2, 0, 1)[:, None], arrays[2]],
                                  strides=strides, pads=pads, dilations=dilations, group=channels))
    peer.agree(op, arrays, expected, atol=peer.sum_bound(op, arrays, kernel[0] * kernel[1] + 1))
    specs = [ops.Spec(a.shape) for a in arrays]
    assert op.macs(specs, op.infer(*specs)) == expected.size * kernel[0] * kernel[1]


def test_activation_comes_last(peer):
    arrays = [peer.normal(1, 1, 5, 6, 7), peer.normal(2, 3, 3, 7), peer.normal(3, 7)]
    plain = ops.make("depthwise_conv2d", {}).reference(*arrays)[0]
    fused = ops.make("depthwise_conv2d", {"activation": "clip", "alpha": -0.5, "beta": 1.5})
    peer.agree(fused, arrays, apply_activation("clip", plain, -0.5, 1.5))
    assert plain.min() < -0.5 and plain.max() > 1.5


def test_refusals(peer):
    conv = ops.make("depthwise_conv2d", {})
    x, w, b = (1, 5, 6, 4), (3, 3, 4), (4,)
    peer.refused(conv, x, w, b, x, match="3 inputs, found 4")
    peer.refused(conv, x, (3, 3, 5), b, match=r"w of shape \[kh, kw, 4\], found \[3, 3, 5\]")
    peer.refused(conv, x, (3, 3, 4, 1), b, match="w of shape")
    peer.refused(conv, x, (0, 3, 4), b, match="kernel of 2 integers >= 1")
    peer.refused(conv, x, w, (5,), match="b of shape")
    peer.refused(conv, x, (6, 3, 4), b, match="padded height of at least 6")
    peer.refused(conv, (5, 6, 4), w, b, match="x of shape")
    peer.refused(ops.make("depthwise_conv2d", {"activation": ""}), x, w, b, match="activation among")
    peer.refused(ops.make("depthwise_conv2d", {"strides": (2,)}), x, w, b, match="strides")
