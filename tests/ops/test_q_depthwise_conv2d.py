"""ops/q_depthwise_conv2d.py against onnxruntime's QLinearConv with a group for each channel."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet import ops


def case(seed, n, size, kernel, c, pads, w_dtype, **attrs):
    """(op, arrays of the kind, inputs of QLinearConv in NCHW)."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (n, *size, c)).astype(np.uint8)
    x_zero, y_zero = int(rng.choice([0, 255, rng.integers(0, 256)])), int(rng.choice([0, 255, rng.integers(0, 256)]))
    x_scale = np.float32(rng.uniform(0.001, 0.1))
    w = rng.integers(-128, 128, (*kernel, c)).astype(np.int8)
    w_scale = rng.uniform(0.001, 0.02, c).astype(np.float32)
    # Sums of products have a standard deviation of some 150 x 74 for each root of their number: 60 steps.
    y_scale = np.float32(x_scale * w_scale.mean() * 150 * 74 * np.sqrt(np.prod(kernel)) / 60)
    w_zero = np.zeros(c, np.int32)
    shown, shown_zero = w, np.zeros(c, np.int8)
    if w_dtype == "uint8":     # one zero and scale: as int8, both are 128 less
        w_scale[:] = w_scale[0]
        w_zero[:] = rng.integers(-128, 128)
        shown, shown_zero = (w.astype(np.int16) + 128).astype(np.uint8), np.uint8(w_zero[0] + 128)
    bias = rng.integers(-20000, 20000, c).astype(np.int32)
    centred = w.astype(np.int64) - w_zero
    b = (bias - x_zero * centred.sum((0, 1))).astype(np.int32)
    multiplier = (x_scale * w_scale / y_scale).astype(np.float32)
    op = ops.make("q_depthwise_conv2d", {"pads": pads, "x_zero": x_zero, "y_zero": y_zero, **attrs})
    arrays = [x, w, b, multiplier] + ([w_zero] if w_dtype == "uint8" else [])
    scale = w_scale if w_dtype == "int8" else w_scale[0]
    filters = np.ascontiguousarray(shown.transpose(2, 0, 1)[:, None])
    inputs = [x.transpose(0, 3, 1, 2), x_scale, np.uint8(x_zero), filters, scale, shown_zero, y_scale, np.uint8(y_zero), bias]
    return op, arrays, [np.asarray(i) for i in inputs]


@pytest.mark.parametrize("w_dtype", ["int8", "uint8"])
@pytest.mark.parametrize("n, size, kernel, c, pads, strides, dilations", [
    (1, (7, 9), (3, 3), 5, (1, 1, 1, 1), (1, 1), (1, 1)), (2, (8, 11), (3, 3), 17, (0, 1, 1, 0), (2, 2), (1, 1)),
    (1, (9, 12), (5, 5), 32, (2, 2, 2, 2), (1, 1), (1, 1)), (1, (9, 12), (5, 5), 24, (1, 2, 2, 1), (2, 2), (1, 1)),
    (1, (13, 10), (2, 4), 7, (3, 0, 1, 2), (3, 1), (1, 1)), (1, (11, 12), (3, 2), 66, (2, 1, 2, 1), (1, 1), (2, 3)),
    (1, (5, 6), (1, 1), 3, (0, 0, 0, 0), (1, 1), (1, 1)), (1, (14, 14), (7, 7), 16, (3, 3, 3, 3), (1, 1), (1, 1))])
def test_equals_onnxruntime(peer, n, size, kernel, c, pads, strides, dilations, w_dtype):
    seen = set()
    for seed in range(4):
        op, arrays, inputs = case(seed, n, size, kernel, c, pads, w_dtype, strides=strides, dilations=dilations)
        expected = peer.run("QLinearConv", inputs, group=c, kernel_shape=kernel, pads=pads, strides=strides,
                            dilations=dilations)
        peer.agree(op, arrays, peer.nhwc(expected))
        seen.update(np.unique(expected).tolist())
    assert len(seen) > 20      # not all at an end of the range


def test_activation_limits_and_wider_results():
    op, arrays, _ = case(1, 1, (6, 7), (3, 3), 9, (1, 1, 1, 1), "int8")
    (y,) = op.reference(*arrays)
    attrs = op.attributes()
    (inside,) = ops.make("q_depthwise_conv2d", {**attrs, "low": 90, "high": 140}).reference(*arrays)
    assert (inside == np.clip(y, 90, 140)).all() and y.min() < 90 and y.max() > 140
    (sums,) = ops.make("q_depthwise_conv2d", {**attrs, "dtype": "int32"}).reference(*arrays)
    (real,) = ops.make("q_depthwise_conv2d", {**attrs, "dtype": "float32"}).reference(*arrays)
    assert sums.dtype == np.int32 and real.dtype == np.float32
    assert (real == sums.astype(np.float32) * arrays[3]).all()
    assert (np.clip(np.rint(real) + op.y_zero, 0, 255) == y).all()


@pytest.mark.parametrize("x, w, more, match", [
    ((1, 5, 5, 4), (3, 3, 5), {}, r"w of shape \[kh, kw, 4\]"), ((1, 2, 5, 4), (3, 3, 4), {}, "padded height"),
    ((1, 5, 4), (3, 3, 4), {}, r"x of shape \[N, H, W, C\]"), ((1, 5, 5, 4), (3, 3, 4), {"x_zero": 256}, "x_zero"),
    ((1, 5, 5, 4), (3, 3, 4), {"low": 9, "high": 8}, "low"), ((1, 5, 5, 4), (3, 3, 4), {"dtype": "int8"}, "dtype"),
    ((1, 300, 300, 4), (300, 300, 4), {}, "products")])
def test_refuses(peer, x, w, more, match):
    c = (w[2],)
    peer.refused(ops.make("q_depthwise_conv2d", more), ops.Spec(x, "uint8"), ops.Spec(w, "int8"), ops.Spec(c, "int32"),
                 ops.Spec(c, "float32"), match=match)
