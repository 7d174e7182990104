from __future__ import annotations

import numpy as np
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
    peer.refused(matmul, (2, 3), (3,), match=r"b of rank 2 or more, found \[3\]")
    peer.refused(matmul, (2, 3), (4, 5), match=r"b of shape \[..., 3, N\], found \[4, 5\]")
    peer.refused(matmul, (2, 2, 3), (3, 3, 5), match="broadcasts with")
    peer.refused(matmul, (2, 3), ops.Spec((3, 4), "int64"), match="b of dtype float32, found int64")
    peer.refused(matmul, ops.Spec((2, 3), "bool"), ops.Spec((3, 4), "bool"), match="a of dtype .*, found bool")
    integers = ops.Spec((2, 3), "int32"), ops.Spec((3, 4), "int32")
    peer.refused(ops.make("matmul", {"alpha": 0.5}), *integers, match="alpha 1 for int32")
    for name in ("perm_a", "perm_b", "perm_y"):
        peer.refused(ops.make("matmul", {name: (0, 2)}), (2, 3), (3, 4), match=f"{name} that orders 2 axes")
    peer.refused(ops.make("matmul", {"perm_a": (1, 0)}), (2, 3), (3, 4), match=r"b of shape \[..., 2, N\], found \[3, 4\]")


@settings(max_examples=25, deadline=None)
@given(data=st.data(), extents=st.tuples(*[st.integers(1, 6)] * 5), alpha=st.sampled_from([1.0, 0.125, -3.0]),
       seed=st.integers(0, 999))
def test_permutations_are_transposes_around_the_product(peer, data, extents, alpha, seed):
    p, q, m, k, n = extents
    perms = [data.draw(st.permutations(range(4))) for _ in range(3)]
    a, b = peer.normal(seed, p, q, m, k), peer.normal(seed + 1, p, 1, k, n)
    expected = (np.matmul(a, b) * np.float32(alpha)).transpose(perms[2])
    stored = [x.transpose(np.argsort(perm)) for x, perm in zip((a, b), perms, strict=False)]
    op = ops.make("matmul", {"alpha": alpha, **{f"perm_{x}": tuple(perm) for x, perm in zip("aby", perms, strict=True)}})
    peer.agree(op, stored, expected, atol=1e-5 * k * abs(alpha))
    specs = [ops.Spec(x.shape) for x in stored]
    assert op.macs(specs, op.infer(*specs)) == expected.size * k


@settings(max_examples=20, deadline=None)
@given(dtype=st.sampled_from(["int32", "int64"]), m=st.integers(1, 5), k=st.integers(0, 5), n=st.integers(1, 5),
       seed=st.integers(0, 999))
def test_integers_against_onnxruntime(peer, dtype, m, k, n, seed):
    info = np.iinfo(dtype)
    arrays = [np.random.default_rng(seed + i).integers(info.min, info.max, s, dtype) for i, s in enumerate(((2, m, k), (k, n)))]
    expected = peer.run("MatMul", arrays) if k else np.zeros((2, m, n), dtype)
    peer.agree(ops.make("matmul", {}), arrays, expected)
