from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.ops.quantize import MOST_PRODUCTS

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
zeros = st.sampled_from([0, 1, 100, 128, 255])
seeds = st.integers(0, 2 ** 32 - 1)


def folded(w, bias, x_zero, w_zero):
    """b of our kinds: the source's bias and what x's zero point adds.  w, w_zero as int64."""
    centred = (w - w_zero.reshape(-1, *[1] * (w.ndim - 1))).reshape(w.shape[0], -1)
    return (bias - x_zero * centred.sum(1)).astype(np.int32)


def scales(rng, outs, products, per_channel):
    """x, w, y scales such that outputs are spread over the range."""
    w = rng.uniform(0.5, 1.5, outs if per_channel else 1).astype(np.float32) / np.float32(128)
    y = np.float32(rng.uniform(0.5, 1.5) * np.sqrt(products) / 3)
    return np.float32(rng.uniform(0.5, 1.5) / 64), w, y


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 2), extents=st.tuples(st.integers(1, 9), st.integers(1, 8)), kernel=pairs, strides=pairs,
       dilations=pairs, pads=st.tuples(*[st.integers(0, 3)] * 4), groups=st.integers(1, 3), ins=st.integers(1, 9),
       outs=st.integers(1, 7), x_zero=zeros, y_zero=zeros, per_channel=st.booleans(), unsigned=st.booleans(), seed=seeds)
def test_qlinearconv(peer, n, extents, kernel, strides, dilations, pads, groups, ins, outs, x_zero, y_zero, per_channel,
                     unsigned, seed):
    rng = np.random.default_rng(seed)
    h, width = (max(e, d * (k - 1) + 1 - a - b) for e, d, k, a, b in zip(extents, dilations, kernel, pads[:2], pads[2:],
                                                                         strict=True))
    x = peer.integers(seed, "uint8", n, h, width, ins * groups)
    w = peer.integers(seed + 1, "uint8" if unsigned else "int8", outs * groups, *kernel, ins)
    bias = rng.integers(-2000, 2000, outs * groups).astype(np.int32)
    products = ins * kernel[0] * kernel[1]
    # onnxruntime wants one zero point for all channels of uint8 weights
    per_channel = per_channel and not unsigned
    x_scale, w_scale, y_scale = scales(rng, outs * groups, products, per_channel)
    w_zero = np.full(w_scale.shape, rng.integers(0, 256) if unsigned else 0, w.dtype)
    scalar = (lambda a: a) if per_channel else (lambda a: a.reshape(()))
    expected = peer.nhwc(peer.run("QLinearConv", [
        peer.nchw(x), np.asarray(x_scale), np.asarray(x_zero, np.uint8), peer.nchw(w), scalar(w_scale), scalar(w_zero),
        np.asarray(y_scale), np.asarray(y_zero, np.uint8), bias], strides=strides, pads=pads, dilations=dilations,
        group=groups))
    ours, zero = w.astype(np.int64) - (128 if unsigned else 0), w_zero.astype(np.int64) - (128 if unsigned else 0)
    zero = np.broadcast_to(zero, (outs * groups,))
    multiplier = np.broadcast_to(x_scale * w_scale / y_scale, (outs * groups,)).astype(np.float32)
    op = ops.make("q_conv2d", {"strides": strides, "pads": pads, "dilations": dilations, "groups": groups,
                               "x_zero": x_zero, "y_zero": y_zero})
    arrays = [x, ours.astype(np.int8), folded(ours, bias, x_zero, zero), multiplier, zero.astype(np.int32)]
    peer.agree(op, arrays if unsigned else arrays[:4], expected)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 2), extents=st.tuples(st.integers(3, 7), st.integers(3, 8)), kernel=pairs, strides=pairs,
       pads=st.tuples(*[st.integers(0, 3)] * 4), ins=st.integers(1, 9), outs=st.integers(1, 7), x_zero=zeros, seed=seeds)
def test_convinteger(peer, n, extents, kernel, strides, pads, ins, outs, x_zero, seed):
    x, w = peer.integers(seed, "uint8", n, *extents, ins), peer.integers(seed + 1, "uint8", outs, *kernel, ins)
    zero = np.random.default_rng(seed).integers(0, 256)
    expected = peer.nhwc(peer.run("ConvInteger", [peer.nchw(x), peer.nchw(w), np.asarray(x_zero, np.uint8),
                                                  np.asarray(zero, np.uint8)], strides=strides, pads=pads))
    ours, zeros = w.astype(np.int64) - 128, np.full(outs, zero - 128)
    op = ops.make("q_conv2d", {"strides": strides, "pads": pads, "x_zero": x_zero, "dtype": "int32"})
    peer.agree(op, [x, ours.astype(np.int8), folded(ours, 0, x_zero, zeros), np.ones(outs, np.float32),
                    zeros.astype(np.int32)], expected)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 7), ins=st.integers(1, 40), outs=st.integers(1, 20), x_zero=zeros, y_zero=zeros,
       unsigned=st.booleans(), seed=seeds)
def test_qlinearmatmul(peer, rows, ins, outs, x_zero, y_zero, unsigned, seed):
    rng = np.random.default_rng(seed)
    x, w = peer.integers(seed, "uint8", rows, ins), peer.integers(seed + 1, "uint8" if unsigned else "int8", outs, ins)
    x_scale, w_scale, y_scale = scales(rng, outs, ins, False)
    zero = int(rng.integers(0, 256)) if unsigned else 0
    expected = peer.run("QLinearMatMul", [
        x, np.asarray(x_scale), np.asarray(x_zero, np.uint8), np.ascontiguousarray(w.T), w_scale.reshape(()),
        np.asarray(zero, w.dtype), np.asarray(y_scale), np.asarray(y_zero, np.uint8)])
    shift = 128 if unsigned else 0
    ours, zeros = w.astype(np.int64) - shift, np.full(outs, zero - shift)
    multiplier = np.full(outs, (x_scale * w_scale / y_scale)[0], np.float32)
    op = ops.make("q_dense", {"x_zero": x_zero, "y_zero": y_zero})
    arrays = [x, ours.astype(np.int8), folded(ours, 0, x_zero, zeros), multiplier, zeros.astype(np.int32)]
    peer.agree(op, arrays if unsigned else arrays[:4], expected)


def test_results():
    x, w = np.array([[3, 255]], np.uint8), np.array([[2, -1], [0, 127]], np.int8)
    b, multiplier = np.array([4, 2 ** 31 - 1], np.int32), np.array([0.5, 2.0 ** -22], np.float32)

    def run(**attrs):
        return ops.make("q_dense", attrs).reference(x, w, b, multiplier)[0].tolist()

    # the second sum leaves int32 and comes back at the other end
    total = -2 ** 31 + 255 * 127 - 1
    assert run(dtype="int32") == [[-245, total]]
    assert run(dtype="float32") == [[-122.5, float(np.float32(total) * np.float32(2.0 ** -22))]]
    assert run(y_zero=200, high=78) == [[78, 0]] and run(y_zero=201, low=9) == [[79, 9]]       # -122.5 is even at -122


def test_refusals(peer):
    conv, dense = ops.make("q_conv2d", {}), ops.make("q_dense", {})
    x, w = ops.Spec((1, 5, 6, 4), "uint8"), ops.Spec((8, 3, 3, 4), "int8")
    b, multiplier = ops.Spec((8,), "int32"), ops.Spec((8,))
    assert conv.infer(x, w, b, multiplier) == [ops.Spec((1, 3, 4, 8), "uint8")]
    peer.refused(conv, x, w, b, match="4 to 5 inputs, found 3")
    peer.refused(conv, ops.Spec(x.shape, "int8"), w, b, multiplier, match="x of dtype uint8, found")
    peer.refused(conv, x, ops.Spec(w.shape, "uint8"), b, multiplier, match="w of dtype int8, found")
    peer.refused(conv, x, ops.Spec((8, 3, 3, 3), "int8"), b, multiplier, match="4 input channels per group")
    peer.refused(conv, x, w, ops.Spec((7,), "int32"), multiplier, match=r"b of shape \[8\], found \[7\]")
    peer.refused(conv, x, w, b, multiplier, ops.Spec((1,), "int32"), match=r"w_zero of shape \[8\]")
    peer.refused(ops.make("q_conv2d", {"low": 9, "high": 8}), x, w, b, multiplier, match="low <= high")
    peer.refused(ops.make("q_conv2d", {"y_zero": 256}), x, w, b, multiplier, match="y_zero between 0 and 255")
    peer.refused(ops.make("q_conv2d", {"dtype": "int8"}), x, w, b, multiplier, match="dtype")
    many = MOST_PRODUCTS + 1
    peer.refused(dense, ops.Spec((2, many), "uint8"), ops.Spec((3, many), "int8"), ops.Spec((3,), "int32"),
                 ops.Spec((3,)), match=f"at most {MOST_PRODUCTS} products")
