from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.graph import DTYPES
from tinynet.ops.scatter import REDUCTIONS

seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4)
dtypes = st.sampled_from(["float32", "int64", "int32", "uint8", "int8"])


def numbers(seed, shape, dtype):
    """Small integers: sums and products come out the same in every order."""
    return np.random.default_rng(seed).integers(0 if dtype == "uint8" else -4, 5, shape).astype(dtype)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@settings(max_examples=25, deadline=None)
@given(shape=shapes, data=st.data(), dtype=dtypes, seed=seeds)
def test_scatter_elements_against_onnxruntime(peer, reduction, shape, data, dtype, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    inner = [data.draw(st.integers(0, 4 if i == axis % len(shape) else d)) for i, d in enumerate(shape)]
    x, updates = numbers(seed, shape, dtype), numbers(seed + 1, inner, dtype)
    indices = np.random.default_rng(seed).integers(-shape[axis], shape[axis], inner)
    expected = peer.run("ScatterElements", [x, indices, updates], opset=18, axis=axis, reduction=reduction)
    for kind in (np.int64, np.int32):
        peer.agree(ops.make("scatter_elements", {"axis": axis, "reduction": reduction}), [x, indices.astype(kind), updates],
                   expected)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@settings(max_examples=25, deadline=None)
@given(shape=shapes, data=st.data(), seed=seeds)
def test_scatter_nd_against_onnxruntime(peer, reduction, shape, data, seed):
    width = data.draw(st.integers(1, len(shape)))
    lead = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=2))
    r = np.random.default_rng(seed)
    indices = np.stack([r.integers(-d, d, lead) for d in shape[:width]], -1)
    x, updates = numbers(seed, shape, "float32"), numbers(seed + 1, (*lead, *shape[width:]), "float32")
    expected = peer.run("ScatterND", [x, indices, updates], opset=18, reduction=reduction)
    peer.agree(ops.make("scatter_nd", {"reduction": reduction}), [x, indices, updates], expected)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype(peer, dtype):
    x, updates = np.array([1, 0, 1]).astype(dtype), np.array([0, 1]).astype(dtype)
    peer.agree(ops.make("scatter_elements", {}), [x, np.array([0, -2]), updates], np.array([0, 1, 1]).astype(dtype))
    peer.agree(ops.make("scatter_nd", {}), [x, np.array([[0], [-2]]), updates], np.array([0, 1, 1]).astype(dtype))


@pytest.mark.parametrize("reduction, expected", [("none", [1, 0]), ("add", [1, 1]), ("mul", [0, 0]), ("max", [1, 1]),
                                                 ("min", [0, 0])])
def test_bool(peer, reduction, expected):
    op = ops.make("scatter_elements", {"reduction": reduction})
    peer.agree(op, [np.array([False, True]), np.array([0, 1, 0]), np.array([False, False, True])], np.array(expected, bool))


def test_of_two_updates_of_one_place_the_last_stays(peer):
    x = np.zeros(3, np.float32)
    indices, updates = np.tile([2, -1, 1], 400), np.arange(1200, dtype=np.float32)
    peer.agree(ops.make("scatter_elements", {}), [x, indices, updates], np.array([0, 1199, 1198], np.float32)[[0, 1, 2]])
    peer.agree(ops.make("scatter_nd", {}), [x, indices[:, None], updates], np.array([0, 1199, 1198], np.float32))


@pytest.mark.parametrize("reduction", ["max", "min"])
def test_nan_stays(reduction):
    for x, update in ((np.nan, 1), (1, np.nan)):
        arrays = np.array([x], np.float32), np.array([0]), np.array([update], np.float32)
        assert np.isnan(ops.make("scatter_elements", {"reduction": reduction}).reference(*arrays)[0]).all()


def test_an_index_outside_is_refused():
    for kind, indices in (("scatter_elements", [3]), ("scatter_nd", [[-4]])):
        with pytest.raises(ops.DataError, match=f"between -3 and 2, found {np.ravel(indices)[0]}"):
            ops.make(kind, {}).reference(np.zeros(3), np.array(indices), np.zeros(1))


def test_refusals(peer):
    ints = ops.Spec((4,), "int64")
    for kind in ("scatter_elements", "scatter_nd"):
        peer.refused(ops.make(kind, {}), (4,), ints, match="3 inputs, found 2")
        peer.refused(ops.make(kind, {}), (4,), (4,), (4,), match="indices of dtype int64 or int32")
        peer.refused(ops.make(kind, {}), (4,), ints, ints, match="updates of dtype float32, found int64")
        peer.refused(ops.make(kind, {"reduction": "sum"}), (4,), ints, (4,), match="reduction among add, max, min, mul, none")
    peer.refused(ops.make("scatter_elements", {"axis": 1}), (4,), ints, (4,), match="axis between -1 and 0")
    peer.refused(ops.make("scatter_elements", {}), (4,), ints, (3,), match=r"updates of shape \[4\], found \[3\]")
    wide = ops.Spec((4, 4), "int64")
    peer.refused(ops.make("scatter_elements", {"axis": 1}), (3, 4), wide, (4, 4), match="except along axis 1")
    peer.refused(ops.make("scatter_nd", {}), (4,), ops.Spec((3, 2), "int64"), (3,), match="index tuples of at most 1")
    peer.refused(ops.make("scatter_nd", {}), (4, 5), ops.Spec((3, 1), "int64"), (3, 4), match=r"updates of shape \[3, 5\]")
