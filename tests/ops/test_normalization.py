from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops


@settings(max_examples=25, deadline=None)
@given(shape=st.lists(st.integers(1, 9), min_size=1, max_size=4), offset=st.sampled_from([0, 3]), seed=st.integers(0, 999),
       epsilon=st.sampled_from([1e-5, 0.1]))
def test_layer_norm_against_onnxruntime(peer, shape, offset, seed, epsilon):
    x = peer.normal(seed, *shape) + np.float32(offset)
    weights = [peer.normal(seed + i, shape[-1]) for i in (1, 2)]
    expected = peer.run("LayerNormalization", [x, *weights], epsilon=epsilon)
    # onnxruntime works in float32: a mean that is off by u |x| is divided by the deviation, at least sqrt(epsilon)
    peer.agree(ops.make("layer_norm", {"epsilon": epsilon}), [x, *weights], expected, atol=40 * 2.0 ** -24 * 8 / epsilon ** 0.5)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 3), c=st.integers(1, 7), h=st.integers(1, 6), w=st.integers(2, 5), seed=st.integers(0, 999))
def test_group_norm_of_one_channel_each_against_onnxruntime(peer, n, c, h, w, seed):
    x, weights = peer.normal(seed, n, c, h, w), [peer.normal(seed + i, c) for i in (1, 2)]
    expected = peer.run("InstanceNormalization", [x, *weights], epsilon=1e-3)
    op = ops.make("group_norm", {"groups": c, "epsilon": 1e-3})
    peer.agree(op, [peer.nhwc(x), *weights], peer.nhwc(expected), atol=1e-4)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_group_norm_is_layer_norm_of_every_group(peer, groups):
    x = peer.normal(1, 2, 4, 5, 6)
    split = x.reshape(2, 20, groups, 6 // groups).transpose(0, 2, 1, 3).reshape(2, groups, -1)
    n = split.shape[-1]
    rows = ops.make("layer_norm", {}).reference(split, np.ones(n, np.float32), np.zeros(n, np.float32))[0]
    expected = rows.reshape(2, groups, 20, 6 // groups).transpose(0, 2, 1, 3).reshape(x.shape)
    scale, shift = peer.normal(2, 6), peer.normal(3, 6)
    peer.agree(ops.make("group_norm", {"groups": groups}), [x, scale, shift], expected * scale + shift, atol=1e-6)


def test_rms_norm_is_layer_norm_without_a_mean(peer):
    x = peer.normal(1, 4, 8)
    x = np.concatenate([x, -x], -1)
    scale = peer.normal(2, 16)
    (expected,) = ops.make("layer_norm", {}).reference(x, scale, np.zeros(16, np.float32))
    peer.agree(ops.make("rms_norm", {}), [x, scale], expected, atol=1e-6)


def test_specials(peer):
    x = np.array([[1, np.nan, 2], [np.inf, 0, 1], [3, 3, 3], [-1, 0, 1]], np.float32)
    one, zero = np.ones(3, np.float32), np.zeros(3, np.float32)
    (y,) = ops.make("layer_norm", {}).reference(x, one, zero)
    assert np.isnan(y[:2]).all() and (y[2] == 0).all()
    np.testing.assert_allclose(y[3], np.array([-1, 0, 1]) * 1.5 ** 0.5, rtol=1e-5)


def test_refusals(peer):
    for kind in ("layer_norm", "group_norm"):
        op = ops.make(kind, {})
        peer.refused(op, (2, 3), (3,), match="3 inputs, found 2")
        peer.refused(op, (2, 3), (4,), (3,), match=r"scale of shape \[3\]")
        peer.refused(op, (2, 3), (3,), (1, 3), match=r"shift of shape \[3\]")
        peer.refused(op, (2, 0), (0,), (0,), match="at least one channel")
        peer.refused(op, ops.Spec((2, 3), "int32"), (3,), (3,), match="float32")
        peer.refused(ops.make(kind, {"epsilon": -1.0}), (2, 3), (3,), (3,), match="epsilon")
    peer.refused(ops.make("layer_norm", {}), (), (1,), (1,), match="rank 1")
    peer.refused(ops.make("group_norm", {"groups": 2}), (2, 4, 3), (3,), (3,), match="groups that divide 3")
    peer.refused(ops.make("group_norm", {"groups": 0}), (2, 4, 3), (3,), (3,), match="groups that divide 3")
    peer.refused(ops.make("group_norm", {}), (2, 0, 3), (3,), (3,), match="one pixel")
    peer.refused(ops.make("rms_norm", {}), (2, 3), (2,), match="scale of shape")
