from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops


def check(op, x, expected):
    values, index = op.reference(x)
    assert op.infer(ops.Spec(x.shape, x.dtype.name)) == [ops.Spec(values.shape, x.dtype.name), ops.Spec(index.shape, "int64")]
    assert (values.dtype, index.dtype) == (x.dtype, np.int64)
    np.testing.assert_array_equal(index, expected[1])
    np.testing.assert_array_equal(values, expected[0])


@pytest.mark.parametrize("dtype", ["float32", "int64", "int32", "uint8", "int8"])
@settings(max_examples=15, deadline=None)
@given(shape=st.lists(st.integers(1, 6), min_size=1, max_size=4), largest=st.booleans(), data=st.data(),
       seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, dtype, shape, largest, data, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    k = data.draw(st.integers(1, shape[axis]))
    x = peer.values(seed, dtype, *shape)
    x = np.asarray(np.where(np.isnan(x), np.float32(7), x) if dtype == "float32" else x, dtype)
    # onnxruntime lacks the short types; their order is that of int32.
    short = dtype in ("uint8", "int8")
    values, index = peer.run("TopK", [x.astype(np.int32) if short else x, np.array([k])], outputs=2, axis=axis,
                             largest=int(largest))
    check(ops.make("topk", {"axis": axis, "k": k, "largest": largest}), x, (values.astype(dtype), index))


def test_nan_is_the_largest_and_ties_keep_their_order():
    x = np.float32([1, np.nan, 3, 1, np.nan, np.inf, 3])
    check(ops.make("topk", {"k": 5}), x, (np.float32([np.nan, np.nan, np.inf, 3, 3]), [1, 4, 5, 2, 6]))
    check(ops.make("topk", {"k": 7, "largest": False}), x,
          (np.float32([1, 1, 3, 3, np.inf, np.nan, np.nan]), [0, 3, 2, 6, 5, 1, 4]))


def test_of_none_and_of_nothing():
    check(ops.make("topk", {"k": 0, "axis": 0}), np.ones((2, 3), np.float32), (np.ones((0, 3)), np.ones((0, 3))))
    check(ops.make("topk", {"k": 2}), np.ones((0, 3), np.float32), (np.ones((0, 2)), np.ones((0, 2))))


def test_refusals(peer):
    peer.refused(ops.make("topk", {"k": 4}), (2, 3), match="k between 0 and 3, found 4")
    peer.refused(ops.make("topk", {"k": -1}), (2, 3), match="k between 0 and 3")
    peer.refused(ops.make("topk", {"axis": 2}), (2, 3), match="axis between -2 and 1")
    peer.refused(ops.make("topk", {}), ops.Spec((2,), "bool"), match="found bool")
