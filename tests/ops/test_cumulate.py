from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops

ONNX = {"cumsum": ("CumSum", 14), "cumprod": ("CumProd", 26)}


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
@pytest.mark.parametrize("kind", sorted(ONNX))
@settings(max_examples=15, deadline=None)
@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=4), exclusive=st.booleans(), reverse=st.booleans(),
       data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, kind, dtype, shape, exclusive, reverse, data, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = peer.normal(seed, *shape) if dtype == "float32" else peer.integers(seed, dtype, *shape)
    name, opset = ONNX[kind]
    if 0 in shape:
        expected = x
    else:
        expected = peer.run(name, [x, np.array(axis)], opset=opset, exclusive=int(exclusive), reverse=int(reverse))
    op = ops.make(kind, {"axis": axis, "exclusive": exclusive, "reverse": reverse})
    # At most five terms of normal numbers, or factors.
    peer.agree(op, [x], expected, atol=4e-6, rtol=1e-6)


def test_neutral_elements_and_wrapping(peer):
    x = np.array([[2**31 - 1, 2, 3]], np.int32)
    peer.agree(ops.make("cumsum", {"axis": 1}), [x], np.array([[2**31 - 1, -2**31 + 1, -2**31 + 4]], np.int32))
    peer.agree(ops.make("cumsum", {"axis": 1, "exclusive": True, "reverse": True}), [x], np.array([[5, 3, 0]], np.int32))
    peer.agree(ops.make("cumprod", {"axis": -1, "exclusive": True}), [x], np.array([[1, 2**31 - 1, -2]], np.int32))
    peer.agree(ops.make("cumsum", {}), [np.float32([1, np.nan, 1])], np.float32([1, np.nan, np.nan]))


def test_refusals(peer):
    peer.refused(ops.make("cumsum", {"axis": 1}), (2,), match="axis between -1 and 0, found 1")
    peer.refused(ops.make("cumsum", {}), (), match="axis between")
    peer.refused(ops.make("cumprod", {}), ops.Spec((2,), "int8"), match="found int8")
