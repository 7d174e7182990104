"""Dynamic quantisation and products of integers, against onnxruntime: equal, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.ops import ShapeError, Spec

seeds = st.integers(0, 2 ** 32 - 1)


@settings(max_examples=60, deadline=None)
@given(shape=st.lists(st.integers(1, 40), max_size=3), exponent=st.floats(-30, 36), shift=st.floats(-3, 3), seed=seeds,
       zeros=st.booleans())
def test_dynamic_quantize(peer, shape, exponent, shift, seed, zeros):
    rng = np.random.default_rng(seed)
    x = np.float32(10 ** exponent) * (rng.standard_normal(shape) + shift).astype(np.float32) * np.float32(not zeros)
    expected = peer.run("DynamicQuantizeLinear", [np.asarray(x)], opset=13, outputs=3)
    op = ops.make("dynamic_quantize", {})
    found = op.reference(np.asarray(x))
    assert op.infer(Spec(x.shape)) == [Spec(e.shape, e.dtype.name) for e in expected]
    for a, e in zip(found, expected, strict=True):
        assert (a.dtype, a.shape) == (e.dtype, e.shape)
        np.testing.assert_array_equal(a, e)


@settings(max_examples=40, deadline=None)
@given(low=st.sampled_from([0.0, -0.0, -1.0, -127.0, -1e-38]), step=st.sampled_from([1.0, 0.25, 1e-30, 3.0]), seed=seeds)
def test_dynamic_quantize_of_ties_and_one_sided_data(peer, low, step, seed):
    rng = np.random.default_rng(seed)
    x = (np.append(rng.integers(0, 511, 300) / 2, [low, 255 + low]) * step).astype(np.float32)
    for e, a in zip(peer.run("DynamicQuantizeLinear", [x], opset=13, outputs=3), ops.make("dynamic_quantize", {}).reference(x),
                    strict=True):
        np.testing.assert_array_equal(a, e)


def test_dynamic_quantize_of_nothing_and_of_nan():
    op = ops.make("dynamic_quantize", {})
    y, scale, zero = op.reference(np.zeros((0, 3), np.float32))
    assert (y.shape, y.dtype, float(scale), int(zero)) == ((0, 3), np.uint8, 1.0, 0)
    y, scale, zero = op.reference(np.array([np.nan, -1, 254], np.float32))
    assert (y.tolist(), float(scale), int(zero)) == ([0, 0, 255], 1.0, 1)
    for value in (np.inf, -np.inf):
        assert [a.dtype for a in op.reference(np.array([value, 1], np.float32))] == [np.uint8, np.float32, np.uint8]


def test_correction():
    acc = np.array([[1, 2], [2 ** 31 - 1, -5]], np.int32)
    [y] = ops.make("q_correct", {}).reference(acc, np.array(3, np.uint8), np.array([-4, 7], np.int32))
    np.testing.assert_array_equal(y, [[13, -19], [-(2 ** 31) + 11, -26]])


@settings(max_examples=40, deadline=None)
@given(m=st.integers(1, 9), k=st.integers(1, 70), n=st.integers(1, 9), 
       batch=st.sampled_from([((), ()), ((2,), (2,)), ((2, 3), (3,)), ((1, 3), (2, 1))]),
       a_zero=st.integers(0, 255), b_zero=st.integers(0, 255), seed=seeds)
def test_q_matmul_of_integers(peer, m, k, n, batch, a_zero, b_zero, seed):
    rng = np.random.default_rng(seed)
    a, b = (rng.choice([0, 1, 127, 128, 254, 255], s) if seed % 3 == 0 else rng.integers(0, 256, s)
            for s in ((*batch[0], m, k), (*batch[1], k, n)))
    a, b, za, zb = a.astype(np.uint8), b.astype(np.uint8), np.array(a_zero, np.uint8), np.array(b_zero, np.uint8)
    expected = peer.run("MatMulInteger", [a, b, za, zb], opset=13)
    peer.agree(ops.make("q_matmul", {"a_zero": a_zero, "b_zero": b_zero, "dtype": "int32"}), [a, b], expected)
    peer.agree(ops.make("q_matmul", {"dtype": "int32"}), [a, b, za, zb], expected)


@settings(max_examples=60, deadline=None)
@given(m=st.integers(1, 9), k=st.integers(1, 300), n=st.integers(1, 9), zeros=st.tuples(*[st.integers(0, 255)] * 3),
       scales=st.tuples(*[st.floats(-4, 1)] * 2), spread=st.floats(-1, 2), seed=seeds)
def test_q_matmul_of_reals(peer, m, k, n, zeros, scales, spread, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 256, (2, m, k)).astype(np.uint8), rng.integers(0, 256, (2, k, n)).astype(np.uint8)
    za, zb, zy = (np.array(z, np.uint8) for z in zeros)
    sa, sb = (np.array(10 ** s, np.float32) for s in scales)
    sy = np.array(sa * sb * np.sqrt(k) * 10 ** spread * 30, np.float32)
    expected = peer.run("QLinearMatMul", [a, sa, za, b, sb, zb, sy, zy], opset=13)
    op = ops.make("q_matmul", {"a_zero": zeros[0], "b_zero": zeros[1], "y_zero": zeros[2], "multiplier": float(sa * sb / sy)})
    peer.agree(op, [a, b], expected)
    turned = ops.make("q_matmul", {**op.attributes(), "perm_a": (2, 0, 1), "perm_b": (1, 2, 0), "perm_y": (1, 0, 2)})
    [y] = turned.reference(a.transpose(1, 2, 0), b.transpose(2, 0, 1))
    np.testing.assert_array_equal(y, expected.transpose(1, 0, 2))
    assert turned.infer(Spec((m, k, 2), "uint8"), Spec((n, 2, k), "uint8")) == [Spec((m, 2, n), "uint8")]


@pytest.mark.parametrize("attributes, shapes, text", [
    ({}, [(2, 3), (4, 5)], "b of shape"), ({"multiplier": 0.1}, [(2, 3), (3, 5)], "float32"),
    ({"multiplier": float("inf")}, [(2, 3), (3, 5)], "multiplier"), ({"a_zero": 256}, [(2, 3), (3, 5)], "a_zero"),
    ({}, [(2, 33026), (33026, 1)], "products"), ({"b_zero": 1}, [(2, 3), (3, 5), (), ()], "zeros 0"),
    ({}, [(2, 3), (3, 5), (2,), ()], "one element"), ({}, [(3,), (3, 5)], "rank 2"),
    ({"low": 9, "high": 8}, [(2, 3), (3, 5)], "low")])
def test_q_matmul_refuses(attributes, shapes, text):
    with pytest.raises(ShapeError, match=text):
        ops.make("q_matmul", attributes).infer(*(Spec(s, "uint8") for s in shapes))
