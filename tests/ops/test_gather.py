from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.graph import DTYPES

seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4)
index_types = st.sampled_from([np.int64, np.int32])


@settings(max_examples=40, deadline=None)
@given(shape=shapes, picks=st.lists(st.integers(0, 4), max_size=2), data=st.data(), kind=index_types, seed=seeds)
def test_gather_against_onnxruntime(peer, shape, picks, data, kind, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = peer.normal(seed, *shape)
    indices = np.asarray(np.random.default_rng(seed).integers(-shape[axis], shape[axis], picks), kind)
    peer.agree(ops.make("gather", {"axis": axis}), [x, indices], np.asarray(peer.run("Gather", [x, indices], axis=axis)))


@settings(max_examples=40, deadline=None)
@given(shape=shapes, data=st.data(), kind=index_types, seed=seeds)
def test_gather_elements_against_onnxruntime(peer, shape, data, kind, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = peer.normal(seed, *shape)
    inner = [data.draw(st.integers(0, 7 if i == axis % len(shape) else d)) for i, d in enumerate(shape)]
    indices = np.random.default_rng(seed).integers(-shape[axis], shape[axis], inner).astype(kind)
    peer.agree(ops.make("gather_elements", {"axis": axis}), [x, indices], peer.run("GatherElements", [x, indices], axis=axis))


@settings(max_examples=40, deadline=None)
@given(shape=shapes, data=st.data(), seed=seeds)
def test_gather_nd_against_onnxruntime(peer, shape, data, seed):
    batch = data.draw(st.integers(0, len(shape) - 1))
    width = data.draw(st.integers(1, len(shape) - batch))
    lead = data.draw(st.lists(st.integers(1, 4), max_size=2))
    if batch and not lead:
        lead = [2]                              # batch_dims has to be below the rank of indices
    x, r = peer.normal(seed, *shape), np.random.default_rng(seed)
    limits = shape[batch:batch + width]
    indices = np.stack([r.integers(-d, d, (*shape[:batch], *lead)) for d in limits], -1)
    expected = np.asarray(peer.run("GatherND", [x, indices], batch_dims=batch))
    peer.agree(ops.make("gather_nd", {"batch_dims": batch}), [x, indices], expected)
    peer.agree(ops.make("gather_nd", {"batch_dims": batch}), [x, indices.astype(np.int32)], expected)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype(peer, dtype):
    x = np.array([[1, 0], [0, 1], [1, 1]]).astype(dtype)
    peer.agree(ops.make("gather", {}), [x, np.array([2, 0, -1])], np.array([[1, 1], [1, 0], [1, 1]]).astype(dtype))
    peer.agree(ops.make("gather_elements", {}), [x, np.array([[1, -1]])], np.array([[0, 1]]).astype(dtype))
    peer.agree(ops.make("gather_nd", {}), [x, np.array([[1, 1], [-2, 0]])], np.array([1, 0]).astype(dtype))


def test_refusals(peer):
    ints = ops.Spec((4,), "int64")
    for kind in ("gather", "gather_elements", "gather_nd"):
        peer.refused(ops.make(kind, {}), (2, 3), match="2 inputs, found 1")
        peer.refused(ops.make(kind, {}), (2, 3), (4,), match="indices of dtype int64 or int32, found float32")
    peer.refused(ops.make("gather", {"axis": 2}), (2, 3), ints, match="axis between -2 and 1")
    peer.refused(ops.make("gather_elements", {"axis": 2}), (2, 3), ints, match="axis between -2 and 1")
    peer.refused(ops.make("gather_elements", {}), (2, 3), ints, match=r"shape inside \[2, 3\] except along axis 0, found \[4\]")
    peer.refused(ops.make("gather_elements", {}), (2, 3), ops.Spec((9, 4), "int64"), match="except along axis 0")
    peer.refused(ops.make("gather_nd", {}), (2, 3), ints, match="index tuples of 1 to 2 along the last axis")
    peer.refused(ops.make("gather_nd", {"batch_dims": 1}), (2, 3), ints, match="batch_dims below both ranks, found 1")
    pairs = ops.Spec((3, 1), "int64")
    peer.refused(ops.make("gather_nd", {"batch_dims": 1}), (2, 3), pairs, match=r"begin with the shape \[2\], found \[3, 1\]")


@pytest.mark.parametrize("bad", [3, -4, 2**62, -2**63])
@pytest.mark.parametrize("kind", ["gather", "gather_elements", "gather_nd"])
def test_indices_outside_are_refused(kind, bad):
    indices = np.array([[0], [bad]]) if kind == "gather_nd" else np.array([0, bad])
    with pytest.raises(ops.DataError, match=f"expected indices between -3 and 2, found {bad}"):
        ops.make(kind, {}).reference(np.zeros(3, np.float32), indices)


def test_an_empty_axis_has_no_index():
    with pytest.raises(ops.DataError, match="no index into an empty axis, found 0"):
        ops.make("gather", {}).reference(np.zeros((0, 2), np.float32), np.array([0]))
    assert ops.make("gather", {}).reference(np.zeros((0, 2), np.float32), np.zeros((3, 0), np.int64))[0].shape == (3, 0, 2)
