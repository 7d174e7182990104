"""Softmax of integers against onnxruntime's, and against real numbers where that one overflows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops

seeds = st.integers(0, 2 ** 32 - 1)
SOFTMAX = "com.microsoft.QLinearSoftmax"


def made(x_scale, y_scale, y_zero):
    x_scale, y_scale = float(np.float32(x_scale)), float(np.float32(y_scale))
    return ops.make("q_softmax", {"x_scale": x_scale, "y_scale": y_scale, "y_zero": y_zero})


def integers(seed, n, width):
    return np.clip(np.random.default_rng(seed).normal(128, width, (40, n)), 0, 255).astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(n=st.one_of(st.integers(2, 40), st.sampled_from([100, 1000, 1001])), width=st.sampled_from([2, 40, 200]),
       exponent=st.floats(-4, 1), y=st.sampled_from([(1 / 256, 0), (1 / 255, 0), (0.004, 5), (0.01, 200), (0.3, 1), (3, 9)]),
       form=st.sampled_from(["QDQ", SOFTMAX]), signed=st.booleans(), seed=seeds)
def test_against_onnxruntime(peer, n, width, exponent, y, form, signed, seed):
    x_scale, (y_scale, y_zero) = np.float32(10 ** exponent), y
    x = integers(seed, n, width)
    op = made(x_scale, y_scale, y_zero)
    assert op.infer(ops.Spec(x.shape, "uint8")) == [ops.Spec(x.shape, "uint8")]
    (found,) = op.reference(x)
    shift = 128 if signed else 0
    fed = (x ^ 0x80).view(np.int8) if signed else x
    attributes = {"axis": -1} if form == "QDQ" else {"axis": -1, "opset": 13}
    expected = peer.quantized("Softmax", [fed], [(x_scale, 7 - shift), (y_scale, y_zero - shift)], form, **attributes)
    if signed:
        # 256 levels wrap around to -128 there; here they saturate.
        wrapped = (found == 255) & (expected == -128)
        expected = np.where(wrapped, 255, expected.astype(int) + 128).astype(np.uint8)
    peer.steps_apart(found, expected, most=0)


@pytest.mark.parametrize("n, y_scale", [(1, 1 / 256), (2, 1e-4), (10, 1e-6), (3, 1.2e-38)])
def test_against_real_numbers_where_onnxruntime_overflows(peer, n, y_scale):
    x = integers(1, n, 100)
    (found,) = made(0.05, y_scale, 0).reference(x)
    e = np.exp((x.astype(np.float64) - x.max(-1, keepdims=True)) * np.float64(np.float32(0.05)))
    expected = np.minimum(np.rint(e / e.sum(-1, keepdims=True) * np.floor(1 / np.float32(y_scale))), 255)
    peer.steps_apart(found, expected.astype(np.uint8), most=0)


@pytest.mark.parametrize("x_scale", [1.2e-38, 1e-9, 1e9, 3e38])
def test_extreme_scales(x_scale):
    """All equal, or the largest alone."""
    x = np.uint8([[3, 7, 7, 255], [0, 1, 2, 3], [9, 9, 9, 9]])
    (found,) = made(x_scale, 1 / 256, 0).reference(x)
    assert found.tolist() == ([[64] * 4] * 3 if x_scale < 1 else [[0, 0, 0, 255], [0, 0, 0, 255], [64] * 4])


def test_zero_size_and_refusals(peer):
    op = made(0.1, 1 / 256, 0)
    assert op.reference(np.zeros((0, 5), np.uint8))[0].shape == (0, 5)
    peer.refused(op, (3,), match="x of dtype uint8, found float32")
    peer.refused(op, ops.Spec((), "uint8"), match="at least one element")
    peer.refused(op, ops.Spec((3, 0), "uint8"), match="at least one element")
    peer.refused(made(0.1, 0.0, 0), ops.Spec((3,), "uint8"), match="y_scale")
    peer.refused(made(0.1, 0.1, 256), ops.Spec((3,), "uint8"), match="y_zero between")
