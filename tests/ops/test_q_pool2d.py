"""Averages and maxima of quantised images against onnxruntime's integer operators."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops

STEPS = st.tuples(st.floats(2 ** -7, 2 ** -2, width=32), st.sampled_from([0, 1, 100, 128, 131, 255]))


def rebased(x):
    """uint8 that stands for the same integers, and what was added."""
    return (x, 0) if x.dtype == np.uint8 else ((x.view(np.uint8) ^ 0x80), 128)


def compare(found, expected):
    """Both of the same 8-bit dtype: nearly all equal, none off by more than one step."""
    assert found.shape == expected.shape
    off = np.abs(found.astype(int) - expected)
    assert off.max(initial=0) <= 1 and (off > 0).mean() <= 1e-3, f"{(off > 0).sum()} of {off.size} differ, by {off.max()}"


def judge(peer, op_type, kind, x, steps, attrs, node, opset=17, fused=True):
    """The kind against DequantizeLinear, the operator, QuantizeLinear with all optimisations, and the QLinear operator."""
    (x_scale, x_zero), (y_scale, y_zero) = steps
    stored, shift = rebased(x)
    zeros = [np.array(z - shift, x.dtype) for z in (x_zero, y_zero)]
    expected = [peer.between(op_type, peer.nchw(x), (x_scale, zeros[0]), (y_scale, zeros[1]), opset=opset, fused=fused, **node)]
    if fused:
        scales = [np.array(scale, np.float32) for scale in (x_scale, y_scale)]
        expected.append(peer.run(f"QLinear{op_type}", [peer.nchw(x), scales[0], zeros[0], scales[1], zeros[1]],
                                 domain="com.microsoft", **node))
    attrs = attrs | {"x_scale": x_scale, "x_zero": x_zero, "y_scale": y_scale, "y_zero": y_zero}
    (found,) = ops.make(kind, attrs).reference(stored)
    assert ops.make(kind, attrs).infer(ops.Spec(x.shape, "uint8")) == [ops.Spec(found.shape, "uint8")]
    for e in expected:
        e = peer.nhwc(e)
        compare(found, e.view(np.uint8) ^ 0x80 if shift else e)


@st.composite
def windows(draw):
    kernel, strides = (draw(st.tuples(st.integers(1, 4), st.integers(1, 4))) for _ in range(2))
    pads = tuple(draw(st.integers(0, k - 1)) for k in kernel * 2)
    extents = tuple(max(draw(st.integers(2, 12)), k - a - b) for k, a, b in zip(kernel, pads[:2], pads[2:], strict=True))
    return extents, kernel, strides, pads


@settings(max_examples=50, deadline=None)
@given(window=windows(), c=st.integers(1, 9), include=st.booleans(), steps=st.tuples(STEPS, STEPS), same=st.booleans(),
       dtype=st.sampled_from(["uint8", "int8"]), seed=st.integers(0, 2**32 - 1))
def test_average_pool(peer, window, c, include, steps, same, dtype, seed):
    extents, kernel, strides, pads = window
    x = peer.integers(seed, dtype, 2, *extents, c)
    steps = (steps[0], steps[0]) if same else steps
    judge(peer, "AveragePool", "q_average_pool2d", x, steps,
          {"kernel": kernel, "strides": strides, "pads": pads, "count_include_pad": include, "signed": dtype == "int8"},
          {"kernel_shape": kernel, "strides": strides, "pads": pads, "count_include_pad": int(include)})


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("zero", [0, 3, 128, 255])
def test_averages_between_two_integers(peer, zero, dtype):
    """A quarter of all 2x2 windows, where the scale does not change: only the same roundings give the same integers."""
    x = peer.integers(zero, dtype, 2, 30, 34, 7)
    step = (float(np.float32(0.0371)), zero)
    attrs = {"kernel": (2, 2), "strides": (2, 2), "signed": dtype == "int8"}
    judge(peer, "AveragePool", "q_average_pool2d", x, (step, step), attrs, {"kernel_shape": (2, 2), "strides": (2, 2)})


@settings(max_examples=40, deadline=None)
@given(extents=st.tuples(st.integers(1, 15), st.integers(1, 15)), c=st.integers(1, 9), steps=st.tuples(STEPS, STEPS),
       dtype=st.sampled_from(["uint8", "int8"]), windowed=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_global_average_pool(peer, extents, c, steps, dtype, windowed, seed):
    """Also spelled as a window of the size of the image."""
    x = peer.integers(seed, dtype, 2, *extents, c)
    if windowed:
        judge(peer, "AveragePool", "q_average_pool2d", x, steps, {"kernel": extents, "signed": dtype == "int8"},
              {"kernel_shape": extents})
    else:
        judge(peer, "GlobalAveragePool", "q_global_average_pool", x, steps, {}, {})


def test_reduce_mean_stays_within_a_step(peer):
    """onnxruntime computes this one in float32; where a mean ends between two integers, its roundings decide."""
    x = peer.integers(1, "uint8", 2, 5, 7, 400)
    attrs = {"x_scale": 0.125, "x_zero": 7, "y_scale": float(np.float32(0.07)), "y_zero": 20}
    expected = peer.between("ReduceMean", peer.nchw(x), (0.125, np.uint8(7)), (attrs["y_scale"], np.uint8(20)), axes=(2, 3),
                            keepdims=0)
    (found,) = ops.make("q_global_average_pool", attrs | {"keepdims": False}).reference(x)
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_max_pool(peer, dtype):
    x = peer.integers(1, dtype, 2, 9, 11, 5)
    expected = peer.between("MaxPool", peer.nchw(x), (0.5, np.array(3, dtype)), (0.5, np.array(3, dtype)), kernel_shape=(3, 3),
                            strides=(2, 2), pads=(1, 1, 1, 1))
    (found,) = ops.make("max_pool2d", {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}).reference(x)
    assert np.array_equal(found, peer.nhwc(expected))


@pytest.mark.parametrize("kind, more", [("q_average_pool2d", {"kernel": (2, 2)}), ("q_global_average_pool", {})])
def test_refused(peer, kind, more):
    x = ops.Spec((1, 4, 5, 3), "uint8")
    peer.refused(ops.make(kind, more), (1, 4, 5, 3), match="x of dtype uint8, found float32")
    peer.refused(ops.make(kind, more), ops.Spec((1, 4, 5, 3), "int8"), match="x of dtype uint8")
    peer.refused(ops.make(kind, more), x, x, match="1 inputs")
    peer.refused(ops.make(kind, more | {"x_scale": 0.0}), x, match="x_scale, a positive")
    peer.refused(ops.make(kind, more | {"y_scale": float("nan")}), x, match="y_scale, a positive")
    peer.refused(ops.make(kind, more | {"x_zero": 256}), x, match="x_zero between 0 and 255")
    peer.refused(ops.make(kind, more | {"y_zero": -1}), x, match="y_zero between 0 and 255")
    peer.refused(ops.make(kind, more), ops.Spec((4, 3), "uint8"), match="x of shape")
    peer.refused(ops.make(kind, more), ops.Spec((1, 3000, 3000, 1), "uint8"), match="pixels")


def test_what_they_cost():
    x = ops.Spec((1, 4, 6, 3), "uint8")
    op = ops.make("q_average_pool2d", {"kernel": (2, 2)})
    assert op.macs([x], op.infer(x)) == 3 * 5 * 3 * 4
    op = ops.make("q_global_average_pool", {})
    assert op.macs([x], op.infer(x)) == 4 * 6 * 3
