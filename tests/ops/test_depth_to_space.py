from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops

sizes = {"n": st.integers(1, 2), "h": st.integers(1, 4), "w": st.integers(1, 5), "c": st.integers(1, 4),
         "block": st.integers(1, 3), "seed": st.integers(0, 2**32 - 1)}


@pytest.mark.parametrize("mode", ["dcr", "crd"])
@settings(max_examples=25, deadline=None)
@given(**sizes)
def test_depth_to_space_against_onnxruntime(peer, mode, n, h, w, c, block, seed):
    x = peer.normal(seed, n, h, w, c * block * block)
    expected = peer.run("DepthToSpace", [peer.nchw(x)], blocksize=block, mode=mode.upper())
    peer.agree(ops.make("depth_to_space", {"block": block, "mode": mode}), [x], peer.nhwc(expected))


@pytest.mark.parametrize("mode", ["dcr", "crd"])
@settings(max_examples=25, deadline=None)
@given(**sizes)
def test_space_to_depth_undoes_depth_to_space(peer, mode, n, h, w, c, block, seed):
    x = peer.normal(seed, n, h, w, c * block * block)
    (y,) = ops.make("depth_to_space", {"block": block, "mode": mode}).reference(x)
    peer.agree(ops.make("space_to_depth", {"block": block, "mode": mode}), [y], x)


@settings(max_examples=25, deadline=None)
@given(**sizes)
def test_space_to_depth_against_onnxruntime(peer, n, h, w, c, block, seed):
    x = peer.normal(seed, n, h * block, w * block, c)
    expected = peer.run("SpaceToDepth", [peer.nchw(x)], blocksize=block)
    peer.agree(ops.make("space_to_depth", {"block": block}), [x], peer.nhwc(expected))


@settings(max_examples=25, deadline=None)
@given(lead=st.lists(st.integers(1, 4), max_size=3), groups=st.integers(1, 5), per_group=st.integers(1, 5))
def test_channel_shuffle(peer, lead, groups, per_group):
    c = groups * per_group
    x = peer.normal(1, *lead, c)
    expected = np.empty_like(x)
    for g in range(groups):
        for j in range(per_group):
            expected[..., j * groups + g] = x[..., g * per_group + j]
    peer.agree(ops.make("channel_shuffle", {"groups": groups}), [x], expected)


def test_refusals(peer):
    x = (1, 4, 6, 8)
    peer.refused(ops.make("depth_to_space", {}), x, match="block >= 1, found 0")
    peer.refused(ops.make("depth_to_space", {"block": 3}), x, match="channels divisible by block.2 = 9, found 8")
    peer.refused(ops.make("depth_to_space", {"block": 2, "mode": "DCR"}), x, match="mode among crd, dcr")
    peer.refused(ops.make("depth_to_space", {"block": 2}), x[1:], match="x of shape")
    peer.refused(ops.make("space_to_depth", {}), x, match="block >= 1")
    peer.refused(ops.make("space_to_depth", {"block": 4}), x, match=r"divisible by block = 4, found \[4, 6\]")
    peer.refused(ops.make("channel_shuffle", {}), x, match="groups that divide the 8 channels of x, found 0")
    peer.refused(ops.make("channel_shuffle", {"groups": 3}), x, match="groups that divide")
    peer.refused(ops.make("channel_shuffle", {"groups": 1}), (), match="x of shape")
