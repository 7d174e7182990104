from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.graph import DTYPES


@settings(max_examples=30, deadline=None)
@given(shape=st.lists(st.integers(1, 6), min_size=1, max_size=4), picks=st.lists(st.integers(1, 4), max_size=2),
       data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, shape, picks, data, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = peer.normal(seed, *shape)
    indices = np.asarray(np.random.default_rng(seed).integers(0, shape[axis], picks), np.int64)
    expected = np.asarray(peer.run("Gather", [x, indices], axis=axis))
    peer.agree(ops.make("gather", {"axis": axis}), [x, indices], expected)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype(peer, dtype):
    x = np.array([[1, 0], [0, 1], [1, 1]]).astype(dtype)
    peer.agree(ops.make("gather", {}), [x, np.array([2, 0, 2])], np.array([[1, 1], [1, 0], [1, 1]]).astype(dtype))


def test_refusals(peer):
    peer.refused(ops.make("gather", {}), (2, 3), match="2 inputs, found 1")
    peer.refused(ops.make("gather", {}), (2, 3), (4,), match="indices of dtype int64, found float32")
    peer.refused(ops.make("gather", {}), (2, 3), ops.Spec((4,), "int32"), match="int64, found int32")
    peer.refused(ops.make("gather", {"axis": 2}), (2, 3), ops.Spec((4,), "int64"), match="axis between -2 and 1")


@pytest.mark.parametrize("bad, text", [(-1, "indices >= 0, found -1"), (3, "indices below the extent 3, found 3")])
def test_indices_outside_are_refused(bad, text):
    with pytest.raises(ops.ShapeError, match=text):
        ops.make("gather", {}).reference(np.zeros(3, np.float32), np.array([0, bad]))
