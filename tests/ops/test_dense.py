from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.ops.activated import apply_activation


@settings(max_examples=25, deadline=None)
@given(lead=st.lists(st.integers(1, 4), max_size=3), k=st.integers(1, 40), n=st.integers(1, 35),
       residual=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, lead, k, n, residual, seed):
    arrays = [peer.normal(seed, *lead, k), peer.normal(seed + 1, n, k), peer.normal(seed + 2, n)]
    expected = peer.run("Gemm", [arrays[0].reshape(-1, k), arrays[1], arrays[2]], transB=1).reshape(*lead, n)
    if residual:
        arrays.append(peer.normal(seed + 3, *lead, n))
        expected = expected + arrays[3]
    op = ops.make("dense", {})
    peer.agree(op, arrays, expected, atol=peer.sum_bound(op, arrays, k + 2))
    specs = [ops.Spec(a.shape) for a in arrays]
    assert op.macs(specs, op.infer(*specs)) == expected.size * k


def test_activation_comes_last(peer):
    arrays = [peer.normal(1, 3, 5), peer.normal(2, 7, 5), peer.normal(3, 7), peer.normal(4, 3, 7)]
    plain = ops.make("dense", {}).reference(*arrays)[0]
    peer.agree(ops.make("dense", {"activation": "hard_swish"}), arrays, apply_activation("hard_swish", plain))


def test_refusals(peer):
    dense = ops.make("dense", {})
    peer.refused(dense, (2, 3), (4, 3), match="3 to 4 inputs")
    peer.refused(dense, (), (4, 3), (4,), match="x of shape")
    peer.refused(dense, (2, 3), (4, 2), (4,), match=r"w of shape \[N, 3\], found \[4, 2\]")
    peer.refused(dense, (2, 3), (4, 3, 1), (4,), match="w of shape")
    peer.refused(dense, (2, 3), (4, 3), (1, 4), match="b of shape")
    peer.refused(dense, (2, 3), (4, 3), (4,), (4,), match=r"residual of shape \[2, 4\], found \[4\]")
    peer.refused(dense, (2, 3), ops.Spec((4, 3), "float64"), (4,), match="input 1 of dtype float32, found float64")
    peer.refused(ops.make("dense", {"activation": "swish"}), (2, 3), (4, 3), (4,), match="activation among")
