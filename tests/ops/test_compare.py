from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from tinynet import ops

ONNX = {"equal": "Equal", "greater": "Greater", "greater_equal": "GreaterOrEqual"}
NUMERIC = ["float32", "int64", "int32", "uint8", "int8"]
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("dtype", [*NUMERIC, "bool"])
@pytest.mark.parametrize("kind", sorted(ONNX))
@settings(max_examples=10, deadline=None)
@given(shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=6, min_side=0, max_side=4), seed=seeds)
def test_against_onnxruntime(peer, kind, dtype, shapes, seed):
    a, b = (peer.values(seed + i, dtype, *s) for i, s in enumerate(shapes.input_shapes))
    op = ops.make(kind, {})
    if dtype == "bool" and kind != "equal":
        peer.refused(op, ops.Spec(a.shape, dtype), ops.Spec(b.shape, dtype), match="found bool")
    else:
        peer.agree(op, [a, b], peer.run(ONNX[kind], [a, b]))


def test_nan_compares_with_nothing():
    a, b = np.array([[np.nan, np.nan, 1, 0.0], [np.nan, 1, np.nan, -0.0]], np.float32)
    for kind in ONNX:
        assert ops.make(kind, {}).reference(a, b)[0].tolist() == [False, False, False, kind != "greater"]


@pytest.mark.parametrize("dtype", [*NUMERIC, "bool"])
@settings(max_examples=10, deadline=None)
@given(shapes=mutually_broadcastable_shapes(num_shapes=3, max_dims=6, min_side=0, max_side=4), seed=seeds)
def test_where(peer, dtype, shapes, seed):
    condition = peer.integers(seed, "bool", *shapes.input_shapes[0])
    a, b = (peer.values(seed + i, dtype, *s) for i, s in enumerate(shapes.input_shapes[1:]))
    if dtype in ("int8", "bool"):     # which onnxruntime's Where lacks
        expected = peer.run("Where", [condition, a.view(np.uint8), b.view(np.uint8)]).view(dtype)
    else:
        expected = peer.run("Where", [condition, a, b])
    peer.agree(ops.make("where", {}), [condition, a, b], expected)


def test_refusals(peer):
    where, bools = ops.make("where", {}), ops.Spec((2, 1), "bool")
    peer.refused(ops.make("equal", {}), (2,), ops.Spec((2,), "int64"), match="both inputs of dtype float32, found int64")
    peer.refused(ops.make("greater", {}), (2,), (3,), match=r"broadcasts with \[2\], found \[3\]")
    peer.refused(where, (2, 1), (2, 1), (2, 1), match="condition of dtype bool, found float32")
    peer.refused(where, bools, (3,), ops.Spec((3,), "int32"), match="both choices of dtype float32, found int32")
    peer.refused(where, bools, (3,), (4,), match=r"broadcasts with \[2, 3\], found \[4\]")
    peer.refused(where, bools, (3,), match="3 inputs, found 2")
