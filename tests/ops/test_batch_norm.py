from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.ops.activated import apply_activation


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 3), h=st.integers(1, 5), w=st.integers(1, 6), c=st.integers(1, 17),
       seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, n, h, w, c, seed):
    x, gamma, beta, mean = (peer.normal(seed + i, *s) for i, s in enumerate([(n, h, w, c), (c,), (c,), (c,)]))
    variance = np.abs(peer.normal(seed + 4, c)) + np.float32(0.1)
    expected = peer.nhwc(peer.run("BatchNormalization", [peer.nchw(x), gamma, beta, mean, variance], epsilon=1e-3))
    scale = (gamma / np.sqrt(variance + np.float32(1e-3))).astype(np.float32)
    arrays = [x, scale, (beta - mean * scale).astype(np.float32)]
    # Eight roundings on the way (the scale's four, the shift's two, the last two) of terms that may cancel.
    bound = 8 * 2.0 ** -23 * (np.abs(x * scale) + np.abs(beta) + np.abs(mean * scale))
    op = ops.make("batch_norm", {})
    peer.agree(op, arrays, expected, atol=bound)
    assert op.macs([ops.Spec(a.shape) for a in arrays], [ops.Spec(x.shape)]) == x.size


def test_any_rank_and_activation(peer):
    for shape in ((7,), (3, 7), (2, 3, 4, 5, 7)):
        arrays = [peer.normal(1, *shape), peer.normal(2, 7), peer.normal(3, 7)]
        expected = apply_activation("elu", arrays[0] * arrays[1] + arrays[2], 0.5)
        peer.agree(ops.make("batch_norm", {"activation": "elu", "alpha": 0.5}), arrays, expected)


def test_refusals(peer):
    op = ops.make("batch_norm", {})
    peer.refused(op, (2, 3), (3,), match="3 inputs")
    peer.refused(op, (), (3,), (3,), match="x of shape")
    peer.refused(op, (2, 3), (2,), (3,), match=r"scale of shape \[3\], found \[2\]")
    peer.refused(op, (2, 3), (3,), (1, 3), match="shift of shape")
    peer.refused(op, ops.Spec((2, 3), "float16"), (3,), (3,), match="float32, found float16")
    peer.refused(ops.make("batch_norm", {"activation": "exp"}), (2, 3), (3,), (3,), match="activation among")
