from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops

KINDS = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "hardmax": "Hardmax"}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(shape=st.lists(st.integers(1, 9), min_size=1, max_size=4), scale=st.sampled_from([1, 30, 1000]),
       data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, kind, shape, scale, data, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = peer.normal(seed, *shape) * np.float32(scale)
    peer.agree(ops.make(kind, {"axis": axis}), [x], peer.run(KINDS[kind], [x], axis=axis), atol=1e-6, rtol=1e-6)


def test_against_float64(peer):
    x = peer.normal(3, 5, 1000)
    e = np.exp(x.astype(np.float64))
    expected = (e / e.sum(axis=1, keepdims=True)).astype(np.float32)
    # x - max is rounded once, up to 2^-22 absolute for |x - max| < 8, and becomes relative in exp.
    peer.agree(ops.make("softmax", {}), [x], expected, rtol=4 * 2.0 ** -22)


def test_hardmax_of_ties(peer):
    x = np.array([[1, 3, 3], [2, 2, 2], [0, -1, -0.0]], np.float32)
    expected = peer.run("Hardmax", [x])
    assert expected.tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 0]]
    peer.agree(ops.make("hardmax", {}), [x], expected)
    peer.agree(ops.make("hardmax", {"axis": 1}), [x[:0]], x[:0])


def test_specials(peer):
    x = np.array([[1, -np.inf, 1], [np.nan, 0, 0], [3e38, -3e38, 0]], np.float32)
    nan = np.nan
    peer.agree(ops.make("softmax", {}), [x], np.array([[0.5, 0, 0.5], [nan, nan, nan], [1, 0, 0]], np.float32))


def test_refusals(peer):
    peer.refused(ops.make("softmax", {"axis": 2}), (2, 3), match="axis between -2 and 1, found 2")
    peer.refused(ops.make("softmax", {"axis": -3}), (2, 3), match="axis between")
    peer.refused(ops.make("softmax", {}), (), match="axis")
    peer.refused(ops.make("softmax", {}), (2, 0), match="at least one element")
    peer.refused(ops.make("softmax", {}), ops.Spec((2,), "int32"), match="float32")
