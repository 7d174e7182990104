from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops

ONNX = {"reduce_mean": "ReduceMean", "reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}


@pytest.mark.parametrize("kind", sorted(ONNX))
@settings(max_examples=25, deadline=None)
@given(shape=st.lists(st.integers(1, 7), min_size=1, max_size=4), keepdims=st.booleans(), data=st.data(),
       seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, kind, shape, keepdims, data, seed):
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    x = peer.normal(seed, *shape)
    expected = peer.run(ONNX[kind], [x, np.array(axes, np.int64)], opset=18, keepdims=int(keepdims))
    op = ops.make(kind, {"axes": axes, "keepdims": keepdims})
    terms = math.prod(shape[a] for a in axes)
    bound = 0 if kind in ("reduce_max", "reduce_min") else peer.sum_bound(op, [x], terms + 1)
    peer.agree(op, [x], np.asarray(expected), atol=bound)
    assert op.macs([ops.Spec(x.shape)], []) == (x.size if kind in ("reduce_mean", "reduce_sum") else 0)


@pytest.mark.parametrize("kind", sorted(ONNX))
def test_nan_passes_through(kind):
    x = np.array([[1, np.nan], [2, 3]], np.float32)
    assert np.isnan(ops.make(kind, {"axes": (1,), "keepdims": False}).reference(x)[0]).tolist() == [True, False]


def test_long_sums_stay_accurate(peer):
    x = np.full((1, 1000, 1000, 2), 0.1, np.float32)
    (y,) = ops.make("reduce_sum", {"axes": (1, 2)}).reference(x)
    assert np.array_equal(y, np.full((1, 1, 1, 2), np.float32(1e6 * float(np.float32(0.1)))))


@settings(max_examples=30, deadline=None)
@given(shape=st.lists(st.integers(1, 7), min_size=1, max_size=4), keepdims=st.booleans(), last=st.booleans(),
       data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_argmax_against_onnxruntime(peer, shape, keepdims, last, data, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.random.default_rng(seed).integers(0, 4, shape).astype(np.float32)
    expected = peer.run("ArgMax", [x], axis=axis, keepdims=int(keepdims), select_last_index=int(last))
    op = ops.make("argmax", {"axis": axis, "keepdims": keepdims, "select_last_index": last})
    peer.agree(op, [x], np.asarray(expected))


@pytest.mark.parametrize("last", [False, True])
def test_argmax_of_nan(last):
    x = np.array([[1, np.nan, np.inf, np.nan], [np.inf, 1, 2, np.inf]], np.float32)
    (y,) = ops.make("argmax", {"axis": 1, "keepdims": False, "select_last_index": last}).reference(x)
    assert y.tolist() == ([3, 3] if last else [1, 0])


def test_refusals(peer):
    for axes in ((), (1, 0), (0, 0), (-1,), (2,)):
        peer.refused(ops.make("reduce_mean", {"axes": axes}), (2, 3), match="axes sorted, different, between 0 and 1")
    peer.refused(ops.make("reduce_max", {"axes": (1,)}), (2, 0), match="at least one element")
    peer.refused(ops.make("reduce_sum", {"axes": (0,)}), ops.Spec((2,), "int64"), match="float32")
    peer.refused(ops.make("argmax", {"axis": 2}), (2, 3), match="axis between -2 and 1")
    peer.refused(ops.make("argmax", {}), (0, 3), match="at least one element")
    peer.refused(ops.make("argmax", {}), ops.Spec((2,), "int32"), match="float32")
