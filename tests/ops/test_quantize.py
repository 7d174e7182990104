"""From real numbers to integers and back, against onnxruntime: equal, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops

seeds = st.integers(0, 2 ** 32 - 1)
LOW = {"uint8": 0, "int8": -128}
SPECIAL = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-40, 3.4028235e38, -3.4028235e38, 0.5, 1.5, 2.5, -0.5, -1.5],
                   np.float32)


def made(kind, scale, zero, **more):
    return ops.make(kind, {"scale": tuple(float(np.float32(s)) for s in scale), "zero": tuple(zero), **more})


def numbers(seed, scale, *shape):
    """Some hundred steps to either side, many of them ties, some special."""
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random(shape) < 0.3, np.round(rng.normal(0, 200, shape)) / 2, rng.normal(0, 120, shape))
    with np.errstate(over="ignore"):
        return np.where(rng.random(shape) < 0.1, rng.choice(SPECIAL, shape), (steps * scale).astype(np.float32))


@settings(max_examples=40, deadline=None)
@given(dtype=st.sampled_from(["uint8", "int8"]), exponent=st.floats(-37, 37), power=st.booleans(), zero=st.integers(0, 255),
       seed=seeds)
def test_quantize(peer, dtype, exponent, power, zero, seed):
    scale = np.array(2.0 ** round(3 * exponent) if power else 10 ** exponent, np.float32)
    x = numbers(seed, scale, 7, 1000)
    peer.agree(made("quantize", [scale], [zero + LOW[dtype]], dtype=dtype), [x],
               peer.run("QuantizeLinear", [x, scale, np.array(zero + LOW[dtype], dtype)], opset=13))


@settings(max_examples=20, deadline=None)
@given(dtype=st.sampled_from(["uint8", "int8"]), shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), data=st.data(),
       seed=seeds)
def test_quantize_along_an_axis(peer, dtype, shape, data, seed):
    axis = data.draw(st.integers(0, len(shape) - 1))
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.normal(size=shape[axis])).astype(np.float32)
    zero = rng.integers(0, 256, shape[axis]) + LOW[dtype]
    x = numbers(seed, np.float32(1), *shape)
    q = peer.run("QuantizeLinear", [x, scale, zero.astype(dtype)], opset=13, axis=axis)
    peer.agree(made("quantize", scale, zero.tolist(), dtype=dtype, axis=axis), [x], q)
    peer.agree(made("dequantize", scale, zero.tolist(), axis=axis), [q],
               peer.run("DequantizeLinear", [q, scale, zero.astype(dtype)], opset=13, axis=axis))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_nan_becomes_the_lowest(dtype):
    (found,) = made("quantize", [0.1], [3], dtype=dtype).reference(np.float32([np.nan, -np.inf, np.inf]))
    assert found.tolist() == [LOW[dtype], LOW[dtype], LOW[dtype] + 255]


@settings(max_examples=30, deadline=None)
@given(dtype=st.sampled_from(["uint8", "int8"]), exponent=st.floats(-37, 36), zero=st.integers(0, 255))
def test_dequantize(peer, dtype, exponent, zero):
    scale = np.array(10 ** exponent, np.float32)
    x = np.arange(256, dtype=np.uint8).view(dtype).reshape(4, 64)
    peer.agree(made("dequantize", [scale], [zero + LOW[dtype]]), [x],
               peer.run("DequantizeLinear", [x, scale, np.array(zero + LOW[dtype], dtype)], opset=13))


def test_dequantize_int32(peer):
    x = peer.integers(1, "int32", 3, 100)
    peer.agree(made("dequantize", [0.003], [0]), [x],
               peer.run("DequantizeLinear", [x, np.array(0.003, np.float32), np.array(0, np.int32)], opset=13))


def test_rank_0(peer):
    x = np.float32(0.7).reshape(())
    peer.agree(made("quantize", [0.1], [3]), [x], np.array(10, np.uint8))
    peer.agree(made("dequantize", [0.5], [3]), [np.array(10, np.uint8)], np.array(3.5, np.float32))


def test_refusals(peer):
    peer.refused(made("quantize", [1.0], [0]), ops.Spec((3,), "uint8"), match="dtype float32")
    peer.refused(made("quantize", [1.0], [0], dtype="int32"), (3,), match="dtype among int8, uint8")
    peer.refused(made("quantize", [1.0], [256]), (3,), match="zero between 0 and 255, found 256")
    peer.refused(made("quantize", [1.0], [-129], dtype="int8"), (3,), match="zero between -128 and 127")
    peer.refused(made("quantize", [1.0, 2.0], [0]), (2,), match="as many zeros as scales")
    peer.refused(made("quantize", [1.0, 2.0], [0, 0]), (3,), match="2 scales along an axis")
    peer.refused(made("dequantize", [1.0], [0]), (3,), match="dtype among int32, int8, uint8")
    peer.refused(made("dequantize", [1.0], [1]), ops.Spec((3,), "int32"), match="zero 0 of int32")
    for scale in (0.0, -1.0, 1e-45, np.inf, np.nan):
        peer.refused(made("dequantize", [scale], [1]), ops.Spec((3,), "uint8"), match="a positive normal float32")
