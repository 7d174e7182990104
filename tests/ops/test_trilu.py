from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import ops
from tinynet.graph import DTYPES


@settings(max_examples=40, deadline=None)
@given(shape=st.lists(st.integers(1, 5), min_size=2, max_size=4), upper=st.booleans(), k=st.integers(-7, 7),
       seed=st.integers(0, 2**32 - 1))
def test_against_onnxruntime(peer, shape, upper, k, seed):
    x = peer.normal(seed, *shape)
    x.reshape(-1)[::3] = np.nan
    peer.agree(ops.make("trilu", {"upper": upper, "k": k}), [x], peer.run("Trilu", [x, np.array(k)], upper=int(upper)))


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype(peer, dtype):
    x = np.ones((2, 3)).astype(dtype)
    peer.agree(ops.make("trilu", {}), [x], np.array([[1, 1, 1], [0, 1, 1]]).astype(dtype))
    peer.agree(ops.make("trilu", {"upper": False, "k": -2**62}), [x], np.zeros((2, 3)).astype(dtype))
    peer.agree(ops.make("trilu", {"upper": False, "k": 2**62}), [x], x)


def test_refusals(peer):
    peer.refused(ops.make("trilu", {}), (3,), match=r"x of shape \[..., rows, columns\], found \[3\]")
