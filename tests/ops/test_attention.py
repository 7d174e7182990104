from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops


@settings(max_examples=25, deadline=None)
@given(extents=st.tuples(*[st.integers(1, 7)] * 5), alpha=st.sampled_from([1.0, 0.25]), seed=st.integers(0, 999))
def test_against_onnxruntime(peer, extents, alpha, seed):
    """Product, softmax, product as three nodes."""
    batch, m, k, n, d = extents
    q, key, v = peer.normal(seed, batch, m, k), peer.normal(seed + 1, k, n), peer.normal(seed + 2, batch, n, d)
    scores = peer.run("MatMul", [q * np.float32(alpha), key])
    expected = peer.run("MatMul", [peer.run("Softmax", [scores], axis=-1), v])
    op = ops.make("attention", {"alpha": alpha})
    peer.agree(op, [q, key, v], expected, atol=1e-5)
    stored = [q.transpose(1, 0, 2), key.T, v.transpose(2, 1, 0)]
    perms = {"perm_q": (1, 0, 2), "perm_k": (1, 0), "perm_v": (2, 1, 0), "perm_y": (2, 0, 1)}
    op = ops.make("attention", {"alpha": alpha, **perms})
    peer.agree(op, stored, expected.transpose(2, 0, 1), atol=1e-5)
    specs = [ops.Spec(x.shape) for x in stored]
    assert op.macs(specs, op.infer(*specs)) == batch * m * n * (k + d)


def test_refusals(peer):
    op = ops.make("attention", {})
    peer.refused(op, (2, 3), (3, 4), match="3 inputs, found 2")
    peer.refused(op, (2, 3), (4, 4), (4, 5), match=r"b of shape \[..., 3, N\], found \[4, 4\]")
    peer.refused(op, (2, 3), (3, 4), (3, 5), match=r"b of shape \[..., 4, N\], found \[3, 5\]")
    peer.refused(op, (2, 3), (3, 0), (0, 5), match="at least one element")
    peer.refused(op, (2, 3), (3, 4), ops.Spec((4, 5), "int32"), match="float32")
    peer.refused(ops.make("attention", {"perm_k": (0,)}), (2, 3), (3, 4), (4, 5), match="perm_b that orders 2 axes")
