from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.graph import DTYPES
from tinynet.ops.pad import MODES


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=25, deadline=None)
@given(shape=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_against_onnxruntime(peer, mode, shape, seed, data):
    x = peer.normal(seed, *shape)
    most = [d - 1 if mode == "reflect" else 2 * d + 3 for d in shape]
    begin, end = (tuple(data.draw(st.integers(0, m)) for m in most) for _ in range(2))
    fill = np.array(0.1, np.float32)
    expected = peer.run("Pad", [x, np.array(begin + end, np.int64), fill], opset=19, mode=mode)
    attrs = {"begin": begin, "end": end, "mode": mode}
    peer.agree(ops.make("pad", {**attrs, "value": 0.1}), [x], expected)
    if mode == "constant":
        peer.agree(ops.make("pad", attrs), [x, fill], expected)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype(peer, dtype):
    x = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)
    expected = np.array([[1, 1, 0, 1], [1, 0, 1, 1]]).astype(dtype)
    peer.agree(ops.make("pad", {"begin": (0, 1), "end": (0, 0), "value": 1.0}), [x], expected)
    peer.agree(ops.make("pad", {"begin": (0, 1), "end": (0, 0)}), [x, np.array(1).astype(dtype)], expected)


def test_integers_are_exact_and_scalars_have_no_ends(peer):
    peer.agree(ops.make("pad", {"begin": (1,), "end": (2,), "value": -3.0}), [np.array([7])], np.array([-3, 7, -3, -3]))
    big = np.array(2**53 + 1)
    peer.agree(ops.make("pad", {"begin": (1,), "end": (0,)}), [np.array([7]), big], np.array([2**53 + 1, 7]))
    peer.agree(ops.make("pad", {}), [np.array(7)], np.array(7))


def test_refusals(peer):
    def op(**attrs):
        return ops.make("pad", {"begin": (1, 1), "end": (1, 3), **attrs})

    peer.refused(op(), (2, 3, 4), match="begin of 3 integers >= 0")
    peer.refused(op(end=(1, -1)), (2, 3), match="end of 2 integers >= 0")
    peer.refused(op(mode="mirror"), (2, 3), match="mode among constant, edge, reflect, wrap, found 'mirror'")
    peer.refused(op(mode="reflect"), (2, 3), match=r"reflect pads below the extent 3, found \[1, 3\]")
    peer.refused(op(mode="edge"), (0, 3), match="extent of at least 1")
    peer.refused(op(mode="wrap"), (0, 3), match="extent of at least 1")
    peer.refused(op(mode="edge"), (2, 3), (), match="no value to fill with")
    peer.refused(op(), (2, 3), (1,), match=r"a scalar of dtype float32 to fill with, found float32 \[1\]")
    peer.refused(op(), (2, 3), ops.Spec((), "int64"), match="a scalar of dtype float32")
