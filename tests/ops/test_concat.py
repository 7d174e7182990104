from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.graph import DTYPES


@settings(max_examples=25, deadline=None)
@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), sizes=st.lists(st.integers(1, 6), min_size=1,
       max_size=5), data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, shape, sizes, data, seed):
    axis = data.draw(st.integers(0, len(shape) - 1))
    arrays = [peer.normal(seed + i, *shape[:axis], size, *shape[axis + 1:]) for i, size in enumerate(sizes)]
    peer.agree(ops.make("concat", {"axis": axis}), arrays, peer.run("Concat", arrays, axis=axis))


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype(peer, dtype):
    a, b = np.array([[0], [1]]).astype(dtype), np.array([[1, 0], [0, 1]]).astype(dtype)
    peer.agree(ops.make("concat", {"axis": 1}), [a, b], np.array([[0, 1, 0], [1, 0, 1]]).astype(dtype))


def test_refusals(peer):
    concat = ops.make("concat", {"axis": 1})
    peer.refused(concat, match="inputs, found 0")
    peer.refused(concat, (2,), (2,), match="axis between 0 and 0, found 1")
    peer.refused(ops.make("concat", {"axis": -1}), (2, 3), match="axis between 0 and 1, found -1")
    peer.refused(concat, (2, 3), (3, 3), match=r"agree with \[2, 3\] except along axis 1, found \[3, 3\]")
    peer.refused(concat, (2, 3), (2, 3, 1), match="agree with")
    peer.refused(concat, (2, 3), ops.Spec((2, 3), "int64"), match="all inputs of dtype float32, found int64")
