from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 2), h=st.integers(1, 4), w=st.integers(1, 5), c=st.integers(1, 12),
       half=st.integers(0, 4), alpha=st.sampled_from([1e-4, 0.02, 1.0]), beta=st.sampled_from([0.5, 0.75, 1.0]),
       bias=st.sampled_from([1.0, 2.0]), seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, n, h, w, c, half, alpha, beta, bias, seed):
    size = 2 * half + 1     # all that onnxruntime takes
    x = peer.normal(seed, n, h, w, c)
    expected = peer.nhwc(peer.run("LRN", [peer.nchw(x)], size=size, alpha=alpha, beta=beta, bias=bias))
    op = ops.make("lrn", {"size": size, "alpha": alpha, "beta": beta, "bias": bias})
    peer.agree(op, [x], expected, rtol=2e-6)
    assert op.macs([ops.Spec(x.shape)], [ops.Spec(x.shape)]) == x.size * size


def test_even_sizes_and_defaults(peer):
    x = peer.normal(5, 3, 7)
    op = ops.make("lrn", {"size": 4})
    expected = np.empty_like(x)
    for c in range(7):
        seen = x[:, max(0, c - 1):min(7, c + 3)].astype(np.float64)
        expected[:, c] = x[:, c] / (1 + 1e-4 / 4 * (seen ** 2).sum(axis=1)) ** 0.75
    peer.agree(op, [x], expected, rtol=5e-7)


def test_refusals(peer):
    peer.refused(ops.make("lrn", {}), (2, 3), match="size >= 1, found 0")
    peer.refused(ops.make("lrn", {"size": 3}), (), match="x of shape")
    peer.refused(ops.make("lrn", {"size": 3}), ops.Spec((2, 3), "float64"), match="float32, found float64")
