"""kernels/q_winograd.pxi and its choice in tinynet/ops/q_winograd.py: q_conv2d through Winograd's transforms, bit for bit."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Net, channels, seeds
from test_q_conv2d import Bytes, data, dtypes, numbers, parameters, zeros

from tinynet import kernels, layouts, ops
from tinynet.kernels import engine
from tinynet.ops import q_winograd
from tinynet.ops.winograd import SIZES, choose_block, matrices

NATIVE = [level for level in kernels.available() if engine.has_q_winograd(level)]
# The largest sum of weights of one sign for which the sums of tiles of that size are exact: 255 of it is below 2^29 and 2^25.
REACH = {2: 2105376, 4: 131586}
sizes = st.sampled_from(SIZES)
pads = st.tuples(*[st.integers(0, 3)] * 4)


class Tiled(Bytes):
    """Every layer in tiles of `size`, where the level has the transforms; `exact`: is that so?"""

    size, exact = 4, True

    def model(self, *outputs, **more):
        model = Net.model(self, *outputs, winograd=self.size, **more)
        used = [s.params["size"] for s in model.plan.steps if s.kernel == "q_conv2d_winograd"]
        assert used == ([self.size] if self.exact and kernels.isa() in NATIVE else [])
        return model


def conv(seed, size, n, picture, ins, outs, kinds=("noise", "noise"), strided=False, extreme=False, **attrs):
    rng = np.random.default_rng(seed)
    padding = attrs.get("pads", (0,) * 4)
    picture = tuple(max(1, e, 3 - a - b) for e, a, b in zip(picture, padding[:2], padding[2:], strict=True))
    w = numbers(rng, (outs, 3, 3, ins), "int8", kinds[1])
    x = numbers(rng, (n, *picture, ins), "uint8", kinds[0])
    check(size, x, w, attrs, parameters(rng, w, attrs, False, extreme), strided)


def check(size, x, w, attrs, more, strided=False, exact=True):
    net = Tiled(strided)
    net.size, net.exact = size, exact
    inputs = [net.input(x), *(net.constant(a) for a in (w, *more))]
    (expected,) = ops.make("q_conv2d", attrs).reference(x, w, *more)
    net.agree(net.add("q_conv2d", *inputs, **attrs), expected)


def test_levels_without_a_dot_product_have_it():
    assert "scalar" in NATIVE
    assert not {"avxvnni", "avxvnni_evex", "avx512vnni", "neon_dot"} & set(NATIVE)


@settings(max_examples=60, deadline=None)
@given(size=sizes, n=st.integers(1, 2), picture=st.tuples(st.integers(1, 11), st.integers(1, 13)), padding=pads, ins=channels,
       outs=channels, x_zero=zeros, y_zero=zeros, kinds=st.tuples(data, data), dtype=dtypes, strided=st.booleans(), seed=seeds)
def test_winograd(size, n, picture, padding, ins, outs, x_zero, y_zero, kinds, dtype, strided, seed):
    conv(seed, size, n, picture, ins, outs, kinds, strided, pads=padding, x_zero=x_zero, y_zero=y_zero, dtype=dtype)


@settings(max_examples=20, deadline=None)
@given(size=sizes, low=st.integers(0, 255), high=st.integers(0, 255), y_zero=zeros, dtype=dtypes, seed=seeds)
def test_clamps_and_multipliers_of_every_size(size, low, high, y_zero, dtype, seed):
    conv(seed, size, 1, (5, 6), 9, 37, extreme=True, low=min(low, high), high=max(low, high), y_zero=y_zero, dtype=dtype)


@pytest.mark.parametrize("size", SIZES)
def test_the_largest_numbers_in_every_transform(size):
    """x and w of the ends of their ranges, placed where each element of the transformed tile is largest in magnitude."""
    one_d = {2: [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]],
             4: [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
                 [0, 4, 0, -5, 0, 1]]}[size]
    signs = np.array([np.outer(a, b) for a in one_d for b in one_d])
    x = np.concatenate([np.where(signs > 0, 255, 0), np.where(signs < 0, 255, 0)]).astype(np.uint8)
    for w in (-128, 127):
        check(size, np.repeat(x[..., None], 33, -1), np.full((17, 3, 3, 33), w, np.int8), {"dtype": "int32"},
              [np.zeros(17, np.int32), np.ones(17, np.float32)])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("sign", [-1, 1])
def test_sums_at_the_bound_and_behind_it(size, over, sign):
    """The largest sums that fit are exact; where the weights could give one more, the direct product is taken."""
    reach = REACH[size] + over
    assert q_winograd.fits(size, REACH[size]) and not q_winograd.fits(size, REACH[size] + 1)
    channels = -(-reach // (127 * 9))
    w = np.zeros(9 * channels, np.int8)
    w[:reach // 127] = 127 * sign
    w[reach // 127] = reach % 127 * sign
    w = np.stack([np.zeros_like(w), w]).reshape(2, 3, 3, channels)
    assert engine.q_winograd_reach(layouts.pack(w, layouts.ohwi_quads(1, 3 * channels)), 1) == reach
    check(size, np.full((1, 6, 6, channels), 255, np.uint8), w, {"dtype": "int32", "pads": (0, 1, 1, 0), "x_zero": 255},
          [np.array([0, 2 ** 31 - 1], np.int32), np.ones(2, np.float32)], exact=not over)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 50])
def test_reach_is_the_larger_sum_of_one_sign(channels):
    w = numbers(np.random.default_rng(channels), (37, 3, 3, channels), "int8", "noise")
    flat = w.reshape(37, -1).astype(np.int64)
    expected = max(np.maximum(flat, 0).sum(1).max(), -np.minimum(flat, 0).sum(1).min())
    assert engine.q_winograd_reach(layouts.pack(w, layouts.ohwi_quads(1, 3 * channels)), 3) == expected


@pytest.mark.parametrize("size", SIZES)
def test_several_bands_and_blocks(size):
    conv(1, size, 2, (37, 41), 20, 130, pads=(1, 1, 1, 1), x_zero=3, y_zero=100)
    conv(2, size, 1, (5, 4), 70, 250, pads=(1, 1, 1, 1), x_zero=200, strided=True)      # threads share the inputs
    with mock.patch.object(q_winograd, "choose_band", lambda *_: 3):
        conv(3, size, 1, (9, 14), 70, 250, pads=(1, 0, 1, 2), x_zero=7)


def plan(x, w, winograd=True, level="avx2", **attrs):
    net = Net()
    rng = np.random.default_rng(1)
    weights = np.clip(rng.normal(0, 30, w), -127, 127).astype(np.int8)
    more = parameters(rng, weights, attrs, attrs.pop("w_zero", False))
    y = net.add("q_conv2d", net.input(np.zeros(x, np.uint8)), *(net.constant(a) for a in (weights, *more)), **attrs)
    with kernels.use_isa(level):
        return net.model(y, winograd=winograd).plan


@pytest.mark.parametrize("x, w, attrs, kernel", [
    ((1, 56, 56, 64), (64, 3, 3, 64), {}, "q_conv2d_winograd"),
    ((1, 13, 13, 64), (256, 3, 3, 64), {"pads": (1, 1, 1, 1)}, "q_conv2d_winograd"),
    ((1, 56, 56, 64), (64, 3, 3, 64), {"winograd": False}, "q_conv2d"),
    ((1, 56, 56, 64), (64, 3, 3, 64), {"winograd": {"another": 2}}, "q_conv2d_winograd"),
    ((1, 56, 56, 64), (64, 3, 3, 64), {"strides": (1, 2)}, "q_conv2d"),
    ((1, 56, 56, 64), (64, 3, 3, 64), {"dilations": (2, 1)}, "q_conv2d"),
    ((1, 56, 56, 64), (64, 3, 3, 32), {"groups": 2}, "q_conv2d"),
    ((1, 56, 56, 64), (64, 3, 3, 64), {"w_zero": True}, "q_conv2d"),
    ((1, 56, 56, 64), (64, 3, 1, 64), {}, "q_conv2d"),
    ((1, 56, 56, 1), (2, 3, 3, 1), {}, "q_conv2d"),
    ((1, 3, 3, 512), (512, 3, 3, 512), {}, "q_conv2d"),
])
@pytest.mark.skipif("avx2" not in NATIVE, reason="a level of x86")
def test_choice(x, w, attrs, kernel):
    assert [s.kernel for s in plan(x, w, **attrs).steps] == [kernel]


@pytest.mark.skipif("avx2" not in NATIVE, reason="a level of x86")
def test_memory_of_the_weights_counts():
    tiled, direct = (plan((1, 56, 56, 64), (64, 3, 3, 64), winograd).memory for winograd in (True, False))
    assert tiled.constant_bytes >= 2 * 36 * 64 * 64 > direct.constant_bytes


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threads", [1, 3])
def test_weights_do_not_depend_on_threads(size, threads):
    w = numbers(np.random.default_rng(1), (70, 3, 3, 5), "int8", "noise")
    source = layouts.pack(w, layouts.ohwi_quads(1, 15))
    block = choose_block(5, 1)
    target, alone = (np.full(matrices(size) * 5 * 2 * 64, 7, np.int16) for _ in range(2))
    engine.q_winograd_weights(source, target, 5, 5, size, block, threads)
    engine.q_winograd_weights(source, alone, 5, 5, size, block, 1)
    assert (target == alone).all()
    assert target.reshape(-1)[:16].any()


def test_lengths_of_weights_are_checked():
    source, target = np.zeros(3 * 4 * 64, np.int8), np.zeros(16 * 2 * 64, np.int16)
    engine.q_winograd_weights(source, target, 1, 5, 2, 1, 1)
    for panels, ins, size, block in ((2, 5, 2, 1), (1, 6, 2, 1), (1, 5, 4, 1), (1, 5, 3, 1), (1, 5, 2, 0)):
        with pytest.raises(ValueError, match=r"panels of|no Winograd"):
            engine.q_winograd_weights(source, target, panels, ins, size, block, 1)
    for panels in (0, 5):
        with pytest.raises(ValueError, match="panels in"):
            engine.q_winograd_reach(source, panels)
