from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops

SUMS = {"reduce_mean": "ReduceMean", "reduce_sum": "ReduceSum", "reduce_l1": "ReduceL1", "reduce_sum_square": "ReduceSumSquare"}
ONNX = SUMS | {"reduce_max": "ReduceMax", "reduce_min": "ReduceMin", "reduce_prod": "ReduceProd", "reduce_l2": "ReduceL2",
               "reduce_log_sum_exp": "ReduceLogSumExp"}
CASES = {"shape": st.lists(st.integers(1, 7), min_size=1, max_size=5), "keepdims": st.booleans(), "data": st.data(),
         "seed": st.integers(0, 2**32 - 1)}


def drawn_axes(data, shape):
    return tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))


@pytest.mark.parametrize("kind", sorted(ONNX))
@settings(max_examples=25, deadline=None)
@given(**CASES)
def test_against_onnxruntime(peer, kind, shape, keepdims, data, seed):
    axes = drawn_axes(data, shape)
    x = peer.normal(seed, *shape)
    expected = peer.run(ONNX[kind], [x, np.array(axes, np.int64)], opset=18, keepdims=int(keepdims))
    op = ops.make(kind, {"axes": axes, "keepdims": keepdims})
    terms = math.prod(shape[a] for a in axes)
    bound, relative = 0.0, 0.0
    if kind in SUMS:
        # Squaring is one rounding more.
        bound = peer.sum_bound(op, [x], terms + 2)
    elif kind not in ("reduce_max", "reduce_min"):
        relative = 2 * (terms + 4) * 2.0 ** -24
        bound = relative if kind == "reduce_log_sum_exp" else 0.0      # where the logarithm is about 0
    peer.agree(op, [x], np.asarray(expected), atol=bound, rtol=relative)
    assert op.macs([ops.Spec(x.shape)], []) == (x.size if kind in SUMS or kind == "reduce_l2" else 0)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "int8", "bool"])
@pytest.mark.parametrize("kind", sorted(set(ONNX) - {"reduce_log_sum_exp"}))
@settings(max_examples=10, deadline=None)
@given(**CASES)
def test_integers_against_onnxruntime(peer, kind, dtype, shape, keepdims, data, seed):
    axes = drawn_axes(data, shape)
    op = ops.make(kind, {"axes": axes, "keepdims": keepdims})
    if kind not in ("reduce_max", "reduce_min") and dtype not in ("int32", "int64"):
        peer.refused(op, ops.Spec(tuple(shape), dtype), match=f"found {dtype}")
        return
    x = peer.integers(seed, dtype, *shape)
    if kind == "reduce_prod":
        x = np.asarray(x % 5 - 2 if x.size < 30 else x % 3 - 1, dtype)      # onnxruntime goes through float64, nothing wraps
    elif kind not in ("reduce_max", "reduce_min"):
        x = np.asarray(x % 300 - 100, dtype)
    expected = peer.run(ONNX[kind], [x, np.array(axes, np.int64)], opset=20, keepdims=int(keepdims))
    peer.agree(op, [x], np.asarray(expected))


@pytest.mark.parametrize("kind,floats,integers,bools", [
    ("reduce_sum", 0, 0, None), ("reduce_mean", np.nan, 0, None), ("reduce_prod", 1, 1, None), ("reduce_l1", 0, 0, None),
    ("reduce_l2", 0, 0, None), ("reduce_sum_square", 0, 0, None), ("reduce_log_sum_exp", -np.inf, None, None),
    ("reduce_max", -np.inf, -2**31, False), ("reduce_min", np.inf, 2**31 - 1, True)])
def test_of_nothing(peer, kind, floats, integers, bools):
    op = ops.make(kind, {"axes": (1, 2), "keepdims": False})
    for value, dtype in ((floats, "float32"), (integers, "int32"), (bools, "bool")):
        if value is not None:
            peer.agree(op, [np.zeros((2, 0, 3), dtype)], np.full(2, value, dtype))
            peer.agree(op, [np.zeros((0, 4, 3), dtype)], np.zeros(0, dtype))


def test_long_integers_stay_exact(peer):
    x = np.array([2**62 + 1, 2**60, -1])
    peer.agree(ops.make("reduce_mean", {"axes": (0,)}), [x], np.array([(2**62 + 2**60) // 3]))
    peer.agree(ops.make("reduce_mean", {"axes": (0,)}), [-x], np.array([-((2**62 + 2**60) // 3)]))


def test_log_sum_exp_of_large_and_infinite_numbers(peer):
    inf = np.inf
    x = np.float32([[1000, 1000], [-1000, -1000], [-inf, -inf], [inf, 1], [-inf, 3], [np.nan, 1], [inf, -inf]])
    expected = np.float32([1000 + math.log(2), -1000 + math.log(2), -inf, inf, 3, np.nan, inf])
    peer.agree(ops.make("reduce_log_sum_exp", {"axes": (1,), "keepdims": False}), [x], expected)


@pytest.mark.parametrize("kind", sorted(ONNX))
def test_nan_passes_through(kind):
    x = np.array([[1, np.nan], [2, 3]], np.float32)
    assert np.isnan(ops.make(kind, {"axes": (1,), "keepdims": False}).reference(x)[0]).tolist() == [True, False]


def test_long_sums_stay_accurate(peer):
    x = np.full((1, 1000, 1000, 2), 0.1, np.float32)
    (y,) = ops.make("reduce_sum", {"axes": (1, 2)}).reference(x)
    assert np.array_equal(y, np.full((1, 1, 1, 2), np.float32(1e6 * float(np.float32(0.1)))))


@pytest.mark.parametrize("dtype", ["float32", "int64", "int32", "uint8", "int8"])
@pytest.mark.parametrize("kind,name", [("argmax", "ArgMax"), ("argmin", "ArgMin")])
@settings(max_examples=15, deadline=None)
@given(last=st.booleans(), **CASES)
def test_arg_against_onnxruntime(peer, kind, name, dtype, shape, keepdims, last, data, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = peer.values(seed, dtype, *shape)
    x = np.asarray(np.where(np.isnan(x), np.float32(7), x), dtype) if dtype == "float32" else x
    expected = peer.run(name, [x], axis=axis, keepdims=int(keepdims), select_last_index=int(last))
    op = ops.make(kind, {"axis": axis, "keepdims": keepdims, "select_last_index": last})
    peer.agree(op, [x], np.asarray(expected))


@pytest.mark.parametrize("last", [False, True])
def test_argmax_of_nan(last):
    x = np.array([[1, np.nan, np.inf, np.nan], [np.inf, 1, 2, np.inf]], np.float32)
    (y,) = ops.make("argmax", {"axis": 1, "keepdims": False, "select_last_index": last}).reference(x)
    assert y.tolist() == ([3, 3] if last else [1, 0])
    (y,) = ops.make("argmin", {"axis": 1, "keepdims": False, "select_last_index": last}).reference(-x)
    assert y.tolist() == ([3, 3] if last else [1, 0])


def test_refusals(peer):
    for axes in ((), (1, 0), (0, 0), (-1,), (2,)):
        peer.refused(ops.make("reduce_mean", {"axes": axes}), (2, 3), match="axes sorted, different, between 0 and 1")
    peer.refused(ops.make("reduce_sum", {"axes": (0,)}), ops.Spec((2,), "uint8"), match="found uint8")
    peer.refused(ops.make("reduce_log_sum_exp", {"axes": (0,)}), ops.Spec((2,), "int32"), match="float32, found int32")
    peer.refused(ops.make("argmax", {"axis": 2}), (2, 3), match="axis between -2 and 1")
    peer.refused(ops.make("argmax", {}), (0, 3), match="at least one element")
    peer.refused(ops.make("argmax", {}), ops.Spec((2,), "bool"), match="found bool")
