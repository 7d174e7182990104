from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from tinynet import ops


@settings(max_examples=25, deadline=None)
@given(batch=mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=4), m=st.integers(1, 7),
       k=st.integers(1, 30), n=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, batch, m, k, n, seed):
    a, b = batch.input_shapes
    arrays = [peer.normal(seed, *a, m, k), peer.normal(seed + 1, *b, k, n)]
    expected = peer.run("MatMul", arrays)
    op = ops.make("matmul", {})
    peer.agree(op, arrays, expected, atol=peer.sum_bound(op, arrays, k))
    specs = [ops.Spec(x.shape) for x in arrays]
    assert op.macs(specs, op.infer(*specs)) == expected.size * k


def test_refusals(peer):
    matmul = ops.make("matmul", {})
    peer.refused(matmul, (2, 3), match="2 inputs, found 1")
    peer.refused(matmul, (3,), (3, 4), match=r"a of rank 2 or more, found \[3\]")
    peer.refused(matmul, (2, 3), (3,), match=r"b of shape \[..., 3, N\]")
    peer.refused(matmul, (2, 3), (4, 5), match=r"b of shape \[..., 3, N\], found \[4, 5\]")
    peer.refused(matmul, (2, 2, 3), (3, 3, 5), match="broadcasts with")
    peer.refused(matmul, (2, 3), ops.Spec((3, 4), "int64"), match="float32, found int64")
