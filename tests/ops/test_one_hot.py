from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops

types = st.sampled_from([("int64", "float32"), ("int64", "int64"), ("float32", "float32"), ("int32", "float32")])


@settings(max_examples=40, deadline=None)
@given(shape=st.lists(st.integers(0, 4), min_size=1, max_size=3), depth=st.integers(1, 6), data=st.data(),
       seed=st.integers(0, 2**32 - 1), types=types)
def test_against_onnxruntime(peer, shape, depth, data, seed, types):
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    indices = np.asarray(np.random.default_rng(seed).integers(-9, 9, shape), types[0])
    values = np.array([3, -2], types[1])
    size = np.array([depth], "float32" if types[0] == "float32" else "int64" if types[0] == "int64" else "int32")
    expected = peer.run("OneHot", [indices, size, values], axis=axis)
    peer.agree(ops.make("one_hot", {"depth": depth, "axis": axis}), [indices, values], expected)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "bool"])
def test_values_of_other_dtypes(peer, dtype):
    values = np.array([0, 1]).astype(dtype)
    for indices in (np.array([2, 0], np.uint8), np.array([-1, -3], np.int8)):
        peer.agree(ops.make("one_hot", {"depth": 3}), [indices, values], np.array([[0, 0, 1], [1, 0, 0]]).astype(dtype))


def test_floats_are_truncated(peer):
    expected = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]], np.float32)
    x = np.array([1.7, -1.9, -0.5, np.nan], np.float32)
    peer.agree(ops.make("one_hot", {"depth": 3}), [x, np.array([0, 1], np.float32)], expected)


def test_refusals(peer):
    op = ops.make("one_hot", {"depth": 3, "axis": 2})
    peer.refused(op, (4,), (2,), match="axis between -2 and 1, found 2")
    peer.refused(op, (4,), (3,), match="values of shape .2.: off and on")
    peer.refused(op, ops.Spec((4,), "bool"), (2,), match="indices that are numbers, found bool")
    peer.refused(ops.make("one_hot", {"depth": -1}), (4,), (2,), match="depth >= 0")
