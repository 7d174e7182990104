"""Kinds whose result is as long as the data say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.graph import DTYPES

seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def cut(op, arrays, axis=0):
    """What `infer` announces is what `reference` gives; the results up to their count, with zeros after it."""
    specs = op.infer(*(ops.Spec(a.shape, a.dtype.name) for a in arrays))
    *found, count = op.reference(*arrays)
    assert [ops.Spec(a.shape, a.dtype.name) for a in (*found, count)] == specs and specs[-1] == ops.Spec((), "int64")
    where = (slice(None),) * axis
    assert not found[0][(*where, slice(int(count), None))].any()
    return [a[(*where, slice(int(count)))] if a is found[0] else a[:int(count)] for a in found], int(count)


def same(found, expected):
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype) and np.array_equal(found, expected)


@settings(max_examples=30, deadline=None)
@given(shape=shapes, data=st.data(), seed=seeds)
def test_compress_against_onnxruntime(peer, shape, data, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    condition = np.array([data.draw(st.booleans()) for _ in range(data.draw(st.integers(1, shape[axis])))])
    x = peer.normal(seed, *shape)
    (found,), count = cut(ops.make("compress", {"axis": axis}), [x, condition], axis % len(shape))
    same(found, peer.run("Compress", [x, condition], axis=axis))
    assert count == condition.sum()


@pytest.mark.parametrize("dtype", ["float32", "int64", "int32", "uint8", "bool"])
@settings(max_examples=15, deadline=None)
@given(shape=shapes, seed=seeds)
def test_non_zero_against_onnxruntime(peer, dtype, shape, seed):
    x = np.random.default_rng(seed).integers(0, 3, shape).astype(dtype)
    (found,), _ = cut(ops.make("non_zero", {}), [x], 1)
    same(found, peer.run("NonZero", [x]))


def test_non_zero_takes_nan_for_a_number():
    (found,), count = cut(ops.make("non_zero", {}), [np.array([0.0, np.nan, -0.0, 1e-45], np.float32)], 1)
    assert found.tolist() == [[1, 3]] and count == 2


@pytest.mark.parametrize("ordered", [True, False])
@settings(max_examples=30, deadline=None)
@given(shape=shapes, data=st.data(), seed=seeds)
def test_unique_against_onnxruntime(peer, ordered, shape, data, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32)
    place = axis % len(shape)
    specs = ops.make("unique", {"axis": axis, "ordered": ordered}).reference(x)
    (values, first, _, counts), count = cut(ops.make("unique", {"axis": axis, "ordered": ordered}), [x], place)
    same(values, peer.run("Unique", [x], axis=axis, sorted=int(ordered)))
    inverse = specs[2]
    assert np.array_equal(np.take(values, inverse, place), x) and np.array_equal(np.take(x, first, place), values)
    assert counts.tolist() == [int((inverse == i).sum()) for i in range(count)]
    assert all(inverse[:at].tolist().count(i) == 0 for i, at in enumerate(first))


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype(dtype):
    x = np.array([1, 0, 1, 1]).astype(dtype)
    (found,), _ = cut(ops.make("compress", {}), [x, np.array([True, False, True])])
    same(found, np.array([1, 1]).astype(dtype))
    (found,), _ = cut(ops.make("non_zero", {}), [x], 1)
    same(found, np.array([[0, 2, 3]]))
    (values, first, _, counts), count = cut(ops.make("unique", {"ordered": False}), [x])
    same(values, np.array([1, 0]).astype(dtype))
    assert (first.tolist(), counts.tolist(), count) == ([0, 1], [3, 1], 2)


@pytest.mark.parametrize("shape, axis, count", [((0,), 0, 0), ((3, 0), 0, 1), ((0, 3), 0, 0), ((0, 3), 1, 1)])
def test_of_nothing(shape, axis, count):
    x = np.zeros(shape, np.float32)
    _, found = cut(ops.make("unique", {"axis": axis}), [x], axis)
    assert found == count
    assert cut(ops.make("non_zero", {}), [x], 1)[1] == 0
    assert cut(ops.make("compress", {"axis": axis}), [x, np.zeros(shape[axis], bool)], axis)[1] == 0


def test_refusals(peer):
    peer.refused(ops.make("compress", {}), (3,), (3,), match="a bool condition of shape .n., n <= 3, found float32")
    peer.refused(ops.make("compress", {}), (3,), ops.Spec((4,), "bool"), match="n <= 3, found bool .4.")
    peer.refused(ops.make("compress", {"axis": 1}), (3,), ops.Spec((3,), "bool"), match="axis between -1 and 0")
    peer.refused(ops.make("non_zero", {}), (), match="x of rank >= 1")
    peer.refused(ops.make("unique", {"axis": 1}), (3,), match="axis between -1 and 0")
